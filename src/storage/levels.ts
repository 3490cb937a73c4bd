/**
 * The tables that make up the store at one moment, by level, and how to read them. Tables are shared by whoever reads
 * them: the engine holds each one that the manifest names, an iterator each one that it walks over. When the last one
 * lets go of a table that the manifest has dropped, its file is removed.
 */
import type { FileSystem } from "../env/env.ts";
import { assert } from "../lib/assert.ts";
import { compareBytes } from "../lib/bytes.ts";
import type { BlockCache } from "./block-cache.ts";
import { bloomHash } from "./bloom.ts";
import { LEVELS } from "./compaction-policy.ts";
import { type Cursor, NO_ENTRY } from "./cursor.ts";
import { filePath } from "./file-names.ts";
import type { TableMeta } from "./manifest.ts";
import { TableReader } from "./table-reader.ts";

/** A table file and who holds it. Opened when it is first read. */
class Table {
  readonly meta: TableMeta;
  readonly #fs: FileSystem;
  readonly #path: string;
  readonly #cache: BlockCache;
  #reader: TableReader | undefined;
  #holders = 1;
  #dropped = false;

  constructor(fs: FileSystem, directory: string, meta: TableMeta, cache: BlockCache) {
    this.meta = meta;
    this.#fs = fs;
    this.#path = filePath(directory, meta.number, "table");
    this.#cache = cache;
  }

  get reader(): TableReader {
    this.#reader ??= TableReader.open(this.#fs, this.#path, this.meta.number, this.#cache);
    return this.#reader;
  }

  /** Whether `key` lies within the table's range. */
  covers(key: Uint8Array): boolean {
    return compareBytes(this.meta.smallestKey, key) <= 0 && compareBytes(key, this.meta.largestKey) <= 0;
  }

  hold(): void {
    assert(this.#holders > 0, `table ${this.meta.number} is held after it was let go`);
    this.#holders++;
  }

  release(): void {
    this.#holders--;
    if (this.#holders > 0) return;
    this.#reader?.close();
    if (this.#dropped) this.#fs.remove(this.#path);
  }

  /** The manifest names it no more, durably. */
  drop(): void {
    this.#dropped = true;
    this.release();
  }
}

export class Levels {
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #cache: BlockCache;
  /** Level 0 newest first, the others by key. Replaced, never changed, so that iterators keep what they began with. */
  #levels: readonly (readonly Table[])[];

  constructor(fs: FileSystem, directory: string, cache: BlockCache, tables: readonly TableMeta[]) {
    this.#fs = fs;
    this.#directory = directory;
    this.#cache = cache;
    this.#levels = Array.from({ length: LEVELS }, () => []);
    this.change(tables, []);
  }

  get metas(): readonly (readonly TableMeta[])[] {
    return this.#levels.map((tables) => tables.map((table) => table.meta));
  }

  tableCount(level: number): number {
    return this.#levels[level]!.length;
  }

  /** Makes an edit that is durable in the manifest the state that is read. */
  change(added: readonly TableMeta[], removed: readonly number[]): void {
    const gone = new Set(removed);
    const dropped: Table[] = [];
    this.#levels = this.#levels.map((tables, level) => {
      const kept = tables.filter((table) => {
        if (!gone.has(table.meta.number)) return true;
        dropped.push(table);
        return false;
      });
      for (const meta of added) {
        if (meta.level === level) kept.push(new Table(this.#fs, this.#directory, meta, this.#cache));
      }
      return kept.sort(level === 0 ? newestFirst : byKey);
    });
    assert(
      dropped.length === removed.length,
      `an edit removes ${removed.length} tables, ${dropped.length} are there`,
    );
    for (const table of dropped) table.drop();
  }

  /** The newest value of `key` not above `sequence`: borrowed; `null` for a tombstone, `undefined` if there is none. */
  get(key: Uint8Array, sequence: number): Uint8Array | null | undefined {
    const hash = bloomHash(key);
    const levels = this.#levels;
    for (const table of levels[0]!) {
      if (!table.covers(key)) continue;
      const found = table.reader.get(key, sequence, hash);
      if (found !== undefined) return found;
    }
    for (let level = 1; level < LEVELS; level++) {
      const tables = levels[level]!;
      const index = firstNotBelow(tables, key);
      if (index === tables.length || compareBytes(tables[index]!.meta.smallestKey, key) > 0) continue;
      const found = tables[index]!.reader.get(key, sequence, hash);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Cursors over all tables, newest first, and what lets go of the tables. */
  cursors(): { cursors: Cursor[]; release: () => void } {
    const held: Table[] = [];
    const cursors: Cursor[] = [];
    for (const [level, tables] of this.#levels.entries()) {
      if (tables.length === 0) continue;
      for (const table of tables) {
        table.hold();
        held.push(table);
        if (level === 0) cursors.push(new LevelCursor([table]));
      }
      if (level > 0) cursors.push(new LevelCursor(tables));
    }
    return {
      cursors,
      release: () => {
        for (const table of held) table.release();
      },
    };
  }

  /** Keeps the files of all tables that are there now, until the result is called. */
  hold(): () => void {
    const held = this.#levels.flat();
    for (const table of held) table.hold();
    return () => {
      for (const table of held) table.release();
    };
  }

  close(): void {
    for (const tables of this.#levels) for (const table of tables) table.release();
    this.#levels = Array.from({ length: LEVELS }, () => []);
  }
}

function newestFirst(a: Table, b: Table): number {
  return b.meta.largestSequence - a.meta.largestSequence;
}

function byKey(a: Table, b: Table): number {
  return compareBytes(a.meta.smallestKey, b.meta.smallestKey);
}

/** The first table whose largest key is not below `key`. */
function firstNotBelow(tables: readonly Table[], key: Uint8Array): number {
  let low = 0;
  let high = tables.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(tables[middle]!.meta.largestKey, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Tables that follow each other by key, as one cursor; a table is opened when the cursor gets there. */
class LevelCursor implements Cursor {
  valid = false;
  entry = NO_ENTRY;
  readonly #tables: readonly Table[];
  #index = -1;
  #inner: Cursor | undefined;

  constructor(tables: readonly Table[]) {
    this.#tables = tables;
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
    const table = this.#tables[index];
    if (table === undefined) {
      this.#inner = undefined;
      this.#index = -1;
      return false;
    }
    if (index !== this.#index) this.#inner = table.reader.cursor();
    this.#index = index;
    return true;
  }

  #publish(): void {
    const inner = this.#inner;
    this.valid = inner?.valid === true;
    if (inner !== undefined) this.entry = inner.entry;
  }
}
