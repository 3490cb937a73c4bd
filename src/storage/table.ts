import { assert } from "../lib/assert.ts";
import type { TableMeta } from "./manifest.ts";
import { NO_RANGE_DELETES, RangeDeletes } from "./range-deletes.ts";
import type { TableCache } from "./table-cache.ts";
import type { TableReader } from "./table-reader.ts";

/**
 * A table file and who holds it. It is opened when it is first read, and again when the bound on open tables has closed
 * it meanwhile. A reader that lives longer than one call must `pin` it.
 */
export class Table {
  /** Replaced when the table moves to another level; nothing else of it changes then. */
  meta: TableMeta;
  /** Set on every use but the one that opens it, cleared by the table cache. */
  used = false;
  /** Where the table cache keeps it. */
  position = -1;
  readonly #cache: TableCache;
  #reader: TableReader | undefined;
  #rangeDeletes: RangeDeletes | undefined;
  #holders = 0;
  #pins = 0;
  #dropped = false;

  /** Held by nobody yet. */
  constructor(meta: TableMeta, cache: TableCache) {
    this.meta = meta;
    this.#cache = cache;
  }

  /** To be used before any other table is asked for its reader. Throws `CORRUPT` or `FileError`. */
  get reader(): TableReader {
    const reader = this.#reader;
    if (reader === undefined) return this.#open();
    this.used = true;
    return reader;
  }

  /** The table's range tombstones; in memory as long as the table is open. Throws `CORRUPT` or `FileError`. */
  get rangeDeletes(): RangeDeletes {
    if (this.meta.rangeTombstones === 0) return NO_RANGE_DELETES;
    this.#rangeDeletes ??= RangeDeletes.of(this.reader.rangeTombstones());
    return this.#rangeDeletes;
  }

  /** The reader, kept open until `unpin`. Throws `CORRUPT` or `FileError`, and is not pinned then. */
  pin(): TableReader {
    const { reader } = this;
    this.#pins++;
    return reader;
  }

  unpin(): void {
    assert(this.#pins > 0, `table ${this.meta.number} is unpinned more often than pinned`);
    this.#pins--;
  }

  get pinned(): boolean {
    return this.#pins > 0;
  }

  /** The file stays until `release`. */
  hold(): void {
    this.#holders++;
  }

  release(): void {
    assert(this.#holders > 0, `table ${this.meta.number} is let go more often than held`);
    this.#holders--;
    if (this.#holders > 0) return;
    if (this.#reader !== undefined) {
      this.#cache.forget(this);
      this.closeReader();
    }
    if (this.#dropped) this.#cache.removeFile(this.meta.number);
  }

  /** The manifest names it no more, durably: its file goes with the last holder. */
  drop(): void {
    this.#dropped = true;
  }

  /** For the table cache. */
  closeReader(): void {
    this.#reader?.close();
    this.#reader = undefined;
    this.#rangeDeletes = undefined;
  }

  #open(): TableReader {
    assert(this.#holders > 0, `table ${this.meta.number} is read, but held by nobody`);
    this.#cache.makeRoom();
    this.#reader = this.#cache.open(this.meta.number);
    this.used = false;
    this.#cache.remember(this);
    return this.#reader;
  }
}
