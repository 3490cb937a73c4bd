/**
 * The tables that make up the store at one moment, by level, and how to read them. Tables are shared by whoever reads
 * them: the engine holds each one that the manifest names, an iterator each one that it walks over. When the last one
 * lets go of a table that the manifest has dropped, its file is removed.
 */
import { assert } from "../lib/assert.ts";
import { compareBytes } from "../lib/bytes.ts";
import { bloomHash } from "./bloom.ts";
import { LEVELS } from "./compaction-plan.ts";
import { type Cursor, type Entry, isGone, SEQUENCE_MAX } from "./cursor.ts";
import { containsKey } from "./key-range.ts";
import { type KeyTraceStep, settles, verdictOf } from "./key-trace.ts";
import { firstNotBelow, LevelCursor } from "./level-cursor.ts";
import type { TableMeta } from "./manifest.ts";
import { type RangeDeleteSource, TablesSource } from "./range-cover.ts";
import { Table } from "./table.ts";
import type { TableCache } from "./table-cache.ts";

export class Levels {
  readonly #cache: TableCache;
  readonly #reads = new Float64Array(LEVELS);
  #version = new Version(NO_TABLES);

  constructor(cache: TableCache, tables: readonly TableMeta[]) {
    this.#cache = cache;
    this.change(tables, []);
  }

  /** Another object after each change, the same until then. */
  get metas(): readonly (readonly TableMeta[])[] {
    return this.#version.metas;
  }

  /** For each level, how many times a `get` looked into one of its tables, its filter included. */
  get reads(): number[] {
    return [...this.#reads];
  }

  tableCount(level: number): number {
    return this.#version.levels[level]!.length;
  }

  /**
   * Makes an edit that is durable in the manifest the state that is read. A table that is both removed and added has
   * moved: its file and its reader stay.
   */
  change(added: readonly TableMeta[], removed: readonly number[]): void {
    const gone = new Map<number, Table | undefined>(removed.map((number) => [number, undefined]));
    const kept = this.#version.levels.map((tables) =>
      tables.filter((table) => {
        if (!gone.has(table.meta.number)) return true;
        gone.set(table.meta.number, table);
        return false;
      }),
    );
    const missing = removed.filter((number) => gone.get(number) === undefined);
    assert(missing.length === 0, `an edit removes ${missing.join(", ")}, which are not there`);
    for (const meta of added) {
      const moved = gone.get(meta.number);
      gone.delete(meta.number);
      if (moved !== undefined) moved.meta = meta;
      kept[meta.level]!.push(moved ?? new Table(meta, this.#cache));
    }
    const levels = kept.map((tables, level) => tables.sort(level === 0 ? newestFirst : byKey));
    for (const table of gone.values()) table!.drop();
    this.#replace(new Version(levels));
  }

  /**
   * The value of `key` at `sequence` and the time `now`, as far as the tables know: borrowed, valid until the next block
   * is read; `undefined` if there is none. The first table that has an entry or a range tombstone for the key settles
   * it: for every key, what is deeper is older.
   */
  get(key: Uint8Array, sequence: number, now: number): Uint8Array | undefined {
    const hash = bloomHash(key);
    const { levels } = this.#version;
    for (const table of levels[0]!) {
      if (!containsKey(table.meta, key)) continue;
      this.#reads[0]!++;
      const rangeDelete = newestRangeDelete(table, key, sequence);
      const entry = table.reader.get(key, sequence, hash);
      if (entry !== undefined) return visibleValue(entry, rangeDelete, now);
      if (rangeDelete !== 0) return undefined;
    }
    for (let level = 1; level < LEVELS; level++) {
      const tables = levels[level]!;
      const index = firstNotBelow(tables, key);
      if (index === tables.length) continue;
      const table = tables[index]!;
      if (compareBytes(table.meta.smallestKey, key) > 0) continue;
      this.#reads[level]!++;
      const rangeDelete = newestRangeDelete(table, key, sequence);
      const entry = table.reader.get(key, sequence, hash);
      if (entry !== undefined) return visibleValue(entry, rangeDelete, now);
      if (rangeDelete !== 0) return undefined;
    }
    return undefined;
  }

  /** Adds to `steps` where `get` looks, up to what settles it; the entry there. As borrowed as that of a table's reader. */
  trace(key: Uint8Array, now: number, steps: KeyTraceStep[]): Entry | undefined {
    const hash = bloomHash(key);
    for (const [level, tables] of this.#version.levels.entries()) {
      for (const table of tables) {
        if (!containsKey(table.meta, key)) continue;
        const rangeDelete = newestRangeDelete(table, key, SEQUENCE_MAX);
        const entry = table.reader.get(key, SEQUENCE_MAX, hash);
        let verdict = verdictOf(entry, rangeDelete, now);
        if (verdict === "nothing" && !table.reader.mayContain(key, hash)) verdict = "filtered";
        steps.push({ place: "table", level, table: table.meta.number, verdict });
        if (settles(verdict)) return entry;
      }
    }
    return undefined;
  }

  /** The range tombstones of all tables. What they tell is true as long as the cursors are not released. */
  get rangeDeletes(): readonly RangeDeleteSource[] {
    return this.#version.rangeDeletes;
  }

  /** Cursors over all tables, newest first, and what lets go of the tables. */
  cursors(): { cursors: Cursor[]; release: () => void } {
    const version = this.#version;
    const cursors = version.runs.map((tables) => new LevelCursor(tables));
    version.hold();
    return {
      // The caller adds to its list; these are the ones to close.
      cursors: cursors.slice(),
      release: () => {
        for (const cursor of cursors) cursor.close();
        version.release();
      },
    };
  }

  /** Keeps the files of all tables that are there now, until the result is called. */
  hold(): () => void {
    const version = this.#version;
    version.hold();
    return () => version.release();
  }

  close(): void {
    this.#replace(new Version(NO_TABLES));
  }

  #replace(version: Version): void {
    const before = this.#version;
    this.#version = version;
    before.release();
  }
}

const NO_TABLES: readonly (readonly Table[])[] = Array.from({ length: LEVELS }, () => []);

/**
 * The tables at one moment: level 0 newest first, the others by key. Never changed, so iterators keep what they began
 * with; they hold the version, which holds its tables.
 */
class Version {
  readonly levels: readonly (readonly Table[])[];
  readonly metas: readonly (readonly TableMeta[])[];
  /** Tables that follow each other by key, the newest ones first: each of level 0 alone, and the other levels. */
  readonly runs: readonly (readonly Table[])[];
  /** Of the tables that have range tombstones; few have, and then this is empty. */
  readonly rangeDeletes: readonly RangeDeleteSource[];
  #holders = 1;

