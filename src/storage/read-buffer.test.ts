import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { entryOf } from "../../test/support/sorted-entries.ts";
import { seededRandom } from "../lib/prng.ts";
import { bloomHash } from "./bloom.ts";
import { SEQUENCE_MAX } from "./cursor.ts";
import { READ_BUFFER_BYTES, ReadBuffer } from "./read-buffer.ts";
import { TableReader } from "./table-reader.ts";
import { TableWriter } from "./table-writer.ts";

test("views of all lengths are of the same bytes", () => {
  const buffer = new ReadBuffer();
  expect(buffer.view(100).length).toBe(100);
  buffer.view(READ_BUFFER_BYTES).fill(7);
  for (let length = 8; length < 6000; length++) expect(buffer.view(length).length).toBe(length);
  buffer.view(8).set([1, 2, 3, 4, 5, 6, 7, 0xf8]);
  expect(buffer.bigU64(0)).toBe(0xf807060504030201n);
  expect(buffer.view(5000)[7]).toBe(0xf8);
  expect(buffer.view(100)[7]).toBe(0xf8);
  expect(buffer.view(5000)).toBe(buffer.view(5000));
});

test("blocks of every length are read, also those that are longer than the buffer, and those keep their bytes", () => {
  const random = seededRandom(1);
  const fs = new MemoryFileSystem();
  const lengths = [0, 100, 65_000, 65_460, 65_500, 65_530, 70_000, 10, 300_000];
  const entries = lengths.map((length, i) => ({
    key: Buffer.from(`key ${i}`),
    sequence: 1,
    value: Uint8Array.from({ length }, () => random.below(256)),
  }));
  for (const compression of ["none", "zstd"] as const) {
    const directory = `/${compression}`;
    const options = {
      blockBytes: 1,
      restartInterval: 1,
      bloomBitsPerKey: 10,
      partitionBytes: 8192,
      compression,
    };
    const writer = new TableWriter(fs, directory, 7, options);
    for (const entry of entries) writer.add(entryOf(entry));
    writer.finish();
    const table = TableReader.open(fs, `${directory}/000007.table`, 7);
    const found = entries.map(({ key }) => {
      const { valueBytes, valueStart, valueEnd } = table.get(key, SEQUENCE_MAX, bloomHash(key))!;
      return valueBytes.subarray(valueStart, valueEnd);
    });
    const cursor = table.cursor();
    cursor.seekToFirst();
    for (const [i, { value }] of entries.entries()) {
      const { valueBytes, valueStart, valueEnd } = cursor.entry;
      expect(Buffer.compare(found[i]!, value)).toBe(0);
      expect(Buffer.compare(valueBytes.subarray(valueStart, valueEnd), value)).toBe(0);
      cursor.next();
    }
  }
});
