/**
 * Runs compactions in the background, one at a time, as long as the policy sees need of one. Their output replaces their
 * input in one durable edit.
 */
import type { Background, Log } from "../env/env.ts";
import { COMPACT_JOB } from "./background-jobs.ts";
import type { Catalog } from "./catalog.ts";
import { type CompactionLimits, type CompactionPlan, pickCompaction } from "./compaction-policy.ts";
import type { Levels } from "./levels.ts";
import { bytesOf, metaOf } from "./manifest.ts";
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
}

export interface CompactorOptions extends CompactionLimits {
  /** A compaction ends a table with the key that makes it this long, in bytes. */
  readonly tableBytes: number;
}

export class Compactor {
  readonly #host: CompactorHost;
  readonly #options: CompactorOptions;
  #running: Promise<void> | undefined;
  #compactions = 0;
  #bytesRead = 0;
  #bytesWritten = 0;

  constructor(host: CompactorHost, options: CompactorOptions) {
    this.#host = host;
    this.#options = options;
  }

  get compactions(): number {
    return this.#compactions;
  }

  get bytesRead(): number {
    return this.#bytesRead;
  }

  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  /** Starts compactions, unless they run or are not needed. To be called when the tables have changed. */
  start(): void {
    if (this.#running !== undefined || this.#host.health.refusal !== undefined) return;
    const plan = pickCompaction(this.#host.levels.metas, this.#options);
    if (plan !== undefined) this.#running = this.#run(plan);
  }

  /** Settles when no compaction runs any more. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #run(first: CompactionPlan): Promise<void> {
    const { health, levels, log, directory } = this.#host;
    try {
      let plan: CompactionPlan | undefined = first;
      while (plan !== undefined && health.refusal === undefined) {
        try {
          await this.#compact(plan);
          health.tablesWritten();
        } catch (error) {
          if (!isDiskFull(error)) throw error;
          log.warn("compaction waits for disk space", { directory, error: messageOf(error) });
          await health.retryDelay();
        }
        health.wake();
        plan = pickCompaction(levels.metas, this.#options);
      }
    } catch (error) {
      health.fail(error);
    } finally {
      this.#running = undefined;
    }
  }

  async #compact({ level, outputLevel, inputs, deeper }: CompactionPlan): Promise<void> {
    const { background, catalog, directory, log } = this.#host;
    const bytesRead = bytesOf(inputs);
    // A merge is hardly longer than what went into it; a quarter more is on the safe side.
    const outputsMax = Math.ceil((bytesRead * 1.25) / this.#options.tableBytes) + 1;
    const argument: CompactArgument = {
      directory,
      inputs: inputs.map(({ number }) => number),
      deeper,
      snapshots: this.#host.snapshots(),
      outputs: Array.from({ length: outputsMax }, () => catalog.newFileNumber()),
      tableBytes: this.#options.tableBytes,
      table: this.#host.table(outputLevel),
    };
    const written = (await background.run(COMPACT_JOB, argument)) as WrittenTable[];
    const added = written.map((table) => metaOf(table, outputLevel));
    await catalog.change(added, argument.inputs);
    this.#compactions++;
    this.#bytesRead += bytesRead;
    this.#bytesWritten += bytesOf(added);
    log.debug("compaction done", { level, inputs: inputs.length, outputs: added.length, bytesRead });
  }
}
