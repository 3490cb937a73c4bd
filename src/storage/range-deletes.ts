/**
 * Range tombstones, made ready to be asked: overlapping ones are cut into fragments that do not overlap, sorted, each
 * with the sequence numbers of all that cover it. Then "what is the newest deletion of this key that a reader at S sees"
 * is one binary search. (RocksDB and Pebble fragment theirs the same way.)
 *
 * A set never changes, so an iterator keeps the one that it began with. Sets are put together by `mergeRangeDeletes`,
 * which forgets sequence numbers that nobody can tell from newer ones: else n nested ranges would have n² of them.
 */
import { compareBytes } from "../lib/bytes.ts";
import { compareRanges } from "./cursor.ts";
import type { RangeTombstone } from "./range-tombstone.ts";

/**
 * Whether somebody reads at a sequence number from `older` on and below `newer`: then of two tombstones over the same
 * keys the older one counts for somebody, too.
 */
export type StillRead = (older: number, newer: number) => boolean;

/** Somebody may read anywhere. */
export const READ_EVERYWHERE: StillRead = () => true;

export class RangeDeletes {
  /** Fragment i is from `starts[i]` on and below `ends[i]`. Ascending, disjoint, none empty. */
  readonly starts: readonly Uint8Array[];
  readonly ends: readonly Uint8Array[];
  /** The sequence numbers of fragment i, highest first, at least one. */
  readonly sequences: readonly (readonly number[])[];

  constructor(
    starts: readonly Uint8Array[],
    ends: readonly Uint8Array[],
    sequences: readonly (readonly number[])[],
  ) {
    this.starts = starts;
    this.ends = ends;
    this.sequences = sequences;
  }

  /** Of any tombstones, in any order. Their keys are borrowed for ever. */
  static of(tombstones: readonly RangeTombstone[], stillRead = READ_EVERYWHERE): RangeDeletes {
    return mergeRangeDeletes(
      tombstones.map(({ start, end, sequence }) => new RangeDeletes([start], [end], [[sequence]])),
      stillRead,
    );
  }

  /** Fragments. */
  get count(): number {
    return this.starts.length;
  }

  /** The number of the first fragment that does not end at or before `key[start, end)`; `count` if there is none. */
  indexOf(key: Uint8Array, start: number, end: number): number {
    const { ends } = this;
    let low = 0;
    let high = ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = ends[middle]!;
      if (compareRanges(other, 0, other.length, key, start, end) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The highest sequence number not above `sequence` at which `key[start, end)` was deleted; 0 if there is none. */
  newestOver(key: Uint8Array, start: number, end: number, sequence: number): number {
    const index = this.indexOf(key, start, end);
    if (index === this.starts.length) return 0;
    const from = this.starts[index]!;
    return compareRanges(from, 0, from.length, key, start, end) > 0 ? 0 : this.newestIn(index, sequence);
  }

  /** The highest sequence number of fragment `index` that is not above `sequence`; 0 if there is none. */
  newestIn(index: number, sequence: number): number {
    for (const one of this.sequences[index]!) if (one <= sequence) return one;
    return 0;
  }
}

export const NO_RANGE_DELETES = new RangeDeletes([], [], []);

/** All of `sets` as one, without the sequence numbers that nobody can tell from newer ones. */
export function mergeRangeDeletes(sets: readonly RangeDeletes[], stillRead: StillRead): RangeDeletes {
  if (sets.length === 0) return NO_RANGE_DELETES;
  if (sets.length === 1) return sets[0]!;
  const middle = sets.length >> 1;
  return mergeTwo(
    mergeRangeDeletes(sets.slice(0, middle), stillRead),
    mergeRangeDeletes(sets.slice(middle), stillRead),
    stillRead,
  );
}

function mergeTwo(a: RangeDeletes, b: RangeDeletes, stillRead: StillRead): RangeDeletes {
  if (a.count === 0) return b;
  if (b.count === 0) return a;
  const out = new Fragments();
  let i = 0;
  let j = 0;
  // Where what is left of the two fragments begins; `undefined` behind the last one.
  let aStart = a.starts[0];
  let bStart = b.starts[0];
  while (aStart !== undefined && bStart !== undefined) {
    const order = compareBytes(aStart, bStart);
    if (order < 0) {
      if (compareBytes(a.ends[i]!, bStart) <= 0) {
        out.add(aStart, a.ends[i]!, a.sequences[i]!);
        aStart = a.starts[++i];
      } else {
        out.add(aStart, bStart, a.sequences[i]!);
        aStart = bStart;
      }
    } else if (order > 0) {
      if (compareBytes(b.ends[j]!, aStart) <= 0) {
        out.add(bStart, b.ends[j]!, b.sequences[j]!);
        bStart = b.starts[++j];
      } else {
        out.add(bStart, aStart, b.sequences[j]!);
        bStart = aStart;
      }
    } else {
      const ends = compareBytes(a.ends[i]!, b.ends[j]!);
      const end = ends <= 0 ? a.ends[i]! : b.ends[j]!;
      out.add(aStart, end, mergeSequences(a.sequences[i]!, b.sequences[j]!, stillRead));
      aStart = ends <= 0 ? a.starts[++i] : end;
      bStart = ends >= 0 ? b.starts[++j] : end;
    }
  }
  for (; aStart !== undefined; aStart = a.starts[++i]) out.add(aStart, a.ends[i]!, a.sequences[i]!);
  for (; bStart !== undefined; bStart = b.starts[++j]) out.add(bStart, b.ends[j]!, b.sequences[j]!);
  return out.take();
}

function mergeSequences(a: readonly number[], b: readonly number[], stillRead: StillRead): readonly number[] {
  const merged: number[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const next = j === b.length || (i < a.length && a[i]! >= b[j]!) ? a[i++]! : b[j++]!;
    const newer = merged.at(-1);
    if (newer === undefined || (next < newer && stillRead(next, newer))) merged.push(next);
  }
  return merged;
}

/** Fragments that are added in order; neighbours with the same sequence numbers become one. */
class Fragments {
  readonly #starts: Uint8Array[] = [];
  readonly #ends: Uint8Array[] = [];
  readonly #sequences: (readonly number[])[] = [];

  add(start: Uint8Array, end: Uint8Array, sequences: readonly number[]): void {
    const last = this.#starts.length - 1;
    if (
      last >= 0 &&
      sameNumbers(this.#sequences[last]!, sequences) &&
      compareBytes(this.#ends[last]!, start) === 0
    ) {
      this.#ends[last] = end;
      return;
    }
    this.#starts.push(start);
    this.#ends.push(end);
    this.#sequences.push(sequences);
  }

  take(): RangeDeletes {
    return new RangeDeletes(this.#starts, this.#ends, this.#sequences);
  }
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
