/** The examples in `docs/formats` are what the code writes, byte for byte. `UPDATE_FORMATS=1` rewrites them. */
import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { systemClock } from "../env/system-clock.ts";
import { utf8 } from "../lib/bytes.ts";
import { ManifestWriter } from "./manifest.ts";
import { Memtable } from "./memtable.ts";
import { TableWriter } from "./table-writer.ts";
import { Wal } from "./wal.ts";
import { BATCH_HEADER_BYTES, EncodedBatch } from "./write-batch.ts";

function exampleBatch(): EncodedBatch {
  const batch = new EncodedBatch();
  batch.put(utf8("apple"), utf8("red"));
  batch.delete(utf8("apricot"));
  return batch;
}

async function exampleWal(): Promise<Uint8Array> {
  const fs = new MemoryFileSystem();
  const env = { fs, clock: systemClock(), background: inlineBackground(fs) };
  const options = { fileBytes: 1 << 20, spareFiles: 0 };
  const recovered = { lastRecord: 0, files: [] };
  const wal = new Wal(env, "/d", options, recovered, {
    newFileNumber: () => 3,
    apply: () => {},
    applied: () => {},
    ready: () => undefined,
    failed: (error) => error as Error,
  });
  await wal.write(exampleBatch(), true);
  await wal.close();
  return fs.readFile("/d/000003.wal");
}

function exampleTable(): Uint8Array {
  const fs = new MemoryFileSystem();
  const batch = exampleBatch();
  const memtable = new Memtable(1000);
  memtable.insert(batch.bytes, BATCH_HEADER_BYTES, batch.byteLength, batch.count, 1);
  const options = {
    blockBytes: 4096,
    restartInterval: 16,
    bloomBitsPerKey: 10,
    partitionBytes: 8192,
    compression: "none",
  } as const;
  const writer = new TableWriter(fs, "/d", 4, options);
  const cursor = memtable.cursor();
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) writer.add(cursor.entry);
  writer.addRangeTombstone(utf8("b"), utf8("c"), 3);
  writer.finish();
  return fs.readFile("/d/000004.table");
}

async function exampleManifest(): Promise<{ manifest: Uint8Array; current: Uint8Array }> {
  const fs = new MemoryFileSystem();
  const keys = { smallestKey: utf8("apple"), largestKey: utf8("apricot"), largestKeyIncluded: true };
  const counts = { entries: 2, tombstones: 1, rangeTombstones: 0, expiring: 0, latestExpiry: 0 };
  const more = { overwritten: 0, largestSequence: 2 };
  const table = { number: 4, level: 0, bytes: 250, ...counts, ...more, ...keys };
  const state = { nextFileNumber: 6, lastSequence: 2, flushedRecord: 1, tables: [table] };
  await ManifestWriter.create(fs, "/d", 5, state);
  return { manifest: fs.readFile("/d/000005.manifest"), current: fs.readFile("/d/CURRENT") };
}

/** As in `xxd`: offset, 16 bytes, and what of them is printable ASCII, but for the backquote that would end the example. */
function dump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = bytes.subarray(at, at + 16);
    const hex = Buffer.from(row).toString("hex").match(/../g)!.join(" ").padEnd(47);
    const ascii = [...row]
      .map((byte) => (byte >= 32 && byte < 127 && byte !== 96 ? String.fromCharCode(byte) : "."))
      .join("");
    lines.push(`${at.toString(16).padStart(4, "0")}  ${hex}  ${ascii}`);
  }
  return lines.join("\n");
}

async function check(page: string, bytes: Uint8Array): Promise<void> {
  const file = new URL(`../../docs/formats/${page}.md`, import.meta.url);
  const text = readFileSync(file, "utf8");
  const example = /```hex\n[^`]*```/;
  const expected = `\`\`\`hex\n${dump(bytes)}\n\`\`\``;
  if (process.env.UPDATE_FORMATS !== undefined)
    writeFileSync(
      file,
      text.replace(example, () => expected),
    );
  else expect(example.exec(text)?.[0]).toBe(expected);
}

test("docs/formats/wal.md shows what the log writes", async () => {
  await check("wal", await exampleWal());
});

test("docs/formats/sstable.md shows what the table writer writes", async () => {
  await check("sstable", exampleTable());
});

test("docs/formats/manifest.md shows what the manifest writes", async () => {
  const { manifest, current } = await exampleManifest();
  await check("manifest", manifest);
  const page = readFileSync(new URL("../../docs/formats/manifest.md", import.meta.url), "utf8");
  expect(page).toContain(Buffer.from(current).toString().trim());
});
