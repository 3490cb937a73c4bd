import { compareBytes } from "../lib/bytes.ts";
import { type Cursor, NO_ENTRY } from "./cursor.ts";
import { endsBefore } from "./key-range.ts";
import type { Table } from "./table.ts";
import type { TableCursor } from "./table-cursor.ts";

/** Tables that follow each other by key, as one cursor; a table is opened when the cursor gets there, and pinned while it is in it. */
export class LevelCursor implements Cursor {
  valid = false;
  entry = NO_ENTRY;
  readonly #tables: readonly Table[];
  #index = -1;
  #inner: TableCursor | undefined;
  /** In the table that it was in before: an entry's value may be looked at when the cursor has moved on by one. */
  #before: TableCursor | undefined;
  /** A closed one, for the next table: seeks go from table to table. */
  #spare: TableCursor | undefined;

  constructor(tables: readonly Table[]) {
    this.#tables = tables;
  }

  /** Lets go of the table that it is in, and is at no entry. To be called in the end. */
  close(): void {
    this.#leave();
    this.#before?.close();
    this.#before = undefined;
    this.valid = false;
  }

  seekToFirst(): void {
    this.#firstFrom(0);
    this.#publish();
  }

  seekToLast(): void {
    this.#lastFrom(this.#tables.length - 1);
    this.#publish();
  }

  seek(key: Uint8Array, sequence: number): void {
    const index = firstNotBelow(this.#tables, key);
    if (this.#enter(index)) {
      this.#inner!.seek(key, sequence);
      // The table may end with a range tombstone, or with the key sought in versions that are newer than asked for.
      if (!this.#inner!.valid) this.#firstFrom(index + 1);
    }
    this.#publish();
  }

  seekBefore(key: Uint8Array): void {
    const index = firstNotBelow(this.#tables, key);
    const table = this.#tables[index];
    if (table !== undefined && compareBytes(table.meta.smallestKey, key) < 0) {
      this.#enter(index);
      this.#inner!.seekBefore(key);
      if (!this.#inner!.valid) this.#lastFrom(index - 1);
    } else {
      this.#lastFrom(index - 1);
    }
    this.#publish();
  }

  next(): void {
    this.#inner!.next();
    if (!this.#inner!.valid) this.#firstFrom(this.#index + 1);
    this.#publish();
  }

  prev(): void {
    this.#inner!.prev();
    if (!this.#inner!.valid) this.#lastFrom(this.#index - 1);
    this.#publish();
  }

  /**
   * To the first entry of the table `index` or of those behind it. Those that have nothing but range tombstones are not
   * entered: to step through them would be more than one move, after which an entry's value may not be looked at.
   */
  #firstFrom(index: number): void {
    let at = index;
    while (this.#tables[at]?.meta.entries === 0) at++;
    if (this.#enter(at)) this.#inner!.seekToFirst();
  }

  /** To the last entry of the table `index` or of those before it, in the same way. */
  #lastFrom(index: number): void {
    let at = index;
    while (this.#tables[at]?.meta.entries === 0) at--;
    if (this.#enter(at)) this.#inner!.seekToLast();
  }

  /** Goes over to the table `index`; false if there is none. */
  #enter(index: number): boolean {
    if (index === this.#index && this.#inner !== undefined) return true;
    this.#leave();
    const table = this.#tables[index];
    if (table === undefined) return false;
    this.#inner = table.pin().cursor(this.#spare);
    this.#spare = undefined;
    this.#index = index;
    return true;
  }

  #leave(): void {
    if (this.#inner === undefined) return;
    this.#before?.close();
    this.#spare = this.#before;
    this.#before = this.#inner;
    this.#inner = undefined;
    this.#tables[this.#index]!.unpin();
    this.#index = -1;
  }

  #publish(): void {
    const inner = this.#inner;
    this.valid = inner?.valid === true;
    if (inner !== undefined) this.entry = inner.entry;
  }
}

/** The first table that does not lie below `key`. */
export function firstNotBelow(tables: readonly Table[], key: Uint8Array): number {
  let low = 0;
  let high = tables.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (endsBefore(tables[middle]!.meta, key)) low = middle + 1;
    else high = middle;
  }
  return low;
}
