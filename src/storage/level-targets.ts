/**
 * How much each level should hold. The last level holds nearly everything; each level above it should be
 * `levelSizeRatio` times smaller. So the sizes are reckoned from the last level upwards (RocksDB's
 * `level_compaction_dynamic_level_bytes`), and level 0 is merged into the first level that is in use, the base level: a
 * level that is too small to be worth a rewrite is skipped. Reckoned from the first level downwards, the last level may
 * be hardly larger than the one before it, and then half of the store may be what was overwritten
 * (`docs/decisions/level-sizes.md`).
 */
import { LEVELS } from "./compaction-plan.ts";
import { bytesOf, type TableMeta } from "./manifest.ts";

/**
 * The base level may grow to this many times `level1Bytes` before a level is put above it. One level more is one more
 * rewrite of everything and one more place to look; its gain is that level 0 is merged with less at a time, and that
 * pays off only when the base level is about `levelSizeRatio` times what level 0 brings.
 */
const BASE_GROWTH = 4;

export interface LevelLimits {
  /** Tables in level 0 that start its compaction. */
  readonly level0Tables: number;
  /** What a level below level 0 is always allowed to hold, in bytes: about what level 0 brings at once. */
  readonly level1Bytes: number;
  /** How much larger each next level may be. */
  readonly levelSizeRatio: number;
}

export interface LevelTargets {
  /** Where level 0 is merged into; the levels between are empty. */
  readonly base: number;
  /** Bytes that are in each level. */
  readonly bytes: readonly number[];
  /** Bytes that each level should hold; 0 for level 0 and for levels above the base. */
  readonly targets: readonly number[];
}

export function levelTargets(levels: readonly (readonly TableMeta[])[], limits: LevelLimits): LevelTargets {
  const bytes = levels.map(bytesOf);
  const targets = bytes.map(() => 0);
  const { level1Bytes, levelSizeRatio } = limits;
  const last = LEVELS - 1;
  let base = last;
  let largest = 0;
  for (let level = last; level > 0; level--) {
    if (bytes[level] === 0) continue;
    base = level;
    largest = Math.max(largest, bytes[level]!);
  }
  // What the first level that is in use should hold, for the largest one to be as much larger as its depth says.
  let size = largest / levelSizeRatio ** (last - base);
  const smallest = level1Bytes / levelSizeRatio;
  if (size <= smallest) {
    size = smallest;
  } else {
    while (base > 1 && size > BASE_GROWTH * level1Bytes) {
      base--;
      size /= levelSizeRatio;
    }
    size = Math.min(size, BASE_GROWTH * level1Bytes);
  }
  for (let level = base; level <= last; level++) {
    // A level that holds less than what level 0 brings at once only adds a rewrite.
    targets[level] = Math.max(size, level1Bytes);
    size *= levelSizeRatio;
  }
  return { base, bytes, targets };
}

/** How full a level is: from 1 on it should be compacted. */
export function levelScore(
  { base, bytes, targets }: LevelTargets,
  level: number,
  level0Count: number,
  limits: LevelLimits,
): number {
  if (level === 0) return level0Count / limits.level0Tables;
  if (level < base || level >= LEVELS - 1) return 0;
  return bytes[level]! / targets[level]!;
}

/**
 * About how many bytes have to be written until no level is too full: level 0 with the base level, and what each level
 * has too much, with as much of the next level as lies under it.
 */
export function compactionDebt(levels: readonly (readonly TableMeta[])[], limits: LevelLimits): number {
  const { base, bytes, targets } = levelTargets(levels, limits);
  let debt = 0;
  let added = 0;
  if (levels[0]!.length >= limits.level0Tables) {
    debt = bytes[0]! + bytes[base]!;
    added = bytes[0]!;
  }
  for (let level = base; level < LEVELS - 1; level++) {
    const held = bytes[level]! + added;
    const excess = held - targets[level]!;
    if (excess <= 0) break;
    const next = bytes[level + 1]!;
    debt += excess * (1 + Math.min(next / held, limits.levelSizeRatio));
    added = excess;
  }
  return Math.round(debt);
}
