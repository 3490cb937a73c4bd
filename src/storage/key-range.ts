/**
 * Ranges of keys as tables have them, and how they lie to each other. Everybody who asks whether a table may have
 * something for a key, or whether two tables overlap, asks here: a table that ends with a range tombstone reaches up to
 * its largest key and without it (`largestKeyIncluded` false), and who forgets that lets tables of one level overlap, or
 * loses what they hide.
 */
import { compareBytes } from "../lib/bytes.ts";

/** Keys from `smallestKey`, included, to `largestKey`. Every `TableMeta` is one. */
export interface KeyRange {
  readonly smallestKey: Uint8Array;
  readonly largestKey: Uint8Array;
  /** False: `largestKey` itself is outside. */
  readonly largestKeyIncluded: boolean;
}

/** A range and nothing else of the object that it comes from: what goes to another thread should be small. */
export function keyRange({ smallestKey, largestKey, largestKeyIncluded }: KeyRange): KeyRange {
  return { smallestKey, largestKey, largestKeyIncluded };
}

/** Whether all of the range lies below `key`. */
export function endsBefore(range: KeyRange, key: Uint8Array): boolean {
  const order = compareBytes(range.largestKey, key);
  return order < 0 || (order === 0 && !range.largestKeyIncluded);
}

export function containsKey(range: KeyRange, key: Uint8Array): boolean {
  return compareBytes(range.smallestKey, key) <= 0 && !endsBefore(range, key);
}

/** Whether some key can be in both. */
export function overlap(a: KeyRange, b: KeyRange): boolean {
  return !endsBefore(a, b.smallestKey) && !endsBefore(b, a.smallestKey);
}

/** The order of two ranges by where they begin. */
export function byStart(a: KeyRange, b: KeyRange): number {
  return compareBytes(a.smallestKey, b.smallestKey);
}

/** The smallest range that contains all of `ranges`, of which there is at least one. */
export function rangeOf(ranges: readonly KeyRange[]): KeyRange {
  let { smallestKey, largestKey, largestKeyIncluded } = ranges[0]!;
  for (const range of ranges) {
    if (compareBytes(range.smallestKey, smallestKey) < 0) smallestKey = range.smallestKey;
    const order = compareBytes(range.largestKey, largestKey);
    if (order > 0) ({ largestKey, largestKeyIncluded } = range);
    else if (order === 0 && range.largestKeyIncluded) largestKeyIncluded = true;
  }
  return { smallestKey, largestKey, largestKeyIncluded };
}

/** The first of `ranges` (disjoint, in order) that does not lie below `key`; `ranges.length` if all do. */
export function firstNotBefore(ranges: readonly KeyRange[], key: Uint8Array): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (endsBefore(ranges[middle]!, key)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Those of `ranges` (disjoint, in order) that overlap `range`, in order. */
export function overlapping<Range extends KeyRange>(ranges: readonly Range[], range: KeyRange): Range[] {
  const start = firstNotBefore(ranges, range.smallestKey);
  let end = start;
  while (end < ranges.length && !endsBefore(range, ranges[end]!.smallestKey)) end++;
  return ranges.slice(start, end);
}

/** Disjoint ranges, in order, that together contain what `ranges` contain, and nothing else that is between two of them. */
export function disjoint(ranges: readonly KeyRange[]): KeyRange[] {
  const result: KeyRange[] = [];
  for (const range of [...ranges].sort(byStart)) {
    const last = result.at(-1);
    if (last === undefined || endsBefore(last, range.smallestKey)) result.push(keyRange(range));
    else result[result.length - 1] = rangeOf([last, range]);
  }
  return result;
}
