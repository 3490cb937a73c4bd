import { assert } from "../lib/assert.ts";
import { KIND_DELETE, KIND_PUT_EXPIRING } from "./block-builder.ts";
import { type Cursor, compareRanges, Entry } from "./cursor.ts";
import { copyBytes, readU32, readU64 } from "./fixed-width.ts";

/**
 * A block that was read and whose checksum was right (`block-builder.ts` has the format). Its bytes never change. What
 * does not add up in spite of a right checksum was written wrongly: an assertion.
 */
export class Block {
  readonly bytes: Uint8Array;
  /** Where the entries end and the restart points begin. */
  readonly entriesEnd: number;
  readonly restartCount: number;

  /** The block is `bytes[0, end)`; they are owned by the block from now on. */
  constructor(bytes: Uint8Array, end = bytes.length) {
    assert(end >= 4 && end <= bytes.length, "block: too short");
    this.bytes = bytes;
    this.restartCount = readU32(bytes, end - 4);
    this.entriesEnd = end - 4 - this.restartCount * 4;
    assert(this.entriesEnd >= 0, "block: more restart points than bytes");
  }

  restart(index: number): number {
    return readU32(this.bytes, this.entriesEnd + index * 4);
  }

  /** In an index block: the number of the first entry at or after (key, sequence); `restartCount` if there is none. */
  lowerBound(key: Uint8Array, sequence: number): number {
    let low = 0;
    let high = this.restartCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.compareRestart(middle, key, sequence) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The order of the entry at a restart point against (key, sequence). */
  compareRestart(index: number, key: Uint8Array, sequence: number): number {
    const { bytes } = this;
    // Shared length: always the one byte 0 at a restart point.
    let at = this.restart(index) + 1;
    let keyLength = bytes[at++]!;
    if (keyLength >= 0x80) {
      keyLength = readVarint(bytes, at - 1);
      while (bytes[at++]! >= 0x80);
    }
    while (bytes[at++]! >= 0x80);
    const keyAt = at + 8 + (bytes[at + 7] === KIND_PUT_EXPIRING ? 8 : 0);
    const keyEnd = keyAt + keyLength;
    assert(keyEnd <= this.entriesEnd, "block: a key ends behind the entries");
    const order = compareRanges(bytes, keyAt, keyEnd, key, 0, key.length);
    return order !== 0 ? order : sequence - readSequence(bytes, at);
  }

  /** In an index block: where the value of entry `index` begins. Asserts that it has `length` bytes. */
  valueAt(index: number, length: number): number {
    const end = index + 1 < this.restartCount ? this.restart(index + 1) : this.entriesEnd;
    const at = end - length;
    assert(at >= 0 && end <= this.entriesEnd, "index block: an entry is too short");
    return at;
  }
}

const EMPTY_BLOCK = new Block(new Uint8Array(4));

/** A cursor over the entries of one block at a time; `reset` gives it another one. */
export class BlockCursor implements Cursor {
  valid = false;
  readonly entry = new Entry();
  #block = EMPTY_BLOCK;
  #at = 0;
  #next = 0;

  constructor() {
    this.entry.keyBytes = new Uint8Array(64);
  }

  /** Goes over to `block`, at no entry. */
  reset(block: Block): void {
    this.#block = block;
    this.entry.valueBytes = block.bytes;
    this.valid = false;
  }

  /** Goes over to no block, so that none is kept in memory. */
  clear(): void {
    this.reset(EMPTY_BLOCK);
  }

  seekToFirst(): void {
    this.#readAt(0);
  }

