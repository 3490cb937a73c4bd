/** Tables whose checksums are right and whose content is not: what a bug would write. */
import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../../test/support/memory-fs.ts";
import { utf8 } from "../../lib/bytes.ts";
import { Entry } from "../cursor.ts";
import { filePath } from "../file-names.ts";
import { readU32, writeBigU64, writeU64 } from "../fixed-width.ts";
import { LSM_DEFAULTS, tableOptions } from "../lsm-options.ts";
import { metaOf, type TableMeta } from "../manifest.ts";
import { type BlockPointer, blockChecksum } from "../table-format.ts";
import { TableWriter } from "../table-writer.ts";
import { surveyTable, type TablePart } from "./table-survey.ts";
import { verifyTable } from "./verify-table.ts";

const NUMBER = 7;
const PATH = filePath("/d", NUMBER, "table");

function makeTable(fs: MemoryFileSystem): TableMeta {
  const writer = new TableWriter(fs, "/d", NUMBER, {
    ...tableOptions(LSM_DEFAULTS, 0),
    blockBytes: 100,
    partitionBytes: 150,
  });
  const entry = new Entry();
  for (let n = 10; n < 60; n++) {
    entry.keyBytes = utf8(`key${n}`);
    entry.keyEnd = 5;
    entry.sequence = n;
    entry.tombstone = n % 10 === 3;
    entry.expiresAt = n % 10 === 4 ? 1000 + n : 0;
    entry.valueBytes = utf8(`value of ${n}`);
    entry.valueEnd = 11;
    writer.add(entry);
  }
  writer.addRangeTombstone(utf8("key57"), utf8("l"), 100);
  return metaOf(writer.finish(), 3);
}

function problemsOf(fs: MemoryFileSystem, meta?: TableMeta): string[] {
  return verifyTable(fs, PATH, NUMBER, meta, () => {}).problems.map(({ what }) => what);
}

function placeOf(fs: MemoryFileSystem, kind: TablePart["kind"]): BlockPointer {
  for (const part of surveyTable(fs, PATH, NUMBER)) if (part.kind === kind) return part.at;
  throw new Error(`there is no ${kind}`);
}

/** Changes a block, and makes its checksum right again. */
function rewrite(
  fs: MemoryFileSystem,
  { offset, length }: BlockPointer,
  change: (block: Uint8Array) => void,
): void {
  const bytes = fs.readFile(PATH);
  change(bytes.subarray(offset, offset + length));
  const checksum = blockChecksum(bytes.subarray(offset, offset + length + 1), NUMBER, offset);
  writeBigU64(bytes, offset + length + 1, checksum);
  fs.writeFile(PATH, bytes);
}

test("a good table has no problems, whatever the manifest leaves unsaid", () => {
  const fs = new MemoryFileSystem();
  const meta = makeTable(fs);
  expect(problemsOf(fs, meta)).toEqual([]);
  expect(problemsOf(fs)).toEqual([]);
});

test.each([
  [0, "entries"],
  [8, "tombstones"],
  [16, "rangeTombstones"],
  [24, "expiring"],
  [32, "latestExpiry"],
  [40, "overwritten"],
  [48, "dataBlocks"],
  [56, "partitions"],
  [64, "rawBytes"],
  [80, "smallestSequence"],
  [88, "largestSequence"],
])("properties with a wrong number at %d are told: %s", (at, name) => {
  const fs = new MemoryFileSystem();
  makeTable(fs);
  rewrite(fs, placeOf(fs, "properties"), (block) => writeU64(block, at, 12_345));
  expect(problemsOf(fs)).toEqual([
    expect.stringMatching(new RegExp(`^the properties say ${name} 12345, found \\d+$`)),
  ]);
});

test("bounds that are not those of the entries are told", () => {
  let fs = new MemoryFileSystem();
  makeTable(fs);
  const set = (at: number, byte: number) => (block: Uint8Array) => {
    block[at < 0 ? block.length + at : at] = byte;
  };
  rewrite(fs, placeOf(fs, "properties"), set(-1, 1));
  expect(problemsOf(fs)).toEqual(['the properties say largestKey "l", found "l"']);
  fs = new MemoryFileSystem();
  makeTable(fs);
  rewrite(fs, placeOf(fs, "properties"), set(-2, 0x6d));
  expect(problemsOf(fs)).toEqual(['the properties say largestKey "m", found "l"']);
  fs = new MemoryFileSystem();
  makeTable(fs);
  rewrite(fs, placeOf(fs, "properties"), set(103, 0x30));
  expect(problemsOf(fs)).toEqual(['the properties say smallestKey "key00", found "key10"']);
});

test("what the manifest says of a table is compared", () => {
  const fs = new MemoryFileSystem();
  const meta = makeTable(fs);
  expect(problemsOf(fs, { ...meta, entries: 49 })).toEqual(["the manifest says entries 49, the table 50"]);
  expect(problemsOf(fs, { ...meta, largestSequence: 9 })).toEqual([
    "the manifest says largestSequence 9, the table 100",
  ]);
  expect(problemsOf(fs, { ...meta, smallestKey: utf8("a") })).toEqual([
    'the manifest says smallestKey "a", the table "key10"',
  ]);
  expect(problemsOf(fs, { ...meta, largestKeyIncluded: true })).toHaveLength(1);
});

test("a key that the filter leaves out is told", () => {
  const fs = new MemoryFileSystem();
  makeTable(fs);
  rewrite(fs, placeOf(fs, "partition"), (block) => {
    const filter = readU32(block, block.length - 4);
    // All bits of the filter but the byte behind them, the number of probes.
    block.fill(0, filter, block.length - 5);
  });
  const problems = problemsOf(fs);
  expect(problems[0]).toBe('"key10" is in the table, but filter and index do not lead to it');
  expect(problems.at(-1)).toMatch(/^\d+ keys in all can't be found$/);
});

test("entries that are not in order are told", () => {
  const fs = new MemoryFileSystem();
  makeTable(fs);
  // The keys after a restart point have what they don't share with the one before behind their head.
  rewrite(fs, placeOf(fs, "data"), (block) => {
    const text = Buffer.from(block).toString("latin1");
    block[text.indexOf("1value of 11")] = 0x30;
  });
  const [problem] = problemsOf(fs);
  expect(problem).toContain("the entries of a data block are not in order");
});
