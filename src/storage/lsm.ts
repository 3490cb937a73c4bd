/**
 * The engine: a log-structured merge tree (O'Neil et al. 1996) in the shape that LevelDB gave it.
 *
 * A write goes into the memtable (by way of the log, unless its writer keeps one). A full memtable is sealed and becomes
 * a table of level 0 in the background; compactions merge tables into deeper levels. A read asks the memtables, then the
 * tables, newest first.
 *
 * What is durable, and when: a table counts from the moment that the manifest's edit which names it is synced. That edit
 * also says up to which log record everything is in tables. So after a crash the store is exactly what the last edit
 * describes, and what the log holds above it; unlogged writes since the last flushed seal are gone, all of them.
 *
 * A memtable is sealed by `sealIfFull` and `flush`, when the writer of unlogged batches says that its own state and what
 * it has written agree, and after a group of logged writes, which is never in the middle of anybody's synchronous step.
 *
 * A full disk is survived: writes are refused until there is space. A failed sync is not: nothing works after it.
 */
import type { Env, FileLock, Timer } from "../env/env.ts";
import { assert } from "../lib/assert.ts";
import { COMPACT_JOB, FLUSH_JOB } from "./background-jobs.ts";
import { BlockCache } from "./block-cache.ts";
import { Catalog } from "./catalog.ts";
import { type CompactionPlan, pickCompaction } from "./compaction-policy.ts";
import { SEQUENCE_MAX } from "./cursor.ts";
import type {
  Engine,
  EngineIterator,
  EngineStats,
  ScanRange,
  SealListener,
  Snapshot,
  WriteBatch,
  WriteOptions,
  WritePressure,
} from "./engine.ts";
import { TEMPORARY_SUFFIX } from "./file-names.ts";
import type { Levels } from "./levels.ts";
import { type LsmOptions, lsmOptions } from "./lsm-options.ts";
import type { ManifestState, ManifestWriter, TableMeta } from "./manifest.ts";
import { Memtable } from "./memtable.ts";
import { MergeCursor } from "./merge-cursor.ts";
import { Pins } from "./pins.ts";
import { RangeIterator } from "./range-iterator.ts";
import { recoverStore } from "./recovery.ts";
import { isDiskFull, messageOf, StorageError } from "./storage-error.ts";
import type { CompactArgument, FlushArgument } from "./table-building.ts";
import type { WrittenTable } from "./table-writer.ts";
import { type RecoveredWal, Wal } from "./wal.ts";
import { BATCH_HEADER_BYTES, EncodedBatch } from "./write-batch.ts";

/** What the engine needs of the outside world. */
export type LsmEnv = Pick<Env, "fs" | "background" | "clock" | "log">;

/**
 * Opens the store in `directory`, which is created if it is not there. Rejects with `LOCKED` if another process has it
 * open, with `CORRUPT` if its files are damaged (nothing is changed then), with `FileError`.
 */
export async function openLsm(
  env: LsmEnv,
  directory: string,
  options: Partial<LsmOptions> = {},
  sealListener?: SealListener,
): Promise<Engine> {
  const all = lsmOptions(options);
  const cache = new BlockCache(all.blockCacheBytes);
  const store = await recoverStore(env.fs, directory, cache, newMemtable(all));
  env.log.info("storage opened", {
    directory,
    tables: store.state.tables.length,
    recoveredEntries: store.memtable.count,
  });
  return new LsmEngine(env, directory, all, store, cache, sealListener);
}

/** What `recoverStore` found in a directory, ready to be worked with. */
export interface OpenStore {
  readonly lock: FileLock;
  readonly state: ManifestState;
  readonly manifest: ManifestWriter;
  readonly levels: Levels;
  readonly wal: RecoveredWal;
  /** What the log held above the tables. */
  readonly memtable: Memtable;
  readonly lastSequence: number;
}

interface SealedMemtable {
  readonly seal: number;
  readonly memtable: Memtable;
  /** The last sequence number and the last log record in it. */
  readonly lastSequence: number;
  readonly lastRecord: number;
}

