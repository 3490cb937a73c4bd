/**
 * The tables that make up the store at one moment, by level, and how to read them. Tables are shared by whoever reads
 * them: the engine holds each one that the manifest names, an iterator each one that it walks over. When the last one
 * lets go of a table that the manifest has dropped, its file is removed.
 */
import { assert } from "../lib/assert.ts";
import { compareBytes } from "../lib/bytes.ts";
import { bloomHash } from "./bloom.ts";
import { LEVELS } from "./compaction-policy.ts";
import type { Cursor } from "./cursor.ts";
import { firstNotBelow, LevelCursor } from "./level-cursor.ts";
import type { TableMeta } from "./manifest.ts";
import { Table } from "./table.ts";
import type { TableCache } from "./table-cache.ts";

export class Levels {
  readonly #cache: TableCache;
  #version = new Version(NO_TABLES);

  constructor(cache: TableCache, tables: readonly TableMeta[]) {
    this.#cache = cache;
    this.change(tables, []);
  }

  get metas(): readonly (readonly TableMeta[])[] {
    return this.#version.levels.map((tables) => tables.map((table) => table.meta));
  }

  tableCount(level: number): number {
    return this.#version.levels[level]!.length;
  }

  /** Makes an edit that is durable in the manifest the state that is read. */
  change(added: readonly TableMeta[], removed: readonly number[]): void {
    const gone = new Set(removed);
    const dropped: Table[] = [];
    const levels = this.#version.levels.map((tables, level) => {
      const kept = tables.filter((table) => {
        if (!gone.has(table.meta.number)) return true;
        dropped.push(table);
        return false;
      });
      for (const meta of added) {
        if (meta.level === level) kept.push(new Table(meta, this.#cache));
      }
      return kept.sort(level === 0 ? newestFirst : byKey);
    });
    assert(
      dropped.length === removed.length,
      `an edit removes ${removed.length} tables, ${dropped.length} are there`,
    );
    for (const table of dropped) table.drop();
    this.#replace(new Version(levels));
  }

  /** The newest value of `key` not above `sequence`: borrowed; `null` for a tombstone, `undefined` if there is none. */
  get(key: Uint8Array, sequence: number): Uint8Array | null | undefined {
    const hash = bloomHash(key);
    const { levels } = this.#version;
    for (const table of levels[0]!) {
      if (!covers(table, key)) continue;
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
    const version = this.#version;
    const cursors: LevelCursor[] = [];
    for (const [level, tables] of version.levels.entries()) {
      if (level === 0) for (const table of tables) cursors.push(new LevelCursor([table]));
      else if (tables.length > 0) cursors.push(new LevelCursor(tables));
    }
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
  #holders = 1;

  constructor(levels: readonly (readonly Table[])[]) {
    this.levels = levels;
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

/** Whether `key` lies within the table's range. */
function covers({ meta }: Table, key: Uint8Array): boolean {
  return compareBytes(meta.smallestKey, key) <= 0 && compareBytes(key, meta.largestKey) <= 0;
}

function newestFirst(a: Table, b: Table): number {
  return b.meta.largestSequence - a.meta.largestSequence;
}

function byKey(a: Table, b: Table): number {
  return compareBytes(a.meta.smallestKey, b.meta.smallestKey);
}
