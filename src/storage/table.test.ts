import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import {
  checkCursor,
  describe,
  randomEntries,
  type TestEntry,
  text,
  valueIn,
} from "../../test/support/sorted-entries.ts";
import type { FileSystem } from "../env/env.ts";
import { compareBytes, fromUtf8, utf8 } from "../lib/bytes.ts";
import { xxh64 } from "../lib/hash.ts";
import { seededRandom } from "../lib/prng.ts";
import { BlockCache } from "./block-cache.ts";
import { bloomHash } from "./bloom.ts";
import { Entry, SEQUENCE_MAX } from "./cursor.ts";
import { readU32, readU64, writeBigU64, writeU32, writeU64 } from "./fixed-width.ts";
import { Memtable } from "./memtable.ts";
import type { RangeTombstone } from "./range-tombstone.ts";
import { StorageError } from "./storage-error.ts";
import { blockChecksum, type Compression, FOOTER_BYTES, TABLE_FORMAT_VERSION } from "./table-format.ts";
import { TableReader } from "./table-reader.ts";
import { type TableOptions, TableWriter, type WrittenTable } from "./table-writer.ts";
import { BATCH_HEADER_BYTES, EncodedBatch } from "./write-batch.ts";

const OPTIONS: TableOptions = {
  blockBytes: 256,
  restartInterval: 4,
  bloomBitsPerKey: 10,
  partitionBytes: 8192,
  compression: "none",
};
const PATH = "/t/000007.table";

function writeTable(
  fs: MemoryFileSystem,
  entries: readonly TestEntry[],
  options: Partial<TableOptions> = {},
  rangeTombstones: readonly RangeTombstone[] = [],
): WrittenTable {
  const memtable = new Memtable(100);
  for (const { key, sequence, value } of [...entries].sort((a, b) => a.sequence - b.sequence)) {
    const batch = new EncodedBatch();
    if (value === undefined) batch.delete(key);
    else batch.put(key, value);
    memtable.insert(batch.bytes, BATCH_HEADER_BYTES, batch.byteLength, 1, sequence);
  }
  const writer = new TableWriter(fs, "/t", 7, { ...OPTIONS, ...options });
  const cursor = memtable.cursor();
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) writer.add(cursor.entry);
  for (const { start, end, sequence } of rangeTombstones) writer.addRangeTombstone(start, end, sequence);
  return writer.finish();
}

test("a table gives back its entries, with and without a cache, in every form", () => {
  for (const [count, options] of [
    [1, {}],
    [2, { blockBytes: 1 }],
    [120, { blockBytes: 1, partitionBytes: 1 }],
    [120, { blockBytes: 1, partitionBytes: 400 }],
    [120, { blockBytes: 1, partitionBytes: 1_000_000 }],
    [120, { partitionBytes: 200, compression: "zstd" }],
    [120, { blockBytes: 100_000, compression: "zstd" }],
    [120, { blockBytes: 100_000 }],
  ] as const) {
    const fs = new MemoryFileSystem();
    const entries = randomEntries(seededRandom(count), count);
    const written = writeTable(fs, entries, options);
    expect(written.bytes).toBe(fs.readFile(PATH).length);
    expect(written.partitions > 1).toBe(
      count > 2 && "partitionBytes" in options && options.partitionBytes < 1000,
    );
    for (const cache of [undefined, new BlockCache(2000), new BlockCache(1 << 20)]) {
      const table = TableReader.open(fs, PATH, 7, cache);
      const { number: _number, bytes: _bytes, ...properties } = written;
      expect(table.properties).toEqual(properties);
      checkCursor(table.cursor(), entries);
      for (const { key, sequence, value } of entries) {
        expect(valueIn(table.get(key, sequence, bloomHash(key)))).toEqual(value);
      }
      for (const absent of ["", "absent", "prefix", "zz"]) {
        const key = Buffer.from(absent);
        expect(table.get(key, SEQUENCE_MAX, bloomHash(key))).toBeUndefined();
      }
      table.close();
      expect(cache?.bytes ?? 0).toBe(0);
    }
  }
});

