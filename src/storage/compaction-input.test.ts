import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { entryOf, randomEntries, type TestEntry, text } from "../../test/support/sorted-entries.ts";
import { seededRandom } from "../lib/prng.ts";
import { CompactionInput } from "./compaction-input.ts";
import type { Entry } from "./cursor.ts";
import { LSM_DEFAULTS } from "./lsm-options.ts";
import { TableReader } from "./table-reader.ts";
import { TableWriter } from "./table-writer.ts";

const TABLE = { ...LSM_DEFAULTS, blockBytes: 100, restartInterval: 3, compression: "none" as const };

function shown({
  keyBytes,
  keyStart,
  keyEnd,
  sequence,
  tombstone,
  valueBytes,
  valueStart,
  valueEnd,
}: Entry): string {
  const value = tombstone ? undefined : valueBytes.slice(valueStart, valueEnd);
  return text({ key: Buffer.from(keyBytes.slice(keyStart, keyEnd)), sequence, value } as TestEntry);
}

/** Deals sorted entries out to runs, and cuts each into tables of which some have range tombstones only. */
function write(
  fs: MemoryFileSystem,
  entries: readonly TestEntry[],
  runs: number,
  random: ReturnType<typeof seededRandom>,
): number[][] {
  let number = 0;
  const dealt: TestEntry[][] = Array.from({ length: runs }, () => []);
  for (const entry of entries) dealt[random.below(runs)]!.push(entry);
  return dealt.map((part) => {
    const numbers: number[] = [];
    let writer: TableWriter | undefined;
    for (const [index, entry] of part.entries()) {
      const sameKey = index > 0 && Buffer.compare(part[index - 1]!.key, entry.key) === 0;
      if (writer !== undefined && !sameKey && random.below(10) === 0) {
        writer.finish();
        writer = undefined;
      }
      if (writer === undefined) {
        writer = new TableWriter(fs, "/d", ++number, TABLE);
        numbers.push(number);
      }
      writer.add(entryOf(entry));
    }
    writer?.finish();
    return numbers;
  });
}

test("runs of any number and length are merged, whatever their keys share", () => {
  for (const [runs, shared] of [
    [1, 0],
    [2, 0],
    [3, 4],
    [5, 12],
    [9, 1],
  ] as const) {
    const random = seededRandom(runs);
    const fs = new MemoryFileSystem();
    const prefix = Buffer.alloc(shared, "p");
    const entries = randomEntries(random, 400).map((entry) => ({
      ...entry,
      key: Buffer.concat([prefix, entry.key]),
    }));
    const numbers = write(fs, entries, runs, random);
    for (const sharedBytes of new Set([0, shared >> 1, shared])) {
      const input = new CompactionInput(fs, "/d", [...numbers, []], sharedBytes);
      const found: string[] = [];
      for (input.start(); input.valid; input.next()) found.push(shown(input.entry));
      expect(found).toEqual(entries.map(text));
      input.close();
    }
  }
});

test("a table that has range tombstones only is passed over", () => {
  const fs = new MemoryFileSystem();
  const entries = randomEntries(seededRandom(1), 20);
  for (const [number, part] of [
    [1, entries.slice(0, 1)],
    [3, entries.slice(-1)],
  ] as const) {
    const writer = new TableWriter(fs, "/d", number, TABLE);
    for (const entry of part) writer.add(entryOf(entry));
    writer.finish();
  }
  const writer = new TableWriter(fs, "/d", 2, TABLE);
  writer.addRangeTombstone(Buffer.from("a"), Buffer.from("b"), 5);
  writer.finish();
  const input = new CompactionInput(fs, "/d", [[1, 2, 3], [2]], 0);
  const found: string[] = [];
  for (input.start(); input.valid; input.next()) found.push(shown(input.entry));
  expect(found).toEqual([text(entries[0]!), text(entries.at(-1)!)]);
  input.close();
});

test("a table that is longer than what is read ahead is read in pieces", () => {
  const fs = new MemoryFileSystem();
  const entries = randomEntries(seededRandom(3), 300);
  const writer = new TableWriter(fs, "/d", 1, TABLE);
  for (const entry of entries) writer.add(entryOf(entry));
  const { longestBlock } = writer.finish();
  for (const readAhead of [1, 150, longestBlock + 9, 1000, 5000, 1 << 20]) {
    const reader = TableReader.open(fs, "/d/000001.table", 1, undefined, readAhead);
    const cursor = reader.cursor();
    const found: string[] = [];
    for (cursor.seekToFirst(); cursor.valid; cursor.next()) found.push(shown(cursor.entry));
    expect(found).toEqual(entries.map(text));
    reader.close();
  }
});

test("damage to what is read ahead is found", () => {
  const fs = new MemoryFileSystem();
  const entries = randomEntries(seededRandom(2), 200);
  const [[number]] = write(fs, entries, 1, { below: (bound) => bound - 1, float: () => 0 }) as [[number]];
  const path = "/d/000001.table";
  expect(number).toBe(1);
  const bytes = fs.readFile(path);
  bytes[700]! ^= 4;
  fs.writeFile(path, bytes);
  const input = new CompactionInput(fs, "/d", [[1]], 0);
  expect(() => {
    for (input.start(); input.valid; ) input.next();
  }).toThrow(/damaged at offset \d+/);
  input.close();
});
