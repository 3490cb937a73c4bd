/** The keys of a simulated run: what they are called in the history, and where they are in the store. */
import type { KeyspaceId, ShardId } from "../../protocol/ids.ts";
import { shardOfSlot, slotOf } from "../../protocol/slots.ts";
import { utf8 } from "../../src/lib/bytes.ts";

/** The keys of a row, which are written by batches only, so that all of them always have one value. */
export const ROW_PARTS = ["a", "b", "c"] as const;

/** In the history, what stands before the keys of the second keyspace, which are called as those of the default one. */
const OTHER = "other/";

/** The history's keys: a third of `keys` are counters. Some are in the second keyspace as well. */
export function allKeys(keys: number, rows: number): string[] {
  const names = Array.from({ length: keys }, (_, number) => `key${number}`);
  const rowNames = Array.from({ length: rows }, (_, number) => `row${number}`);
  const others = [...names.slice(0, Math.ceil(keys / 3)), rowNames[0]!].map((name) => OTHER + name);
  return [...names, ...rowNames, ...others];
}

export function isOther(key: string): boolean {
  return key.startsWith(OTHER);
}

/** `other`: the second keyspace's number. */
export function keyspaceOf(key: string, other: KeyspaceId | undefined): KeyspaceId | undefined {
  return isOther(key) ? other : undefined;
}

export function isCounter(key: string): boolean {
  const name = nameInKeyspace(key);
  return !isRow(key) && Number(name.slice("key".length)) % 3 === 0;
}

export function isRow(key: string): boolean {
  return nameInKeyspace(key).startsWith("row");
}

/** What a key of the history is called in the store; of a row, one of its parts. */
export function nameOf(key: string, part: string = ROW_PARTS[0]): string {
  return isRow(key) ? `{${nameInKeyspace(key)}}${part}` : nameInKeyspace(key);
}

export function shardOf(key: string, shards: number): ShardId {
  return shardOfSlot(slotOf(utf8(nameOf(key))), shards);
}

function nameInKeyspace(key: string): string {
  return isOther(key) ? key.slice(OTHER.length) : key;
}
