import { compareBytes } from "../lib/bytes.ts";
import { compareRanges } from "./cursor.ts";
import { firstNotBelow } from "./level-cursor.ts";
import type { MergeCursor } from "./merge-cursor.ts";
import type { RangeDeletes } from "./range-deletes.ts";
import type { Table } from "./table.ts";

/**
 * The newest range deletion over where a scan is, among everything that it reads. What was found for one key holds for
 * all keys up to where some fragment begins or ends; so most steps of a scan cost one comparison, and a scan over
 * sources without range tombstones has no `RangeCover` at all. Where much was deleted at once, the sources that are
 * older than the deletion `leap` over its range: for every key, all that they have is older than it.
 */
export class RangeCover {
  readonly #cursor: MergeCursor;
  readonly #sources: readonly RangeDeleteSource[];
  readonly #sequence: number;
  readonly #reverse: boolean;
  /** Of the fragments over the key that was asked for last: the one that most sources are older than. */
  #leapOver: RangeDeletes | undefined;
  #leapFragment = 0;
  #leapBy: RangeDeleteSource | undefined;
  #locating: RangeDeleteSource | undefined;
  #known = false;
  #newest = 0;
  /** The answer holds from `#from` on and below `#until`; `undefined`: there is no bound. */
  #from: Uint8Array | undefined;
  #until: Uint8Array | undefined;

  /** `cursor`: what the scan reads. `sequence`: what it reads at. `reverse`: whether the keys asked for go down. */
  constructor(
    cursor: MergeCursor,
    sources: readonly RangeDeleteSource[],
    sequence: number,
    reverse: boolean,
  ) {
    this.#cursor = cursor;
    this.#sources = sources;
    this.#sequence = sequence;
    this.#reverse = reverse;
  }

  /** The highest sequence number at which `key[start, end)` was deleted as part of a range; 0 if there is none. */
  newestOver(key: Uint8Array, start: number, end: number): number {
    if (!this.#holdsFor(key, start, end)) this.#find(key, start, end);
    return this.#newest;
  }

  /** The scan goes on elsewhere. */
  forget(): void {
    this.#known = false;
  }

  /** Moves what is older than the deletion over the key that was asked for last on to where that range ends. */
  leap(): void {
    const over = this.#leapOver;
    if (over === undefined) return;
    const { olderFrom, olderTo } = this.#leapBy!;
    if (this.#reverse) this.#cursor.leapBefore(olderFrom, olderTo, over.starts[this.#leapFragment]!);
    else this.#cursor.leapTo(olderFrom, olderTo, over.ends[this.#leapFragment]!);
  }

  /** For a source: no range of it has the key; from `from` on and below `until` none begins or ends. */
  outside(from: Uint8Array | undefined, until: Uint8Array | undefined): void {
    if (from !== undefined && (this.#from === undefined || isBelow(this.#from, from))) this.#from = from;
    if (until !== undefined && (this.#until === undefined || isBelow(until, this.#until)))
      this.#until = until;
  }

  /** For a source: the key lies in this fragment. */
  inside(deletes: RangeDeletes, fragment: number): void {
    this.outside(deletes.starts[fragment], deletes.ends[fragment]);
    const newest = deletes.newestIn(fragment, this.#sequence);
    if (newest > this.#newest) this.#newest = newest;
    const source = this.#locating!;
    if (newest > 0 && (this.#leapBy === undefined || olderThan(source) > olderThan(this.#leapBy))) {
      this.#leapBy = source;
      this.#leapOver = deletes;
      this.#leapFragment = fragment;
    }
  }

  /** Keys only go one way, so only one of the two bounds can be crossed. */
  #holdsFor(key: Uint8Array, start: number, end: number): boolean {
    if (!this.#known) return false;
    if (this.#reverse) {
      const from = this.#from;
      return from === undefined || compareRanges(from, 0, from.length, key, start, end) <= 0;
    }
    const until = this.#until;
    return until === undefined || compareRanges(until, 0, until.length, key, start, end) > 0;
  }

  #find(key: Uint8Array, start: number, end: number): void {
    this.#known = true;
    this.#newest = 0;
    this.#from = undefined;
    this.#until = undefined;
    this.#leapBy = undefined;
    this.#leapOver = undefined;
    for (const source of this.#sources) {
      this.#locating = source;
      source.locate(key, start, end, this);
    }
  }
}

/** Something with range tombstones: tells `cover` what it has over a key, and how far that holds. */
export interface RangeDeleteSource {
  /** Of the cursors that the scan merges, those from `olderFrom` on and below `olderTo` have only what is older. */
  readonly olderFrom: number;
  readonly olderTo: number;
  locate(key: Uint8Array, start: number, end: number, cover: RangeCover): void;
}

function olderThan({ olderFrom, olderTo }: RangeDeleteSource): number {
  return olderTo - olderFrom;
}

/** The range tombstones of a memtable's set. */
export class SetSource implements RangeDeleteSource {
  readonly olderFrom = 0;
  readonly olderTo: number;
  readonly #deletes: RangeDeletes;

  /** The cursors below `olderTo` are older. */
  constructor(deletes: RangeDeletes, olderTo: number) {
    this.#deletes = deletes;
    this.olderTo = olderTo;
  }

  locate(key: Uint8Array, start: number, end: number, cover: RangeCover): void {
    locateIn(this.#deletes, key, start, end, cover);
  }
}

/** The range tombstones of tables that follow each other by key; a table's are read when a scan gets there. */
export class TablesSource implements RangeDeleteSource {
  readonly olderFrom: number;
  readonly olderTo: number;
  readonly #tables: readonly Table[];

  /** All of `tables` have range tombstones, and are held. The cursors `[olderFrom, olderTo)` are older. */
  constructor(tables: readonly Table[], olderFrom: number, olderTo: number) {
    this.#tables = tables;
    this.olderFrom = olderFrom;
    this.olderTo = olderTo;
  }

  locate(key: Uint8Array, start: number, end: number, cover: RangeCover): void {
    const tables = this.#tables;
    const sought = key.subarray(start, end);
    const index = firstNotBelow(tables, sought);
    const table = tables[index];
    // A table that ends with its largest key included has no range over that key: then it would end behind it.
    const before = tables[index - 1]?.meta.largestKey;
    if (table === undefined || isBelow(sought, table.meta.smallestKey)) {
      cover.outside(before, table?.meta.smallestKey);
    } else {
      cover.outside(table.meta.smallestKey, table.meta.largestKey);
      locateIn(table.rangeDeletes, key, start, end, cover);
    }
  }
}

function locateIn(
  deletes: RangeDeletes,
  key: Uint8Array,
  start: number,
  end: number,
  cover: RangeCover,
): void {
  const index = deletes.indexOf(key, start, end);
  const from = deletes.starts[index];
  if (from !== undefined && compareRanges(from, 0, from.length, key, start, end) <= 0) {
    cover.inside(deletes, index);
  } else {
    cover.outside(deletes.ends[index - 1], from);
  }
}

function isBelow(a: Uint8Array, b: Uint8Array): boolean {
  return compareBytes(a, b) < 0;
}
