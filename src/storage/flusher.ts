/**
 * Turns sealed memtables into tables of level 0, oldest first, in the background. A memtable is read until the edit that
 * names its table is durable; only then the log below it goes, and its writers hear of it.
 */
import type { Background } from "../env/env.ts";
import { FLUSH_JOB } from "./background-jobs.ts";
import type { Catalog } from "./catalog.ts";
import { metaOf } from "./manifest.ts";
import type { Memtable } from "./memtable.ts";
import { isDiskFull } from "./storage-error.ts";
import type { StoreHealth } from "./store-health.ts";
import type { FlushArgument } from "./table-building.ts";
import type { TableOptions, WrittenTable } from "./table-writer.ts";

/** A memtable that takes no more writes. */
export interface SealedMemtable {
  readonly seal: number;
  readonly memtable: Memtable;
  /** The last sequence number and the last log record in it. */
  readonly lastSequence: number;
  readonly lastRecord: number;
}

/** What the flusher needs of the engine. */
export interface FlusherHost {
  readonly background: Background;
  readonly directory: string;
  readonly catalog: Catalog;
  readonly health: StoreHealth;
  /** How tables of level 0 are written. */
  readonly table: TableOptions;
  /** Sequence numbers that somebody reads at, ascending. */
  snapshots(): number[];
  /** The store's time: all reads are at it or later. */
  now(): number;
  /** The memtable's table is durable, and it is read no more. */
  flushed(sealed: SealedMemtable): void;
}

interface FlushWaiter {
  readonly seal: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class Flusher {
  readonly #host: FlusherHost;
  /** Oldest first. */
  readonly #sealed: SealedMemtable[] = [];
  #waiters: FlushWaiter[] = [];
  #running: Promise<void> | undefined;
  #flushes = 0;
  #bytesWritten = 0;

  constructor(host: FlusherHost) {
    this.#host = host;
  }

  /** Memtables that wait for their table, oldest first. */
  get sealed(): readonly SealedMemtable[] {
    return this.#sealed;
  }

  /** Tables written. */
  get flushes(): number {
    return this.#flushes;
  }

  /** Bytes of all tables written. */
  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  add(sealed: SealedMemtable): void {
    this.#sealed.push(sealed);
    this.#running ??= this.#run();
  }

  /** Resolves when the seal and all before it are durable; rejects with what ended the store. */
  flushed(seal: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ seal, resolve, reject });
    });
  }

  /** Settles when no flush runs any more. */
  async settled(): Promise<void> {
    await this.#running;
  }

  rejectWaiters(error: Error): void {
    for (const { reject } of this.#waiters) reject(error);
    this.#waiters = [];
  }

  async #run(): Promise<void> {
    const { health } = this.#host;
    try {
      while (this.#sealed.length > 0 && health.failure === undefined) {
        try {
          await this.#flushOldest();
        } catch (error) {
          if (!isDiskFull(error)) throw error;
          health.tablesFull("a memtable can't be written to a table", error);
          if (health.closing) break;
          await health.retryDelay();
        }
        health.wake();
      }
    } catch (error) {
      this.rejectWaiters(health.fail(error));
    } finally {
      this.#running = undefined;
    }
  }

  async #flushOldest(): Promise<void> {
    const { background, directory, catalog, health, table } = this.#host;
    const oldest = this.#sealed[0]!;
    if (!oldest.memtable.isEmpty) {
      const argument: FlushArgument = {
        directory,
        fileNumber: catalog.newFileNumber(),
        memtable: oldest.memtable.share(),
        snapshots: this.#host.snapshots(),
        now: this.#host.now(),
        table,
      };
      const written = (await background.run(FLUSH_JOB, argument)) as WrittenTable;
      const { lastSequence, lastRecord } = oldest;
      await catalog.change([metaOf(written, 0)], [], { lastSequence, flushedRecord: lastRecord });
      health.tablesWritten();
      this.#flushes++;
      this.#bytesWritten += written.bytes;
    }
    // Until here both the memtable and its table were read, which is the same twice; neither was ever missing.
    this.#sealed.shift();
    this.#host.flushed(oldest);
    const waiting = this.#waiters;
    this.#waiters = waiting.filter(({ seal }) => seal > oldest.seal);
    for (const { seal, resolve } of waiting) if (seal <= oldest.seal) resolve();
  }
}
