import { compareBytes, prefixEnd } from "../lib/bytes.ts";
import { type Cursor, compareEntryKey, compareRanges, isGone, NO_BYTES, SEQUENCE_MAX } from "./cursor.ts";
import type { EngineIterator, ScanRange } from "./engine.ts";
import type { RangeCover } from "./range-cover.ts";
import { invalid } from "./storage-error.ts";
import { assertBytes } from "./write-batch.ts";

/** The bounds of a scan in one form. A bound that is `undefined` is open. */
export interface Bounds {
  readonly lower: Uint8Array | undefined;
  readonly lowerIncluded: boolean;
  readonly upper: Uint8Array | undefined;
  readonly upperIncluded: boolean;
}

/** Reads the bounds out of a range; throws `INVALID` if they contradict each other in form. */
export function boundsOf(range: ScanRange): Bounds {
  const { gte, gt, lt, lte, prefix } = range;
  if (gte !== undefined && gt !== undefined) throw invalid("a scan has at most one of gte and gt");
  if (lt !== undefined && lte !== undefined) throw invalid("a scan has at most one of lt and lte");
  if (prefix !== undefined) {
    if (gte !== undefined || gt !== undefined || lt !== undefined || lte !== undefined)
      throw invalid("a scan with a prefix has no other bounds");
    return { lower: prefix, lowerIncluded: true, upper: prefixEnd(prefix), upperIncluded: false };
  }
  return {
    lower: gte ?? gt,
    lowerIncluded: gt === undefined,
    upper: lte ?? lt,
    upperIncluded: lt === undefined,
  };
}

/** A leap costs about as much as some steps: it is made only where many entries in a row were deleted. */
const LEAP_KEYS = 8;

/** Where a `RangeIterator` is: nowhere yet, before an entry that was sought, at one, behind the last one, or closed. */
type Place = 0 | 1 | 2 | 3 | 4;
const AT_START = 0;
const SOUGHT = 1;
const AT_ENTRY = 2;
const AT_END = 3;
const CLOSED = 4;

/** As of when somebody reads. */
export interface ReadView {
  readonly sequence: number;
  /** The time in milliseconds: what expires at or before it is gone. */
  readonly now: number;
  /** The range tombstones of all that is read; `undefined`: there are none. */
  readonly rangeDeletes: RangeCover | undefined;
}

/**
 * What a reader sees of the merged entries at one sequence number: for every key in the range its newest entry that is
 * not above it, unless that says that there is nothing.
 */
export class RangeIterator implements EngineIterator {
  readonly #cursor: Cursor;
  readonly #bounds: Bounds;
  readonly #reverse: boolean;
  readonly #keysOnly: boolean;
  readonly #sequence: number;
  readonly #now: number;
  readonly #rangeDeletes: RangeCover | undefined;
  readonly #release: () => void;
  readonly #limit: number;
  #left: number;
  /** How many keys in a row were gone because their range was deleted. */
  #covered = 0;
  #place: Place = AT_START;
  /** It may be sought again behind its end. */
  #staysOpen = false;
  readonly keyStart = 0;
  keyBytes: Uint8Array = new Uint8Array(256);
  keyEnd = 0;
  valueBytes: Uint8Array = NO_BYTES;
  valueStart = 0;
  valueEnd = 0;
  expiresAt = 0;

  constructor(cursor: Cursor, range: ScanRange, bounds: Bounds, view: ReadView, release: () => void) {
    this.#cursor = cursor;
    this.#bounds = bounds;
    this.#reverse = range.reverse === true;
    this.#keysOnly = range.keysOnly === true;
    this.#sequence = view.sequence;
    this.#now = view.now;
    this.#rangeDeletes = view.rangeDeletes;
    this.#limit = range.limit ?? Number.POSITIVE_INFINITY;
    this.#left = this.#limit;
    this.#release = release;
  }

  get key(): Uint8Array {
    return this.keyBytes.subarray(0, this.keyEnd);
  }

  get value(): Uint8Array {
    return this.valueBytes.subarray(this.valueStart, this.valueEnd);
  }

