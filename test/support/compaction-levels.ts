import { fromUtf8, utf8 } from "../../src/lib/bytes.ts";
import type { CompactionPlan, CompactionView } from "../../src/storage/compaction-plan.ts";
import { LEVELS } from "../../src/storage/compaction-plan.ts";
import type { CompactionLimits } from "../../src/storage/compaction-policy.ts";
import { SEQUENCE_MAX } from "../../src/storage/cursor.ts";
import type { TableMeta } from "../../src/storage/manifest.ts";

let lastNumber = 0;

/** A table that is only thought of: `keys` is `smallest-largest`, with a `)` behind if the largest is not included. */
export function table(level: number, keys: string, bytes = 50, more: Partial<TableMeta> = {}): TableMeta {
  const number = ++lastNumber;
  const [, smallest, largest, end] = keys.match(/^(\w+)-(\w+)(\)?)$/)!;
  return {
    number,
    level,
    bytes,
    entries: 10,
    tombstones: 0,
    rangeTombstones: 0,
    expiring: 0,
    latestExpiry: 0,
    overwritten: 0,
    largestSequence: number,
    smallestKey: utf8(smallest!),
    largestKey: utf8(largest!),
    largestKeyIncluded: end === "",
    ...more,
  };
}

export function limits(some: Partial<CompactionLimits>): CompactionLimits {
  return {
    level0Tables: 4,
    level1Bytes: 1000,
    levelSizeRatio: 10,
    tableBytes: 100,
    garbageShare: 0.25,
    ...some,
  };
}

export function view(tables: readonly TableMeta[], more: Partial<CompactionView> = {}): CompactionView {
  const levels = Array.from({ length: LEVELS }, (_, at) => level(tables, at));
  return { levels, now: 0, oldestSnapshot: SEQUENCE_MAX, running: [], ...more };
}

/** The tables of a level in the order that a version has them. */
export function level(tables: readonly TableMeta[], at: number): TableMeta[] {
  return tables
    .filter((one) => one.level === at)
    .sort((a, b) =>
      at === 0 ? b.largestSequence - a.largestSequence : Buffer.compare(a.smallestKey, b.smallestKey),
    );
}

/** A plan in a line: what, from where to where, why, and of which tables. */
export function shown(plan: CompactionPlan | undefined): string {
  if (plan === undefined) return "nothing";
  const { kind, cause, level: from, outputLevel, inputs } = plan;
  const tables = inputs.map(
    (one) =>
      `${one.level}${fromUtf8(one.smallestKey)}${fromUtf8(one.largestKey)}${one.largestKeyIncluded ? "" : ")"}`,
  );
  return `${kind} ${from}>${outputLevel} ${cause}: ${tables.join(" ")}`;
}
