import { compareRanges, type Entry } from "./cursor.ts";
import { copyBytes, GrowingBytes, writeU32, writeU64, writeVarint } from "./fixed-width.ts";

/** What an entry says of its key: nothing is left of it, this is its value, or this is its value until then. */
export const KIND_DELETE = 0;
export const KIND_PUT = 1;
export const KIND_PUT_EXPIRING = 2;

/**
 * Builds a block: sorted entries, each written as its difference from the one before, with restart points.
 *
 *     entry   = varint shared key bytes, varint other key bytes, varint value length, u56 sequence, u8 kind,
 *               with kind 2 the u64 time from which it is gone, the other key bytes, the value
 *     block   = entries, u32 offset of each restart point, u32 number of restart points
 *
 * Every `restartInterval` entries a key is written whole: there a search can begin. Index blocks have an interval of 1.
 */
export class BlockBuilder {
  readonly #out = new GrowingBytes(8192);
  readonly #restartInterval: number;
  readonly #restarts: number[] = [];
  #sinceRestart = 0;
  #count = 0;
  #last = new Uint8Array(256);
  #lastLength = 0;

  constructor(restartInterval: number) {
    this.#restartInterval = restartInterval;
  }

  get count(): number {
    return this.#count;
  }

  /** Bytes that the finished block will have. */
  get byteLength(): number {
    return this.#out.length + this.#restarts.length * 4 + 4;
  }

  /** The key that was added last, also if its block is finished; borrowed until the next one. */
  get lastKey(): Uint8Array {
    return this.#last.subarray(0, this.#lastLength);
  }

  /** The order of the key that was added last against `key[start, end)`. */
  compareLastKey(key: Uint8Array, start: number, end: number): number {
    return compareRanges(this.#last, 0, this.#lastLength, key, start, end);
  }

  /** Adds an entry behind all others. All bytes are copied. */
  add(entry: Entry): void {
    const { keyBytes: key, keyStart, keyEnd, sequence, expiresAt } = entry;
    const out = this.#out;
    const keyLength = keyEnd - keyStart;
    const valueLength = entry.tombstone ? 0 : entry.valueEnd - entry.valueStart;
    out.reserve(15 + 16 + keyLength + valueLength);
    let shared = 0;
    if (this.#count === 0 || this.#sinceRestart === this.#restartInterval) {
      this.#restarts.push(out.length);
      this.#sinceRestart = 0;
    } else {
      const common = Math.min(this.#lastLength, keyLength);
      while (shared < common && this.#last[shared] === key[keyStart + shared]) shared++;
    }
    const { bytes } = out;
    let at = writeVarint(bytes, out.length, shared);
    at = writeVarint(bytes, at, keyLength - shared);
    at = writeVarint(bytes, at, valueLength);
    writeU32(bytes, at, sequence >>> 0);
    writeU32(bytes, at + 4, Math.floor(sequence / 0x1_0000_0000));
    bytes[at + 7] = entry.tombstone ? KIND_DELETE : expiresAt === 0 ? KIND_PUT : KIND_PUT_EXPIRING;
    at += 8;
    if (expiresAt !== 0 && !entry.tombstone) {
      writeU64(bytes, at, expiresAt);
      at += 8;
    }
    copyBytes(bytes, at, key, keyStart + shared, keyEnd);
    at += keyLength - shared;
    if (valueLength > 0) {
      copyBytes(bytes, at, entry.valueBytes, entry.valueStart, entry.valueEnd);
      at += valueLength;
    }
    out.length = at;
    if (keyLength > this.#last.length) this.#last = new Uint8Array(keyLength * 2);
    copyBytes(this.#last, 0, key, keyStart, keyEnd);
    this.#lastLength = keyLength;
    this.#sinceRestart++;
    this.#count++;
  }

  /** The finished block, borrowed until the next `add`; the builder is empty again. */
  finish(): Uint8Array {
    for (const restart of this.#restarts) this.#out.u32(restart);
    this.#out.u32(this.#restarts.length);
    const block = this.#out.view();
    this.#out.length = 0;
    this.#restarts.length = 0;
    this.#sinceRestart = 0;
    this.#count = 0;
    return block;
  }
}
