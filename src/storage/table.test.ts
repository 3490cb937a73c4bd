import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { checkCursor, randomEntries, type TestEntry, valueIn } from "../../test/support/sorted-entries.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { seededRandom } from "../lib/prng.ts";
import { BlockCache } from "./block-cache.ts";
import { bloomHash } from "./bloom.ts";
import { Entry, SEQUENCE_MAX } from "./cursor.ts";
import { Memtable } from "./memtable.ts";
import { StorageError } from "./storage-error.ts";
import { TableReader } from "./table-reader.ts";
import { TableWriter, type WrittenTable } from "./table-writer.ts";
import { BATCH_HEADER_BYTES, EncodedBatch } from "./write-batch.ts";

const OPTIONS = { blockBytes: 256, restartInterval: 4, bloomBitsPerKey: 10 };
const PATH = "/t/000007.table";

function writeTable(fs: MemoryFileSystem, entries: readonly TestEntry[], blockBytes = 256): WrittenTable {
  const memtable = new Memtable(100);
  for (const { key, sequence, value } of [...entries].sort((a, b) => a.sequence - b.sequence)) {
    const batch = new EncodedBatch();
    if (value === undefined) batch.delete(key);
    else batch.put(key, value);
    memtable.insert(batch.bytes, BATCH_HEADER_BYTES, batch.byteLength, 1, sequence);
  }
  const writer = new TableWriter(fs, "/t", 7, { ...OPTIONS, blockBytes });
  const cursor = memtable.cursor();
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) writer.add(cursor.entry);
  return writer.finish();
}

test("a table gives back its entries, with and without a cache", () => {
  for (const [count, blockBytes] of [
    [1, 256],
    [2, 1],
    [300, 1],
    [300, 256],
    [300, 100_000],
  ] as const) {
    const fs = new MemoryFileSystem();
    const entries = randomEntries(seededRandom(count), count);
    const written = writeTable(fs, entries, blockBytes);
    expect(written.bytes).toBe(fs.readFile(PATH).length);
    for (const cache of [undefined, new BlockCache(2000), new BlockCache(1 << 20)]) {
      const table = TableReader.open(fs, PATH, 7, cache);
      const { number: _number, bytes: _bytes, ...properties } = written;
      expect(table.properties).toEqual(properties);
      checkCursor(table.cursor(), entries);
      for (const { key, sequence, value } of entries) {
        expect(valueIn(table.get(key, sequence, bloomHash(key)))).toEqual(value);
      }
      expect(
        table.get(Buffer.from("absent"), SEQUENCE_MAX, bloomHash(Buffer.from("absent"))),
      ).toBeUndefined();
      table.close();
    }
  }
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
  expect([cache.misses, cache.hits]).toEqual([1, 1]);
  table.close();
  expect(cache.bytes).toBe(0);
});

test("every flipped bit, and every shorter length, is found or does not matter", () => {
  const fs = new MemoryFileSystem();
  const entries = randomEntries(seededRandom(9), 25);
  writeTable(fs, entries);
  const good = fs.readFile(PATH);
  const readAll = (bytes: Uint8Array): void => {
    const damaged = new MemoryFileSystem();
    damaged.writeFile(PATH, bytes);
    const table = TableReader.open(damaged, PATH, 7);
    checkCursor(table.cursor(), entries);
    for (const { key, sequence, value } of entries) {
      expect(valueIn(table.get(key, sequence, bloomHash(key)))).toEqual(value);
    }
  };
  readAll(good);
  let found = 0;
  for (let at = 0; at < good.length; at++) {
    const bytes = good.slice();
    bytes[at]! ^= 1 << (at % 8);
    expectCorrupt(() => readAll(bytes), `byte ${at}`);
    found++;
    expectCorrupt(() => readAll(good.slice(0, at)), `length ${at}`);
  }
  expect(found).toBe(good.length);
});

test("a table under another number is found out", () => {
  const fs = new MemoryFileSystem();
  writeTable(fs, randomEntries(seededRandom(2), 5));
  expectCorrupt(() => TableReader.open(fs, PATH, 8), "number");
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
