import { assert } from "../lib/assert.ts";
import { prefixEnd } from "../lib/bytes.ts";
import { type Cursor, compareEntryKey, compareRanges, NO_BYTES, SEQUENCE_MAX } from "./cursor.ts";
import type { EngineIterator, ScanRange } from "./engine.ts";

/** The bounds of a scan in one form. A bound that is `undefined` is open. */
export interface Bounds {
  readonly lower: Uint8Array | undefined;
  readonly lowerIncluded: boolean;
  readonly upper: Uint8Array | undefined;
  readonly upperIncluded: boolean;
}

/** Reads the bounds out of a range; asserts that they do not contradict each other in form. */
export function boundsOf(range: ScanRange): Bounds {
  const { gte, gt, lt, lte, prefix } = range;
  assert(gte === undefined || gt === undefined, "scan: at most one of gte and gt");
  assert(lt === undefined || lte === undefined, "scan: at most one of lt and lte");
  if (prefix !== undefined) {
    assert(
      gte === undefined && gt === undefined && lt === undefined && lte === undefined,
      "scan: prefix stands alone",
    );
    return { lower: prefix, lowerIncluded: true, upper: prefixEnd(prefix), upperIncluded: false };
  }
  return {
    lower: gte ?? gt,
    lowerIncluded: gt === undefined,
    upper: lte ?? lt,
    upperIncluded: lt === undefined,
  };
}

/**
 * What a reader sees of the merged entries at one sequence number: for every key in the range its newest entry that is
 * not above it, unless that is a tombstone.
 */
export class RangeIterator implements EngineIterator {
  readonly #cursor: Cursor;
  readonly #bounds: Bounds;
  readonly #reverse: boolean;
  readonly #sequence: number;
  readonly #release: () => void;
  #left: number;
  #started = false;
  #ended = false;
  #key = new Uint8Array(256);
  #keyLength = 0;
  #value: Uint8Array = NO_BYTES;
  #valueStart = 0;
  #valueEnd = 0;

  constructor(cursor: Cursor, range: ScanRange, sequence: number, release: () => void) {
    this.#cursor = cursor;
    this.#bounds = boundsOf(range);
    this.#reverse = range.reverse === true;
    this.#sequence = sequence;
    this.#left = range.limit ?? Number.POSITIVE_INFINITY;
    this.#release = release;
  }

  get key(): Uint8Array {
    return this.#key.subarray(0, this.#keyLength);
  }

  get value(): Uint8Array {
    return this.#value.subarray(this.#valueStart, this.#valueEnd);
  }

  next(): boolean {
    if (this.#ended) return false;
    if (this.#left <= 0 || !(this.#reverse ? this.#backward() : this.#forward())) {
      this.close();
      return false;
    }
    this.#left--;
    return true;
  }

  /** Lets go of what is read. The end of the scan does so by itself. */
  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#value = NO_BYTES;
    this.#valueStart = 0;
    this.#valueEnd = 0;
    this.#keyLength = 0;
    this.#release();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #forward(): boolean {
    const cursor = this.#cursor;
    if (this.#started) this.#skipKey();
    else this.#seekLower();
    this.#started = true;
    while (cursor.valid) {
      if (cursor.entry.sequence > this.#sequence) {
        cursor.next();
        continue;
      }
      if (this.#isAboveUpper()) return false;
      this.#take();
      if (!cursor.entry.tombstone) return true;
      this.#skipKey();
    }
    return false;
  }

  /** Going back, a key's oldest entry comes first: the last one that can be seen counts. */
  #backward(): boolean {
    const cursor = this.#cursor;
    if (!this.#started) this.#seekUpper();
    this.#started = true;
    while (cursor.valid) {
      if (this.#isBelowLower()) return false;
      let seen = false;
      let tombstone = false;
      this.#takeKey();
      do {
        if (cursor.entry.sequence <= this.#sequence) {
          seen = true;
          tombstone = cursor.entry.tombstone;
          this.#takeValue();
        }
        cursor.prev();
      } while (cursor.valid && this.#isAtKey());
      if (seen && !tombstone) return true;
    }
    return false;
  }

  #seekLower(): void {
    const { lower, lowerIncluded } = this.#bounds;
    if (lower === undefined) this.#cursor.seekToFirst();
    // All versions of a key are before its (impossible) version -1.
    else this.#cursor.seek(lower, lowerIncluded ? SEQUENCE_MAX : -1);
  }

  #seekUpper(): void {
    const { upper, upperIncluded } = this.#bounds;
    if (upper === undefined) {
      this.#cursor.seekToLast();
    } else if (upperIncluded) {
      // The key right behind `upper` is `upper` with a zero byte.
      const behind = new Uint8Array(upper.length + 1);
      behind.set(upper);
      this.#cursor.seekBefore(behind);
    } else {
      this.#cursor.seekBefore(upper);
    }
  }

  #isAboveUpper(): boolean {
    const { upper, upperIncluded } = this.#bounds;
    if (upper === undefined) return false;
    const order = compareEntryKey(this.#cursor.entry, upper);
    return upperIncluded ? order > 0 : order >= 0;
  }

  #isBelowLower(): boolean {
    const { lower, lowerIncluded } = this.#bounds;
    if (lower === undefined) return false;
    const order = compareEntryKey(this.#cursor.entry, lower);
    return lowerIncluded ? order < 0 : order <= 0;
  }

  #isAtKey(): boolean {
    const { keyBytes, keyStart, keyEnd } = this.#cursor.entry;
    return compareRanges(this.#key, 0, this.#keyLength, keyBytes, keyStart, keyEnd) === 0;
  }

  /** Moves on to the next key. */
  #skipKey(): void {
    do this.#cursor.next();
    while (this.#cursor.valid && this.#isAtKey());
  }

  #take(): void {
    this.#takeKey();
    this.#takeValue();
  }

  #takeKey(): void {
    const { keyBytes, keyStart, keyEnd } = this.#cursor.entry;
    const length = keyEnd - keyStart;
    if (length > this.#key.length) this.#key = new Uint8Array(length * 2);
    for (let i = 0; i < length; i++) this.#key[i] = keyBytes[keyStart + i]!;
    this.#keyLength = length;
  }

  #takeValue(): void {
    const { valueBytes, valueStart, valueEnd } = this.#cursor.entry;
    this.#value = valueBytes;
    this.#valueStart = valueStart;
    this.#valueEnd = valueEnd;
  }
}
