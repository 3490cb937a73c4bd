/** What is measured beside the clock. Where the system has no /proc, memory is what Bun says now, and written bytes are unknown. */
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createHistogram, type RecordableHistogram } from "node:perf_hooks";

const PROBE_MS = 1;

/**
 * How late a timer of a millisecond comes, for as long as the probe is on: that long others wait for the event loop. And
 * how much of that its own thread was computing: the rest it slept in a call, or waited for a processor.
 */
export class LoopProbe {
  readonly late: RecordableHistogram = createHistogram();
  readonly computing: RecordableHistogram = createHistogram();
  #dueMs = 0;
  #armedCpuMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  start(): void {
    this.#dueMs = performance.now() + PROBE_MS;
    this.#armedCpuMs = threadCpuMs();
    this.#timer = setTimeout(this.#tick, PROBE_MS);
  }

  /** Also counts a tick that is overdue now. */
  stop(): void {
    clearTimeout(this.#timer);
    if (performance.now() > this.#dueMs) this.#record();
  }

  readonly #tick = (): void => {
    this.#record();
    this.start();
  };

  #record(): void {
    const lateMs = performance.now() - this.#dueMs;
    record(this.late, lateMs);
    record(this.computing, Math.min(lateMs, threadCpuMs() - this.#armedCpuMs - PROBE_MS));
  }
}

/** In whole microseconds, at least one: a histogram takes no zero. */
function record(histogram: RecordableHistogram, ms: number): void {
  histogram.record(Math.max(1, Math.round(ms * 1000)));
}

export function percentileMs(histogram: RecordableHistogram, percentile: number): number {
  // A percentile is rounded up to its bucket, which may end behind the highest value.
  return Math.min(maxMs(histogram), histogram.count === 0 ? 0 : histogram.percentile(percentile) / 1000);
}

export function maxMs(histogram: RecordableHistogram): number {
  return histogram.count === 0 ? 0 : histogram.max / 1000;
}

/** Processor time that this thread has used, in milliseconds. */
export function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** Processor time that all threads of this process have used, in milliseconds. */
export function processCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Begins a new peak for `peakMemoryBytes`. */
export function resetPeakMemory(): void {
  try {
    writeFileSync("/proc/self/clear_refs", "5");
  } catch {
    // The peak is then the process's, which is one group's.
  }
}

/** The most memory that the process had at once, in bytes. */
export function peakMemoryBytes(): number {
  return procNumber("/proc/self/status", /^VmHWM:\s+(\d+) kB/m, 1024) ?? process.memoryUsage.rss();
}

/** Bytes that all threads of this process have given to the system to write, or `undefined` where that can't be known. */
export function writtenBytes(): number | undefined {
  return procNumber("/proc/self/io", /^wchar: (\d+)/m, 1);
}

function procNumber(path: string, pattern: RegExp, unit: number): number | undefined {
  try {
    const match = pattern.exec(readFileSync(path, "utf8"));
    return match === null ? undefined : Number(match[1]) * unit;
  } catch {
    return undefined;
  }
}

/** Bytes of all files in a directory and below. */
export function directoryBytes(directory: string): number {
  let bytes = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    try {
      bytes += statSync(join(entry.parentPath, entry.name)).size;
    } catch {
      // An engine at work has removed it meanwhile.
    }
  }
  return bytes;
}

/** For how long nothing may have been written for an engine to be called at rest: a merge that is all computing takes its time. */
const REST_MS_MIN = 200;
const REST_MS_MAX = 1500;
const REST_BYTES_PER_MS = 100_000;
const LOOK_MS = 20;
const SETTLE_MS_MAX = 600_000;

/** Waits until the engine in `directory` writes no more, and returns how long it went on, in milliseconds. */
export async function settle(directory: string): Promise<number> {
  const began = performance.now();
  let seen = "";
  let changed = began;
  for (;;) {
    const now = performance.now();
    const bytes = directoryBytes(directory);
    const state = `${bytes} ${writtenBytes()}`;
    if (state !== seen) {
      seen = state;
      changed = now;
    }
    const restMs = Math.min(REST_MS_MIN + bytes / REST_BYTES_PER_MS, REST_MS_MAX);
    if (now - changed >= restMs) return changed - began;
    if (now - began > SETTLE_MS_MAX) throw new Error(`the engine is not at rest after ${SETTLE_MS_MAX} ms`);
    await Bun.sleep(LOOK_MS);
  }
}