test("blocks that compression makes smaller are compressed, the others are not", () => {
  const sizeOf = (value: (i: number) => Uint8Array, compression: Compression): number => {
    const entries = Array.from({ length: 200 }, (_, i) => ({
      key: Buffer.from(`key ${i + 1000}`),
      sequence: 1,
      value: value(i),
    }));
    const fs = new MemoryFileSystem();
    const written = writeTable(fs, entries, { blockBytes: 1000, compression });
    const table = TableReader.open(fs, PATH, 7);
    checkCursor(table.cursor(), entries);
    expect(written.rawBytes).toBeGreaterThan(200 * 108);
    return written.bytes;
  };
  const random = seededRandom(3);
  const noise = Array.from({ length: 200 }, () => Uint8Array.from({ length: 100 }, () => random.below(256)));
  const same = (): Uint8Array => new Uint8Array(100).fill(7);
  expect(sizeOf(same, "zstd")).toBeLessThan(sizeOf(same, "none") / 3);
  expect(sizeOf((i) => noise[i]!, "zstd")).toBe(sizeOf((i) => noise[i]!, "none"));
});

test("a compressed block that is longer than any block of the table is refused", () => {
  const fs = new MemoryFileSystem();
  const entries = [{ key: Buffer.from("key"), sequence: 1, value: new Uint8Array(10_000) }];
  const { longestBlock } = writeTable(fs, entries, { compression: "zstd" });
  const bytes = fs.readFile(PATH).slice();
  // The properties say something else, under a right checksum.
  const properties = readU64(bytes, bytes.length - FOOTER_BYTES + 24);
  const length = readU32(bytes, bytes.length - FOOTER_BYTES + 32);
  expect(readU64(bytes, properties + 72)).toBe(longestBlock);
  writeU64(bytes, properties + 72, longestBlock - 1);
  const end = properties + length + 1;
  writeBigU64(bytes, end, blockChecksum(bytes.subarray(properties, end), 7, properties));
  fs.writeFile(PATH, bytes);
  const table = TableReader.open(fs, PATH, 7);
  expectCorrupt(() => table.get(Buffer.from("key"), 1, bloomHash(Buffer.from("key"))), "too long");
});

test("opening a table reads its end, and a get one partition and one block", () => {
  const fs = new MemoryFileSystem();
  const entries = Array.from({ length: 20_000 }, (_, i) => ({
    key: Buffer.from(`key ${1_000_000 + i * 7}`),
    sequence: 1,
    value: new Uint8Array(100),
  }));
  const written = writeTable(fs, entries, { blockBytes: 4096 });
  let bytesRead = 0;
  const counting: FileSystem = Object.create(fs, {
    open: {
      value: (path: string, mode: "read") => {
        const handle = fs.open(path, mode);
        const read = handle.read.bind(handle);
        handle.read = (target, targetOffset, length, position) => {
          bytesRead += length;
          return read(target, targetOffset, length, position);
        };
        return handle;
      },
    },
  });
  const table = TableReader.open(counting, PATH, 7, new BlockCache(1 << 20));
  expect(bytesRead).toBeLessThan(written.bytes / 500);
  bytesRead = 0;
  const { key } = entries[12_345]!;
  expect(table.get(key, SEQUENCE_MAX, bloomHash(key))).toBeDefined();
  expect(bytesRead).toBeLessThan(20_000);
  // Most absent keys cost no data block.
  bytesRead = 0;
  let blocks = 0;
  for (let i = 0; i < 1000; i++) {
    const absent = Buffer.from(`key ${1_000_000 + i * 140 + 1}`);
    const before = bytesRead;
    expect(table.get(absent, SEQUENCE_MAX, bloomHash(absent))).toBeUndefined();
    if (bytesRead !== before) blocks++;
  }
  expect(blocks).toBeLessThan(30 + written.partitions);
});

