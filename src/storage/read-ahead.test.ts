import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { checkCursor, describe, entryOf, type TestEntry, text } from "../../test/support/sorted-entries.ts";
import type { FileSystem } from "../env/env.ts";
import { seededRandom } from "../lib/prng.ts";
import { BlockCache } from "./block-cache.ts";
import { SEQUENCE_MAX } from "./cursor.ts";
import { boundsOf, RangeIterator } from "./range-iterator.ts";
import type { Compression } from "./table-format.ts";
import { TableReader } from "./table-reader.ts";
import { TableWriter } from "./table-writer.ts";

const PATH = "/t/000007.table";

/** Some hundred kilobytes: several stretches. Some blocks are longer than a stretch is. */
function entriesOf(seed: number): TestEntry[] {
  const random = seededRandom(seed);
  return Array.from({ length: 2000 }, (_, i) => {
    const value = new Uint8Array(i % 700 === 699 ? 90_000 : random.below(300));
    for (let at = 0; at < value.length; at++) value[at] = random.below(256);
    return { key: Buffer.from(String(i).padStart(6, "0")), sequence: i + 1, value };
  });
}

function write(fs: FileSystem, entries: readonly TestEntry[], compression: Compression = "none"): void {
  const options = { blockBytes: 1000, restartInterval: 4, bloomBitsPerKey: 10, partitionBytes: 2000 };
  const writer = new TableWriter(fs, "/t", 7, { ...options, compression });
  for (const entry of entries) writer.add(entryOf(entry));
  writer.finish();
}

/** Counts reads; those that touch the byte at `badOffset` fail. */
function watched(fs: FileSystem): { fs: FileSystem; reads: () => number; breakAt: (offset: number) => void } {
  let reads = 0;
  let badOffset = -1;
  const open: FileSystem["open"] = (path, mode) => {
    const handle = fs.open(path, mode);
    const read = handle.read.bind(handle);
    handle.read = (target, at, length, offset) => {
      reads++;
      if (offset <= badOffset && badOffset < offset + length) throw new Error("EIO");
      return read(target, at, length, offset);
    };
    return handle;
  };
  const fsWatched = new Proxy(fs, { get: (of, name) => (name === "open" ? open : Reflect.get(of, name)) });
  return { fs: fsWatched, reads: () => reads, breakAt: (offset) => (badOffset = offset) };
}

test("a long scan reads many blocks at once and leaves the cache alone, both ways", () => {
  for (const compression of ["none", "zstd"] as const) {
    const memory = new MemoryFileSystem();
    const entries = entriesOf(1);
    write(memory, entries, compression);
    const { fs, reads } = watched(memory);
    const cache = new BlockCache(1 << 20);
    const table = TableReader.open(fs, PATH, 7, cache);
    const { dataBlocks, partitions } = table.properties;
    expect(dataBlocks).toBeGreaterThan(200);
    checkCursor(table.cursor(), entries);
    table.close();
    for (const reverse of [false, true]) {
      const fresh = new BlockCache(1 << 20);
      const again = TableReader.open(fs, PATH, 7, fresh);
      const before = reads();
      const cursor = again.cursor();
      const found: string[] = [];
      if (reverse) for (cursor.seekToLast(); cursor.valid; cursor.prev()) found.unshift(describe(cursor));
      else for (cursor.seekToFirst(); cursor.valid; cursor.next()) found.push(describe(cursor));
      expect(found).toEqual(entries.map(text));
      expect(reads() - before - partitions).toBeLessThan(dataBlocks / 5);
      expect(fresh.bytes).toBeLessThan(200_000);
      again.close();
    }
  }
});

