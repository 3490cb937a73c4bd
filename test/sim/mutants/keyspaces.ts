/** Bugs of keyspaces. */
import { type Mutant, mutant } from "./mutant.ts";

export const KEYSPACE_MUTANTS: readonly Mutant[] = [
  mutant(
    "keyspaces-share-their-keys",
    "src/shard/engine-keys.ts",
    "scratch[DATA_PREFIX_BYTES] = keyspace ?? 0;",
    "scratch[DATA_PREFIX_BYTES] = 0;",
  ),
  mutant(
    "a-keyspaces-number-is-used-again",
    "src/shard/keyspaces.ts",
    "const fact: KeyspaceFact = { id: next, name,",
    "const fact: KeyspaceFact = { id: keyspaceId(1 + (live.at(-1)?.id ?? 0)), name,",
  ),
];
