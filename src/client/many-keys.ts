/**
 * Many keys in one call. Keys lie in many shards, so such a call is many requests under way at once, each to the leader
 * of its shard; what a turn of the loop asks of one node leaves in one piece. Nothing is atomic across shards.
 */
import { BATCH_KEYS_MAX } from "../../protocol/limits.ts";
import { type Consistency, type KeyValue, NO_SESSION } from "../../protocol/messages.ts";
import { shardOfSlot, slotOf } from "../../protocol/slots.ts";
import { BOOLEAN, VALUE } from "./answers.ts";
import { FlotillaError } from "./errors.ts";
import type { KeyRunner } from "./key-runner.ts";

/** Bytes of keys and values from which on a part of a shard's entries goes on its own, to stay well below a frame. */
const PART_BYTES = 4 * 1024 * 1024;

/** The values of `keys`, in their order. Each is read on its own. */
export function getMany(
  runner: KeyRunner,
  keys: readonly Uint8Array[],
  consistency: Consistency,
): Promise<(Uint8Array | undefined)[]> {
  return Promise.all(
    keys.map((key) => runner.run({ kind: "get", key, consistency }, VALUE, { slot: slotOf(key) })),
  );
}

/** How many of `keys` there were. A key that is named twice is there once. */
export async function deleteMany(runner: KeyRunner, keys: readonly Uint8Array[]): Promise<number> {
  const results = await Promise.allSettled(
    keys.map((key) => runner.run({ kind: "delete", stamp: NO_SESSION, key }, BOOLEAN, { slot: slotOf(key) })),
  );
  throwFirst(results, "key", "deleted");
  return results.filter((result) => result.status === "fulfilled" && result.value).length;
}

/** The entries by shard, in their order: what may be written together. */
export function byShard(entries: readonly KeyValue[], shards: number): KeyValue[][] {
  const groups = new Map<number, KeyValue[]>();
  for (const entry of entries) {
    const shard = shardOfSlot(slotOf(entry.key), shards);
    const group = groups.get(shard);
    if (group === undefined) groups.set(shard, [entry]);
    else group.push(entry);
  }
  return [...groups.values()];
}

/** Sets all of `entries`. Those of a shard go together, as far as a request takes them. */
export async function putMany(runner: KeyRunner, entries: readonly KeyValue[]): Promise<void> {
  const results = await Promise.allSettled(
    byShard(entries, runner.shards).map(async (group) => {
      // One after the other: of a key that is named twice, the last value holds.
      for (const part of partsOf(group)) await putBatch(runner, part);
    }),
  );
  throwFirst(results, "shard", "written in full");
}

/** Sets `entries`, which lie in one shard and fit into one request, all or none. */
export function putBatch(runner: KeyRunner, entries: readonly KeyValue[]): Promise<boolean> {
  return runner.run({ kind: "batch", stamp: NO_SESSION, entries }, BOOLEAN, {
    slot: slotOf(entries[0]!.key),
  });
}

/** Throws what one of several requests was told, with how many of the others have done their part. */
export function throwFirst(
  results: readonly PromiseSettledResult<unknown>[],
  what: string,
  done: string,
): void {
  const errors = results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
  const [error] = errors as FlotillaError[];
  if (error === undefined) return;
  if (results.length === 1) throw error;
  const count = results.length - errors.length;
  const isUnknown = count > 0 || errors.some(({ outcome }) => outcome === "unknown");
  throw new FlotillaError(
    error.code,
    `${count} of ${results.length} ${what}s ${count === 1 ? "is" : "are"} ${done}, then: ${error.message}`,
    isUnknown ? "unknown" : "notDone",
    { cause: error },
  );
}

function* partsOf(group: readonly KeyValue[]): Generator<readonly KeyValue[]> {
  let from = 0;
  let bytes = 0;
  for (const [i, { key, value }] of group.entries()) {
    if (i > from && (i - from === BATCH_KEYS_MAX || bytes + key.length + value.length > PART_BYTES)) {
      yield group.slice(from, i);
      from = i;
      bytes = 0;
    }
    bytes += key.length + value.length;
  }
  if (from < group.length) yield group.slice(from);
}
