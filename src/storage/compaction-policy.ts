/**
 * Which tables to merge next: levelled compaction (O'Neil et al., "The Log-Structured Merge-Tree", 1996; the levels as in
 * LevelDB). Level 0 holds flushed memtables, which overlap; every deeper level is one sorted run, `levelSizeRatio` times
 * as large as the one before. A pure function of the levels, so that it can be tested without a disk.
 */
import { type KeyRange, keyRange, overlapping, rangeOf } from "./key-range.ts";
import type { TableMeta } from "./manifest.ts";

export const LEVELS = 7;

export interface CompactionLimits {
  /** Tables in level 0 that start its compaction. */
  readonly level0Tables: number;
  /** What level 1 should hold at most, in bytes. */
  readonly level1Bytes: number;
  /** How much larger each next level may be. */
  readonly levelSizeRatio: number;
}

export interface CompactionPlan {
  readonly level: number;
  /** Where the output goes: `level + 1`. */
  readonly outputLevel: number;
  /** Tables of `level` and of `outputLevel`. */
  readonly inputs: readonly TableMeta[];
  /** Key ranges of the tables below the output level that overlap the inputs: within these a tombstone must be kept. */
  readonly deeper: readonly KeyRange[];
}

/**
 * The compaction that is most needed, or `undefined` if none is. `levels[0]` is in any order, the others are sorted by
 * key. All of level 0 goes at once; of a deeper level the table that drags the fewest bytes along from the next.
 */
export function pickCompaction(
  levels: readonly (readonly TableMeta[])[],
  limits: CompactionLimits,
): CompactionPlan | undefined {
  let level = -1;
  let highest = 1;
  for (let candidate = 0; candidate < LEVELS - 1; candidate++) {
    const score = levelScore(levels, candidate, limits);
    // The higher level wins a tie: reads and writers suffer most from level 0.
    if (score > highest || (score === highest && level < 0)) {
      highest = score;
      level = candidate;
    }
  }
  if (level < 0) return undefined;
  const outputLevel = level + 1;
  const upper = level === 0 ? levels[0]! : [cheapestTable(levels[level]!, levels[outputLevel]!)];
  const inputs = [...upper, ...overlapping(levels[outputLevel]!, rangeOf(upper))];
  const range = rangeOf(inputs);
  const deeper = levels
    .slice(outputLevel + 1)
    .flatMap((tables) => overlapping(tables, range))
    .map(keyRange);
  return { level, outputLevel, inputs, deeper };
}

/** How full a level is: from 1 on it should be compacted. */
function levelScore(
  levels: readonly (readonly TableMeta[])[],
  level: number,
  limits: CompactionLimits,
): number {
  const tables = levels[level]!;
  if (level === 0) return tables.length / limits.level0Tables;
  let bytes = 0;
  for (const table of tables) bytes += table.bytes;
  return bytes / (limits.level1Bytes * limits.levelSizeRatio ** (level - 1));
}

function cheapestTable(tables: readonly TableMeta[], next: readonly TableMeta[]): TableMeta {
  let best = tables[0]!;
  let bestRatio = Number.POSITIVE_INFINITY;
  for (const table of tables) {
    let bytes = 0;
    for (const other of overlapping(next, rangeOf([table]))) bytes += other.bytes;
    const ratio = bytes / table.bytes;
    if (ratio < bestRatio) {
      bestRatio = ratio;
      best = table;
    }
  }
  return best;
}
