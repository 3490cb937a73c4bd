import { compareBytes } from "../lib/bytes.ts";
import { type Cursor, NO_ENTRY } from "./cursor.ts";
import type { Table } from "./table.ts";

/** Tables that follow each other by key, as one cursor; a table is opened when the cursor gets there, and pinned while it is in it. */
export class LevelCursor implements Cursor {
  valid = false;
  entry = NO_ENTRY;
  readonly #tables: readonly Table[];
  #index = -1;
  #inner: Cursor | undefined;

  constructor(tables: readonly Table[]) {
    this.#tables = tables;
  }

  /** Lets go of the table that it is in, and is at no entry. To be called in the end. */
  close(): void {
    this.#leave();
    this.valid = false;
  }

  seekToFirst(): void {
    if (this.#enter(0)) this.#inner!.seekToFirst();
    this.#publish();
  }

  seekToLast(): void {
    if (this.#enter(this.#tables.length - 1)) this.#inner!.seekToLast();
    this.#publish();
  }

  seek(key: Uint8Array, sequence: number): void {
    const index = firstNotBelow(this.#tables, key);
    if (this.#enter(index)) {
      this.#inner!.seek(key, sequence);
      // The table's last key may be the one sought, but only in versions that are newer than asked for.
      if (!this.#inner!.valid && this.#enter(index + 1)) this.#inner!.seekToFirst();
    }
    this.#publish();
  }

  seekBefore(key: Uint8Array): void {
    const index = firstNotBelow(this.#tables, key);
    if (index === this.#tables.length) {
      this.seekToLast();
      return;
    }
    this.#enter(index);
    if (compareBytes(this.#tables[index]!.meta.smallestKey, key) < 0) this.#inner!.seekBefore(key);
    else if (this.#enter(index - 1)) this.#inner!.seekToLast();
    this.#publish();
  }

  next(): void {
    this.#inner!.next();
    if (!this.#inner!.valid && this.#enter(this.#index + 1)) this.#inner!.seekToFirst();
    this.#publish();
  }

  prev(): void {
    this.#inner!.prev();
    if (!this.#inner!.valid && this.#enter(this.#index - 1)) this.#inner!.seekToLast();
    this.#publish();
  }

  /** Goes over to the table `index`; false if there is none. */
  #enter(index: number): boolean {
    if (index === this.#index && this.#inner !== undefined) return true;
    this.#leave();
    const table = this.#tables[index];
    if (table === undefined) return false;
    this.#inner = table.pin().cursor();
    this.#index = index;
    return true;
  }

  #leave(): void {
    if (this.#inner === undefined) return;
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

/** The first table whose largest key is not below `key`. */
export function firstNotBelow(tables: readonly Table[], key: Uint8Array): number {
  let low = 0;
  let high = tables.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(tables[middle]!.meta.largestKey, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
