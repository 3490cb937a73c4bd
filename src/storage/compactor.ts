/**
 * Carries out compactions, one at a time, as long as the policy sees need of one or somebody has asked for one. Merges
 * run in the background; what they write replaces what they read in one durable edit. A table that only changes its level,
 * or goes altogether, is an edit and nothing else.
 */
import type { Background, Log } from "../env/env.ts";
import { COMPACT_JOB } from "./background-jobs.ts";
import type { Catalog } from "./catalog.ts";
import type { CompactionPlan, CompactionView } from "./compaction-plan.ts";
import { BELOW_TABLES, type CompactionLimits, pickCompaction } from "./compaction-policy.ts";
import { SEQUENCE_MAX } from "./cursor.ts";
import type { KeySpan } from "./engine.ts";
import { isStopped, requestStop } from "./job-stop.ts";
import { byStart, rangeOf } from "./key-range.ts";
import { compactionDebt } from "./level-targets.ts";
import type { Levels } from "./levels.ts";
import { bytesOf, metaOf, type TableMeta } from "./manifest.ts";
import { compactSpan, nextSpanStep, type SpanProgress, type SpanStep } from "./span-compaction.ts";
import { isDiskFull, messageOf } from "./storage-error.ts";
import type { StoreHealth } from "./store-health.ts";
import type { CompactArgument } from "./table-building.ts";
import type { TableOptions, WrittenTable } from "./table-writer.ts";

/** What the compactor needs of the engine. */
export interface CompactorHost {
  readonly background: Background;
  readonly log: Log;
  readonly directory: string;
  readonly catalog: Catalog;
  readonly levels: Levels;
  readonly health: StoreHealth;
  /** How tables of a level are written. */
  table(level: number): TableOptions;
  /** Sequence numbers that somebody reads at, ascending. */
  snapshots(): number[];
  /** The store's time: all reads are at it or later. */
  now(): number;
}

/** Somebody who waits for a span to be compacted. */
interface SpanRequest {
  progress: SpanProgress;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** What compactions have done since the store was opened. */
export interface CompactionCounts {
  /** Merges, and tables that changed their level or went without being read. */
  readonly merges: number;
  readonly moved: number;
  readonly dropped: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

export class Compactor {
  readonly #host: CompactorHost;
  readonly #limits: CompactionLimits;
  /** Seen by the background thread: 1 when the merge that runs should end early. */
  readonly #stop = new Int32Array(new SharedArrayBuffer(4));
  readonly #spans: SpanRequest[] = [];
  #running: Promise<void> | undefined;
  /** The debt, and of which tables. */
  #debt = 0;
  #debtOf: readonly (readonly TableMeta[])[] | undefined;
  /** When the next table has expired, and of which tables that was found. */
  #nextExpiry = 0;
  #expiryOf: readonly (readonly TableMeta[])[] | undefined;
  #merges = 0;
  #moved = 0;
  #dropped = 0;
  #bytesRead = 0;
  #bytesWritten = 0;

  constructor(host: CompactorHost, limits: CompactionLimits) {
    this.#host = host;
    this.#limits = limits;
  }

  get counts(): CompactionCounts {
    return {
      merges: this.#merges,
      moved: this.#moved,
      dropped: this.#dropped,
      bytesRead: this.#bytesRead,
      bytesWritten: this.#bytesWritten,
    };
  }

  /** About how many bytes have to be written until no level is too full. */
  get debt(): number {
    const { metas } = this.#host.levels;
    if (metas !== this.#debtOf) {
      this.#debtOf = metas;
      this.#debt = compactionDebt(metas, this.#limits);
    }
    return this.#debt;
  }