  next(): boolean {
    if (this.#place >= AT_END) return false;
    let found = false;
    let failed = true;
    try {
      found = this.#left > 0 && (this.#reverse ? this.#backward() : this.#forward());
      failed = false;
    } finally {
      // Where damage was met nobody goes on.
      if (!found) this.#end(failed);
    }
    this.#left--;
    return found;
  }

  seek(key: Uint8Array): void {
    assertBytes(key, "a key");
    if (this.#place === CLOSED) throw invalid("an iterator that is closed can't seek");
    this.#staysOpen = true;
    this.#left = this.#limit;
    this.#covered = 0;
    this.#rangeDeletes?.forget();
    this.#place = SOUGHT;
    let placed = false;
    try {
      if (this.#reverse) this.#seekDownFrom(key);
      else this.#seekUpFrom(key);
      placed = true;
    } finally {
      if (!placed) this.close();
    }
  }

  /** Lets go of what is read. The end of the scan does so by itself, unless it has sought. */
  close(): void {
    if (this.#place === CLOSED) return;
    this.#place = CLOSED;
    this.#forgetEntry();
    this.#release();
  }

  #end(failed: boolean): void {
    if (failed || !this.#staysOpen) {
      this.close();
    } else {
      this.#place = AT_END;
      this.#forgetEntry();
    }
  }

  #forgetEntry(): void {
    this.valueBytes = NO_BYTES;
    this.valueStart = 0;
    this.valueEnd = 0;
    this.keyEnd = 0;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #forward(): boolean {
    const cursor = this.#cursor;
    if (this.#place === AT_ENTRY) this.#skipKey();
    else if (this.#place === AT_START) this.#seekLower();
    this.#place = AT_ENTRY;
    while (cursor.valid) {
      if (this.#isAboveUpper()) return false;
      if (cursor.entry.sequence > this.#sequence) {
        cursor.next();
        continue;
      }
      this.#takeKey();
      if (!this.#isGone()) {
        this.#takeValue();
        return true;
      }
      this.#skipKey();
      if (this.#covered >= LEAP_KEYS && cursor.valid) this.#leap();
    }
    return false;
  }

  /** Going back, a key's oldest entry comes first: the last one that can be seen counts. */
  #backward(): boolean {
    const cursor = this.#cursor;
    if (this.#place === AT_START) this.#seekUpper();
    this.#place = AT_ENTRY;
    while (cursor.valid) {
      if (this.#isBelowLower()) return false;
      let seen = false;
      let taken = false;
      this.#takeKey();
      do {
        if (cursor.entry.sequence <= this.#sequence) {
          seen = !this.#isGone();
          if (seen) this.#takeValue();
          taken = seen;
        } else if (taken) {
          // Newer versions follow that can't be seen: the bytes of the one that counts stay for one move only.
          this.#keepValue();
          taken = false;
        }
        cursor.prev();
      } while (cursor.valid && this.#isAtKey());
      if (seen) return true;
      if (this.#covered >= LEAP_KEYS && cursor.valid) this.#leap();
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
    if (upper === undefined) this.#cursor.seekToLast();
    else if (upperIncluded) this.#seekNotAbove(upper);
    else this.#cursor.seekBefore(upper);
  }

  #seekNotAbove(key: Uint8Array): void {
    // The key right behind `key` is `key` with a zero byte.
    const behind = new Uint8Array(key.length + 1);
    behind.set(key);
    this.#cursor.seekBefore(behind);
  }

  #seekUpFrom(key: Uint8Array): void {
    const { lower } = this.#bounds;
    if (lower !== undefined && compareBytes(key, lower) <= 0) this.#seekLower();
    else this.#cursor.seek(key, SEQUENCE_MAX);
  }

  #seekDownFrom(key: Uint8Array): void {
    const { upper } = this.#bounds;
    if (upper !== undefined && compareBytes(key, upper) >= 0) this.#seekUpper();
    else this.#seekNotAbove(key);
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
    return compareRanges(this.keyBytes, 0, this.keyEnd, keyBytes, keyStart, keyEnd) === 0;
  }

  /** Moves on to the next key. */
  #skipKey(): void {
    do this.#cursor.next();
    while (this.#cursor.valid && this.#isAtKey());
  }

  /** Whether the entry, the newest of its key that can be seen, says that there is nothing. */
  #isGone(): boolean {
    const { entry } = this.#cursor;
    const rangeDeletes = this.#rangeDeletes;
    if (rangeDeletes === undefined) return isGone(entry, 0, this.#now);
    const rangeDelete = rangeDeletes.newestOver(entry.keyBytes, entry.keyStart, entry.keyEnd);
    if (entry.sequence < rangeDelete) this.#covered++;
    else this.#covered = 0;
    return isGone(entry, rangeDelete, this.#now);
  }

  /** Step by step it would take as long as it takes to read all that was deleted. */
  #leap(): void {
    this.#covered = 0;
    this.#rangeDeletes!.leap();
  }

  #takeKey(): void {
    const { keyBytes, keyStart, keyEnd } = this.#cursor.entry;
    const length = keyEnd - keyStart;
    if (length > this.keyBytes.length) this.keyBytes = new Uint8Array(length * 2);
    const key = this.keyBytes;
    for (let i = 0; i < length; i++) key[i] = keyBytes[keyStart + i]!;
    this.keyEnd = length;
  }

  #keepValue(): void {
    this.valueBytes = this.valueBytes.slice(this.valueStart, this.valueEnd);
    this.valueEnd -= this.valueStart;
    this.valueStart = 0;
  }

  #takeValue(): void {
    this.expiresAt = this.#cursor.entry.expiresAt;
    if (this.#keysOnly) return;
    const { valueBytes, valueStart, valueEnd } = this.#cursor.entry;
    this.valueBytes = valueBytes;
    this.valueStart = valueStart;
    this.valueEnd = valueEnd;
  }
}
