/**
 * The compaction of a span of keys because somebody asked for it: level by level, each table of the span goes into the
 * next level, until all of it is in the deepest level that has any of it; there, tables with garbage are written anew.
 * One sweep in key order for each level, so there is an end to it, whatever is written and compacted meanwhile. A pure
 * function of the tables and of how far the sweeps have come.
 */
import { compareBytes } from "../lib/bytes.ts";
import {
  type CompactionPlan,
  type CompactionView,
  LEVELS,
  level0Component,
  oldestFirst,
} from "./compaction-plan.ts";
import { type CompactionLimits, cleaningPlan, conflicts, level0Plan, pushPlan } from "./compaction-policy.ts";
import type { KeySpan } from "./engine.ts";
import { endsBefore, firstNotBefore, type KeyRange, rangeOf } from "./key-range.ts";
import { levelTargets } from "./level-targets.ts";
import type { TableMeta } from "./manifest.ts";

/** Where the sweeps are. */
export interface SpanProgress {
  readonly span: KeySpan;
  /** Tables of level 0 from this file number on came later, and are nobody's concern. */
  readonly newTables: number;
  readonly level: number;
  /** Tables of `level` that do not begin behind this range are done; `undefined`: none is. */
  readonly done: KeyRange | undefined;
}

export interface SpanStep {
  /** `undefined`: what should come next can't run at the same time as what runs now. */
  readonly plan: CompactionPlan | undefined;
  /** To go on from when the plan has been carried out. */
  readonly progress: SpanProgress;
}

/** `newTables`: the file number that the next table will have. */
export function compactSpan(span: KeySpan, newTables: number): SpanProgress {
  return { span, newTables, level: 0, done: undefined };
}

/** The next step, or `undefined` if there is none left. */
export function nextSpanStep(
  view: CompactionView,
  limits: CompactionLimits,
  progress: SpanProgress,
): SpanStep | undefined {
  const { span } = progress;
  let { level, done } = progress;
  if (level === 0) {
    const plan = level0Step(view, limits, progress);
    if (plan !== undefined) return { plan: conflicts(view, plan) ? undefined : plan, progress };
    level = 1;
  }
  const deepest = deepestOf(view.levels, span);
  for (; level <= deepest; level++, done = undefined) {
    for (const table of overlappingSpan(view.levels[level]!, span)) {
      if (done !== undefined && !endsBefore(done, table.smallestKey)) continue;
      const plan = stepFor(view, limits, level, deepest, table);
      if (plan === undefined) continue;
      if (conflicts(view, plan)) return { plan: undefined, progress: { ...progress, level, done } };
      return { plan, progress: { ...progress, level, done: rangeAt(plan, level) } };
    }
  }
  return undefined;
}

/** The oldest table of level 0 that is in the span: moved if nothing is in the way, else with all that hangs together with it. */
function level0Step(
  view: CompactionView,
  limits: CompactionLimits,
  { span, newTables }: SpanProgress,
): CompactionPlan | undefined {
  const { levels } = view;
  const table = oldestFirst(levels[0]!).find((one) => one.number < newTables && inSpan(one, span));
  if (table === undefined) return undefined;
  const { base } = levelTargets(levels, limits);
  const component = level0Component(levels[0]!, table);
  return level0Plan(levels, "manual", base, component, limits);
}

function stepFor(
  view: CompactionView,
  limits: CompactionLimits,
  level: number,
  deepest: number,
  table: TableMeta,
): CompactionPlan | undefined {
  if (level < deepest) return pushPlan(view, limits, "manual", level, table);
  const { tombstones, rangeTombstones, expiring, overwritten } = table;
  const clean = tombstones + rangeTombstones + expiring + overwritten === 0;
  return clean ? undefined : cleaningPlan(view, limits, "manual", level, table, 0);
}

/** The range of the inputs from `level`: as far as its sweep has come. */
function rangeAt({ inputs }: CompactionPlan, level: number): KeyRange {
  return rangeOf(inputs.filter((table) => table.level === level));
}

/** The deepest level that has a table in the span; 0 if none has. */
function deepestOf(levels: CompactionView["levels"], span: KeySpan): number {
  for (let level = LEVELS - 1; level > 0; level--) {
    if (overlappingSpan(levels[level]!, span).length > 0) return level;
  }
  return 0;
}

function overlappingSpan(tables: readonly TableMeta[], span: KeySpan): readonly TableMeta[] {
  const start = span.gte === undefined ? 0 : firstNotBefore(tables, span.gte);
  let end = start;
  while (end < tables.length && inSpan(tables[end]!, span)) end++;
  return tables.slice(start, end);
}

function inSpan(table: KeyRange, { gte, lt }: KeySpan): boolean {
  return (
    (gte === undefined || !endsBefore(table, gte)) &&
    (lt === undefined || compareBytes(table.smallestKey, lt) < 0)
  );
}