  /** Starts compactions, unless they run or are not needed. To be called when the tables have changed. */
  start(): void {
    if (this.#running !== undefined || this.#host.health.refusal !== undefined) return;
    if (this.#spans.length > 0 || pickCompaction(this.#view(), this.#limits) !== undefined) {
      this.#running = this.#run();
    }
  }

  /** Starts what the store's time `now` makes worth it. Costs next to nothing while no table has expired anew. */
  timeMoved(now: number): void {
    const { metas } = this.#host.levels;
    if (metas === this.#expiryOf && now < this.#nextExpiry) return;
    this.#expiryOf = metas;
    this.#nextExpiry = Number.POSITIVE_INFINITY;
    let expired = false;
    for (const tables of metas) {
      for (const { latestExpiry } of tables) {
        if (latestExpiry === 0) continue;
        if (latestExpiry <= now) expired = true;
        else if (latestExpiry < this.#nextExpiry) this.#nextExpiry = latestExpiry;
      }
    }
    if (expired) this.start();
  }

  /**
   * Compacts the tables that are there now and overlap the span, see `Engine.compact`. Rejects with what ended the store,
   * and when it is closed meanwhile.
   */
  compact(span: KeySpan): Promise<void> {
    const { health, catalog } = this.#host;
    if (health.refusal !== undefined) return Promise.reject(health.refusal);
    const progress = compactSpan(span, catalog.newFileNumber());
    const done = new Promise<void>((resolve, reject) => {
      this.#spans.push({ progress, resolve, reject });
    });
    this.start();
    return done;
  }

  /** Ends what runs, as soon as it can be ended, and resolves then. Nothing is lost but the work on it. */
  async stop(): Promise<void> {
    requestStop(this.#stop);
    await this.#running;
    this.#rejectSpans();
  }

  async #run(): Promise<void> {
    const { health, log, directory } = this.#host;
    // What finds nothing to do must not be over before it is known to run.
    await Promise.resolve();
    try {
      for (;;) {
        const step = this.#next();
        if (step?.plan === undefined || health.refusal !== undefined) break;
        try {
          await this.#carryOut(step.plan);
          if (step.request !== undefined) step.request.progress = step.progress;
          health.tablesWritten();
        } catch (error) {
          if (isStopped(error)) break;
          if (!isDiskFull(error)) throw error;
          log.warn("compaction waits for disk space", { directory, error: messageOf(error) });
          await health.retryDelay();
        }
        health.wake();
      }
    } catch (error) {
      health.fail(error);
    } finally {
      this.#running = undefined;
      if (health.refusal !== undefined) this.#rejectSpans();
    }
  }

  /** What to do next: level 0 must not grow, then come the spans that somebody waits for, then the rest. */
  #next(): (SpanStep & { readonly request: SpanRequest }) | (SpanStep & { request?: undefined }) | undefined {
    const view = this.#view();
    const picked = pickCompaction(view, this.#limits);
    if (picked?.level !== 0) {
      for (let request = this.#spans[0]; request !== undefined; request = this.#spans[0]) {
        const step = nextSpanStep(view, this.#limits, request.progress);
        if (step !== undefined) return { ...step, request };
        this.#spans.shift();
        request.resolve();
      }
    }
    return picked === undefined ? undefined : { plan: picked, progress: NO_SPAN };
  }

  #view(): CompactionView {
    const { levels } = this.#host;
    const oldestSnapshot = this.#host.snapshots()[0] ?? SEQUENCE_MAX;
    return { levels: levels.metas, now: this.#host.now(), oldestSnapshot, running: [] };
  }

  async #carryOut(plan: CompactionPlan): Promise<void> {
    const { catalog, log } = this.#host;
    const { kind, cause, level, outputLevel, inputs } = plan;
    const removed = inputs.map(({ number }) => number);
    if (kind === "merge") {
      await this.#merge(plan, removed);
    } else if (kind === "move") {
      await catalog.change(
        inputs.map((table) => ({ ...table, level: outputLevel })),
        removed,
      );
      this.#moved += inputs.length;
    } else {
      await catalog.change([], removed);
      this.#dropped += inputs.length;
    }
    log.debug("compaction done", { kind, cause, level, outputLevel, tables: inputs.length });
  }

  async #merge({ inputs, outputLevel, deeper, below }: CompactionPlan, removed: number[]): Promise<void> {
    const { background, catalog, directory } = this.#host;
    const { tableBytes } = this.#limits;
    const bytesRead = bytesOf(inputs);
    // A merge is hardly longer than what went into it, a quarter more is on the safe side; and it may be cut early where
    // it lies over much.
    const outputsMax = Math.ceil((bytesRead * 1.25) / tableBytes) + 1 + below.length;
    const argument: CompactArgument = {
      directory,
      inputs: runsOf(inputs),
      deleting: inputs.filter((table) => table.rangeTombstones > 0).map(({ number }) => number),
      sharedBytes: sharedBytesOf(inputs),
      deeper,
      below,
      belowBytesMax: BELOW_TABLES * tableBytes,
      snapshots: this.#host.snapshots(),
      now: this.#host.now(),
      outputs: Array.from({ length: outputsMax }, () => catalog.newFileNumber()),
      tableBytes,
      table: this.#host.table(outputLevel),
      stop: this.#stop,
    };
    const written = (await background.run(COMPACT_JOB, argument)) as WrittenTable[];
    const added = written.map((table) => metaOf(table, outputLevel));
    await catalog.change(added, removed);
    this.#merges++;
    this.#bytesRead += bytesRead;
    this.#bytesWritten += bytesOf(added);
  }

  #rejectSpans(): void {
    for (const { reject } of this.#spans.splice(0)) reject(this.#host.health.refusal!);
  }
}

/** The progress of what is not part of a span. */
const NO_SPAN = compactSpan({}, 0);

/** Tables of level 0 each by itself, those of another level one after the other. */
function runsOf(inputs: readonly TableMeta[]): number[][] {
  const runs: number[][] = [];
  const sorted = new Map<number, number[]>();
  for (const { level, number } of [...inputs].sort(byStart)) {
    const run = level === 0 ? undefined : sorted.get(level);
    if (run !== undefined) {
      run.push(number);
      continue;
    }
    const begun = [number];
    runs.push(begun);
    sorted.set(level, begun);
  }
  return runs;
}

/** How many first bytes all keys of the tables share. */
function sharedBytesOf(inputs: readonly TableMeta[]): number {
  const { smallestKey, largestKey } = rangeOf(inputs);
  let shared = 0;
  while (shared < smallestKey.length && smallestKey[shared] === largestKey[shared]) shared++;
  return shared;
}
