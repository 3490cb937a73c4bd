/**
 * Files of checksummed records: the write-ahead log and the manifest (`docs/formats/wal.md` is the reference).
 *
 *     file   = header, records
 *     header = 8 bytes magic, u32 format version, u32 zero, u64 first, u64 checksum of the 24 bytes before
 *     record = u32 payload length, u64 checksum, u8 type, u32 position, u32 durable, payload
 *
 * A record tells its own position in the file, and up to where the file was known to be durable when it was written.
 * That is what tells a torn tail from damage. Blocks that were never synced may reach the disk in any order, so a bad
 * record followed by good ones can be either. But if a good record further on says that the bad one had been durable
 * before, then it was damaged since, and nothing may be cut: what would be lost was acknowledged.
 */
import type { FileHandle, FileSystem } from "../env/env.ts";
import { assert } from "../lib/assert.ts";
import { xxh64 } from "../lib/hash.ts";
import {
  GrowingBytes,
  readBigU64,
  readU32,
  readU64,
  writeBigU64,
  writeU32,
  writeU64,
} from "./fixed-width.ts";
import { corrupt, StorageError } from "./storage-error.ts";

export const RECORD_LOG_VERSION = 1;
export const LOG_HEADER_BYTES = 32;
export const RECORD_HEADER_BYTES = 21;
/** Positions are u32s. */
export const LOG_FILE_BYTES_MAX = 0xffff_ffff;
const LENGTH = 0;
const CHECKSUM = 4;
const TYPE = 12;
const POSITION = 13;
const DURABLE = 17;

/** Appends records to a new file. One caller at a time: a `write` or `sync` ends before the next begins. */
export class RecordLogWriter {
  readonly #handle: FileHandle;
  #size = LOG_HEADER_BYTES;
  #durable = LOG_HEADER_BYTES;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /**
   * Creates the file and makes it durable with its directory entry. Throws `FileError` (then there is no file), or
   * `FAILED` if a sync failed.
   */
  static async create(
    fs: FileSystem,
    directory: string,
    path: string,
    magic: string,
    first: number,
  ): Promise<RecordLogWriter> {
    const handle = fs.open(path, "create");
    try {
      const header = encodeLogHeader(magic, first);
      handle.write(header, 0, header.length, 0);
      await syncOrFail(handle.sync(), path);
      await syncOrFail(fs.syncDirectory(directory), directory);
    } catch (error) {
      handle.close();
      fs.remove(path);
      throw error;
    }
    return new RecordLogWriter(handle);
  }

  /** Length of the file in bytes. */
  get size(): number {
    return this.#size;
  }

  /**
   * Writes the records in `bytes[0, end)` (whose headers `sealRecord` has to fill in: see there) with one call.
   * If that fails, the file is cut back to what it was, so that no part of a refused write can come to life later.
   */
  write(bytes: Uint8Array, end: number): void {
    assert(
      this.#size + end <= LOG_FILE_BYTES_MAX,
      `${this.#handle.path}: ${this.#size + end} bytes are too many`,
    );
    try {
      this.#handle.write(bytes, 0, end, this.#size);
    } catch (error) {
      this.#handle.truncate(this.#size);
      throw error;
    }
    this.#size += end;
  }

