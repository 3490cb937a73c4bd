/**
 * The benchmark's lines, named as db_bench names them, and the processes that they share. A group's lines run in one
 * process in this order, on one store; each group has a process of its own, so that no line inherits another's heap.
 */

/** What a group finds when it begins: no store, or the one that the group `load` left. */
export type Store = "new" | "loaded";

export interface Group {
  readonly name: string;
  readonly store: Store;
  readonly ops: readonly Op[];
}

/**
 * Every line. Beyond the contract: `fillbatch`, atomic batches of a thousand as db_bench's line of that name, and
 * `fillawait`, one writer that waits for each write before the next.
 */
export const OPS = [
  "fillseq",
  "fillrandom",
  "overwrite",
  "fillbatch",
  "fillawait",
  "readrandom",
  "readmissing",
  "readseq",
  "readreverse",
  "seekrandom",
  "readwhilewriting",
  "fillsync-1",
  "fillsync-64",
] as const;
export type Op = (typeof OPS)[number];

export const GROUPS: readonly Group[] = [
  { name: "seq", store: "new", ops: ["fillseq"] },
  // Its store stays for the groups that read: each key was written twice on average, in no order.
  { name: "load", store: "new", ops: ["fillrandom", "overwrite"] },
  {
    name: "read",
    store: "loaded",
    ops: ["readrandom", "readmissing", "readseq", "readreverse", "seekrandom"],
  },
  { name: "mixed", store: "loaded", ops: ["readwhilewriting"] },
  { name: "batch", store: "new", ops: ["fillbatch"] },
  { name: "await", store: "new", ops: ["fillawait"] },
  { name: "sync-1", store: "new", ops: ["fillsync-1"] },
  { name: "sync-64", store: "new", ops: ["fillsync-64"] },
];

/** The group whose store others read. */
export const LOAD_GROUP = "load";

/** The groups that have lines among `ops`, and the one that loads what they read. */
export function groupsFor(ops: ReadonlySet<Op>): Group[] {
  const wanted = GROUPS.filter((group) => group.ops.some((op) => ops.has(op)));
  const loads = wanted.some(({ store }) => store === "loaded");
  return GROUPS.filter((group) => wanted.includes(group) || (loads && group.name === LOAD_GROUP));
}

export type EngineName = "flotilla" | "classic-level" | "rocksdb";

/** One line's figures. The first five are the contract; what else was measured stands behind them. */
export interface Figure {
  readonly engine: EngineName;
  readonly op: Op;
  /** Keys that the run is about. */
  readonly num: number;
  readonly us_op: number;
  readonly ops_s: number;
  /** Operations that were timed. */
  readonly count?: number;
  /** Which of the engine's calls did it. */
  readonly api?: string;
  /**
   * Processor time by operation, of the thread that calls and of the whole process, in microseconds: on a machine that
   * others use, too, they say more than the clock.
   */
  readonly thread_cpu_us_op?: number;
  readonly process_cpu_us_op?: number;
  /** How late a timer of one millisecond came while the line ran, in milliseconds, and so far as the thread was computing. */
  readonly loop_p99_ms?: number;
  readonly loop_max_ms?: number;
  readonly loop_cpu_p99_ms?: number;
  /** Bytes given to the system to write, until the engine was at rest, by bytes of keys and values written. */
  readonly write_amp?: number;
  /** Bytes of the directory at rest by bytes of the keys and values that are live. */
  readonly space_amp?: number;
  /** How long the engine went on working after the line, in milliseconds. */
  readonly settle_ms?: number;
  /** Memory of the process, in bytes: the highest while the line ran, and at its end. */
  readonly rss_peak_bytes?: number;
  readonly rss_bytes?: number;
}