interface FlushWaiter {
  readonly seal: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Written to see whether a full disk has space again. */
const PROBE_BYTES = 64 * 1024;

/** Room for what a turn writes beyond the limit, so that the arena rarely has to grow. Untouched, it costs nothing. */
function newMemtable(options: LsmOptions): Memtable {
  return new Memtable(options.memtableBytes + (options.memtableBytes >> 2));
}

class LsmEngine implements Engine {
  readonly #env: LsmEnv;
  readonly #directory: string;
  readonly #options: LsmOptions;
  readonly #listener: SealListener | undefined;
  readonly #lock: FileLock;
  readonly #cache: BlockCache;
  readonly #levels: Levels;
  readonly #catalog: Catalog;
  readonly #wal: Wal;
  readonly #snapshots = new Set<Snapshot>();
  /** Snapshots and open iterators. */
  readonly #pins = new Pins();

  #memtable: Memtable;
  /** Oldest first. */
  readonly #sealed: SealedMemtable[] = [];
  #sequence: number;
  #nextSeal = 1;
  #flushWaiters: FlushWaiter[] = [];

  #flushing: Promise<void> | undefined;
  #compacting: Promise<void> | undefined;
  #probing: Promise<void> | undefined;
  #closing = false;
  /** Why nothing works any more: closed, or failed. */
  #refusal: StorageError | undefined;
  #failure: StorageError | undefined;
  /** Why the log, and why tables, can't be written now. */
  #logFull: string | undefined;
  #tablesFull: string | undefined;
  /** Called when something that writers or retries wait for may have changed. */
  #wakeUps: (() => void)[] = [];

  #flushes = 0;
  #compactions = 0;
  #compactionBytesRead = 0;
  #compactionBytesWritten = 0;

