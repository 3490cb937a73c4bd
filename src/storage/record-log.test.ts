import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import type { FileHandle, FileSystem } from "../env/env.ts";
import { utf8 } from "../lib/bytes.ts";
import { xxh64 } from "../lib/hash.ts";
import { GrowingBytes, writeBigU64 } from "./fixed-width.ts";
import { encodeLogHeader, LOG_HEADER_BYTES, RECORD_HEADER_BYTES } from "./record-frame.ts";
import { RecordLogWriter, settleTail } from "./record-log.ts";
import { RecordReader } from "./record-reader.ts";

const PATH = "/d/000001.log";
const MAGIC = "TESTLOG1";
const NUMBER = 7;

function create(fs: MemoryFileSystem, number = NUMBER, spare?: string): Promise<RecordLogWriter> {
  return RecordLogWriter.create(fs, { directory: "/d", path: PATH, magic: MAGIC, number, mark: 42, spare });
}

function record(log: RecordLogWriter, payload: Uint8Array): GrowingBytes {
  const out = new GrowingBytes();
  out.length = RECORD_HEADER_BYTES;
  out.append(payload);
  log.seal(out.bytes, 0, out.length, 9);
  return out;
}

/** Appends the given payloads; a sync after those that end with "!". Returns where each record ends. */
async function append(log: RecordLogWriter, payloads: readonly string[]): Promise<number[]> {
  const ends: number[] = [];
  for (const payload of payloads) {
    const out = record(log, utf8(payload));
    log.write(out.bytes, out.length);
    if (payload.endsWith("!")) await log.sync();
    ends.push(log.size);
  }
  return ends;
}

async function logOf(fs: MemoryFileSystem, payloads: readonly string[]): Promise<number[]> {
  return append(await create(fs), payloads);
}

/** What a reader makes of the file, where its last part may be torn. */
function payloadsOf(fs: MemoryFileSystem, number = NUMBER): string[] {
  const reader = new RecordReader(fs, PATH, MAGIC, number);
  const payloads: string[] = [];
  while (reader.next())
    payloads.push(Buffer.from(reader.bytes.subarray(reader.start, reader.end)).toString());
  reader.refuseUnlessTorn();
  reader.close();
  return payloads;
}

test("records come back, with the header's mark, and how far each vouches", async () => {
  const fs = new MemoryFileSystem();
  const [, two] = await logOf(fs, ["one", "two!", "", "four"]);
  expect(payloadsOf(fs)).toEqual(["one", "two!", "", "four"]);
  const reader = new RecordReader(fs, PATH, MAGIC, NUMBER);
  expect(reader.mark).toBe(42);
  const vouched: number[] = [];
  while (reader.next()) vouched.push(reader.vouchedFor);
  expect(vouched).toEqual([LOG_HEADER_BYTES, LOG_HEADER_BYTES, two!, two!]);
  expect(reader.fault).toBeUndefined();
});

test("a file cut anywhere gives the records before the cut", async () => {
  const fs = new MemoryFileSystem();
  const ends = await logOf(fs, ["one", "two", "three"]);
  const good = fs.readFile(PATH);
  for (let length = 0; length < good.length; length++) {
    fs.writeFile(PATH, good.slice(0, length));
    const whole = ends.filter((end) => end <= length).length;
    expect(payloadsOf(fs)).toEqual(["one", "two", "three"].slice(0, whole));
  }
});

test("every flipped bit is found; before a record that was written after a sync it is refused, with its offset", async () => {
  const fs = new MemoryFileSystem();
  const [, two, three] = await logOf(fs, ["one", "two!", "three", "four"]);
  const good = fs.readFile(PATH);
  for (let bit = 0; bit < good.length * 8; bit++) {
    const at = bit >> 3;
    const bytes = good.slice();
    bytes[at]! ^= 1 << (bit & 7);
    fs.writeFile(PATH, bytes);
    if (at < two!) expect(() => payloadsOf(fs)).toThrow(`${PATH}: damaged at offset`);
    // "three" was never synced: it may be missing although "four" is there.
    else if (at < three!) expect(payloadsOf(fs)).toEqual(["one", "two!"]);
    else expect(payloadsOf(fs)).toEqual(["one", "two!", "three"]);
  }
});