  seekToLast(): void {
    if (this.#block.restartCount === 0) {
      this.valid = false;
      return;
    }
    this.#readAt(this.#block.restart(this.#block.restartCount - 1));
    while (this.#next < this.#block.entriesEnd) this.#readAt(this.#next);
  }

  seek(key: Uint8Array, sequence: number): void {
    this.#readAt(this.#restartBefore(key, sequence));
    while (this.valid && this.#compare(key, sequence) < 0) this.#readAt(this.#next);
  }

  seekBefore(key: Uint8Array): void {
    this.#seekLastBefore(key, Number.MAX_SAFE_INTEGER);
  }

  next(): void {
    this.#readAt(this.#next);
  }

  prev(): void {
    const target = this.#at;
    const block = this.#block;
    const index = this.#restartBelow(target);
    if (index < 0) {
      this.valid = false;
      return;
    }
    this.#readAt(block.restart(index));
    while (this.#next < target) this.#readAt(this.#next);
  }

  #seekLastBefore(key: Uint8Array, sequence: number): void {
    let at = this.#restartBefore(key, sequence);
    let found = -1;
    for (this.#readAt(at); this.valid && this.#compare(key, sequence) < 0; this.#readAt(at)) {
      found = this.#at;
      at = this.#next;
    }
    // The walk went one entry too far, and keys can only be read forwards.
    if (found < 0) {
      this.valid = false;
      return;
    }
    this.#readAt(this.#block.restart(this.#restartBelow(found + 1)));
    while (this.valid && this.#at < found) this.#readAt(this.#next);
  }

  /** The last restart point whose offset is below `offset`; -1 if there is none. */
  #restartBelow(offset: number): number {
    let low = -1;
    let high = this.#block.restartCount - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#block.restart(middle) < offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The offset of the last restart point that is before (key, sequence), or of the first one. */
  #restartBefore(key: Uint8Array, sequence: number): number {
    const block = this.#block;
    if (block.restartCount === 0) return block.entriesEnd;
    let low = 0;
    let high = block.restartCount - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (block.compareRestart(middle, key, sequence) < 0) low = middle;
      else high = middle - 1;
    }
    return block.restart(low);
  }

  #compare(key: Uint8Array, sequence: number): number {
    const { keyBytes, keyEnd } = this.entry;
    const order = compareRanges(keyBytes, 0, keyEnd, key, 0, key.length);
    return order !== 0 ? order : sequence - this.entry.sequence;
  }

  /** Reads the entry at `offset`; its key builds on the one that was read before, unless `offset` is a restart point. */
  #readAt(offset: number): void {
    const block = this.#block;
    if (offset >= block.entriesEnd) {
      this.valid = false;
      this.#at = offset;
      this.#next = offset;
      return;
    }
    const { bytes } = block;
    let at = offset;
    let shared = bytes[at++]!;
    let other = bytes[at++]!;
    let value = bytes[at++]!;
    if ((shared | other | value) >= 0x80) {
      // Some length needs more than one byte: read the three again, in full.
      at = offset;
      shared = readVarint(bytes, at);
      at += varintBytes(bytes, at);
      other = readVarint(bytes, at);
      at += varintBytes(bytes, at);
      value = readVarint(bytes, at);
      at += varintBytes(bytes, at);
    }
    const { entry } = this;
    entry.sequence = readSequence(bytes, at);
    const kind = bytes[at + 7]!;
    at += 8;
    entry.tombstone = kind === KIND_DELETE;
    entry.expiresAt = 0;
    if (kind === KIND_PUT_EXPIRING) {
      entry.expiresAt = readU64(bytes, at);
      at += 8;
    }
    const keyEnd = shared + other;
    assert(at + other + value <= block.entriesEnd && shared <= entry.keyEnd, "block: an entry is too long");
    if (keyEnd > entry.keyBytes.length) {
      const larger = new Uint8Array(keyEnd * 2);
      larger.set(entry.keyBytes);
      entry.keyBytes = larger;
    }
    copyBytes(entry.keyBytes, shared, bytes, at, at + other);
    entry.keyEnd = keyEnd;
    at += other;
    entry.valueStart = at;
    at += value;
    entry.valueEnd = at;
    this.#at = offset;
    this.#next = at;
    this.valid = true;
  }
}

/** The low 56 bits of an entry's u64; the high 8 are its kind. */
function readSequence(bytes: Uint8Array, at: number): number {
  return (readU32(bytes, at + 4) & 0xff_ffff) * 0x1_0000_0000 + readU32(bytes, at);
}

function readVarint(bytes: Uint8Array, at: number): number {
  let value = 0;
  let offset = at;
  for (let shift = 0; shift < 35; shift += 7) {
    const byte = bytes[offset++]!;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return value >>> 0;
}

function varintBytes(bytes: Uint8Array, at: number): number {
  let offset = at;
  while (bytes[offset]! >= 0x80) offset++;
  return offset - at + 1;
}
