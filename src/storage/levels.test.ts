import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import {
  checkCursor,
  describe,
  randomEntries,
  type TestEntry,
  text,
} from "../../test/support/sorted-entries.ts";
import { seededRandom } from "../lib/prng.ts";
import { BlockCache } from "./block-cache.ts";
import { SEQUENCE_MAX } from "./cursor.ts";
import { Levels } from "./levels.ts";
import type { TableMeta } from "./manifest.ts";
import { Memtable } from "./memtable.ts";
import { TableCache } from "./table-cache.ts";
import { TableWriter } from "./table-writer.ts";
import { BATCH_HEADER_BYTES, EncodedBatch } from "./write-batch.ts";

const OPTIONS = {
  blockBytes: 64,
  restartInterval: 2,
  bloomBitsPerKey: 10,
  partitionBytes: 200,
  compression: "none",
} as const;

function writeTable(
  fs: MemoryFileSystem,
  number: number,
  level: number,
  entries: readonly TestEntry[],
): TableMeta {
  const memtable = new Memtable(100);
  for (const { key, sequence, value } of [...entries].sort((a, b) => a.sequence - b.sequence)) {
    const batch = new EncodedBatch();
    if (value === undefined) batch.delete(key);
    else batch.put(key, value);
    memtable.insert(batch.bytes, BATCH_HEADER_BYTES, batch.byteLength, 1, sequence);
  }
  const writer = new TableWriter(fs, "/d", number, OPTIONS);
  const cursor = memtable.cursor();
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) writer.add(cursor.entry);
  return { ...writer.finish(), level };
}

function tableCache(fs: MemoryFileSystem, openTables = 2): TableCache {
  return new TableCache(fs, "/d", new BlockCache(10_000), openTables);
}

/** Cuts sorted entries into tables, never between two versions of a key. */
function cut(entries: readonly TestEntry[], tableEntries: number): TestEntry[][] {
  const parts: TestEntry[][] = [[]];
  for (const [index, entry] of entries.entries()) {
    const last = entries[index - 1];
    const newKey = last === undefined || Buffer.compare(last.key, entry.key) !== 0;
    if (newKey && parts.at(-1)!.length >= tableEntries) parts.push([]);
    parts.at(-1)!.push(entry);
  }
  return parts;
}

test("a level of many tables is one sorted run, for cursors and for gets", () => {
  for (const tableEntries of [1, 3, 20]) {
    const fs = new MemoryFileSystem();
    const entries = randomEntries(seededRandom(tableEntries), 80);
    const tables = cut(entries, tableEntries).map((part, index) => writeTable(fs, index + 1, 2, part));
    const levels = new Levels(tableCache(fs), tables);
    const { cursors, release } = levels.cursors();
    expect(cursors.length).toBe(1);
    const cursor = cursors[0]!;
    checkCursor(cursor, entries);
    for (const { key } of entries) {
      // Behind all versions of a key, which may be the last of its table.
      cursor.seek(key, -1);
      const next = entries.find((entry) => Buffer.compare(entry.key, key) > 0);
      expect(describe(cursor)).toBe(next === undefined ? "end" : text(next));
      const newest = entries.find((entry) => Buffer.compare(entry.key, key) === 0)!;
      expect(levels.get(key, SEQUENCE_MAX, 0)).toEqual(newest.value);
    }
    expect(levels.get(Buffer.from("absent"), SEQUENCE_MAX, 0)).toBeUndefined();
    release();
    levels.close();
  }
});

test("a value stays as it is when a cursor moves on by one, over tables of nothing but range tombstones, too", () => {
  const bytes = (text: string): Uint8Array => Buffer.from(text);
  const put = (key: string): TestEntry => ({ key: bytes(key), sequence: 1, value: bytes(`value of ${key}`) });
  // At one of these counts the block of the value is what leaves the cache next.
  for (let others = 0; others < 40; others++) {
    const fs = new MemoryFileSystem();
    const writer = new TableWriter(fs, "/d", 2, OPTIONS);
    writer.addRangeTombstone(bytes("b"), bytes("c"), 2);
    const many = Array.from({ length: 40 }, (_, n) => put(`many/${n + 100}/${"x".repeat(60)}`));
    const levels = new Levels(tableCache(fs, 10), [
      writeTable(fs, 1, 2, [put("a")]),
      { ...writer.finish(), level: 2 },
      writeTable(fs, 3, 2, [put("d")]),
      writeTable(fs, 4, 3, many),
    ]);
    const { cursors, release } = levels.cursors();
    const cursor = cursors[0]!;
    cursor.seekToLast();
    const { valueBytes, valueStart, valueEnd } = cursor.entry;
    for (const { key } of many.slice(0, others)) levels.get(key, SEQUENCE_MAX, 0);
    cursor.prev();
    expect(describe(cursor)).toBe(text(put("a")));
    expect(Buffer.from(valueBytes.slice(valueStart, valueEnd)).toString()).toBe("value of d");
    release();
    levels.close();
  }
});

test("of several tables the newest answers, and level 0 before the deeper ones", () => {
  const fs = new MemoryFileSystem();
  const entry = (sequence: number): TestEntry => ({
    key: Buffer.from("k"),
    sequence,
    value: Uint8Array.of(sequence),
  });
  const tables = [
    writeTable(fs, 1, 0, [entry(7)]),
    writeTable(fs, 2, 0, [entry(9)]),
    writeTable(fs, 3, 0, [entry(8)]),
    writeTable(fs, 4, 1, [entry(3)]),
  ];
  const levels = new Levels(tableCache(fs), tables);
  const read = (sequence: number): unknown => levels.get(Buffer.from("k"), sequence, 0)?.[0];
  expect([SEQUENCE_MAX, 8, 7, 6, 2].map(read)).toEqual([9, 8, 7, 3, undefined]);
  levels.close();
});

test("a table that was dropped stays until its last reader lets go", () => {
  const fs = new MemoryFileSystem();
  const table = writeTable(fs, 1, 1, randomEntries(seededRandom(1), 5));
  const levels = new Levels(tableCache(fs), [table]);
  const one = levels.cursors();
  const two = levels.cursors();
  levels.change([], [1]);
  expect(levels.tableCount(1)).toBe(0);
  one.release();
  expect(fs.list("/d")).toEqual(["000001.table"]);
  two.release();
  expect(fs.list("/d")).toEqual([]);
  expect(() => levels.change([], [1])).toThrow("an edit removes 1, which are not there");
});