test("a range of some blocks is found in the cache when it is read again", () => {
  const memory = new MemoryFileSystem();
  write(memory, entriesOf(1));
  const { fs, reads } = watched(memory);
  const table = TableReader.open(fs, PATH, 7, new BlockCache(1 << 20));
  const found = [0, 1].map(() => {
    const before = reads();
    const cursor = table.cursor();
    cursor.seek(Buffer.from("000100"), SEQUENCE_MAX);
    for (let i = 0; i < 150; i++) cursor.next();
    cursor.close();
    return reads() - before;
  });
  expect(found[0]).toBeGreaterThan(15);
  expect(found[1]).toBe(0);
  table.close();
});

test("a value stays as it is while the scan moves on by one, both ways", () => {
  const fs = new MemoryFileSystem();
  const entries = entriesOf(2);
  write(fs, entries);
  for (const reverse of [false, true]) {
    const table = TableReader.open(fs, PATH, 7, new BlockCache(100));
    const cursor = table.cursor();
    const wanted = reverse ? [...entries].reverse() : entries;
    if (reverse) cursor.seekToLast();
    else cursor.seekToFirst();
    for (const { value } of wanted) {
      const { valueBytes, valueStart, valueEnd } = cursor.entry;
      if (reverse) cursor.prev();
      else cursor.next();
      if (Buffer.compare(valueBytes.subarray(valueStart, valueEnd), value!) !== 0)
        throw new Error("overwritten");
    }
    expect(cursor.valid).toBe(false);
    table.close();
  }
});

test("a place that can't be read takes nothing away from the blocks before it", () => {
  const memory = new MemoryFileSystem();
  const entries = entriesOf(3);
  write(memory, entries);
  const { fs, breakAt } = watched(memory);
  const readUntilBroken = (cache?: BlockCache): number => {
    const table = TableReader.open(fs, PATH, 7, cache);
    breakAt(60_000);
    const cursor = table.cursor();
    let read = 0;
    expect(() => {
      for (cursor.seekToFirst(); cursor.valid; cursor.next()) {
        expect(describe(cursor)).toBe(text(entries[read++]!));
      }
    }).toThrow("EIO");
    breakAt(-1);
    table.close();
    return read;
  };
  // Without a cache there is one block in each read.
  const read = readUntilBroken();
  expect(read).toBeGreaterThan(200);
  expect(readUntilBroken(new BlockCache(1 << 20))).toBe(read);
});

test("going back, the value that counts outlives many newer versions that can't be seen", () => {
  const fs = new MemoryFileSystem();
  const versions = Array.from({ length: 300 }, (_, i) => ({
    key: Buffer.from("k"),
    sequence: 300 - i,
    value: new Uint8Array(1000).fill(300 - i),
  }));
  write(fs, versions);
  const table = TableReader.open(fs, PATH, 7, new BlockCache(100));
  for (const sequence of [1, 2, 150, 300]) {
    const range = { reverse: true };
    const view = { sequence, now: 0, rangeDeletes: undefined };
    using iterator = new RangeIterator(table.cursor(), range, boundsOf(range), view, () => {});
    expect(iterator.next()).toBe(true);
    expect(Buffer.compare(iterator.value, new Uint8Array(1000).fill(sequence))).toBe(0);
    expect(iterator.next()).toBe(false);
  }
  table.close();
});

test("damage in the middle of a stretch is found when the scan gets there, and not before", () => {
  const fs = new MemoryFileSystem();
  const entries = entriesOf(4);
  write(fs, entries);
  const bytes = fs.readFile(PATH);
  const damaged = 60_000;
  bytes[damaged]! ^= 1;
  fs.writeFile(PATH, bytes);
  const table = TableReader.open(fs, PATH, 7, new BlockCache(1 << 20));
  const cursor = table.cursor();
  let read = 0;
  let message = "";
  try {
    for (cursor.seekToFirst(); cursor.valid; cursor.next()) read++;
  } catch (error) {
    message = (error as Error).message;
  }
  const offset = Number(/offset (\d+)/.exec(message)![1]);
  expect(offset).toBeLessThanOrEqual(damaged);
  expect(offset).toBeGreaterThan(damaged - 1400);
  expect(read).toBeGreaterThan(250);
  table.close();
});