  constructor(
    env: LsmEnv,
    directory: string,
    options: LsmOptions,
    store: OpenStore,
    cache: BlockCache,
    listener: SealListener | undefined,
  ) {
    this.#env = env;
    this.#directory = directory;
    this.#options = options;
    this.#listener = listener;
    this.#lock = store.lock;
    this.#cache = cache;
    this.#levels = store.levels;
    this.#catalog = new Catalog(store.manifest, store.levels, store.state, options.manifestBytes, {
      retryAfter: (error) => this.#retryManifest(error),
      checkAlive: () => {
        if (this.#failure !== undefined) throw this.#failure;
      },
    });
    this.#memtable = store.memtable;
    this.#sequence = store.lastSequence;
    this.#wal = new Wal(env.fs, env.clock, directory, options.walFileBytes, store.wal, {
      newFileNumber: () => this.#catalog.newFileNumber(),
      apply: (bytes, start, end, count) => this.#apply(bytes, start, end, count),
      applied: () => this.sealIfFull(),
      ready: () => this.#readyToLog(),
      failed: (error) => this.#logFailed(error),
    });
    this.#compact();
  }

  newBatch(): WriteBatch {
    return new EncodedBatch();
  }

  write(batch: WriteBatch, options?: WriteOptions): Promise<void> {
    if (this.#refusal !== undefined) return Promise.reject(this.#refusal);
    const readOnly = this.readOnlyReason;
    if (readOnly !== undefined) return Promise.reject(new StorageError("READ_ONLY", readOnly));
    return this.#wal.write(encoded(batch), options?.sync !== false);
  }

  writeUnlogged(batch: WriteBatch): void {
    if (this.#refusal !== undefined) throw this.#refusal;
    const { bytes, byteLength, count } = encoded(batch);
    this.#apply(bytes, BATCH_HEADER_BYTES, byteLength, count);
  }

  sealIfFull(): void {
    if (this.#refusal === undefined && this.#memtable.byteLength >= this.#options.memtableBytes) this.#seal();
  }

  getSync(key: Uint8Array, snapshot?: Snapshot): Uint8Array | undefined {
    if (this.#refusal !== undefined) throw this.#refusal;
    const sequence = snapshot === undefined ? SEQUENCE_MAX : snapshot.sequence;
    const node = this.#memtable.find(key, sequence);
    if (node !== 0) return this.#memtable.isTombstone(node) ? undefined : this.#memtable.value(node);
    for (let i = this.#sealed.length - 1; i >= 0; i--) {
      const { memtable } = this.#sealed[i]!;
      const found = memtable.find(key, sequence);
      if (found !== 0) return memtable.isTombstone(found) ? undefined : memtable.value(found);
    }
    return this.#levels.get(key, sequence) ?? undefined;
  }

  iterate(range: ScanRange): EngineIterator {
    if (this.#refusal !== undefined) throw this.#refusal;
    const { cursors, release } = this.#levels.cursors();
    for (const { memtable } of this.#sealed) if (memtable.count > 0) cursors.push(memtable.cursor());
    if (this.#memtable.count > 0) cursors.push(this.#memtable.cursor());
    const cursor = cursors.length === 1 ? cursors[0]! : new MergeCursor(cursors);
    const pin = { sequence: range.snapshot?.sequence ?? this.#sequence };
    this.#pins.add(pin);
    return new RangeIterator(cursor, range, pin.sequence, () => {
      this.#pins.remove(pin);
      release();
    });
  }

  snapshot(): Snapshot {
    if (this.#refusal !== undefined) throw this.#refusal;
    const release = (): void => {
      this.#snapshots.delete(snapshot);
      this.#pins.remove(snapshot);
    };
    const snapshot: Snapshot = { sequence: this.#sequence, release, [Symbol.dispose]: release };
    this.#snapshots.add(snapshot);
    this.#pins.add(snapshot);
    return snapshot;
  }

  flush(): Promise<void> {
    if (this.#refusal !== undefined) return Promise.reject(this.#refusal);
    return new Promise((resolve, reject) => {
      this.#flushWaiters.push({ seal: this.#nextSeal, resolve, reject });
      this.#seal();
    });
  }

  get pressure(): WritePressure {
    const options = this.#options;
    const sealed = this.#sealed.length;
    const tables = this.#levels.tableCount(0);
    if (sealed >= options.sealedMemtablesStop || tables >= options.level0TablesStop) return "stop";
    if (this.readOnlyReason !== undefined) return "stop";
    return sealed >= options.sealedMemtablesSlow || tables >= options.level0TablesSlow ? "slow" : "none";
  }

  get readOnlyReason(): string | undefined {
    return this.#logFull ?? this.#tablesFull;
  }

  stats(): EngineStats {
    const levels = this.#levels.metas;
    let memtableBytes = this.#memtable.byteLength;
    for (const { memtable } of this.#sealed) memtableBytes += memtable.byteLength;
    return {
      memtableBytes,
      sealedMemtables: this.#sealed.length,
      tables: levels.reduce((sum, tables) => sum + tables.length, 0),
      tableBytes: levels.reduce((sum, tables) => sum + bytesOf(tables), 0),
      tablesPerLevel: levels.map((tables) => tables.length),
      flushes: this.#flushes,
      compactions: this.#compactions,
      compactionBytesRead: this.#compactionBytesRead,
      compactionBytesWritten: this.#compactionBytesWritten,
      walBytes: this.#wal.bytes,
      blockCacheBytes: this.#cache.bytes,
      blockCacheHits: this.#cache.hits,
      blockCacheMisses: this.#cache.misses,
      pressure: this.pressure,
      readOnly: this.readOnlyReason !== undefined,
    };
  }

  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.#refusal ??= new StorageError("CLOSED", `the store in ${this.#directory} is closed`);
    this.#wake();
    try {
      await this.#flushing;
      await this.#compacting;
      await this.#probing;
      if (this.#failure === undefined) await this.#wal.close();
    } finally {
      this.#wal.abandon();
      this.#rejectFlushWaiters(this.#refusal);
      this.#levels.close();
      this.#catalog.close();
      this.#lock.release();
    }
  }

  #apply(bytes: Uint8Array, start: number, end: number, count: number): void {
    this.#memtable.insert(bytes, start, end, count, this.#sequence + 1, this.#pins.newest);
    this.#sequence += count;
  }

  // --- Seals and flushes.

  /** Seals the memtable, also an empty one: its listener may have moved on without data. */
  #seal(): void {
    const seal = this.#nextSeal++;
    if (this.#listener !== undefined) {
      const batch = new EncodedBatch();
      this.#listener.beforeSeal(seal, batch);
      this.#memtable.insert(
        batch.bytes,
        BATCH_HEADER_BYTES,
        batch.byteLength,
        batch.count,
        this.#sequence + 1,
      );
      this.#sequence += batch.count;
    }
    const memtable = this.#memtable;
    this.#sealed.push({
      seal,
      memtable,
      lastSequence: this.#sequence,
      lastRecord: this.#wal.lastRecord,
    });
    this.#memtable = newMemtable(this.#options);
    this.#flushing ??= this.#flushSealed();
  }

  async #flushSealed(): Promise<void> {
    try {
      while (this.#sealed.length > 0 && this.#failure === undefined) {
        try {
          await this.#flushOldest();
        } catch (error) {
          if (!isDiskFull(error)) throw error;
          this.#tablesFull = this.#full("a memtable can't be written to a table", error, this.#tablesFull);
          if (this.#closing) break;
          await this.#retryDelay();
        }
        this.#wake();
        this.#compact();
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#flushing = undefined;
    }
  }

  async #flushOldest(): Promise<void> {
    const oldest = this.#sealed[0]!;
    if (oldest.memtable.count > 0) {
      const argument: FlushArgument = {
        directory: this.#directory,
        fileNumber: this.#catalog.newFileNumber(),
        memtable: oldest.memtable.share(),
        snapshots: this.#snapshotSequences(),
        table: this.#tableOptions(),
      };
      const table = (await this.#env.background.run(FLUSH_JOB, argument)) as WrittenTable;
      const { lastSequence, lastRecord } = oldest;
      await this.#catalog.change([metaOf(table, 0)], [], { lastSequence, flushedRecord: lastRecord });
      this.#tablesFull = this.#writable("tables", this.#tablesFull);
      this.#flushes++;
    }
    // Until here both the memtable and its table were read, which is the same twice; neither was ever missing.
    this.#sealed.shift();
    this.#wal.removeFlushed(this.#catalog.flushedRecord);
    this.#listener?.flushed(oldest.seal);
    const waiting = this.#flushWaiters;
    this.#flushWaiters = waiting.filter(({ seal }) => seal > oldest.seal);
    for (const { seal, resolve } of waiting) if (seal <= oldest.seal) resolve();
  }

  #rejectFlushWaiters(error: Error): void {
    for (const { reject } of this.#flushWaiters) reject(error);
    this.#flushWaiters = [];
  }

  // --- Compactions.

  /** Starts compactions, unless they run or are not needed. */
  #compact(): void {
    if (this.#compacting !== undefined || this.#refusal !== undefined) return;
    const plan = pickCompaction(this.#levels.metas, this.#options);
    if (plan !== undefined) this.#compacting = this.#runCompactions(plan);
  }

  async #runCompactions(first: CompactionPlan): Promise<void> {
    try {
      let plan: CompactionPlan | undefined = first;
      while (plan !== undefined && this.#refusal === undefined) {
        try {
          await this.#runCompaction(plan);
          this.#tablesFull = this.#writable("tables", this.#tablesFull);
        } catch (error) {
          if (!isDiskFull(error)) throw error;
          this.#env.log.warn("compaction waits for disk space", {
            directory: this.#directory,
            error: messageOf(error),
          });
          await this.#retryDelay();
        }
        this.#wake();
        plan = pickCompaction(this.#levels.metas, this.#options);
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#compacting = undefined;
    }
  }

  async #runCompaction({ level, outputLevel, inputs, deeper }: CompactionPlan): Promise<void> {
    const bytesRead = bytesOf(inputs);
    // A merge is hardly longer than what went into it; a quarter more is on the safe side.
    const outputsMax = Math.ceil((bytesRead * 1.25) / this.#options.tableBytes) + 1;
    const outputs = Array.from({ length: outputsMax }, () => this.#catalog.newFileNumber());
    const argument: CompactArgument = {
      directory: this.#directory,
      inputs: inputs.map(({ number }) => number),
      deeper,
      snapshots: this.#snapshotSequences(),
      outputs,
      tableBytes: this.#options.tableBytes,
      table: this.#tableOptions(),
    };
    const written = (await this.#env.background.run(COMPACT_JOB, argument)) as WrittenTable[];
    const added = written.map((table) => metaOf(table, outputLevel));
    await this.#catalog.change(added, argument.inputs);
    this.#compactions++;
    this.#compactionBytesRead += bytesRead;
    this.#compactionBytesWritten += bytesOf(added);
    this.#env.log.debug("compaction done", {
      level,
      inputs: inputs.length,
      outputs: added.length,
      bytesRead,
    });
  }

  #tableOptions(): FlushArgument["table"] {
    const { blockBytes, restartInterval, bloomBitsPerKey } = this.#options;
    return { blockBytes, restartInterval, bloomBitsPerKey };
  }

  #snapshotSequences(): number[] {
    const sequences = new Set<number>();
    for (const { sequence } of this.#snapshots) sequences.add(sequence);
    return [...sequences].sort((a, b) => a - b);
  }

  // --- Trouble.

  /** The manifest can't be written: nothing is flushed meanwhile. */
  async #retryManifest(error: unknown): Promise<void> {
    if (this.#closing) throw error;
    this.#tablesFull = this.#full("the manifest can't be written", error, this.#tablesFull);
    await this.#retryDelay();
  }

  async #readyToLog(): Promise<void> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.readOnlyReason !== undefined) throw new StorageError("READ_ONLY", this.readOnlyReason);
      const { pressure } = this;
      if (pressure === "none" || this.#closing) return;
      if (pressure === "slow") return this.#delay(this.#options.slowDelayMs);
      await new Promise<void>((resolve) => this.#wakeUps.push(resolve));
    }
  }

  #logFailed(error: unknown): Error {
    if (error instanceof StorageError && error.code !== "FAILED") return error;
    if (!isDiskFull(error)) return this.#fail(error);
    this.#logFull = this.#full("the log can't be written", error, this.#logFull);
    this.#probing ??= this.#probeSpace();
    return new StorageError("READ_ONLY", this.#logFull, { cause: error });
  }

  /** Tries again and again whether something can be written, until it can. */
  async #probeSpace(): Promise<void> {
    const path = `${this.#directory}/PROBE${TEMPORARY_SUFFIX}`;
    while (this.#logFull !== undefined && this.#refusal === undefined) {
      await this.#retryDelay();
      try {
        const handle = this.#env.fs.open(path, "create");
        try {
          handle.write(new Uint8Array(PROBE_BYTES), 0, PROBE_BYTES, 0);
        } finally {
          handle.close();
          this.#env.fs.remove(path);
        }
        this.#logFull = this.#writable("the log", this.#logFull);
      } catch (error) {
        if (!isDiskFull(error)) this.#fail(error);
      }
    }
    this.#probing = undefined;
  }

  #full(what: string, error: unknown, before: string | undefined): string {
    const reason = `${what}: ${messageOf(error)}`;
    if (before === undefined)
      this.#env.log.warn("storage is read-only", { directory: this.#directory, reason });
    return reason;
  }

  #writable(what: string, before: string | undefined): undefined {
    if (before !== undefined)
      this.#env.log.info("storage takes writes again", { directory: this.#directory, what });
    return undefined;
  }

  /** The end: everything is refused from now on. */
  #fail(error: unknown): StorageError {
    if (this.#failure !== undefined) return this.#failure;
    const failure = new StorageError(
      "FAILED",
      `the store in ${this.#directory} can't go on, the process has to end: ${messageOf(error)}`,
      { cause: error },
    );
    this.#failure = failure;
    this.#refusal = failure;
    this.#rejectFlushWaiters(failure);
    this.#wake();
    this.#env.log.error("storage failed", { directory: this.#directory, error: messageOf(error) });
    this.#options.onFatal(failure);
    return failure;
  }

  #wake(): void {
    const wakeUps = this.#wakeUps;
    this.#wakeUps = [];
    for (const wake of wakeUps) wake();
  }

  #delay(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#env.clock.timer(delayMs, resolve);
    });
  }

  /** Waits until a full disk should be tried again; ends early when the engine is closed. */
  #retryDelay(): Promise<void> {
    if (this.#refusal !== undefined) return Promise.resolve();
    return new Promise((resolve) => {
      let timer: Timer | undefined;
      const wake = (): void => {
        if (this.#refusal === undefined) {
          this.#wakeUps.push(wake);
          return;
        }
        timer?.cancel();
        resolve();
      };
      timer = this.#env.clock.timer(this.#options.retryMs, () => {
        this.#wakeUps = this.#wakeUps.filter((other) => other !== wake);
        resolve();
      });
      this.#wakeUps.push(wake);
    });
  }
}

function encoded(batch: WriteBatch): EncodedBatch {
  assert(batch instanceof EncodedBatch, "a batch that this engine did not make");
  return batch;
}

function metaOf(table: WrittenTable, level: number): TableMeta {
  const { number, bytes, entries, tombstones, largestSequence, smallestKey, largestKey } = table;
  return { number, level, bytes, entries, tombstones, largestSequence, smallestKey, largestKey };
}

function bytesOf(tables: readonly TableMeta[]): number {
  let bytes = 0;
  for (const table of tables) bytes += table.bytes;
  return bytes;
}
