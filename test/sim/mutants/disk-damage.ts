/** Bugs that leave damage on a disk unnoticed. */
import { type Mutant, mutant } from "./mutant.ts";

export const DISK_DAMAGE_MUTANTS: readonly Mutant[] = [
  mutant(
    "the-noted-end-of-the-log-is-forgotten",
    "src/shard/log-store.ts",
    "if (notedIn === number && reader.tail < offset) {",
    "if (notedIn === number && reader.tail < 0) {",
  ),
  mutant(
    "identity-is-believed-unchecked",
    "src/cluster/identity.ts",
    "  if (checksum !== expected) {\n",
    "  if (checksum === null) {\n",
  ),
];
