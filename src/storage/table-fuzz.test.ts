/**
 * Random and mutated bytes before everything that decodes a part of a table. With a wrong checksum the error is always
 * `CORRUPT`. With a right one something wrote nonsense on purpose: then an assertion may say so, or the nonsense may pass
 * for entries, but nothing hangs, reads outside of the bytes, or allocates more than the file has.
 */
import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { randomEntries } from "../../test/support/sorted-entries.ts";
import { AssertionError } from "../lib/assert.ts";
import { xxh64 } from "../lib/hash.ts";
import { type Random, seededRandom } from "../lib/prng.ts";
import { Block, BlockCursor } from "./block.ts";
import { bloomHash } from "./bloom.ts";
import { Entry, SEQUENCE_MAX } from "./cursor.ts";
import { GrowingBytes, readU32, readU64, writeBigU64 } from "./fixed-width.ts";
import { IndexBlock } from "./index-block.ts";
import { Partition, PartitionBuilder } from "./partition.ts";
import { decodeRangeTombstones, encodeRangeTombstones } from "./range-tombstone-block.ts";
import { StorageError } from "./storage-error.ts";
import { appendBlock, BLOCK_TRAILER_BYTES, decodeProperties, FOOTER_BYTES } from "./table-format.ts";
import { TableReader } from "./table-reader.ts";
import { TableWriter } from "./table-writer.ts";

const ROUNDS = Number(process.env.RUNS ?? 3000);
const PATH = "/t/000007.table";

/** `good` with a few bytes changed, cut, or something random put in its place. */
function mutate(random: Random, good: Uint8Array): Uint8Array {
  if (random.below(4) === 0) return Uint8Array.from({ length: random.below(200) }, () => random.below(256));
  const bytes = good.slice(0, random.below(4) === 0 ? random.below(good.length + 1) : good.length);
  for (let times = random.below(4); times >= 0 && bytes.length > 0; times--) {
    const interesting = [0, 1, 0x7f, 0x80, 0xff, random.below(256)];
    bytes[random.below(bytes.length)] = interesting[random.below(interesting.length)]!;
  }
  return bytes;
}

/** Runs `action`, which may fail with an assertion, or as `CORRUPT`. */
function mayRefuse(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (error instanceof AssertionError) return;
    if (error instanceof StorageError && error.code === "CORRUPT") return;
    throw error;
  }
}

/** Walks and seeks; all that it meets lies within the bytes. */
function walk(block: Block, cursor: BlockCursor, keys: readonly Uint8Array[]): void {
  const check = (): void => {
    if (!cursor.valid) return;
    const { keyEnd, valueStart, valueEnd } = cursor.entry;
    expect(keyEnd).toBeLessThanOrEqual(block.bytes.length * block.bytes.length);
    expect(valueStart).toBeLessThanOrEqual(valueEnd);
    expect(valueEnd).toBeLessThanOrEqual(block.entriesEnd);
  };
  let steps = 0;
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) {
    check();
    expect(steps++).toBeLessThan(block.bytes.length);
  }
  for (const key of keys) {
    mayRefuse(() => {
      cursor.seek(key, SEQUENCE_MAX);
      check();
    });
    mayRefuse(() => {
      cursor.seekBefore(key);
      check();
    });
    mayRefuse(() => void new IndexBlock(block).lowerBound(key, 5));
  }
  mayRefuse(() => {
    steps = 0;
    for (cursor.seekToLast(); cursor.valid && steps < 2 * block.bytes.length; cursor.prev(), steps++) check();
  });
}

test("blocks", () => {
  const random = seededRandom(21);
  const entries = randomEntries(random, 12);
  const keys = entries.map(({ key }) => key);
  const good = oneBlock(entries.length);
  for (let round = 0; round < ROUNDS; round++) {
    mayRefuse(() => {
      const block = new Block(mutate(random, good));
      const cursor = new BlockCursor();
      cursor.reset(block);
      walk(block, cursor, keys.slice(0, 3));
    });
  }
});

test("partitions", () => {
  const random = seededRandom(22);
  const builder = new PartitionBuilder(10);
  for (let i = 0; i < 20; i++) builder.addKey(bloomHash(Buffer.from(`k${i}`)));
  for (let i = 0; i < 10; i++) builder.index.add(Buffer.from(`k${i}`), 1, { offset: i * 100, length: 90 });
  const good = builder.finish().slice();
  for (let round = 0; round < ROUNDS; round++) {
    mayRefuse(() => {
      const partition = new Partition(mutate(random, good));
      partition.mayContain(random.below(0xffff_ffff));
      partition.index.lowerBound(Buffer.from("k5"), SEQUENCE_MAX);
    });
  }
});

test("properties and range tombstones", () => {
  const random = seededRandom(23);
  const tombstones = [1, 2, 3].map((n) => ({
    start: Buffer.from(`a${n}`),
    end: Buffer.from(`b${n}`),
    sequence: n,
  }));
  const ranges = encodeRangeTombstones(tombstones).slice();
  const properties = sections(oneTable()).properties;
  for (let round = 0; round < ROUNDS; round++) {
    mayRefuse(() => void decodeRangeTombstones(mutate(random, ranges)));
    mayRefuse(() => void decodeProperties(mutate(random, properties)));
  }
});

