import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { utf8 } from "../lib/bytes.ts";
import { xxh64 } from "../lib/hash.ts";
import { GrowingBytes, writeBigU64 } from "./fixed-width.ts";
import {
  encodeLogHeader,
  LOG_HEADER_BYTES,
  RECORD_HEADER_BYTES,
  RecordLogWriter,
  readRecordLog,
} from "./record-log.ts";

const PATH = "/d/000001.log";
const MAGIC = "TESTLOG1";

/** A log with the given payloads; `sync` after those that end with "!". */
async function logOf(fs: MemoryFileSystem, payloads: readonly string[]): Promise<number[]> {
  const log = await RecordLogWriter.create(fs, "/d", PATH, MAGIC, 42);
  const ends: number[] = [];
  for (const payload of payloads) {
    const out = new GrowingBytes();
    out.length = RECORD_HEADER_BYTES;
    out.append(utf8(payload));
    log.seal(out.bytes, 0, out.length, 9);
    log.write(out.bytes, out.length);
    if (payload.endsWith("!")) await log.sync();
    ends.push(log.size);
  }
  return ends;
}

function payloadsOf(fs: MemoryFileSystem, mayBeTorn = true): string[] {
  const { bytes, records } = readRecordLog(fs, PATH, MAGIC, mayBeTorn);
  return records.map(({ start, end }) => Buffer.from(bytes.subarray(start, end)).toString());
}

test("records come back, with the header's number", async () => {
  const fs = new MemoryFileSystem();
  await logOf(fs, ["one", "", "three!"]);
  expect(payloadsOf(fs)).toEqual(["one", "", "three!"]);
  expect(readRecordLog(fs, PATH, MAGIC, true).first).toBe(42);
});

test("a file cut anywhere gives the records before the cut, or is refused where it was complete once", async () => {
  const fs = new MemoryFileSystem();
  const ends = await logOf(fs, ["one", "two", "three"]);
  const good = fs.readFile(PATH);
  for (let length = 0; length < good.length; length++) {
    fs.writeFile(PATH, good.slice(0, length));
    const whole = ends.filter((end) => end <= length).length;
    expect(payloadsOf(fs)).toEqual(["one", "two", "three"].slice(0, whole));
    if (!ends.includes(length) && length !== LOG_HEADER_BYTES) {
      expect(() => payloadsOf(fs, false)).toThrow("the file was complete once");
    }
  }
});

test("damage before a record that was written after a sync is refused, with its offset", async () => {
  const fs = new MemoryFileSystem();
  const [, two, three] = await logOf(fs, ["one", "two!", "three", "four"]);
  const good = fs.readFile(PATH);
  for (let at = 0; at < good.length; at++) {
    const bytes = good.slice();
    bytes[at]! ^= 0x10;
    fs.writeFile(PATH, bytes);
    if (at < two!) expect(() => payloadsOf(fs)).toThrow(`${PATH}: damaged at offset`);
    // "three" was never synced: it may be missing although "four" is there.
    else if (at < three!) expect(payloadsOf(fs)).toEqual(["one", "two!"]);
    else expect(payloadsOf(fs)).toEqual(["one", "two!", "three"]);
  }
});

test("a tail of zeros or of old records is a torn tail", async () => {
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
});

test("another kind of file, and another version, are told apart", async () => {
  const fs = new MemoryFileSystem();
  await logOf(fs, []);
  expect(() => readRecordLog(fs, PATH, "OTHERLOG", true)).toThrow(
    'begins with "TESTLOG1", expected OTHERLOG',
  );
  const bytes = encodeLogHeader(MAGIC, 1);
  bytes[8] = 2;
  writeBigU64(bytes, 24, xxh64(bytes.subarray(0, 24)));
  fs.writeFile(PATH, bytes);
  expect(() => readRecordLog(fs, PATH, MAGIC, true)).toThrow("format version 2, this program reads 1");
});

test("a write that fails leaves nothing behind", async () => {
  const fs = new MemoryFileSystem();
  const log = await RecordLogWriter.create(fs, "/d", PATH, MAGIC, 1);
  const out = new GrowingBytes();
  out.length = RECORD_HEADER_BYTES;
  out.append(new Uint8Array(100));
  log.seal(out.bytes, 0, out.length, 1);
  fs.capacityBytes = 60;
  expect(() => log.write(out.bytes, out.length)).toThrow("no space");
  expect(fs.readFile(PATH).length).toBe(LOG_HEADER_BYTES);
  fs.capacityBytes = 1000;
  log.write(out.bytes, out.length);
  expect(readRecordLog(fs, PATH, MAGIC, false).records.length).toBe(1);
});
