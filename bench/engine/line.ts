/** Runs one line on an open engine: warm-up, the clock, and the check that what was counted is right. */
import type { Contender, ContenderLoop } from "./contender.ts";
import { KEY_BYTES, KeySequence, type KeySet, newKey, seedOf, VALUE_BYTES, Values } from "./data.ts";
import type { EngineName, Figure, Op } from "./lines.ts";
import {
  directoryBytes,
  LoopProbe,
  maxMs,
  peakMemoryBytes,
  percentileMs,
  processCpuMs,
  resetPeakMemory,
  settle,
  threadCpuMs,
  writtenBytes,
} from "./probes.ts";

/** What a line runs on. */
export interface Stage {
  readonly engine: EngineName;
  readonly contender: Contender;
  readonly directory: string;
  readonly num: number;
  readonly seed: number;
  /** The keys in the store. */
  readonly keys: KeySet;
}

/** Synced writes: of each of 64 writers, as many as db_bench is given, and of one alone. Fewer where there are few keys. */
export const SYNCED_BY_EACH_OF_64 = 1000;
export const SYNCED_BY_ONE = 5000;
const AWAITED_MAX = 100_000;

/**
 * Unmeasured operations before a line that reads: a tenth of its own, at most this many, on other keys. They are for
 * the compiler more than for the caches: after them a loop runs as it does for the rest of a process's life. Lines that
 * write have none, as they would change what is written to.
 */
const WARM_UP_MAX = 100_000;

export async function runLine(stage: Stage, op: Op): Promise<Figure> {
  switch (op) {
    case "fillseq":
      return await fill(stage, op, "put", stage.num, KeySequence.inOrder);
    case "fillrandom":
    case "overwrite":
      return await fill(stage, op, "put", stage.num, KeySequence.random);
    case "fillbatch":
      return await fill(stage, op, "putBatches", stage.num, KeySequence.random);
    case "fillawait":
      return await fill(stage, op, "putAwaited", Math.min(stage.num, AWAITED_MAX), KeySequence.random);
    case "fillsync-1":
      return await fillSync(stage, op, Math.min(Math.ceil(stage.num / 10), SYNCED_BY_ONE), 1);
    case "fillsync-64":
      return await fillSync(stage, op, Math.min(Math.ceil(stage.num / 100), SYNCED_BY_EACH_OF_64) * 64, 64);
    case "readrandom":
      return await readRandom(stage, op, newKey(), stage.keys.countHits(sequence(stage, op), stage.num));
    case "readmissing":
      return await readRandom(stage, op, newKey(KEY_BYTES + 1), 0);
    case "readseq":
      return await readInOrder(stage, op, false);
    case "readreverse":
      return await readInOrder(stage, op, true);
    case "seekrandom":
      return await seekRandom(stage, op);
    case "readwhilewriting":
      return await readWhileWriting(stage, op);
    default:
      return op satisfies never;
  }
}

/** The keys of a line, from the first on. */
export function sequence(stage: Pick<Stage, "num" | "seed">, op: string): KeySequence {
  return KeySequence.random(stage.num, seedOf(stage.seed, op));
}

async function fill(
  stage: Stage,
  op: Op,
  loop: "put" | "putBatches" | "putAwaited",
  count: number,
  order: (num: number, seed: number) => KeySequence,
): Promise<Figure> {
  const { contender, directory, keys, num } = stage;
  const seed = seedOf(stage.seed, op);
  const values = new Values(seed);
  const probe = new LoopProbe();
  const before = writtenBytes();
  const timed = await time(stage, op, loop, count, async () => {
    probe.start();
    await contender[loop](order(num, seed), values, count);
    probe.stop();
    return count;
  });
  const settleMs = await settle(directory);
  const after = writtenBytes();
  keys.addAll(order(num, seed), count);
  const entryBytes = KEY_BYTES + VALUE_BYTES;
  return {
    ...timed,
    loop_p99_ms: thousandths(percentileMs(probe.late, 99)),
    loop_max_ms: thousandths(maxMs(probe.late)),
    loop_cpu_p99_ms: thousandths(percentileMs(probe.computing, 99)),
    ...(before === undefined || after === undefined
      ? {}
      : { write_amp: thousandths((after - before) / (count * entryBytes)) }),
    space_amp: thousandths(directoryBytes(directory) / (keys.size * entryBytes)),
    settle_ms: Math.round(settleMs),
  };
}

