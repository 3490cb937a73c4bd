/**
 * What a compaction is, and which tables have to go with each other. A plan is sound if afterwards still holds what all
 * reads build on: of two tables that overlap, the deeper one is older, range tombstones included. So the tables of the
 * output level that overlap the inputs are inputs as well, and of level 0, where tables overlap, a table takes all those
 * with it that it overlaps, and those that they overlap.
 */
import { disjoint, firstNotBefore, type KeyRange, overlap, overlapping, rangeOf } from "./key-range.ts";
import type { TableMeta } from "./manifest.ts";

export const LEVELS = 7;

/** Why tables are compacted. */
export type CompactionCause = "level 0" | "size" | "tombstones" | "expiry" | "versions" | "manual";

export interface CompactionPlan {
  /**
   * `merge`: the inputs are read, and new tables take their place. `move`: they become tables of the output level as they
   * are. `drop`: nobody can see any of what they hold, and it hides nothing; they go.
   */
  readonly kind: "merge" | "move" | "drop";
  readonly cause: CompactionCause;
  readonly level: number;
  /** Where the output goes: below `level`, or `level` itself where tables are written anew to be rid of garbage. */
  readonly outputLevel: number;
  readonly inputs: readonly TableMeta[];
  /**
   * Where tables below the output level that overlap the inputs have keys, as disjoint ranges in order: within these a
   * tombstone must be kept.
   */
  readonly deeper: readonly KeyRange[];
  /** The tables of the level below the output level that overlap the inputs: output is cut so as not to lie over many. */
  readonly below: readonly BelowTable[];
}

/** A table of the level below the output: where it ends, and its length in bytes. */
export interface BelowTable {
  readonly largestKey: Uint8Array;
  readonly bytes: number;
}

/** The store's tables and who reads them, as far as a compaction depends on it. */
export interface CompactionView {
  /** Level 0 newest first, the others by key. */
  readonly levels: readonly (readonly TableMeta[])[];
  /** The store's time, in milliseconds: what expires at or before it is gone for all readers. */
  readonly now: number;
  /** The oldest sequence number that somebody reads at; `SEQUENCE_MAX` if nobody does. */
  readonly oldestSnapshot: number;
  /** Plans that are being carried out. */
  readonly running: readonly CompactionPlan[];
}

/** Inputs of a merge may be widened up to this many times the bytes of one table. */
const WIDENED_TABLES = 25;

/**
 * The merge of `tables`, all of `level` and closed under overlap there, into `outputLevel`, with what has to come along.
 * `tableBytes`: how long tables are written.
 */
export function mergePlan(
  levels: CompactionView["levels"],
  cause: CompactionCause,
  level: number,
  outputLevel: number,
  tables: readonly TableMeta[],
  tableBytes: number,
): CompactionPlan {
  let upper = tables;
  let lower = outputLevel === level ? [] : overlapping(levels[outputLevel]!, rangeOf(upper));
  if (level > 0 && outputLevel === level + 1 && lower.length > 0) {
    // More of the upper level for free: what it would drag along is there already (as LevelDB does).
    const wider = overlapping(levels[level]!, rangeOf([...upper, ...lower]));
    if (wider.length > upper.length && sum(wider) + sum(lower) <= WIDENED_TABLES * tableBytes) {
      const widerLower = overlapping(levels[outputLevel]!, rangeOf(wider));
      if (widerLower.length === lower.length) {
        upper = wider;
        lower = widerLower;
      }
    }
  }
  return planOf("merge", levels, cause, level, outputLevel, [...upper, ...lower]);
}

export function planOf(
  kind: CompactionPlan["kind"],
  levels: CompactionView["levels"],
  cause: CompactionCause,
  level: number,
  outputLevel: number,
  inputs: readonly TableMeta[],
): CompactionPlan {
  const range = rangeOf(inputs);
  const deeper = levels.slice(outputLevel + 1).flatMap((tables) => overlapping(tables, range));
  const next = levels[outputLevel + 1];
  const below =
    next === undefined
      ? []
      : overlapping(next, range).map(({ largestKey, bytes }) => ({ largestKey, bytes }));
  return { kind, cause, level, outputLevel, inputs, deeper: disjoint(deeper), below };
}

/**
 * Whether two plans must not run at the same time: they take the same table, or write where the other one reads or
 * writes. Plans in levels apart do not disturb each other: what is deeper stays deeper.
 */
export function conflict(a: CompactionPlan, b: CompactionPlan): boolean {
  if (a.outputLevel < b.level || b.outputLevel < a.level) return false;
  return overlap(rangeOf(a.inputs), rangeOf(b.inputs));
}

/** Whether a table of `level` or below may hold something for the keys of `range`. */
export function overlapsFrom(levels: CompactionView["levels"], level: number, range: KeyRange): boolean {
  for (let below = level; below < levels.length; below++) {
    const tables = levels[below]!;
    const index = firstNotBefore(tables, range.smallestKey);
    if (index < tables.length && overlap(tables[index]!, range)) return true;
  }
  return false;
}

/** The tables of level 0 that hang together with `table` by overlap, itself included, oldest first. */
export function level0Component(level0: readonly TableMeta[], table: TableMeta): TableMeta[] {
  const chosen = new Set([table]);
  let range: KeyRange = table;
  for (let grown = true; grown; ) {
    grown = false;
    for (const other of level0) {
      if (chosen.has(other) || !overlap(other, range)) continue;
      chosen.add(other);
      range = rangeOf([range, other]);
      grown = true;
    }
  }
  return oldestFirst([...chosen]);
}

/** Tables of level 0 in the order in which they were flushed. */
export function oldestFirst(level0: readonly TableMeta[]): TableMeta[] {
  return [...level0].sort((a, b) => a.largestSequence - b.largestSequence || a.number - b.number);
}

function sum(tables: readonly TableMeta[]): number {
  let bytes = 0;
  for (const table of tables) bytes += table.bytes;
  return bytes;
}
