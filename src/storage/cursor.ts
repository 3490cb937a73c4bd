/**
 * The inner order of the engine: by key, and for equal keys the newest (highest sequence number) first, so that the
 * first entry of a key that a reader may see is the one that counts.
 */

/** The sequence number above all others: reads at it see everything. */
export const SEQUENCE_MAX = Number.MAX_SAFE_INTEGER;

/**
 * A position among sorted entries: of a memtable, a table, a level, or all of them merged. The entry's bytes are given
 * as places in arrays, so that moving makes no objects: `keyBytes` may be overwritten by the next move, while
 * `valueBytes` is never overwritten as long as somebody refers to it.
 */
export interface Cursor {
  /** Whether the cursor is at an entry; the fields below mean something only then. */
  valid: boolean;
  keyBytes: Uint8Array;
  keyStart: number;
  keyEnd: number;
  sequence: number;
  tombstone: boolean;
  valueBytes: Uint8Array;
  valueStart: number;
  valueEnd: number;

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

/** The inner order of the entries that two cursors are at. */
export function compareCursors(a: Cursor, b: Cursor): number {
  const order = compareRanges(a.keyBytes, a.keyStart, a.keyEnd, b.keyBytes, b.keyStart, b.keyEnd);
  return order !== 0 ? order : b.sequence - a.sequence;
}

/** The order of a cursor's key against `key`. */
export function compareCursorKey(cursor: Cursor, key: Uint8Array): number {
  return compareRanges(cursor.keyBytes, cursor.keyStart, cursor.keyEnd, key, 0, key.length);
}

export const NO_BYTES = new Uint8Array(0);
