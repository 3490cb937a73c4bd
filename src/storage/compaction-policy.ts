/**
 * Which tables to compact next: levelled compaction (O'Neil et al., "The Log-Structured Merge-Tree", 1996; the levels as
 * in LevelDB, their sizes as in RocksDB). Level 0 holds flushed memtables, which overlap; every deeper level is one sorted
 * run. A pure function of the view, so that it can be tested without a disk (`bench/engine/compaction-sim.ts`).
 *
 * In this order: tables that nobody can see anything of are dropped; a level that is too full gives tables to the next;
 * and if none is, tables with garbage (tombstones, what has expired, versions that snapshots kept) are merged into what they
 * hide, or written anew where they hide nothing, if enough is gained by it. Of a level, the table goes first that drags the fewest bytes along for each byte
 * that moves down, the oldest of equals: under updates that are spread evenly it is as good as going round, and where
 * they are not it leaves alone what would be rewritten for little.
 */
import {
  type CompactionPlan,
  type CompactionView,
  conflict,
  LEVELS,
  level0Component,
  mergePlan,
  oldestFirst,
  overlapsFrom,
  planOf,
} from "./compaction-plan.ts";
import { endsBefore, overlap, overlapping } from "./key-range.ts";
import { type LevelLimits, levelScore, levelTargets } from "./level-targets.ts";
import { bytesOf, type TableMeta } from "./manifest.ts";

export interface CompactionLimits extends LevelLimits {
  /** A compaction ends a table with the key that makes it this long, in bytes. */
  readonly tableBytes: number;
  /** A merge is worth it for the garbage alone if this share of what it reads goes by it. */
  readonly garbageShare: number;
}

/** A table may lie over this many times its length of the level below before it is cut, and is not moved on top of more. */
export const BELOW_TABLES = 10;

/**
 * The compaction that is most needed, or `undefined` if none is that can run now. Every plan either brings bytes to a
 * deeper level or takes garbage away, so there is an end to them.
 */
export function pickCompaction(view: CompactionView, limits: CompactionLimits): CompactionPlan | undefined {
  return pickDrop(view) ?? pickFullLevel(view, limits) ?? pickGarbage(view, limits);
}

// --- Tables of which nobody can see anything.

function pickDrop(view: CompactionView): CompactionPlan | undefined {
  const { levels, now } = view;
  for (let level = LEVELS - 1; level > 0; level--) {
    const tables: TableMeta[] = [];
    for (const table of levels[level]!) {
      if (pointGarbageOf(table, now) !== table.entries || garbageOf(table, now) === 0) continue;
      if (!overlapsFrom(levels, level + 1, table) && !isBusy(view, table)) tables.push(table);
    }
    if (tables.length > 0) return planOf("drop", levels, causeOf(tables[0]!, now), level, level, tables);
  }
  return undefined;
}

/** Entries that hold nothing any more: at best they hide something. */
function pointGarbageOf({ tombstones, expiring, latestExpiry }: TableMeta, now: number): number {
  return tombstones + (latestExpiry <= now ? expiring : 0);
}

function garbageOf(table: TableMeta, now: number): number {
  return pointGarbageOf(table, now) + table.rangeTombstones;
}

function causeOf(table: TableMeta, now: number): "tombstones" | "expiry" | "versions" {
  if (table.tombstones + table.rangeTombstones > 0) return "tombstones";
  return garbageOf(table, now) > 0 ? "expiry" : "versions";
}

// --- Levels that are too full.

function pickFullLevel(view: CompactionView, limits: CompactionLimits): CompactionPlan | undefined {
  const { levels } = view;
  const targets = levelTargets(levels, limits);
  const full: { level: number; score: number }[] = [];
  for (let level = 0; level < LEVELS - 1; level++) {
    const score = levelScore(targets, level, levels[0]!.length, limits);
    if (score >= 1) full.push({ level, score });
  }
  // The upper level wins a tie: reads and writers suffer most from level 0.
  full.sort((a, b) => b.score - a.score || a.level - b.level);
  for (const { level } of full) {
    const plan = level === 0 ? pickLevel0(view, limits, targets.base) : pickPush(view, limits, level);
    if (plan !== undefined && !conflicts(view, plan)) return plan;
  }
  return undefined;
}

/** Level 0 into the base level: all that can be moved, else the oldest table with what hangs together with it. */
function pickLevel0({ levels }: CompactionView, limits: CompactionLimits, base: number): CompactionPlan {
  const level0 = oldestFirst(levels[0]!);
  const movable = level0.filter(
    (table) =>
      !level0.some((other) => other !== table && overlap(other, table)) &&
      isFree(levels, base, table, limits),
  );
  if (movable.length > 0) return planOf("move", levels, "level 0", 0, base, movable);
  return level0Plan(levels, "level 0", base, level0Component(level0, level0[0]!), limits);
}

/** `component` of level 0, which overlaps nothing else there, into the base level. */
export function level0Plan(
  levels: CompactionView["levels"],
  cause: "level 0" | "manual",
  base: number,
  component: readonly TableMeta[],
  limits: CompactionLimits,
): CompactionPlan {
  return component.length === 1 && isFree(levels, base, component[0]!, limits)
    ? planOf("move", levels, cause, 0, base, component)
    : mergePlan(levels, cause, 0, base, component, limits.tableBytes);
}

