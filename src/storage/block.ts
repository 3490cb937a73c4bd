import { assert } from "../lib/assert.ts";
import { KIND_DELETE, KIND_PUT_EXPIRING } from "./block-builder.ts";
import { type Cursor, Entry, SEQUENCE_MAX } from "./cursor.ts";
import { copyBytes, readU32, readU64 } from "./fixed-width.ts";

/**
 * A block that was read and whose checksum was right (`block-builder.ts` has the format). Its bytes never change. What
 * does not add up in spite of a right checksum was written wrongly: an assertion.
 */
export class Block {
  readonly bytes: Uint8Array;
  /** How many cursors look at it: its memory is not used again before they have gone. */
  pins = 0;
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

  /**
   * How the entry at a restart point lies to (key, sequence), the first `common` bytes of both keys being known to be the
   * same: twice the number of bytes that are the same, plus 0 if the entry is before the place, 1 if it is not.
   */
  probe(index: number, key: Uint8Array, sequence: number, common: number): number {
    const { bytes } = this;
    // Shared length: always the one byte 0 at a restart point.
    let at = this.restart(index) + 1;
    let keyLength = bytes[at++]!;
    if (keyLength >= 0x80) {
      keyLength = readVarint(bytes, at - 1);
      while (bytes[at++]! >= 0x80);
    }
    while (bytes[at++]! >= 0x80);
    const keyAt = at + (bytes[at + 7] === KIND_PUT_EXPIRING ? 16 : 8);
    assert(keyAt + keyLength <= this.entriesEnd, "block: a key ends behind the entries");
    const end = Math.min(keyLength, key.length);
    let same = common;
    while (same < end && bytes[keyAt + same] === key[same]) same++;
    if (same < end) return 2 * same + (bytes[keyAt + same]! < key[same]! ? 0 : 1);
    if (keyLength !== key.length) return 2 * same + (keyLength < key.length ? 0 : 1);
    return 2 * same + (readSequence(bytes, at) > sequence ? 0 : 1);
  }

  /** Length of the key at a restart point. Asserts that it lies within the entries. */
  restartKeyLength(index: number): number {
    const length = readVarint(this.bytes, this.restart(index) + 1);
    assert(this.restartKeyAt(index) + length <= this.entriesEnd, "block: a key ends behind the entries");
    return length;
  }

