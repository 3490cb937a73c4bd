/**
 * How files of checksummed records are laid out: the write-ahead log, the manifest and the Raft log
 * (`docs/formats/record-log.md` is the reference).
 *
 *     file   = header, records
 *     header = 8 bytes magic, u32 format version, u32 zero, u64 number, u64 mark, u64 checksum of the 32 bytes before
 *     record = u64 checksum, u32 header checksum, u32 payload length, u32 position, u32 durable, u8 type, payload
 *
 * A record tells its own position in the file, and up to where the file was known to be durable when it was written.
 * That is what tells a torn tail from damage (see `RecordReader`).
 *
 * The file's number is the seed of its records' checksums. A file may have been another one before, and what that one
 * held lies behind the records, at positions of its own: but its checksums are of another seed, so nothing old is ever
 * taken for new. The header has a checksum of its own, so that a length is known to be right before it is used, and
 * what is no record is told from one by its first bytes.
 */
import { assert } from "../lib/assert.ts";
import { xxh32Of, xxh64 } from "../lib/hash.ts";
import { readBigU64, readU32, readU64, writeBigU64, writeU32, writeU64 } from "./fixed-width.ts";

export const RECORD_LOG_VERSION = 2;
export const LOG_HEADER_BYTES = 40;
export const RECORD_HEADER_BYTES = 25;
/** Positions are u32s. */
export const LOG_FILE_BYTES_MAX = 0xffff_ffff;

const CHECKSUM = 0;
const CHECKED_FROM = 8;
const HEADER_CHECKSUM = 8;
const LENGTH = 12;
/** Where in a record its position is, and up to where it vouches. */
export const RECORD_POSITION = 16;
export const RECORD_DURABLE = 20;
const TYPE = 24;

/** The seeds of a file's record checksums. */
export interface RecordSalt {
  readonly seed64: bigint;
  readonly seed32: number;
}

/** The salt of the file with this number. */
export function recordSalt(number: number): RecordSalt {
  return { seed64: BigInt(number), seed32: (number ^ Math.floor(number / 0x1_0000_0000)) >>> 0 };
}

/** The header of a record log; what `mark` means depends on the kind of log. Owned by the caller. */
export function encodeLogHeader(magic: string, number: number, mark: number): Uint8Array {
  assert(magic.length === 8, `magic ${magic} is not 8 bytes long`);
  const bytes = new Uint8Array(LOG_HEADER_BYTES);
  bytes.set(new TextEncoder().encode(magic));
  writeU32(bytes, 8, RECORD_LOG_VERSION);
  writeU64(bytes, 16, number);
  writeU64(bytes, 24, mark);
  writeBigU64(bytes, 32, xxh64(bytes.subarray(0, 32)));
  return bytes;
}

/** Whether `bytes` begin with a header that is whole, of whatever kind. */
export function isWholeLogHeader(bytes: Uint8Array): boolean {
  return bytes.length >= LOG_HEADER_BYTES && readBigU64(bytes, 32) === xxh64(bytes.subarray(0, 32));
}

/** What is wrong with a whole header, and where; or the file's mark. */
export function checkLogHeader(
  bytes: Uint8Array,
  magic: string,
  number: number,
): number | { readonly offset: number; readonly fault: string; readonly newerVersion?: number } {
  const found = new TextDecoder("latin1").decode(bytes.subarray(0, 8));
  if (found !== magic)
    return { offset: 0, fault: `the file begins with ${JSON.stringify(found)}, expected ${magic}` };
  const version = readU32(bytes, 8);
  if (version !== RECORD_LOG_VERSION) {
    const fault = `the file has format version ${version}, this program reads ${RECORD_LOG_VERSION}`;
    return version > RECORD_LOG_VERSION ? { offset: 8, fault, newerVersion: version } : { offset: 8, fault };
  }
  // A header with a good checksum was written by somebody; numbers beyond 2^53 were not written by this program.
  const tooLarge = [16, 24].find((at) => readU32(bytes, at + 4) >= 0x20_0000);
  if (tooLarge !== undefined) return { offset: tooLarge, fault: "a number is above 2^53" };
  if (readU64(bytes, 16) !== number)
    return { offset: 16, fault: `the header says that this is file ${readU64(bytes, 16)}` };
  return readU64(bytes, 24);
}

/** Fills in the header of a record whose payload is already in `bytes[start + RECORD_HEADER_BYTES, end)`. */
export function sealRecord(
  bytes: Uint8Array,
  start: number,
  end: number,
  type: number,
  position: number,
  durable: number,
  salt: RecordSalt,
): void {
  assert(position + end - start <= LOG_FILE_BYTES_MAX, `a log file of ${position + end - start} bytes`);
  writeU32(bytes, start + LENGTH, end - start - RECORD_HEADER_BYTES);
  writeU32(bytes, start + RECORD_POSITION, position);
  writeU32(bytes, start + RECORD_DURABLE, durable);
  bytes[start + TYPE] = type;
  writeU32(bytes, start + HEADER_CHECKSUM, headerChecksum(bytes, start, salt));
  writeBigU64(bytes, start + CHECKSUM, xxh64(bytes.subarray(start + CHECKED_FROM, end), salt.seed64));
}

function headerChecksum(bytes: Uint8Array, start: number, salt: RecordSalt): number {
  return xxh32Of(bytes, start + LENGTH, start + RECORD_HEADER_BYTES, salt.seed32);
}

/** What is wrong with the header of a record at `bytes[start, start + RECORD_HEADER_BYTES)`, if anything is. */
export function faultOfRecordHeader(
  bytes: Uint8Array,
  start: number,
  position: number,
  salt: RecordSalt,
): string | undefined {
  const found = readU32(bytes, start + HEADER_CHECKSUM);
  const expected = headerChecksum(bytes, start, salt);
  if (found !== expected) {
    return `a record's header has the checksum ${found.toString(16)}, expected ${expected.toString(16)}`;
  }
  const says = readU32(bytes, start + RECORD_POSITION);
  return says === position ? undefined : `the record says that it belongs to offset ${says}`;
}

/** What is wrong with the record `bytes[start, end)`, whose header is right, if anything is. */
export function faultOfRecord(
  bytes: Uint8Array,
  start: number,
  end: number,
  salt: RecordSalt,
): string | undefined {
  const found = readBigU64(bytes, start + CHECKSUM);
  const expected = xxh64(bytes.subarray(start + CHECKED_FROM, end), salt.seed64);
  if (found === expected) return undefined;
  const length = end - start - RECORD_HEADER_BYTES;
  return `a record of ${length} bytes has the checksum ${found.toString(16)}, expected ${expected.toString(16)}`;
}

/** The payload's length in a record's header that was found right. */
export function payloadLength(bytes: Uint8Array, start: number): number {
  return readU32(bytes, start + LENGTH);
}

/** The type in a record's header that was found right. */
export function recordType(bytes: Uint8Array, start: number): number {
  return bytes[start + TYPE]!;
}