function pickPush(view: CompactionView, limits: CompactionLimits, level: number): CompactionPlan | undefined {
  const table = cheapestTable(view, level);
  return table === undefined ? undefined : pushPlan(view, limits, "size", level, table);
}

/** One table into the next level: as it is, if it overlaps nothing there and is not better written anew. */
export function pushPlan(
  view: CompactionView,
  limits: CompactionLimits,
  cause: "size" | "manual",
  level: number,
  table: TableMeta,
): CompactionPlan {
  const { levels } = view;
  const cleaned =
    garbageOf(table, view.now) > limits.garbageShare * table.entries && canBeCleaned(view, level, table);
  if (!cleaned && isFree(levels, level + 1, table, limits)) {
    return planOf("move", levels, cause, level, level + 1, [table]);
  }
  return mergePlan(levels, cause, level, level + 1, [table], limits.tableBytes);
}

/** Whether a table fits into a level as it is, and would not drag along too much when it is merged one day. */
function isFree(
  levels: CompactionView["levels"],
  level: number,
  table: TableMeta,
  { tableBytes }: CompactionLimits,
): boolean {
  if (overlapping(levels[level]!, table).length > 0) return false;
  const below = levels[level + 1];
  return below === undefined || bytesOf(overlapping(below, table)) <= BELOW_TABLES * tableBytes;
}

/** The table of `level` that drags the fewest bytes along for what it brings, of those that are free. */
function cheapestTable(view: CompactionView, level: number): TableMeta | undefined {
  const next = view.levels[level + 1]!;
  let best: TableMeta | undefined;
  let bestCost = Number.POSITIVE_INFINITY;
  let from = 0;
  for (const table of view.levels[level]!) {
    while (from < next.length && endsBefore(next[from]!, table.smallestKey)) from++;
    let bytes = 0;
    let entries = 0;
    for (let i = from; i < next.length && !endsBefore(table, next[i]!.smallestKey); i++) {
      bytes += next[i]!.bytes;
      entries += next[i]!.entries;
    }
    // What a tombstone hides goes when it gets there: it counts for an entry of the next level.
    const hidden = entries === 0 ? 0 : Math.min(bytes, (garbageOf(table, view.now) * bytes) / entries);
    const cost = bytes / (table.bytes + hidden);
    if (cost > bestCost || (cost === bestCost && table.number > best!.number)) continue;
    if (isBusy(view, table)) continue;
    best = table;
    bestCost = cost;
  }
  return best;
}

// --- Garbage.

/** From the bottom up: what is at the bottom hides nothing, and what comes later finds less to be merged with. */
function pickGarbage(view: CompactionView, limits: CompactionLimits): CompactionPlan | undefined {
  for (let level = LEVELS - 1; level > 0; level--) {
    for (const table of view.levels[level]!) {
      if (garbageOf(table, view.now) + table.overwritten === 0) continue;
      const plan = cleaningPlan(view, limits, causeOf(table, view.now), level, table, limits.garbageShare);
      if (plan !== undefined && !conflicts(view, plan)) return plan;
    }
  }
  return undefined;
}

/**
 * Brings a table's garbage to what it hides, or writes the table anew where it hides nothing. `undefined` if less than
 * `share` of what would be read goes by it: tombstones that lie thin over a large level wait until their own is full. One
 * range tombstone may hide any number of entries, and nobody knows how many, so it is always worth it.
 */
export function cleaningPlan(
  view: CompactionView,
  limits: CompactionLimits,
  cause: "tombstones" | "expiry" | "versions" | "manual",
  level: number,
  table: TableMeta,
  share: number,
): CompactionPlan | undefined {
  const { levels, now } = view;
  const garbage = pointGarbageOf(table, now);
  const own = (table.bytes * garbage) / Math.max(1, table.entries);
  const isWorthIt = (freed: number, read: number): boolean =>
    table.rangeTombstones > 0 || freed >= share * read;
  for (let below = level + 1; below < LEVELS; below++) {
    const hidden = overlapping(levels[below]!, table);
    if (hidden.length === 0) continue;
    const bytes = bytesOf(hidden);
    let entries = 0;
    for (const other of hidden) entries += other.entries;
    const freed = own + (Math.min(garbage, entries) * bytes) / Math.max(1, entries);
    if (!isWorthIt(freed, table.bytes + bytes)) return undefined;
    return mergePlan(levels, cause, level, below, [table], limits.tableBytes);
  }
  // What snapshots kept goes as well, if they are gone.
  const kept = (table.bytes * table.overwritten) / Math.max(1, table.entries);
  return canBeCleaned(view, level, table) && isWorthIt(own + kept, table.bytes)
    ? mergePlan(levels, cause, level, level, [table], limits.tableBytes)
    : undefined;
}

/**
 * Whether all garbage of the table goes when it is written anew: nothing deeper needs it, and nobody reads at a sequence
 * number between those of the table.
 */
function canBeCleaned({ levels, oldestSnapshot }: CompactionView, level: number, table: TableMeta): boolean {
  return table.largestSequence <= oldestSnapshot && !overlapsFrom(levels, level + 1, table);
}

// --- What runs already.

function isBusy({ running }: CompactionView, table: TableMeta): boolean {
  return running.some(({ inputs }) => inputs.some(({ number }) => number === table.number));
}

export function conflicts({ running }: CompactionView, plan: CompactionPlan): boolean {
  return running.some((other) => conflict(other, plan));
}
