/** What a `get` does, told step by step: for a person who wants to know where a key is, and why a read is slow. */
import { type Entry, isGone } from "./cursor.ts";

/** What a place of the store says about a key. `filtered`: its bloom filter says that the key is not there. */
export type KeyVerdict = "nothing" | "filtered" | "value" | "deleted" | "range deleted" | "expired";

/** One place that a `get` looks into. */
export interface KeyTraceStep {
  readonly place: "memtable" | "sealed memtable" | "table";
  /** Of a table: its level and the number of its file. */
  readonly level?: number;
  readonly table?: number;
  readonly verdict: KeyVerdict;
}

/** The places in the order in which a `get` asks them, up to the one that settles it; none knows of a key that is not there. */
export interface KeyTrace {
  readonly steps: readonly KeyTraceStep[];
  /** What the last step found; `undefined`: there is no value. */
  readonly valueBytes: number | undefined;
  /** From which time on the value is gone, in milliseconds since the Unix epoch; 0: it stays. */
  readonly expiresAt: number;
}

/** Whether a place that says so settles what a `get` answers. */
export function settles(verdict: KeyVerdict): boolean {
  return verdict !== "nothing" && verdict !== "filtered";
}

/** What a place says whose newest entry of the key is `entry`, with the newest range deletion over it (0: none). */
export function verdictOf(entry: Entry | undefined, rangeDelete: number, now: number): KeyVerdict {
  if (entry === undefined) return rangeDelete === 0 ? "nothing" : "range deleted";
  if (!isGone(entry, rangeDelete, now)) return "value";
  if (entry.sequence < rangeDelete) return "range deleted";
  return entry.tombstone ? "deleted" : "expired";
}

/** `steps`, of which the last has found `entry`. */
export function traceOf(steps: readonly KeyTraceStep[], entry: Entry | undefined): KeyTrace {
  if (entry === undefined || steps.at(-1)?.verdict !== "value") {
    return { steps, valueBytes: undefined, expiresAt: 0 };
  }
  return { steps, valueBytes: entry.valueEnd - entry.valueStart, expiresAt: entry.expiresAt };
}
