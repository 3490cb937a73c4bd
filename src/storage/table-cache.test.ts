import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { checkCursor, describe, entryOf, type TestEntry, text } from "../../test/support/sorted-entries.ts";
import { BlockCache } from "./block-cache.ts";
import { SEQUENCE_MAX } from "./cursor.ts";
import { Levels } from "./levels.ts";
import { TableCache } from "./table-cache.ts";
import { TableWriter } from "./table-writer.ts";

const OPTIONS = {
  blockBytes: 64,
  restartInterval: 2,
  bloomBitsPerKey: 10,
  partitionBytes: 200,
  compression: "none",
} as const;
const TABLES = 10;

const entry = (n: number): TestEntry => ({
  key: Buffer.from(`key ${String(n).padStart(4, "0")}`),
  sequence: 1,
  value: Buffer.from(`value ${n}`),
});
const entries = Array.from({ length: TABLES * 20 }, (_, n) => entry(n));

/** A level 1 of ten tables with twenty entries each. */
function tenTables(openTables: number): { levels: Levels; cache: TableCache; blocks: BlockCache } {
  const fs = new MemoryFileSystem();
  const metas = Array.from({ length: TABLES }, (_, table) => {
    const writer = new TableWriter(fs, "/d", table + 1, OPTIONS);
    for (let i = 0; i < 20; i++) writer.add(entryOf(entries[table * 20 + i]!));
    return { ...writer.finish(), level: 1 };
  });
  const blocks = new BlockCache(1 << 20);
  const cache = new TableCache(fs, "/d", blocks, openTables);
  return { levels: new Levels(cache, metas), cache, blocks };
}

test("no more tables are open than allowed, and the ones that were closed are opened again", () => {
  for (const openTables of [1, 2, 3]) {
    const { levels, cache, blocks } = tenTables(openTables);
    for (let round = 0; round < 3; round++) {
      for (const { key, value } of entries) {
        expect(levels.get(key, SEQUENCE_MAX, 0)).toEqual(value!);
        expect(cache.size).toBeLessThanOrEqual(openTables);
      }
    }
    expect(cache.size).toBe(openTables);
    levels.close();
    expect([cache.size, blocks.bytes]).toEqual([0, 0]);
  }
});

test("the tables that cursors are in stay open, and only those", () => {
  const { levels, cache } = tenTables(2);
  const scans = [0, 30, 60, 90].map((first) => {
    const { cursors, release } = levels.cursors();
    cursors[0]!.seek(entries[first]!.key, SEQUENCE_MAX);
    return { cursor: cursors[0]!, release, at: first };
  });
  expect(cache.size).toBe(4);
  for (let step = 0; step < 100; step++) {
    for (const scan of scans) {
      expect(describe(scan.cursor)).toBe(text(entries[scan.at++]!));
      scan.cursor.next();
    }
    levels.get(entries[(step * 37) % entries.length]!.key, SEQUENCE_MAX, 0);
    expect(cache.size).toBeLessThanOrEqual(6);
  }
  for (const { release } of scans) release();
  levels.get(entries[0]!.key, SEQUENCE_MAX, 0);
  levels.get(entries[199]!.key, SEQUENCE_MAX, 0);
  expect(cache.size).toBe(2);
  levels.close();
});

test("a table that is used again and again stays open", () => {
  const { levels, cache } = tenTables(3);
  let opened = 0;
  const open = cache.open.bind(cache);
  cache.open = (number) => {
    if (number === 1) opened++;
    return open(number);
  };
  // One entry of each of the others, over and over: each is closed again before its next turn.
  for (let step = 0; step < 100; step++) {
    levels.get(entries[0]!.key, SEQUENCE_MAX, 0);
    levels.get(entries[20 + ((step * 20) % 180)]!.key, SEQUENCE_MAX, 0);
  }
  expect(opened).toBe(1);
  levels.close();
});

test("a cursor over all tables moves both ways with one table open", () => {
  const { levels } = tenTables(1);
  const { cursors, release } = levels.cursors();
  checkCursor(cursors[0]!, entries);
  release();
  levels.close();
});