test("range tombstones widen the table's bounds, and may be all that it has", () => {
  const write = (points: string[], ranges: [string, string, number][]): TableReader => {
    const fs = new MemoryFileSystem();
    const writer = new TableWriter(fs, "/t", 7, OPTIONS);
    const entry = new Entry();
    for (const [i, key] of points.entries()) {
      if (i === 1)
        for (const [start, end, at] of ranges) writer.addRangeTombstone(utf8(start), utf8(end), at);
      entry.keyBytes = utf8(key);
      entry.keyEnd = key.length;
      entry.sequence = 50 + i;
      writer.add(entry);
    }
    if (points.length < 2)
      for (const [start, end, at] of ranges) writer.addRangeTombstone(utf8(start), utf8(end), at);
    const written = writer.finish();
    const table = TableReader.open(fs, PATH, 7);
    expect(written).toMatchObject(table.properties);
    expect(
      table.rangeTombstones().map(({ start, end, sequence }) => [fromUtf8(start), fromUtf8(end), sequence]),
    ).toEqual(ranges);
    expect(table.rangeTombstones()).toBe(table.rangeTombstones());
    expect(table.properties).toMatchObject({ entries: points.length, rangeTombstones: ranges.length });
    return table;
  };
  const bounds = ({ properties }: TableReader): unknown[] => [
    fromUtf8(properties.smallestKey),
    fromUtf8(properties.largestKey),
    properties.largestKeyIncluded,
    properties.smallestSequence,
    properties.largestSequence,
  ];
  expect(bounds(write(["b", "m"], []))).toEqual(["b", "m", true, 50, 51]);
  expect(bounds(write(["b", "m"], [["c", "m", 7]]))).toEqual(["b", "m", true, 7, 51]);
  expect(
    bounds(
      write(
        ["b", "m"],
        [
          ["m", "n", 99],
          ["a", "b", 60],
        ],
      ),
    ),
  ).toEqual(["a", "n", false, 50, 99]);
  const alone = write([], [["x", "z", 3]]);
  expect(bounds(alone)).toEqual(["x", "z", false, 3, 3]);
  expect(alone.get(utf8("y"), SEQUENCE_MAX, bloomHash(utf8("y")))).toBeUndefined();
  checkCursor(alone.cursor(), []);
});

test("a second read of a block comes from the cache", () => {
  const fs = new MemoryFileSystem();
  const entries = randomEntries(seededRandom(5), 50);
  writeTable(fs, entries);
  const cache = new BlockCache(1 << 20);
  const table = TableReader.open(fs, PATH, 7, cache);
  const { key } = entries[10]!;
  table.get(key, SEQUENCE_MAX, bloomHash(key));
  table.get(key, SEQUENCE_MAX, bloomHash(key));
  // A partition and a data block each.
  expect([cache.misses, cache.hits]).toEqual([2, 2]);
  table.close();
  expect(cache.bytes).toBe(0);
});

test("every flipped bit, and every shorter length, is found or does not matter", () => {
  for (const [count, options] of [
    [6, { blockBytes: 100, partitionBytes: 150 }],
    [4, { blockBytes: 1000, compression: "zstd" }],
    [0, {}],
  ] as const) {
    const fs = new MemoryFileSystem();
    const entries = randomEntries(seededRandom(9), count);
    const tombstone = { start: utf8("b"), end: utf8("q"), sequence: 4 };
    writeTable(fs, entries, options, [tombstone]);
    const good = fs.readFile(PATH);
    const readAll = (bytes: Uint8Array): void => {
      const damaged = new MemoryFileSystem();
      damaged.writeFile(PATH, bytes);
      const table = TableReader.open(damaged, PATH, 7);
      expect(table.rangeTombstones()).toEqual([tombstone]);
      const cursor = table.cursor();
      cursor.seekToFirst();
      for (const entry of entries) {
        expect(describe(cursor)).toBe(text(entry));
        cursor.next();
      }
      expect(cursor.valid).toBe(false);
      for (const { key, sequence, value } of entries) {
        expect(valueIn(table.get(key, sequence, bloomHash(key)))).toEqual(value);
      }
    };
    readAll(good);
    for (let at = 0; at < good.length; at++) {
      const bytes = good.slice();
      for (let bit = 0; bit < 8; bit++) {
        bytes[at]! ^= 1 << bit;
        expectCorrupt(() => readAll(bytes), `byte ${at}, bit ${bit}`);
        bytes[at]! ^= 1 << bit;
      }
      expectCorrupt(() => readAll(good.slice(0, at)), `length ${at}`);
    }
  }
});

