import { assert } from "../lib/assert.ts";
import { compareBytes } from "../lib/bytes.ts";
import type { WriteBatch } from "./engine.ts";
import { copyBytes, GrowingBytes, readU32, writeU32, writeU64 } from "./fixed-width.ts";
import { invalid } from "./storage-error.ts";

/** Bytes before the first operation: u64 record number, u32 count. The log fills in the former. */
export const BATCH_HEADER_BYTES = 12;
/** Bytes of an operation before its key: u8 kind, u32 key length, u32 value length. */
export const OPERATION_HEADER_BYTES = 9;
export const OPERATION_DELETE = 0;
export const OPERATION_PUT = 1;
/** A put whose value comes after the u64 time from which it is gone, and whose value length counts these bytes. */
export const OPERATION_PUT_EXPIRING = 2;
/** What lies from the key on, up to the value and without it, is deleted. */
export const OPERATION_DELETE_RANGE = 3;
export const EXPIRY_BYTES = 8;

/** How long what is written may be, in bytes. */
export interface BatchLimits {
  readonly keyBytesMax: number;
  readonly valueBytesMax: number;
  /** All operations of a batch, with 9 bytes (17 for a value that expires) beside the keys and values of each. */
  readonly batchBytesMax: number;
}

const NO_LIMITS: BatchLimits = {
  keyBytesMax: 0x7fff_ffff,
  valueBytesMax: 0x7fff_ffff,
  batchBytesMax: 0x7fff_ffff,
};

/** Throws a `TypeError` unless `bytes` is a Uint8Array. `what`: how the message calls it. */
export function assertBytes(bytes: Uint8Array, what: string): void {
  if (!(bytes instanceof Uint8Array)) {
    const found: unknown = bytes;
    throw new TypeError(`${what} is a Uint8Array, and not ${found === null ? "null" : typeof found}`);
  }
}

/**
 * A batch in the form in which it goes into the log and into the memtable, so that neither has to encode it again:
 * `u64 record number, u32 count`, then for each operation `u8 kind, u32 key length, u32 value length, key, value`.
 */
export class EncodedBatch implements WriteBatch {
  readonly #bytes = new GrowingBytes(512);
  readonly #limits: BatchLimits;
  #count = 0;

  constructor(limits = NO_LIMITS) {
    this.#limits = limits;
    this.#bytes.length = BATCH_HEADER_BYTES;
  }

  put(key: Uint8Array, value: Uint8Array, expiresAt = 0): void {
    assertBytes(value, "a value");
    if (value.length > this.#limits.valueBytesMax) {
      throw invalid(`a value has ${value.length} bytes, at most ${this.#limits.valueBytesMax} are allowed`);
    }
    let out: GrowingBytes;
    if (expiresAt === 0) {
      out = this.#operation(OPERATION_PUT, key, value.length);
    } else {
      if (!(expiresAt > 0 && Number.isSafeInteger(expiresAt)))
        throw invalid(`a value expires at ${expiresAt}, which is no whole number of milliseconds above 0`);
      out = this.#operation(OPERATION_PUT_EXPIRING, key, EXPIRY_BYTES + value.length);
      writeU64(out.bytes, out.length, expiresAt);
      out.length += EXPIRY_BYTES;
    }
    copyBytes(out.bytes, out.length, value, 0, value.length);
    out.length += value.length;
  }

  delete(key: Uint8Array): void {
    this.#operation(OPERATION_DELETE, key, 0);
  }

  deleteRange(gte: Uint8Array, lt: Uint8Array): void {
    this.#checkKey(gte);
    this.#checkKey(lt);
    if (compareBytes(gte, lt) >= 0) return;
    const out = this.#operation(OPERATION_DELETE_RANGE, gte, lt.length);
    copyBytes(out.bytes, out.length, lt, 0, lt.length);
    out.length += lt.length;
  }

  clear(): void {
    this.#bytes.length = BATCH_HEADER_BYTES;
    this.#count = 0;
  }

  get count(): number {
    return this.#count;
  }

  get byteLength(): number {
    return this.#bytes.length;
  }

  /** The encoded batch, of which the first `byteLength` bytes count. Borrowed until the batch changes. */
  get bytes(): Uint8Array {
    return this.#bytes.bytes;
  }

  #checkKey(key: Uint8Array): void {
    assertBytes(key, "a key");
    if (key.length > this.#limits.keyBytesMax)
      throw invalid(`a key has ${key.length} bytes, at most ${this.#limits.keyBytesMax} are allowed`);
  }

  /** Throws before anything is changed. */
  #operation(kind: number, key: Uint8Array, valueLength: number): GrowingBytes {
    this.#checkKey(key);
    const out = this.#bytes;
    const more = OPERATION_HEADER_BYTES + key.length + valueLength;
    if (out.length + more > this.#limits.batchBytesMax)
      throw invalid(`a batch would have more than ${this.#limits.batchBytesMax} bytes`);
    out.reserve(more);
    const { bytes } = out;
    let at = out.length;
    bytes[at] = kind;
    writeU32(bytes, at + 1, key.length);
    writeU32(bytes, at + 5, valueLength);
    at += OPERATION_HEADER_BYTES;
    copyBytes(bytes, at, key, 0, key.length);
    out.length = at + key.length;
    this.#count++;
    return out;
  }
}

/** Fills in the header of an encoded batch that begins at `at`. */
export function writeBatchHeader(bytes: Uint8Array, at: number, recordNumber: number, count: number): void {
  writeU64(bytes, at, recordNumber);
  writeU32(bytes, at + 8, count);
}

/**
 * Checks that `bytes[start, end)` is a whole encoded batch: every length lies within, and the count is right. A log
 * record's checksum has vouched for the bytes, so anything else is a mistake of this program or a forgery.
 */
export function assertBatch(bytes: Uint8Array, start: number, end: number): void {
  assert(end - start >= BATCH_HEADER_BYTES, `batch of ${end - start} bytes has no header`);
  const count = readU32(bytes, start + 8);
  let at = start + BATCH_HEADER_BYTES;
  for (let i = 0; i < count; i++) {
    assert(at + OPERATION_HEADER_BYTES <= end, `operation ${i} of ${count} begins behind the batch's end`);
    assert(bytes[at]! <= OPERATION_DELETE_RANGE, `operation ${i} has the unknown kind ${bytes[at]}`);
    const valueLength = readU32(bytes, at + 5);
    assert(
      bytes[at] !== OPERATION_PUT_EXPIRING || valueLength >= EXPIRY_BYTES,
      `operation ${i} has no room for its time`,
    );
    at += OPERATION_HEADER_BYTES + readU32(bytes, at + 1) + valueLength;
  }
  assert(at === end, `batch of ${count} operations ends at ${at}, expected ${end}`);
}