  /** Where the key at a restart point begins. */
  restartKeyAt(index: number): number {
    const { bytes } = this;
    let at = this.restart(index) + 1;
    at += varintBytes(bytes, at);
    at += varintBytes(bytes, at);
    return at + (bytes[at + 7] === KIND_PUT_EXPIRING ? 16 : 8);
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
  /** Of the entry read last: how much of its key was the one before's, and how long the rest is. */
  #shared = 0;
  #other = 0;
  /** For `prev`: the entries of the restart interval that lie before `#beforeAt`; their keys can only be read forwards. */
  readonly #before: number[] = [];
  #beforeCount = 0;
  #beforeAt = -1;
  /** Their keys, one behind the other, and where each ends. */
  #keys = new Uint8Array(256);
  readonly #keyEnds: number[] = [];

  constructor() {
    this.entry.keyBytes = new Uint8Array(64);
  }

  /** Goes over to `block`, at no entry. */
  reset(block: Block): void {
    this.#block = block;
    this.entry.valueBytes = block.bytes;
    this.#beforeAt = -1;
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
    this.#at = this.#block.entriesEnd;
    this.prev();
  }

  seek(key: Uint8Array, sequence: number): void {
    const { entry } = this;
    this.#readAt(this.#restartBefore(key, sequence));
    let common = 0;
    while (this.valid) {
      const { keyBytes, keyEnd } = entry;
      const end = Math.min(keyEnd, key.length);
      while (common < end && keyBytes[common] === key[common]) common++;
      if (common < end) {
        if (keyBytes[common]! > key[common]!) return;
      } else if (keyEnd !== key.length) {
        if (keyEnd > key.length) return;
      } else if (entry.sequence <= sequence) {
        return;
      }
      // This one is before the place. So are those that have more in common with it than it has with `key`.
      do this.#readAt(this.#next);
      while (this.#shared > common && this.valid);
      if (this.#shared < common) return;
    }
  }

  seekBefore(key: Uint8Array): void {
    this.seek(key, SEQUENCE_MAX);
    this.prev();
  }

  next(): void {
    this.#readAt(this.#next);
  }

  prev(): void {
    if (this.#beforeAt !== this.#at || this.#beforeCount === 0) this.#collectBefore(this.#at);
    if (this.#beforeCount === 0) {
      this.valid = false;
      return;
    }
    const index = --this.#beforeCount;
    const { entry } = this;
    const start = index === 0 ? 0 : this.#keyEnds[index - 1]!;
    const end = this.#keyEnds[index]!;
    copyBytes(entry.keyBytes, 0, this.#keys, start, end);
    entry.keyEnd = end - start;
    const at = this.#readHead(this.#before[index]!) + this.#other;
    this.#next = entry.valueEnd + at;
    entry.valueStart = at;
    entry.valueEnd = this.#next;
    this.#beforeAt = this.#at;
    this.valid = true;
  }

  /** Reads the entries of the restart interval before `target`, up to there. */
  #collectBefore(target: number): void {
    this.#beforeCount = 0;
    const index = this.#restartBelow(target);
    if (index < 0) return;
    let used = 0;
    for (
      this.#readAt(this.#block.restart(index));
      this.valid && this.#at < target;
      this.#readAt(this.#next)
    ) {
      const { keyBytes, keyEnd } = this.entry;
      if (used + keyEnd > this.#keys.length) {
        const larger = new Uint8Array((used + keyEnd) * 2);
        larger.set(this.#keys);
        this.#keys = larger;
      }
      copyBytes(this.#keys, used, keyBytes, 0, keyEnd);
      used += keyEnd;
      this.#before[this.#beforeCount] = this.#at;
      this.#keyEnds[this.#beforeCount++] = used;
    }
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
    // The first one needs no look: it is taken if all the others are too far.
    let low = 0;
    let high = block.restartCount - 1;
    let commonLow = 0;
    let commonHigh = 0;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      const found = block.probe(middle, key, sequence, Math.min(commonLow, commonHigh));
      if ((found & 1) === 0) {
        low = middle;
        commonLow = found >>> 1;
      } else {
        high = middle - 1;
        commonHigh = found >>> 1;
      }
    }
    return block.restart(low);
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
    const { entry } = this;
    const keyBefore = entry.keyEnd;
    const at = this.#readHead(offset);
    const other = this.#other;
    const shared = this.#shared;
    const valueEnd = entry.valueEnd + at + other;
    assert(valueEnd <= block.entriesEnd && shared <= keyBefore, "block: an entry is too long");
    const keyEnd = shared + other;
    if (keyEnd > entry.keyBytes.length) {
      const larger = new Uint8Array(keyEnd * 2);
      larger.set(entry.keyBytes);
      entry.keyBytes = larger;
    }
    copyBytes(entry.keyBytes, shared, block.bytes, at, at + other);
    entry.keyEnd = keyEnd;
    entry.valueStart = at + other;
    entry.valueEnd = valueEnd;
    this.#next = valueEnd;
    this.valid = true;
  }

  /** Reads what is before the key of the entry at `offset`; returns where that begins. `valueEnd` is the value's length. */
  #readHead(offset: number): number {
    const { bytes } = this.#block;
    const { entry } = this;
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
    this.#at = offset;
    this.#shared = shared;
    this.#other = other;
    entry.valueEnd = value;
    entry.sequence = readSequence(bytes, at);
    const kind = bytes[at + 7]!;
    entry.tombstone = kind === KIND_DELETE;
    entry.expiresAt = 0;
    if (kind !== KIND_PUT_EXPIRING) return at + 8;
    entry.expiresAt = readU64(bytes, at + 8);
    return at + 16;
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