test("a tail of zeros, or of the file's own records at other places, is a torn tail", async () => {
  const fs = new MemoryFileSystem();
  await logOf(fs, ["one!", "two!"]);
  const good = fs.readFile(PATH);
  const longer = new Uint8Array(good.length + 4096);
  longer.set(good);
  fs.writeFile(PATH, longer);
  expect(payloadsOf(fs)).toEqual(["one!", "two!"]);
  longer.set(good, good.length);
  fs.writeFile(PATH, longer);
  expect(payloadsOf(fs)).toEqual(["one!", "two!"]);
  // Exactly where the next record would be.
  longer.set(good.subarray(LOG_HEADER_BYTES), good.length);
  fs.writeFile(PATH, longer);
  expect(payloadsOf(fs)).toEqual(["one!", "two!"]);
});

test("what is written while a sync is under way is not vouched for by it", async () => {
  const fs = new MemoryFileSystem();
  const log = await create(fs);
  const [one] = await append(log, ["one"]);
  const synced = log.sync();
  await append(log, ["two"]);
  await synced;
  await append(log, ["three"]);
  const reader = new RecordReader(fs, PATH, MAGIC, NUMBER);
  while (reader.next());
  expect(reader.vouchedFor).toBe(one!);
});

test("what a file held in an earlier life does not count, wherever the new records end", async () => {
  const old = ["old one!", "old two!", "old three!", "old four!"];
  for (let count = 0; count <= old.length; count++) {
    const fs = new MemoryFileSystem();
    const ends = await logOf(fs, old);
    fs.rename(PATH, "/d/spare");
    const log = await create(fs, NUMBER + 1, "/d/spare");
    expect(log.allocatedBytes).toBe(ends.at(-1)!);
    expect(fs.exists("/d/spare")).toBe(false);
    // As long as the old ones, so that an old record begins exactly where the new ones end.
    const fresh = old.slice(0, count).map((payload) => payload.replace("old", "new"));
    await append(log, fresh);
    expect(fs.readFile(PATH).length).toBe(ends.at(-1)!);
    expect(payloadsOf(fs, NUMBER + 1)).toEqual(fresh);
    // Damage among the new ones is found all the same, with old records behind.
    if (count < 2) continue;
    const bytes = fs.readFile(PATH);
    bytes[ends[0]! - 1]! ^= 1;
    fs.writeFile(PATH, bytes);
    expect(() => payloadsOf(fs, NUMBER + 1)).toThrow("so it is no torn tail");
  }
});

test("another kind of file, another version and another number are told apart", async () => {
  const fs = new MemoryFileSystem();
  await logOf(fs, []);
  expect(() => new RecordReader(fs, PATH, "OTHERLOG", NUMBER)).toThrow(
    'begins with "TESTLOG1", expected OTHERLOG',
  );
  expect(() => payloadsOf(fs, 8)).toThrow("the header says that this is file 7");
  const bytes = encodeLogHeader(MAGIC, NUMBER, 1);
  bytes[8] = 9;
  writeBigU64(bytes, 32, xxh64(bytes.subarray(0, 32)));
  fs.writeFile(PATH, bytes);
  expect(() => payloadsOf(fs)).toThrow(
    "format version 9 was written by a newer version of this program, which reads up to version 2",
  );
});

test("a write that fails leaves nothing behind", async () => {
  const fs = new MemoryFileSystem();
  const log = await create(fs);
  const out = record(log, new Uint8Array(100));
  fs.capacityBytes = 60;
  expect(() => log.write(out.bytes, out.length)).toThrow("no space");
  expect(fs.readFile(PATH).length).toBe(LOG_HEADER_BYTES);
  fs.capacityBytes = 1000;
  log.write(out.bytes, out.length);
  expect(payloadsOf(fs).length).toBe(1);
});

