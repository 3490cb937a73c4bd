/**
 * What of the entries that a background job meets somebody may still see. The snapshots cut the sequence numbers into
 * stripes: two versions in one stripe look the same to everybody, so of a key only the newest counts in each.
 *
 * - A range tombstone hides the entries below it in its own stripe for everybody; those in older stripes have readers
 *   who are older than it.
 * - A put that has expired at the store's time, which no reader is before, is a tombstone from now on: it goes on hiding
 *   what it has overwritten.
 * - A tombstone, of a key or of a range, goes when it is in the oldest stripe (all that it hides goes with it) and no
 *   deeper table can hold what it hides.
 */
import { compareRanges, type Entry, SEQUENCE_MAX } from "./cursor.ts";
import { copyBytes } from "./fixed-width.ts";
import { containsKey, endsBefore, type KeyRange, overlapping } from "./key-range.ts";
import { RangeDeletes } from "./range-deletes.ts";

/** How snapshots cut the sequence numbers: 0 is the oldest stripe, and each ends with the number that its snapshot reads at. */
export class Stripes {
  /** Ascending. */
  readonly #snapshots: readonly number[];

  constructor(snapshots: readonly number[]) {
    this.#snapshots = snapshots;
  }

  of(sequence: number): number {
    const snapshots = this.#snapshots;
    let low = 0;
    let high = snapshots.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (snapshots[middle]! < sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The highest sequence number in a stripe. */
  top(stripe: number): number {
    return this.#snapshots[stripe] ?? SEQUENCE_MAX;
  }
}

export class Visibility {
  readonly #stripes: Stripes;
  readonly #now: number;
  readonly #rangeDeletes: RangeDeletes;
  readonly #deeper: readonly KeyRange[] | undefined;
  /** The first range that does not end at or before the entry's key. */
  #range = 0;
  /** The first of the deeper ranges that does not end before the last tombstone's key. */
  #deeperAt = 0;
  #key = new Uint8Array(256);
  #keyLength = -1;
  #stripe = -1;
  #kept = false;
  #isFirstOfKey = false;

  /**
   * `now`: the store's time. `rangeDeletes`: those of all that is met. `deeper`: ranges that tables below the output lie
   * in, disjoint and in order; `undefined`: there may be anything below.
   */
  constructor(
    stripes: Stripes,
    now: number,
    rangeDeletes: RangeDeletes,
    deeper: readonly KeyRange[] | undefined,
  ) {
    this.#stripes = stripes;
    this.#now = now;
    this.#rangeDeletes = rangeDeletes;
    this.#deeper = deeper;
  }

  /** Whether the entry that was kept last is the first of its key that was. */
  get isFirstOfKey(): boolean {
    return this.#isFirstOfKey;
  }

  /** Whether an entry, met in inner order, has to stay. What has expired is made a tombstone. */
  keeps(entry: Entry): boolean {
    const { keyBytes, keyStart, keyEnd } = entry;
    const stripe = this.#stripes.of(entry.sequence);
    if (compareRanges(this.#key, 0, this.#keyLength, keyBytes, keyStart, keyEnd) !== 0) {
      this.#remember(entry);
      this.#kept = false;
    } else if (stripe === this.#stripe) {
      return false;
    }
    this.#stripe = stripe;
    if (this.#rangeDeletes.count > 0 && this.#newestRangeDelete(entry, stripe) > entry.sequence) return false;
    if (entry.expiresAt !== 0 && entry.expiresAt <= this.#now) entry.tombstone = true;
    if (entry.tombstone && stripe === 0 && this.#deeper !== undefined && !this.#isDeeper()) return false;
    this.#isFirstOfKey = !this.#kept;
    this.#kept = true;
    return true;
  }

  /** The range tombstones that have to stay, each stripe's newest only. */
  keptRangeDeletes(): RangeDeletes {
    const starts: Uint8Array[] = [];
    const ends: Uint8Array[] = [];
    const sequences: number[][] = [];
    for (const [index, all] of this.#rangeDeletes.sequences.entries()) {
      const start = this.#rangeDeletes.starts[index]!;
      const end = this.#rangeDeletes.ends[index]!;
      const kept = all.filter((sequence, i) => {
        const stripe = this.#stripes.of(sequence);
        if (i > 0 && this.#stripes.of(all[i - 1]!) === stripe) return false;
        return stripe > 0 || this.#deeper === undefined || this.#isDeeperRange(start, end);
      });
      if (kept.length === 0) continue;
      starts.push(start);
      ends.push(end);
      sequences.push(kept);
    }
    return new RangeDeletes(starts, ends, sequences);
  }

  #newestRangeDelete({ keyBytes, keyStart, keyEnd }: Entry, stripe: number): number {
    const { starts, ends } = this.#rangeDeletes;
    for (; this.#range < ends.length; this.#range++) {
      const end = ends[this.#range]!;
      if (compareRanges(end, 0, end.length, keyBytes, keyStart, keyEnd) > 0) break;
    }
    const start = starts[this.#range];
    if (start === undefined || compareRanges(start, 0, start.length, keyBytes, keyStart, keyEnd) > 0)
      return 0;
    return this.#rangeDeletes.newestIn(this.#range, this.#stripes.top(stripe));
  }

  /** Keys come in order, and so do the ranges. */
  #isDeeper(): boolean {
    const deeper = this.#deeper!;
    const key = this.#key.subarray(0, this.#keyLength);
    while (this.#deeperAt < deeper.length && endsBefore(deeper[this.#deeperAt]!, key)) this.#deeperAt++;
    return this.#deeperAt < deeper.length && containsKey(deeper[this.#deeperAt]!, key);
  }

  #isDeeperRange(start: Uint8Array, end: Uint8Array): boolean {
    const range: KeyRange = { smallestKey: start, largestKey: end, largestKeyIncluded: false };
    return overlapping(this.#deeper!, range).length > 0;
  }

  #remember({ keyBytes, keyStart, keyEnd }: Entry): void {
    const length = keyEnd - keyStart;
    if (length > this.#key.length) this.#key = new Uint8Array(length * 2);
    copyBytes(this.#key, 0, keyBytes, keyStart, keyEnd);
    this.#keyLength = length;
  }
}
