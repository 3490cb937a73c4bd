/**
 * Random and mutated bytes in place of a log, a manifest and `CURRENT`, also with checksums that are right: whatever is
 * there, it is read or refused as damage, and no more is held in memory than the file is long.
 */
import { expect, test } from "bun:test";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { testSeed } from "../../test/support/seed.ts";
import { systemClock } from "../env/system-clock.ts";
import { utf8 } from "../lib/bytes.ts";
import { xxh64 } from "../lib/hash.ts";
import { type Random, seededRandom } from "../lib/prng.ts";
import { readU32, writeBigU64 } from "./fixed-width.ts";
import { encodeCurrent, ManifestWriter, readManifest, type TableMeta } from "./manifest.ts";
import {
  LOG_HEADER_BYTES,
  RECORD_DURABLE,
  RECORD_HEADER_BYTES,
  recordSalt,
  sealRecord,
} from "./record-frame.ts";
import { RecordReader } from "./record-reader.ts";
import { StorageError } from "./storage-error.ts";
import { Wal } from "./wal.ts";
import { WAL_MAGIC } from "./wal-files.ts";
import { replayWal, surveyWal } from "./wal-recovery.ts";
import { EncodedBatch } from "./write-batch.ts";

const SEED = testSeed("log-fuzz") % 1_000_000;
const RUNS = Number(process.env.RUNS ?? 3000);
const WAL = "/d/000001.wal";
const MANIFEST = "/d/000001.manifest";
const CURRENT = "/d/CURRENT";

async function goodLog(): Promise<Uint8Array> {
  const fs = new MemoryFileSystem();
  const env = { fs, clock: systemClock(), background: inlineBackground(fs) };
  const options = { fileBytes: 1 << 20, spareFiles: 0 };
  const wal = new Wal(
    env,
    "/d",
    options,
    { lastRecord: 0, files: [] },
    {
      newFileNumber: () => 1,
      apply: () => {},
      applied: () => {},
      ready: () => undefined,
      failed: (error) => error as Error,
    },
  );
  for (let i = 0; i < 6; i++) {
    const batch = new EncodedBatch();
    batch.put(utf8(`key ${i}`), new Uint8Array(i * 7));
    batch.delete(utf8(`gone ${i}`));
    if (i % 2 === 0) batch.put(utf8(`late ${i}`), utf8("value"), 1000 + i);
    if (i % 3 === 0) batch.deleteRange(utf8("a"), utf8("b"));
    await wal.write(batch, i % 2 === 0);
  }
  await wal.close();
  return fs.readFile(WAL);
}

function table(number: number): TableMeta {
  const keys = { smallestKey: utf8(`a${number}`), largestKey: utf8(`z${number}`) };
  const counts = { bytes: 10, entries: 10, tombstones: 1, rangeTombstones: 2, expiring: 3 };
  return {
    number,
    level: 0,
    ...counts,
    ...keys,
    latestExpiry: 4,
    overwritten: 6,
    largestKeyIncluded: true,
    largestSequence: 5,
  };
}

async function goodManifest(): Promise<Uint8Array> {
  const fs = new MemoryFileSystem();
  const numbers = { nextFileNumber: 9, lastSequence: 5, flushedRecord: 3 };
  const manifest = await ManifestWriter.create(fs, "/d", 1, { ...numbers, tables: [table(2), table(3)] });
  await manifest.append({ ...numbers, added: [table(4)], removed: [2] });
  await manifest.append({ ...numbers, added: [], removed: [3, 4] });
  return fs.readFile(MANIFEST);
}

/** Changes some bytes: to others, to those of another place, to none, to more. */
function mutated(good: Uint8Array, random: Random): Uint8Array {
  let bytes = good.slice();
  for (let count = 1 + random.below(4); count > 0 && bytes.length > 0; count--) {
    const at = random.below(bytes.length);
    switch (random.below(6)) {
      case 0:
        bytes[at] = random.below(256);
        break;
      case 1:
        bytes[at]! ^= 1 << random.below(8);
        break;
      case 2:
        bytes.fill(random.below(2) * 255, at, at + 1 + random.below(8));
        break;
      case 3:
        bytes.copyWithin(at, random.below(bytes.length), random.below(bytes.length));
        break;
      case 4:
        bytes = bytes.slice(0, at);
        break;
      default:
        bytes = new Uint8Array(Buffer.concat([bytes, bytes.subarray(at)]));
    }
  }
  return bytes;
}