test("a file is read with a window, however long it is, and a record longer than the window is whole", async () => {
  const fs = new MemoryFileSystem();
  const log = await create(fs);
  const lengths = [10, 300_000, 0, 262_144 - RECORD_HEADER_BYTES, 1, 700_000, 5];
  for (const [index, length] of lengths.entries()) {
    const out = record(log, new Uint8Array(length).fill(index + 1));
    log.write(out.bytes, out.length);
  }
  const small = record(log, new Uint8Array(1000));
  for (let i = 0; i < 600; i++) {
    log.seal(small.bytes, 0, small.length, 9);
    log.write(small.bytes, small.length);
  }
  const reader = new RecordReader(fs, PATH, MAGIC, NUMBER);
  let longest = 0;
  for (const [index, length] of lengths.entries()) {
    expect(reader.next()).toBe(true);
    expect(reader.bytes.subarray(reader.start, reader.end)).toEqual(new Uint8Array(length).fill(index + 1));
    longest = Math.max(longest, reader.bytes.length);
  }
  while (reader.next()) longest = Math.max(longest, reader.bytes.length);
  expect(reader.tail).toBe(log.size);
  expect(longest).toBe(700_000 + RECORD_HEADER_BYTES);
});

test("a witness is found behind any window, also among thousands of old records", async () => {
  const fs = new MemoryFileSystem();
  const old = await create(fs, 3);
  const small = record(old, new Uint8Array(100));
  for (let i = 0; i < 6000; i++) {
    old.seal(small.bytes, 0, small.length, 9);
    old.write(small.bytes, small.length);
  }
  fs.rename(PATH, "/d/spare");
  const log = await create(fs, NUMBER, "/d/spare");
  // One record of the new life near the end, at the place of an old one.
  const [at] = await append(log, ["x".repeat(99), "y".repeat(99)]);
  await log.sync();
  const filler = record(log, new Uint8Array(small.length * 4500 - RECORD_HEADER_BYTES));
  const hole = fs.readFile(PATH);
  log.write(filler.bytes, filler.length);
  await append(log, ["witness"]);
  const bytes = hole.slice();
  bytes.set(fs.readFile(PATH).subarray(LOG_HEADER_BYTES), LOG_HEADER_BYTES);
  bytes.set(hole.subarray(at! + small.length, log.size - 100), at! + small.length);
  bytes[at! + 30]! ^= 1;
  fs.writeFile(PATH, bytes);
  // Each part of the file is read a few times at most, however many old records are passed over.
  let bytesRead = 0;
  const counting = {
    open: (path: string, mode: "read") => {
      const handle = fs.open(path, mode);
      const read: FileHandle["read"] = (target, offset, length, position) => {
        bytesRead += length;
        return handle.read(target, offset, length, position);
      };
      return { ...handle, read };
    },
  };
  const reader = new RecordReader(counting as unknown as FileSystem, PATH, MAGIC, NUMBER);
  while (reader.next());
  expect(() => reader.refuseUnlessTorn()).toThrow(`damaged at offset ${at}`);
  expect(bytesRead).toBeLessThan(bytes.length * 4);
});

test("the tail that nothing vouches for is written once more, and what is behind it goes", async () => {
  const fs = new MemoryFileSystem();
  const [, two, three] = await logOf(fs, ["one!", "two", "three"]);
  const handle = fs.open(PATH, "write");
  // A sync that failed leaves everything clean: only what is written again is part of the next one.
  fs.onOperation = (operation) => {
    if (operation === "sync") throw new Error("EIO");
  };
  expect(() => handle.syncNow()).toThrow();
  fs.onOperation = undefined;
  settleTail(handle, LOG_HEADER_BYTES, two!);
  expect(three).toBeGreaterThan(two!);
  const survivor = fs.crash({ below: () => 0, float: () => 0 });
  expect(payloadsOf(survivor)).toEqual(["one!", "two"]);
});
