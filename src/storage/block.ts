import { KIND_DELETE, KIND_PUT_EXPIRING } from "./block-builder.ts";
import { type Cursor, compareRanges, Entry } from "./cursor.ts";
import { copyBytes, readU32, readU64 } from "./fixed-width.ts";

/** A block that was read and whose checksum was right (`block-builder.ts` has the format). Its bytes never change. */
export class Block {
  readonly bytes: Uint8Array;
  /** Where the entries end and the restart points begin. */
  readonly entriesEnd: number;
  readonly restartCount: number;

  /** `bytes`: the block without its trailer. Owned by the block from now on. */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.restartCount = readU32(bytes, bytes.length - 4);
    this.entriesEnd = bytes.length - 4 - this.restartCount * 4;
  }

  restart(index: number): number {
    return readU32(this.bytes, this.entriesEnd + index * 4);
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
  /** A guess at `restartIndex`: in an index block a search ends at most one entry behind where it began. */
  #restart = 0;

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

  /** Which restart interval the entry is in: in an index block, the number of the entry. */
  get restartIndex(): number {
    const guess = this.#restart;
    if (guess < this.#block.restartCount && this.#block.restart(guess) === this.#at) return guess;
    let low = 0;
    let high = this.#block.restartCount - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#block.restart(middle) <= this.#at) low = middle;
      else high = middle - 1;
    }
    return low;
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

  /** To the entry of an index block that has the number `index`. */
  seekToRestart(index: number): void {
    if (index < 0 || index >= this.#block.restartCount) this.valid = false;
    else this.#readAt(this.#block.restart(index));
  }

  seek(key: Uint8Array, sequence: number): void {
    this.#readAt(this.#restartBefore(key, sequence));
    if (!this.valid || this.#compare(key, sequence) >= 0) return;
    this.#restart++;
    do this.#readAt(this.#next);
    while (this.valid && this.#compare(key, sequence) < 0);
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
    let index = this.restartIndex;
    if (block.restart(index) === target) index--;
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
    this.#at = found;
    this.#readAt(this.#block.restart(this.restartIndex));
    while (this.#at < found) this.#readAt(this.#next);
  }

  /** The offset of the last restart point that is before (key, sequence), or of the first one. */
  #restartBefore(key: Uint8Array, sequence: number): number {
    const block = this.#block;
    if (block.restartCount === 0) return block.entriesEnd;
    let low = 0;
    let high = block.restartCount - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#compareRestart(block.restart(middle), key, sequence) < 0) low = middle;
      else high = middle - 1;
    }
    this.#restart = low;
    return block.restart(low);
  }

  /** The order of the whole key at a restart point against (key, sequence), without moving there. */
  #compareRestart(offset: number, key: Uint8Array, sequence: number): number {
    const { bytes } = this.#block;
    // Shared length: always the one byte 0 at a restart point.
    let at = offset + 1;
    let keyLength = bytes[at++]!;
    if (keyLength >= 0x80) {
      keyLength &= 0x7f;
      let byte: number;
      let shift = 7;
      do {
        byte = bytes[at++]!;
        keyLength |= (byte & 0x7f) << shift;
        shift += 7;
      } while (byte >= 0x80);
    }
    while (bytes[at++]! >= 0x80);
    const keyAt = bytes[at + 7] === KIND_PUT_EXPIRING ? at + 16 : at + 8;
    const order = compareRanges(bytes, keyAt, keyAt + keyLength, key, 0, key.length);
    if (order !== 0) return order;
    return sequence - readSequence(bytes, at);
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
  let shift = 0;
  for (let offset = at; ; offset++) {
    const byte = bytes[offset]!;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value >>> 0;
    shift += 7;
  }
}

function varintBytes(bytes: Uint8Array, at: number): number {
  let offset = at;
  while (bytes[offset]! >= 0x80) offset++;
  return offset - at + 1;
}