/** Changes payloads only, and makes the checksums right again: what is behind them is met. */
function forged(good: Uint8Array, random: Random): Uint8Array {
  const bytes = good.slice();
  const starts: number[] = [];
  for (let at = LOG_HEADER_BYTES; at < bytes.length; at += RECORD_HEADER_BYTES + readU32(bytes, at + 12))
    starts.push(at);
  for (let count = 1 + random.below(3); count > 0; count--) {
    const start = starts[random.below(starts.length)]!;
    const length = readU32(bytes, start + 12);
    const at = start + RECORD_HEADER_BYTES + random.below(Math.min(length, 40) + 1);
    const end = start + RECORD_HEADER_BYTES + length;
    for (let i = at; i < Math.min(end, at + 1 + random.below(5)); i++)
      bytes[i] = [0, 1, 255, random.below(256)][random.below(4)]!;
    const type = random.below(12) === 0 ? random.below(256) : bytes[start + RECORD_HEADER_BYTES - 1]!;
    sealRecord(bytes, start, end, type, start, readU32(bytes, start + RECORD_DURABLE), recordSalt(1));
  }
  if (random.below(10) === 0) {
    bytes[24 + random.below(8)] = random.below(256);
    writeBigU64(bytes, 32, xxh64(bytes.subarray(0, 32)));
  }
  return bytes;
}

function randomBytes(random: Random): Uint8Array {
  return Uint8Array.from({ length: random.below(300) }, () => random.below(256));
}

const KINDS = { mutated, forged, random: (_: Uint8Array, random: Random) => randomBytes(random) };

/** Throws unless `action` works or refuses what it read as damage; true if it works. */
async function isRead(action: () => unknown): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    if (error instanceof StorageError && error.code === "CORRUPT") return false;
    if (error instanceof StorageError && (error.code as string) === "NEWER") return false;
    throw error;
  }
}

async function fuzz(
  kind: keyof typeof KINDS,
  good: Uint8Array,
  read: (bytes: Uint8Array) => unknown,
): Promise<number> {
  let refused = 0;
  for (let seed = SEED; seed < SEED + RUNS; seed++) {
    const bytes = KINDS[kind](good, seededRandom(seed));
    try {
      if (!(await isRead(() => read(bytes)))) refused++;
    } catch (error) {
      throw new Error(`SEED=${seed} RUNS=1: ${(error as Error).message}`, { cause: error });
    }
  }
  return refused;
}

test.each(["mutated", "forged", "random"] as const)("a log of %s bytes", async (kind) => {
  const refused = await fuzz(kind, await goodLog(), async (bytes) => {
    const fs = new MemoryFileSystem();
    fs.writeFile(WAL, bytes);
    const reader = new RecordReader(fs, WAL, WAL_MAGIC, 1);
    do expect(reader.bytes.length).toBeLessThanOrEqual(bytes.length);
    while (reader.next());
    const survey = surveyWal(fs, "/d", [1], 0);
    let records = 0;
    await replayWal(fs, "/d", survey, 0, () => {
      records++;
      return undefined;
    });
    expect(records).toBeLessThanOrEqual(6);
    // What was read once is read again, and is whole now.
    expect(surveyWal(fs, "/d", [1], 0).lastRecord).toBe(survey.lastRecord);
  });
  if (kind === "forged") expect(refused).toBeGreaterThan(RUNS / 10);
});

test.each(["mutated", "forged", "random"] as const)("a manifest of %s bytes", async (kind) => {
  const refused = await fuzz(kind, await goodManifest(), (bytes) => {
    const fs = new MemoryFileSystem();
    fs.writeFile(CURRENT, encodeCurrent("000001.manifest"));
    fs.writeFile(MANIFEST, bytes);
    expect(readManifest(fs, "/d")!.tables.length).toBeLessThanOrEqual(bytes.length / 60);
  });
  expect(refused).toBeGreaterThan(RUNS / 10);
});

test.each(["mutated", "random"] as const)("a CURRENT of %s bytes", async (kind) => {
  const good = encodeCurrent("000001.manifest");
  const manifest = await goodManifest();
  const refused = await fuzz(kind, good, (bytes) => {
    const fs = new MemoryFileSystem();
    fs.writeFile(CURRENT, bytes);
    fs.writeFile(MANIFEST, manifest);
    expect(readManifest(fs, "/d")!.tables).toEqual([]);
    expect(bytes).toEqual(good);
  });
  expect(refused).toBeGreaterThan(RUNS / 2);
});