  constructor(levels: readonly (readonly Table[])[]) {
    this.levels = levels;
    this.metas = levels.map((tables) => tables.map((table) => table.meta));
    const [level0, ...sorted] = levels;
    const runs = [...level0!.map((table) => [table]), ...sorted.filter((tables) => tables.length > 0)];
    this.runs = runs;
    this.rangeDeletes = runs.flatMap((tables, i) => {
      const deleting = tables.filter(({ meta }) => meta.rangeTombstones > 0);
      return deleting.length === 0 ? [] : [new TablesSource(deleting, i + 1, runs.length)];
    });
    for (const tables of levels) for (const table of tables) table.hold();
  }

  hold(): void {
    this.#holders++;
  }

  release(): void {
    this.#holders--;
    if (this.#holders > 0) return;
    for (const tables of this.levels) for (const table of tables) table.release();
  }
}

function newestRangeDelete(table: Table, key: Uint8Array, sequence: number): number {
  if (table.meta.rangeTombstones === 0) return 0;
  return table.rangeDeletes.newestOver(key, 0, key.length, sequence);
}

/** A value longer than this is given as a view of its block, in bytes. */
const VIEW_BYTES_MIN = 8192;

function visibleValue(entry: Entry, rangeDelete: number, now: number): Uint8Array | undefined {
  if (isGone(entry, rangeDelete, now)) return undefined;
  const { valueBytes, valueStart, valueEnd } = entry;
  // The first view of a block makes its memory an object of its own, which costs more than to copy a few kilobytes.
  return valueEnd - valueStart <= VIEW_BYTES_MIN
    ? valueBytes.slice(valueStart, valueEnd)
    : valueBytes.subarray(valueStart, valueEnd);
}

function newestFirst(a: Table, b: Table): number {
  return b.meta.largestSequence - a.meta.largestSequence;
}

function byKey(a: Table, b: Table): number {
  return compareBytes(a.meta.smallestKey, b.meta.smallestKey);
}