test("a table of a newer version of the program is refused as that", () => {
  const fs = new MemoryFileSystem();
  writeTable(fs, randomEntries(seededRandom(2), 5));
  const bytes = fs.readFile(PATH).slice();
  const footer = bytes.length - FOOTER_BYTES;
  writeU32(bytes, footer + 44, TABLE_FORMAT_VERSION + 1);
  writeBigU64(bytes, footer + 48, xxh64(bytes.subarray(footer, footer + 48)));
  fs.writeFile(PATH, bytes);
  expect(() => TableReader.open(fs, PATH, 7)).toThrow("written by a newer version");
});

test("a table under another number is found out", () => {
  const fs = new MemoryFileSystem();
  writeTable(fs, randomEntries(seededRandom(2), 5));
  expectCorrupt(() => TableReader.open(fs, PATH, 8), "number");
});

test("a long table is synced as it is written, and not in one piece at the end", () => {
  const fs = new MemoryFileSystem();
  let unsynced = 0;
  let most = 0;
  fs.onOperation = (operation) => {
    if (operation === "sync") unsynced = 0;
    else if (operation === "write") most = Math.max(most, ++unsynced);
  };
  const writer = new TableWriter(fs, "/t", 7, OPTIONS);
  const entry = new Entry();
  entry.valueBytes = new Uint8Array(100_000);
  entry.valueEnd = entry.valueBytes.length;
  for (let n = 0; n < 150; n++) {
    entry.keyBytes = utf8(`key${n + 1000}`);
    entry.keyEnd = entry.keyBytes.length;
    writer.add(entry);
  }
  const { bytes } = writer.finish();
  expect(bytes).toBeGreaterThan(15_000_000);
  expect(unsynced).toBe(0);
  // A write has a quarter of a megabyte or a little more.
  expect(most).toBeLessThan(20);
});

test("an abandoned table leaves no file", () => {
  const fs = new MemoryFileSystem();
  new TableWriter(fs, "/t", 7, OPTIONS).abandon();
  expect(fs.list("/t")).toEqual([]);
});

function expectCorrupt(action: () => void, what: string): void {
  try {
    action();
  } catch (error) {
    if (error instanceof StorageError && error.code === "CORRUPT" && error.message.includes(PATH)) return;
    throw new Error(`${what}: the damage led to something else`, { cause: error });
  }
  throw new Error(`${what}: the damage was not found`);
}

test("what a cursor is in stays as it is while gets turn the cache over", () => {
  const fs = new MemoryFileSystem();
  const entries = randomEntries(seededRandom(13), 2000).map((entry) => ({ ...entry, value: entry.key }));
  writeTable(fs, entries, { blockBytes: 300 });
  // The cache holds a partition and a few blocks, and their memory is used again and again.
  const cache = new BlockCache(40_000);
  const table = TableReader.open(fs, PATH, 7, cache);
  const turnOver = (): void => {
    for (const { key } of entries.filter((_, i) => i % 8 === 0)) table.get(key, SEQUENCE_MAX, bloomHash(key));
  };
  for (const [backward, moved] of [
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ] as const) {
    const cursor = table.cursor();
    if (backward) cursor.seekToLast();
    else cursor.seekToFirst();
    for (let met = 0; met < 60; met++) {
      const { valueBytes, valueStart, valueEnd } = cursor.entry;
      const key: Uint8Array = entries[backward ? entries.length - 1 - met : met]!.key;
      if (!moved) turnOver();
      expect(compareBytes(valueBytes.slice(valueStart, valueEnd), key)).toBe(0);
      if (backward) cursor.prev();
      else cursor.next();
      // A value may be looked at when the cursor has moved on by one, here to the next block. (What is turned over earlier
      // leaves the cache while it is in use, and is not used again anyway.)
      if (moved && cursor.entry.valueBytes !== valueBytes) turnOver();
      expect(compareBytes(valueBytes.slice(valueStart, valueEnd), key)).toBe(0);
    }
    cursor.close();
  }
  expect(cache.memory.bytes).toBeGreaterThan(0);
  table.close();
});
