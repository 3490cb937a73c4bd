/**
 * Which keyspaces there are: a part of what the system group agrees on (`system-machine.ts`). A keyspace has a number that
 * is never used again, under which its keys lie in every shard, and a name that may be.
 *
 * To drop one is a decision of the system group, which takes effect at once: its number means nothing from then on. What
 * the shards have of it goes by and by: each shard's leader sees that the group has decided more drops than its shard knows of, and
 * puts into its log which keyspaces there are (`keyspace-gate.ts`).
 */
import { DEFAULT_KEYSPACE, isKeyspaceName, type KeyspaceId, keyspaceId } from "../../protocol/ids.ts";
import { KEYSPACES_MAX } from "../../protocol/limits.ts";
import type { Keyspace } from "../../protocol/messages.ts";
import { list, oneOf, record, type Shape, text, whole } from "../../protocol/shape.ts";
import { keyspaceIdShape } from "../../protocol/status-shapes.ts";
import type { KeepKeyspaces } from "../../protocol/write-body.ts";

export interface KeyspaceFact extends Keyspace {
  /** What whoever asked for it had drawn: asked for again with the same, it is there already. */
  readonly token: number;
}

export interface KeyspaceFacts {
  /** Grows with every change. */
  readonly version: number;
  /** The number that the next one gets. */
  readonly next: KeyspaceId;
  /** How many have been dropped. */
  readonly drops: number;
  /** Those that there are, by number; `default` is not among them. */
  readonly live: readonly KeyspaceFact[];
}

export type KeyspaceCommand =
  /** Without effect where there is one of this name, or `faultOfKeyspace` finds something else. */
  | { readonly kind: "createKeyspace"; readonly name: string; readonly token: number }
  /** Without effect where there is none. */
  | { readonly kind: "dropKeyspace"; readonly id: KeyspaceId };

export const NO_KEYSPACES: KeyspaceFacts = { version: 0, next: keyspaceId(1), drops: 0, live: [] };

const count = whole(0, Number.MAX_SAFE_INTEGER);
/** What is to be a part of a dump, and comes from another node. */
export const keyspaceFactsShape: Shape<KeyspaceFacts> = record<KeyspaceFacts>({
  version: count,
  next: keyspaceIdShape,
  drops: count,
  live: list(
    record<KeyspaceFact>({ id: keyspaceIdShape, name: text, mode: oneOf("raft", "quorum"), token: count }),
  ),
});

/** Why there can't be a keyspace of this name besides those that there are, as a sentence; `undefined` if there can. */
export function faultOfKeyspace({ live }: KeyspaceFacts, name: string): string | undefined {
  if (!isKeyspaceName(name)) {
    return `"${name}" can't be a keyspace's name: 1 to 64 of A-Z a-z 0-9 . _ -, and first a letter or a digit`;
  }
  // Redis' clients call the default one so.
  if (name === DEFAULT_KEYSPACE || /^0+$/.test(name)) return `${name} is the keyspace that there always is`;
  if (live.some((one) => one.name === name)) return `there is a keyspace ${name} already`;
  return live.length >= KEYSPACES_MAX ? `there are ${KEYSPACES_MAX} keyspaces already` : undefined;
}

/** The facts after a command: the same object if it has no effect. */
export function afterCommand(facts: KeyspaceFacts, command: KeyspaceCommand): KeyspaceFacts {
  const { version, next, drops, live } = facts;
  if (command.kind === "createKeyspace") {
    const { name, token } = command;
    if (faultOfKeyspace(facts, name) !== undefined) return facts;
    const fact: KeyspaceFact = { id: next, name, mode: "raft", token };
    return { version: version + 1, next: keyspaceId(next + 1), drops, live: [...live, fact] };
  }
  const left = live.filter(({ id }) => id !== command.id);
  return left.length === live.length ? facts : { version: version + 1, next, drops: drops + 1, live: left };
}

/** What a shard's log has to be told so that the shard knows of every drop. */
export function keepCommand({ drops, next, live }: KeyspaceFacts): KeepKeyspaces {
  return { kind: "keepKeyspaces", drops, next, live: live.map(({ id }) => id) };
}