  /** Fills in the header of the record in `bytes[start, end)`, which will be written with all that is before it in `bytes`. */
  seal(bytes: Uint8Array, start: number, end: number, type: number): void {
    sealRecord(bytes, start, end, type, this.#size + start, this.#durable);
  }

  /** Makes everything that was written durable. Throws `FAILED`, which is final: nobody can say what is on the disk. */
  async sync(): Promise<void> {
    const size = this.#size;
    await syncOrFail(this.#handle.sync(), this.#handle.path);
    this.#durable = size;
  }

  close(): void {
    this.#handle.close();
  }
}

/**
 * Waits for a sync. After a failed one the kernel marks the pages clean, so that a second one would succeed without
 * having written anything: the error is `FAILED`, and there is no second try.
 */
export async function syncOrFail(sync: Promise<void>, path: string): Promise<void> {
  try {
    await sync;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StorageError("FAILED", `cannot sync ${path}: ${reason}`, { cause: error });
  }
}

/** The header of a record log. Owned by the caller. */
export function encodeLogHeader(magic: string, first: number): Uint8Array {
  assert(magic.length === 8, `magic ${magic} is not 8 bytes long`);
  const bytes = new Uint8Array(LOG_HEADER_BYTES);
  bytes.set(new TextEncoder().encode(magic));
  writeU32(bytes, 8, RECORD_LOG_VERSION);
  writeU64(bytes, 16, first);
  writeBigU64(bytes, 24, xxh64(bytes.subarray(0, 24)));
  return bytes;
}

/** Fills in the header of a record whose payload is already in `bytes[start + RECORD_HEADER_BYTES, end)`. */
export function sealRecord(
  bytes: Uint8Array,
  start: number,
  end: number,
  type: number,
  position: number,
  durable: number,
): void {
  writeU32(bytes, start + LENGTH, end - start - RECORD_HEADER_BYTES);
  bytes[start + TYPE] = type;
  writeU32(bytes, start + POSITION, position);
  writeU32(bytes, start + DURABLE, durable);
  writeBigU64(bytes, start + CHECKSUM, xxh64(bytes.subarray(start + TYPE, end)));
}

/** A record log that was read. */
export interface RecordLogContents {
  /** The header's number; what it means depends on the kind of log. */
  readonly first: number;
  /** All of the file. */
  readonly bytes: Uint8Array;
  /** Each record: its type and where its payload is in `bytes`. */
  readonly records: readonly { readonly type: number; readonly start: number; readonly end: number }[];
  /** Where the good records end. Less than the file's length: a torn tail begins here. 0: not even the header is whole. */
  readonly end: number;
  /** The last good record says that everything before this offset was durable when it was written. */
  readonly vouchedFor: number;
}

/** Reads a record log; throws `CORRUPT` for everything that cannot be a torn tail. `mayBeTorn`: whether it may have one. */
export function readRecordLog(
  fs: FileSystem,
  path: string,
  magic: string,
  mayBeTorn: boolean,
): RecordLogContents {
  const bytes = readWholeFile(fs, path);
  const records: { type: number; start: number; end: number }[] = [];
  const headerFault = faultOfHeader(bytes);
  if (headerFault !== undefined) {
    refuseUnlessTorn(path, bytes, 0, headerFault, mayBeTorn);
    return { first: 0, bytes, records, end: 0, vouchedFor: 0 };
  }
  checkKind(path, bytes, magic);
  const first = readU64(bytes, 16);
  let vouchedFor = 0;
  let at = LOG_HEADER_BYTES;
  while (at < bytes.length) {
    const fault = faultOfRecord(bytes, at);
    if (fault !== undefined) {
      refuseUnlessTorn(path, bytes, at, fault, mayBeTorn);
      break;
    }
    const end = at + RECORD_HEADER_BYTES + readU32(bytes, at + LENGTH);
    records.push({ type: bytes[at + TYPE]!, start: at + RECORD_HEADER_BYTES, end });
    vouchedFor = readU32(bytes, at + DURABLE);
    at = end;
  }
  return { first, bytes, records, end: at, vouchedFor };
}

/** All bytes of a file, owned by the caller. Throws `FileError`. */
export function readWholeFile(fs: FileSystem, path: string): Uint8Array {
  const handle = fs.open(path, "read");
  try {
    const bytes = new Uint8Array(handle.size());
    const length = handle.read(bytes, 0, bytes.length, 0);
    return length === bytes.length ? bytes : bytes.slice(0, length);
  } finally {
    handle.close();
  }
}

function faultOfHeader(bytes: Uint8Array): string | undefined {
  if (bytes.length < LOG_HEADER_BYTES) return `${bytes.length} bytes are too few for a header`;
  if (readBigU64(bytes, 24) !== xxh64(bytes.subarray(0, 24))) return "the header's checksum is wrong";
  return undefined;
}

/** Refuses a file whose header is whole, but of another kind or version: that is no torn tail, whatever follows. */
function checkKind(path: string, bytes: Uint8Array, magic: string): void {
  const found = new TextDecoder("latin1").decode(bytes.subarray(0, 8));
  if (found !== magic)
    throw corrupt(path, 0, `the file begins with ${JSON.stringify(found)}, expected ${magic}`);
  const version = readU32(bytes, 8);
  if (version !== RECORD_LOG_VERSION) {
    throw corrupt(
      path,
      8,
      `the file has format version ${version}, this program reads ${RECORD_LOG_VERSION}`,
    );
  }
}

function faultOfRecord(bytes: Uint8Array, at: number): string | undefined {
  const rest = bytes.length - at;
  if (rest < RECORD_HEADER_BYTES) return `${rest} bytes are too few for a record's header`;
  const length = readU32(bytes, at + LENGTH);
  if (length > rest - RECORD_HEADER_BYTES) return `a record of ${length} bytes does not fit into the file`;
  const position = readU32(bytes, at + POSITION);
  if (position !== at) return `the record says that it belongs to offset ${position}`;
  const expected = xxh64(bytes.subarray(at + TYPE, at + RECORD_HEADER_BYTES + length));
  const found = readBigU64(bytes, at + CHECKSUM);
  if (found === expected) return undefined;
  return `a record of ${length} bytes has the checksum ${found.toString(16)}, expected ${expected.toString(16)}`;
}

/** Throws `CORRUPT`, unless what is wrong at `at` can be the end of a write that never became durable. */
function refuseUnlessTorn(
  path: string,
  bytes: Uint8Array,
  at: number,
  fault: string,
  mayBeTorn: boolean,
): void {
  if (!mayBeTorn) throw corrupt(path, at, `${fault}; the file was complete once, as a later one shows`);
  for (let next = at + 1; next + RECORD_HEADER_BYTES <= bytes.length; next++) {
    // The position is compared first: it makes all other places cheap to rule out.
    if (readU32(bytes, next + POSITION) !== next || faultOfRecord(bytes, next) !== undefined) continue;
    if (readU32(bytes, next + DURABLE) > at) {
      throw corrupt(
        path,
        at,
        `${fault}; the record at ${next} shows that this had been durable, so it is no torn tail`,
      );
    }
  }
}

/** Collects one record to be written: a header to fill in, then the payload. */
export function newRecord(): GrowingBytes {
  const out = new GrowingBytes(1024);
  out.length = RECORD_HEADER_BYTES;
  return out;
}