test("whole tables, damaged", () => {
  const random = seededRandom(24);
  const good = oneTable();
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = mutate(random, good);
    if (Buffer.compare(bytes, good) === 0) continue;
    let refused: unknown;
    try {
      readAll(bytes);
    } catch (error) {
      refused = error;
    }
    expect((refused as StorageError).code).toBe("CORRUPT");
  }
});

test("whole tables with nonsense behind a right checksum", () => {
  const random = seededRandom(25);
  const good = oneTable();
  for (let round = 0; round < ROUNDS; round++) {
    const { blocks, footer } = sections(good);
    const { offset, length } = blocks[random.below(blocks.length)]!;
    const bytes = good.slice();
    const changed = random.below(3) === 0 ? footer : offset;
    if (changed === footer) {
      for (let i = 0; i < 2; i++)
        bytes[footer + random.below(44)] = [0, 1, 0xff, random.below(256)][random.below(4)]!;
      writeBigU64(bytes, footer + 48, xxh64(bytes.subarray(footer, footer + 48)));
    } else {
      const block = mutate(random, good.subarray(offset, offset + length)).subarray(0, length);
      const content = new Uint8Array(length);
      content.set(block);
      const out = new GrowingBytes();
      appendBlock(out, offset, 7, content, "none");
      // Now and then the byte that says how it is compressed.
      if (random.below(4) === 0) {
        out.bytes[length] = random.below(3);
        const place = BigInt.asUintN(64, (7n << 40n) + BigInt(offset));
        writeBigU64(out.bytes, length + 1, xxh64(out.bytes.subarray(0, length + 1)) ^ place);
      }
      bytes.set(out.view(), offset);
    }
    mayRefuse(() => readAll(bytes));
  }
});

/** The bytes of a data block. */
function oneBlock(count: number): Uint8Array {
  const table = oneTable(count, 100_000);
  const { offset, length } = sections(table).blocks[0]!;
  return table.slice(offset, offset + length);
}

function oneTable(count = 20, blockBytes = 150): Uint8Array {
  const fs = new MemoryFileSystem();
  const options = {
    blockBytes,
    restartInterval: 3,
    bloomBitsPerKey: 10,
    partitionBytes: 300,
    compression: "none",
  } as const;
  const writer = new TableWriter(fs, "/t", 7, options);
  const entry = new Entry();
  entry.valueBytes = Buffer.from("a value, a value, a value, a value");
  for (let i = 0; i < count; i++) {
    entry.keyBytes = Buffer.from(`key ${i + 100}`);
    entry.keyEnd = entry.keyBytes.length;
    entry.valueEnd = i;
    entry.sequence = i + 1;
    entry.tombstone = i % 7 === 6;
    entry.expiresAt = i % 5 === 4 ? i : 0;
    writer.add(entry);
  }
  writer.addRangeTombstone(Buffer.from("c"), Buffer.from("d"), 3);
  writer.finish();
  return fs.readFile(PATH);
}

/** Where the blocks of a good table are, the properties block without its trailer, and where the footer begins. */
function sections(table: Uint8Array): {
  blocks: { offset: number; length: number }[];
  properties: Uint8Array;
  footer: number;
} {
  const footer = table.length - FOOTER_BYTES;
  const ends = [0, 12, 24].map((at) => ({
    offset: readU64(table, footer + at),
    length: readU32(table, footer + at + 8),
  }));
  const blocks = [...ends];
  const pointers = (bytes: Uint8Array): { offset: number; length: number }[] => {
    const index = new IndexBlock(new Block(bytes));
    return Array.from({ length: index.count }, (_, i) => index.pointer(i));
  };
  const top = ends[0]!;
  for (const { offset, length } of pointers(table.slice(top.offset, top.offset + top.length))) {
    blocks.push({ offset, length });
    const partition = table.slice(offset, offset + length);
    blocks.push(...pointers(partition.slice(0, readU32(partition, length - 4))));
  }
  blocks.sort((a, b) => a.offset - b.offset);
  const properties = ends[2]!;
  expect(blocks.at(-1)!.offset + blocks.at(-1)!.length + BLOCK_TRAILER_BYTES).toBe(footer);
  return {
    blocks,
    properties: table.slice(properties.offset, properties.offset + properties.length),
    footer,
  };
}

function readAll(bytes: Uint8Array): void {
  const fs = new MemoryFileSystem();
  fs.writeFile(PATH, bytes);
  const table = TableReader.open(fs, PATH, 7);
  table.rangeTombstones();
  const cursor = table.cursor();
  let steps = 0;
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) expect(steps++).toBeLessThan(10 * bytes.length);
  steps = 0;
  for (cursor.seekToLast(); cursor.valid; cursor.prev()) expect(steps++).toBeLessThan(10 * bytes.length);
  for (let i = 0; i < 20; i += 3) {
    const key = Buffer.from(`key ${i + 100}`);
    table.get(key, SEQUENCE_MAX, bloomHash(key));
    cursor.seek(key, 1);
    cursor.seekBefore(key);
  }
}