async function fillSync(stage: Stage, op: Op, count: number, writers: number): Promise<Figure> {
  const keys = sequence(stage, op);
  const values = new Values(stage.seed);
  return await time(stage, op, "putSynced", count, async () => {
    await stage.contender.putSynced(keys, values, count, writers);
    return count;
  });
}

async function readRandom(stage: Stage, op: Op, key: Uint8Array, expected: number): Promise<Figure> {
  const { contender, num } = stage;
  await contender.get(sequence(stage, `${op} warm-up`), key, warmUp(num));
  const figure = await time(stage, op, "get", num, async () => {
    check(op, await contender.get(sequence(stage, op), key, num), expected);
    return num;
  });
  return figure;
}

async function readInOrder(stage: Stage, op: Op, reverse: boolean): Promise<Figure> {
  const { contender, keys, num } = stage;
  await contender.scan(warmUp(num), reverse);
  return await time(stage, op, "scan", keys.size, async () => {
    const found = await contender.scan(num, reverse);
    check(op, found, keys.size);
    return found;
  });
}

async function seekRandom(stage: Stage, op: Op): Promise<Figure> {
  const { contender, keys, num } = stage;
  const expected = keys.countNotAbove(sequence(stage, op), num, num);
  await contender.seek(sequence(stage, `${op} warm-up`), warmUp(num));
  return await time(stage, op, "seek", num, async () => {
    check(op, await contender.seek(sequence(stage, op), num), expected);
    return num;
  });
}

async function readWhileWriting(stage: Stage, op: Op): Promise<Figure> {
  const { contender, keys, num } = stage;
  const expected = keys.countHits(sequence(stage, op), num);
  const values = new Values(stage.seed);
  await contender.get(sequence(stage, `${op} warm-up`), newKey(), warmUp(num));
  return await time(stage, op, "getWhileWriting", num, async () => {
    const written = sequence(stage, `${op} written`);
    const found = await contender.getWhileWriting(sequence(stage, op), written, values, num);
    // What is written may be found, too.
    if (found < expected)
      throw new Error(`${op}: ${found} entries were found, expected at least ${expected}`);
    return num;
  });
}

async function time(
  stage: Stage,
  op: Op,
  loop: ContenderLoop,
  planned: number,
  run: () => Promise<number>,
): Promise<Figure> {
  Bun.gc(true);
  resetPeakMemory();
  const threadBefore = threadCpuMs();
  const processBefore = processCpuMs();
  const began = performance.now();
  const count = await run();
  const ms = performance.now() - began;
  const threadMs = threadCpuMs() - threadBefore;
  const processMs = processCpuMs() - processBefore;
  check(op, count, planned);
  return {
    engine: stage.engine,
    op,
    num: stage.num,
    us_op: thousandths((ms * 1000) / count),
    ops_s: Math.round((count * 1000) / ms),
    count,
    api: stage.contender.api[loop],
    thread_cpu_us_op: thousandths((threadMs * 1000) / count),
    process_cpu_us_op: thousandths((processMs * 1000) / count),
    rss_peak_bytes: peakMemoryBytes(),
    rss_bytes: process.memoryUsage.rss(),
  };
}

/** A benchmark that gives wrong answers measures nothing. */
function check(op: Op, found: number, expected: number): void {
  if (found !== expected) throw new Error(`${op}: ${found} entries were found, expected ${expected}`);
}

function warmUp(num: number): number {
  return Math.min(Math.ceil(num / 10), WARM_UP_MAX);
}

function thousandths(value: number): number {
  return Math.round(value * 1000) / 1000;
}
