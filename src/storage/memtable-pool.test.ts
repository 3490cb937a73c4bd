import { expect, test } from "bun:test";
import { utf8 } from "../lib/bytes.ts";
import { SEQUENCE_MAX } from "./cursor.ts";
import type { Memtable } from "./memtable.ts";
import { MemtablePool } from "./memtable-pool.ts";
import { BATCH_HEADER_BYTES, EncodedBatch } from "./write-batch.ts";

function put(memtable: Memtable, sequence: number, key: string, value: string): void {
  const batch = new EncodedBatch();
  batch.put(utf8(key), utf8(value));
  memtable.insert(batch.bytes, BATCH_HEADER_BYTES, batch.byteLength, 1, sequence, -1);
}

function get(memtable: Memtable, key: string): string | undefined {
  const value = memtable.get(utf8(key), SEQUENCE_MAX, 0);
  return value ? Buffer.from(value).toString() : undefined;
}

function keysOf(memtable: Memtable): string[] {
  const keys: string[] = [];
  const cursor = memtable.cursor();
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) {
    const { keyBytes, keyStart, keyEnd } = cursor.entry;
    keys.push(Buffer.from(keyBytes.subarray(keyStart, keyEnd)).toString());
  }
  return keys;
}

test("a memtable in another one's memory knows nothing of it", () => {
  const pool = new MemtablePool(100_000);
  const first = pool.newMemtable();
  for (let i = 0; i < 1000; i++) put(first, i + 1, `key ${i}`, "old");
  expect(keysOf(first).length).toBe(1000);
  pool.retire(first);
  const second = pool.newMemtable();
  expect(second.share().arena).toBe(first.share().arena);
  expect([second.count, second.byteLength, second.isEmpty]).toEqual([0, 0, true]);
  expect(keysOf(second)).toEqual([]);
  expect(get(second, "key 5")).toBeUndefined();
  put(second, 2001, "key 5", "new");
  put(second, 2002, "a", "new");
  expect(keysOf(second)).toEqual(["a", "key 5"]);
  expect(get(second, "key 5")).toBe("new");
  expect(get(second, "key 6")).toBeUndefined();
  // Its versions end with it.
  expect(second.get(utf8("key 5"), 2000, 0)).toBeUndefined();
});

test("memory that an open iterator may read is not used before all are closed", () => {
  const pool = new MemtablePool(1000);
  const first = pool.newMemtable();
  put(first, 1, "k", "v");
  pool.iteratorOpened();
  pool.iteratorOpened();
  pool.retire(first);
  expect(pool.newMemtable().share().arena).not.toBe(first.share().arena);
  pool.iteratorClosed();
  expect(pool.newMemtable().share().arena).not.toBe(first.share().arena);
  pool.iteratorClosed();
  expect(pool.newMemtable().share().arena).toBe(first.share().arena);
  expect(pool.newMemtable().share().arena).not.toBe(first.share().arena);
});

test("what had to grow is not kept", () => {
  const pool = new MemtablePool(100);
  const first = pool.newMemtable();
  put(first, 1, "k", "v".repeat(1000));
  pool.retire(first);
  expect(pool.newMemtable().share().arena).not.toBe(first.share().arena);
});
