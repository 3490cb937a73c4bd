/**
 * The inner order of the engine: by key, and for equal keys the newest (highest sequence number) first, so that the
 * first entry of a key that a reader may see is the one that counts.
 */

/** The sequence number above all others: reads at it see everything. */
export const SEQUENCE_MAX = Number.MAX_SAFE_INTEGER;

export const NO_BYTES = new Uint8Array(0);

/**
 * One entry, its bytes given as places in arrays, so that moving makes no objects: `keyBytes` may be overwritten by the
 * next move, and `valueBytes` by the one after that.
 */
export class Entry {
  keyBytes: Uint8Array = NO_BYTES;
  keyStart = 0;
  keyEnd = 0;
  sequence = 0;
  /** The key was deleted; there is no value. */
  tombstone = false;
  /** From which time on the value is gone, in milliseconds since the Unix epoch; 0: it stays. */
  expiresAt = 0;
  valueBytes: Uint8Array = NO_BYTES;
  valueStart = 0;
  valueEnd = 0;
}

/**
 * Whether an entry, the newest of its key that a reader may see, says that there is nothing: a tombstone, a value that
 * has expired at the time `now`, or one that a range deletion at `rangeDelete` (0: there is none) came after.
 */
export function isGone(entry: Entry, rangeDelete: number, now: number): boolean {
  return entry.tombstone || entry.sequence < rangeDelete || (entry.expiresAt !== 0 && entry.expiresAt <= now);
}

/** What a cursor is at when it is nowhere. */
export const NO_ENTRY = new Entry();

/** A position among sorted entries: of a block, a memtable, a table, a level, or all of them merged. */
export interface Cursor {
  /** Whether the cursor is at an entry; `entry` means something only then. */
  valid: boolean;
  /** The entry: an object of whoever holds its bytes, which the next move may change or replace. */
  entry: Entry;

  seekToFirst(): void;
  seekToLast(): void;
  /** To the first entry at or after (key, sequence). */
  seek(key: Uint8Array, sequence: number): void;
  /** To the last entry whose key is below `key`. */
  seekBefore(key: Uint8Array): void;
  next(): void;
  prev(): void;
}

/** Unsigned lexicographic order of `a[aStart, aEnd)` and `b[bStart, bEnd)`. */
export function compareRanges(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  const aLength = aEnd - aStart;
  const bLength = bEnd - bStart;
  const common = Math.min(aLength, bLength);
  for (let i = 0; i < common; i++) {
    const difference = a[aStart + i]! - b[bStart + i]!;
    if (difference !== 0) return difference;
  }
  return aLength - bLength;
}

/** The inner order of two entries. */
export function compareEntries(a: Entry, b: Entry): number {
  const order = compareRanges(a.keyBytes, a.keyStart, a.keyEnd, b.keyBytes, b.keyStart, b.keyEnd);
  return order !== 0 ? order : b.sequence - a.sequence;
}

/** The order of an entry's key against `key`. */
export function compareEntryKey(entry: Entry, key: Uint8Array): number {
  return compareRanges(entry.keyBytes, entry.keyStart, entry.keyEnd, key, 0, key.length);
}
