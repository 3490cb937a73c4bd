import { compareRanges } from "./cursor.ts";
import { copyBytes, GrowingBytes, writeU32, writeVarint } from "./fixed-width.ts";

/**
 * Builds a block: sorted entries, each written as its difference from the one before, with restart points.
 *
 *     entry   = varint shared key bytes, varint other key bytes, varint value length + 1 (0: tombstone),
 *               u64 sequence, the other key bytes, the value
 *     block   = entries, u32 offset of each restart point, u32 number of restart points
 *
 * Every `restartInterval` entries a key is written whole: there a search can begin. Index blocks have an interval of 1.
 */
export class BlockBuilder {
  readonly #out = new GrowingBytes(8192);
  readonly #restartInterval: number;
  #restarts: number[] = [];
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

  /** The key that was added last; borrowed until the next one. */
  get lastKey(): Uint8Array {
    return this.#last.subarray(0, this.#lastLength);
  }

  /** Whether `key[start, end)` is the key that was added last. */
  isLastKey(key: Uint8Array, start: number, end: number): boolean {
    return this.#count > 0 && compareRanges(this.#last, 0, this.#lastLength, key, start, end) === 0;
  }

  /** Adds an entry behind all others. `valueEnd` below `valueStart`: a tombstone. All bytes are copied. */
  add(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    sequence: number,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): void {
    const out = this.#out;
    const keyLength = keyEnd - keyStart;
    const valueLength = valueEnd - valueStart;
    out.reserve(15 + 8 + keyLength + Math.max(valueLength, 0));
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
    at = writeVarint(bytes, at, valueLength + 1);
    writeU32(bytes, at, sequence >>> 0);
    writeU32(bytes, at + 4, Math.floor(sequence / 0x1_0000_0000));
    at += 8;
    copyBytes(bytes, at, key, keyStart + shared, keyEnd);
    at += keyLength - shared;
    if (valueLength > 0) {
      copyBytes(bytes, at, value, valueStart, valueEnd);
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
    this.#restarts = [];
    this.#sinceRestart = 0;
    this.#count = 0;
    return block;
  }
}
