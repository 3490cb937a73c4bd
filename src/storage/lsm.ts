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
import type { Env, FileLock } from "../env/env.ts";
import { FLUSH_JOB } from "./background-jobs.ts";
import { BlockCache } from "./block-cache.ts";
import { Catalog } from "./catalog.ts";
import { writeCheckpoint } from "./checkpoint.ts";
import { Compactor } from "./compactor.ts";
import { type Cursor, SEQUENCE_MAX } from "./cursor.ts";
import type {
  DurableEngine,
  EngineIterator,
  EngineStats,
  KeySpan,
  ScanRange,
  SealListener,
  Snapshot,
  WriteBatch,
  WriteOptions,
  WritePressure,
} from "./engine.ts";
import { FileRemovals } from "./file-removals.ts";
import { Flusher, type SealedMemtable } from "./flusher.ts";
import { type KeyTrace, type KeyTraceStep, settles, traceOf, verdictOf } from "./key-trace.ts";
import type { Levels } from "./levels.ts";
import { type LsmOptions, lsmOptions, tableOptions } from "./lsm-options.ts";
import { type ManifestState, type ManifestWriter, metaOf } from "./manifest.ts";
import type { Memtable } from "./memtable.ts";
import { MemtablePool } from "./memtable-pool.ts";
import { MergeCursor } from "./merge-cursor.ts";
import { orderedSyncs } from "./ordered-syncs.ts";
import { Pins } from "./pins.ts";
import { RangeCover, type RangeDeleteSource, SetSource } from "./range-cover.ts";
import { boundsOf, RangeIterator, type ReadView } from "./range-iterator.ts";
import { recoverStore } from "./recovery.ts";
import { invalid, isDiskFull, StorageError } from "./storage-error.ts";
import { StoreHealth } from "./store-health.ts";
import { tableStats, writeStats } from "./store-stats.ts";
import type { FlushArgument } from "./table-building.ts";
import { TableCache } from "./table-cache.ts";
import type { WrittenTable } from "./table-writer.ts";
import { Wal } from "./wal.ts";
import type { WalOptions } from "./wal-files.ts";
import type { RecoveredWal } from "./wal-recovery.ts";
import { BATCH_HEADER_BYTES, EncodedBatch } from "./write-batch.ts";
import { type Strain, strainOf, WriteThrottle } from "./write-throttle.ts";

/** What the engine needs of the outside world. */
export type LsmEnv = Pick<Env, "fs" | "background" | "clock" | "log">;

/**
 * Opens the store in `directory`, which is created if it is not there. Rejects with `LOCKED` if it is open already,
 * with `CORRUPT` if its files are damaged (nothing is changed then), with `FileError`.
 */
export async function openLsm(
  outside: LsmEnv,
  directory: string,
  options: Partial<LsmOptions> = {},
  sealListener?: SealListener,
): Promise<DurableEngine> {
  const all = lsmOptions(options);
  const { background, clock, log } = outside;
  const env = { fs: orderedSyncs(outside.fs, directory), background, clock, log };
  const cache = new BlockCache(all.blockCacheBytes);
  const removals = new FileRemovals(env.background, env.log);
  // With room for what a turn writes beyond the limit, so that an arena rarely has to grow.
  const memtables = new MemtablePool(all.memtableBytes + (all.memtableBytes >> 2));
  const tables = new TableCache(env.fs, directory, cache, all.openTables, (path) => removals.remove(path));
  const store = await recoverStore(env.fs, directory, tables, {
    newMemtable: () => memtables.newMemtable(),
    memtableBytes: all.memtableBytes,
    flush: async (memtable, fileNumber) => {
      const table = tableOptions(all, 0);
      const argument: FlushArgument = {
        directory,
        fileNumber,
        memtable: memtable.share(),
        snapshots: [],
        now: 0,
        table,
      };
      return metaOf((await env.background.run(FLUSH_JOB, argument)) as WrittenTable, 0);
    },
  });
  env.log.info("storage opened", {
    directory,
    tables: store.state.tables.length,
    recoveredEntries: store.memtable.count,
  });
  return new LsmEngine(env, directory, all, { ...store, cache, removals, memtables }, sealListener);
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

/** What was made for the recovery, and is the engine's from then on. */
interface EngineParts {
  readonly cache: BlockCache;
  readonly removals: FileRemovals;
  readonly memtables: MemtablePool;
}

function walOptions({ walFileBytes: fileBytes, walSpareFiles: spareFiles }: LsmOptions): WalOptions {
  return { fileBytes, spareFiles };
}

class LsmEngine implements DurableEngine {
  readonly #env: LsmEnv;
  readonly #directory: string;
  readonly #options: LsmOptions;
  readonly #listener: SealListener | undefined;
  readonly #lock: FileLock;
  readonly #cache: BlockCache;
  readonly #removals: FileRemovals;
  readonly #levels: Levels;
  readonly #catalog: Catalog;
  readonly #wal: Wal;
  readonly #flusher: Flusher;
  readonly #compactor: Compactor;
  readonly #health: StoreHealth;
  readonly #throttle: WriteThrottle;
  readonly #snapshots = new Set<Snapshot>();
  /** Snapshots and open iterators. */
  readonly #pins = new Pins();

  /** Those that are linking tables. */
  readonly #checkpoints = new Set<Promise<void>>();
  #closed: Promise<void> | undefined;

  readonly #memtables: MemtablePool;
  #memtable: Memtable;
  #sequence: number;
  #nextSeal = 1;
  /** The time that all reads are at or after; see `advanceTime`. */
  #time = 0;

  constructor(
    env: LsmEnv,
    directory: string,
    options: LsmOptions,
    store: OpenStore & EngineParts,
    listener: SealListener | undefined,
  ) {
    this.#env = env;
    this.#directory = directory;
    this.#options = options;
    this.#listener = listener;
    this.#lock = store.lock;
    this.#cache = store.cache;
    this.#removals = store.removals;
    this.#levels = store.levels;
    this.#health = new StoreHealth(env, directory, {
      retryMs: options.retryMs,
      makeRoom: () => this.#wal.dropSpares(),
      onFatal: (error) => {
        this.#flusher.rejectWaiters(error);
        options.onFatal(error);
      },
    });
    this.#catalog = new Catalog(store.manifest, store.levels, store.state, options.manifestBytes, {
      retryAfter: (error) => this.#retryManifest(error),
      checkAlive: () => this.#health.checkAlive(),
    });
    const parts = {
      background: env.background,
      log: env.log,
      directory,
      catalog: this.#catalog,
      levels: store.levels,
      health: this.#health,
      snapshots: () => this.#snapshotSequences(),
      now: () => this.#time,
    };
    this.#flusher = new Flusher({
      ...parts,
      table: tableOptions(options, 0),
      flushed: (sealed) => this.#flushed(sealed),
    });
    this.#compactor = new Compactor(
      { ...parts, table: (level) => tableOptions(options, level), now: () => this.#time },
      options,
    );
    this.#memtables = store.memtables;
    this.#memtable = store.memtable;
    this.#sequence = store.lastSequence;
    this.#wal = new Wal(env, directory, walOptions(options), store.wal, {
      newFileNumber: () => this.#catalog.newFileNumber(),
      apply: (bytes, start, end, count) => this.#apply(bytes, start, end, count),
      applied: () => this.sealIfFull(),
      ready: () => this.#throttle.ready(),
      failed: (error) => this.#logFailed(error),
    });
    this.#throttle = new WriteThrottle(env.clock, this.#health, () => this.#strain());
    this.#compactor.start();
  }

  newBatch(): WriteBatch {
    return new EncodedBatch(this.#options);
  }

  write(batch: WriteBatch, options?: WriteOptions): Promise<void> {
    if (this.#health.refusal !== undefined) return Promise.reject(this.#health.refusal);
    const readOnly = this.readOnlyReason;
    if (readOnly !== undefined) return Promise.reject(new StorageError("READ_ONLY", readOnly));
    return this.#wal.write(encoded(batch), options?.sync !== false, options?.wal !== false);
  }

  advanceTime(now: number): void {
    if (now <= this.#time) return;
    this.#time = now;
    this.#compactor.timeMoved(now);
  }

  rewindTime(now: number): void {
    if (now < this.#time) this.#time = now;
  }

  writeUnlogged(batch: WriteBatch): void {
    if (this.#health.refusal !== undefined) throw this.#health.refusal;
    const { bytes, byteLength, count } = encoded(batch);
    this.#apply(bytes, BATCH_HEADER_BYTES, byteLength, count);
  }

  sealIfFull(): void {
    if (this.#health.refusal === undefined && this.#memtable.byteLength >= this.#options.memtableBytes)
      this.#seal();
  }

  getSync(key: Uint8Array, snapshot?: Snapshot, now = 0): Uint8Array | undefined {
    if (this.#health.refusal !== undefined) throw this.#health.refusal;
    const sequence = snapshot === undefined ? SEQUENCE_MAX : this.#sequenceOf(snapshot);
    const time = Math.max(now, this.#time);
    const value = this.#memtable.get(key, sequence, time);
    if (value !== undefined) return value ?? undefined;
    for (let i = this.#flusher.sealed.length - 1; i >= 0; i--) {
      const found = this.#flusher.sealed[i]!.memtable.get(key, sequence, time);
      if (found !== undefined) return found ?? undefined;
    }
    return this.#levels.get(key, sequence, time);
  }

  trace(key: Uint8Array, now = 0): KeyTrace {
    if (this.#health.refusal !== undefined) throw this.#health.refusal;
    const time = Math.max(now, this.#time);
    const steps: KeyTraceStep[] = [];
    const { sealed } = this.#flusher;
    const memtables = [this.#memtable, ...sealed.map(({ memtable }) => memtable).reverse()];
    for (const [i, memtable] of memtables.entries()) {
      const { entry, rangeDelete } = memtable.newest(key);
      const verdict = verdictOf(entry, rangeDelete, time);
      steps.push({ place: i === 0 ? "memtable" : "sealed memtable", verdict });
      if (settles(verdict)) return traceOf(steps, entry);
    }
    return traceOf(steps, this.#levels.trace(key, time, steps));
  }

  iterate(range: ScanRange): EngineIterator {
    if (this.#health.refusal !== undefined) throw this.#health.refusal;
    const bounds = boundsOf(range);
    const pin = {
      sequence: range.snapshot === undefined ? this.#sequence : this.#sequenceOf(range.snapshot),
    };
    const { cursors, release } = this.#levels.cursors();
    let { rangeDeletes } = this.#levels;
    for (const { memtable } of this.#flusher.sealed) {
      rangeDeletes = addMemtable(memtable, cursors, rangeDeletes);
    }
    rangeDeletes = addMemtable(this.#memtable, cursors, rangeDeletes);
    const merged = new MergeCursor(cursors);
    const view: ReadView = {
      sequence: pin.sequence,
      now: Math.max(range.now ?? 0, this.#time),
      rangeDeletes:
        rangeDeletes.length === 0
          ? undefined
          : new RangeCover(merged, rangeDeletes, pin.sequence, range.reverse === true),
    };
    // A merge of one is a detour, but for who wants to leap.
    const cursor = cursors.length === 1 && rangeDeletes.length === 0 ? cursors[0]! : merged;
    this.#pins.add(pin);
    this.#memtables.iteratorOpened();
    return new RangeIterator(cursor, range, bounds, view, () => {
      this.#pins.remove(pin);
      this.#memtables.iteratorClosed();
      release();
    });
  }

  snapshot(): Snapshot {
    if (this.#health.refusal !== undefined) throw this.#health.refusal;
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
    if (this.#health.refusal !== undefined) return Promise.reject(this.#health.refusal);
    // Writes that were begun count as well; whether they succeeded, their writers are told.
    const begun = this.#wal.lastBegun;
    return begun === undefined
      ? this.#flush()
      : begun.then(
          () => this.#flush(),
          () => this.#flush(),
        );
  }

  async compact(span: KeySpan = {}): Promise<void> {
    await this.flush();
    await this.#compactor.compact(span);
  }

  async checkpoint(directory: string): Promise<void> {
    await this.flush();
    if (this.#health.refusal !== undefined) throw this.#health.refusal;
    const release = this.#levels.hold();
    const written = writeCheckpoint(this.#env, this.#directory, directory, this.#catalog.state);
    const settled = written.catch(() => {}).then(() => void this.#checkpoints.delete(settled));
    this.#checkpoints.add(settled);
    try {
      await written;
    } finally {
      release();
    }
  }

  get pressure(): WritePressure {
    return this.readOnlyReason === undefined ? this.#strain().pressure : "stop";
  }

  get readOnlyReason(): string | undefined {
    return this.#health.readOnlyReason;
  }

  stats(): EngineStats {
    let memtableBytes = this.#memtable.byteLength;
    for (const { memtable } of this.#flusher.sealed) memtableBytes += memtable.byteLength;
    return {
      memtableBytes,
      sealedMemtables: this.#flusher.sealed.length,
      ...tableStats(this.#levels, this.#flusher, this.#compactor),
      walBytes: this.#wal.bytes,
      walSpareBytes: this.#wal.spareBytes,
      blockCacheBytes: this.#cache.bytes,
      blockCacheHits: this.#cache.hits,
      blockCacheMisses: this.#cache.misses,
      pressure: this.pressure,
      ...writeStats(this.#strain(), this.#throttle),
      readOnly: this.readOnlyReason !== undefined,
    };
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#health.close();
    try {
      await this.#compactor.stop();
      await this.#flusher.settled();
      await Promise.all(this.#checkpoints);
      await this.#health.settled();
      if (this.#health.failure === undefined) {
        await this.#wal.close();
        await this.#catalog.vouch();
      }
    } finally {
      await this.#wal.abandon();
      this.#flusher.rejectWaiters(this.#health.refusal!);
      this.#levels.close();
      this.#catalog.close();
      await this.#removals.close();
      this.#lock.release();
    }
  }

  #sequenceOf(snapshot: Snapshot): number {
    if (!this.#snapshots.has(snapshot))
      throw invalid("a snapshot that was released, or is of another store, can't be read");
    return snapshot.sequence;
  }

  #apply(bytes: Uint8Array, start: number, end: number, count: number): void {
    this.#memtable.insert(bytes, start, end, count, this.#sequence + 1, this.#pins.newest);
    this.#sequence += count;
  }

  // --- Seals and flushes.

  #flush(): Promise<void> {
    if (this.#health.refusal !== undefined) return Promise.reject(this.#health.refusal);
    const flushed = this.#flusher.flushed(this.#nextSeal);
    this.#seal();
    return flushed;
  }

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
    const sealed = {
      seal,
      memtable: this.#memtable,
      lastSequence: this.#sequence,
      lastRecord: this.#wal.lastRecord,
    };
    this.#memtable = this.#memtables.newMemtable();
    this.#flusher.add(sealed);
  }

  #flushed({ seal, memtable }: SealedMemtable): void {
    this.#memtables.retire(memtable);
    this.#wal.removeFlushed(this.#catalog.flushedRecord);
    this.#listener?.flushed(seal);
    this.#compactor.start();
  }

  #snapshotSequences(): number[] {
    const sequences = new Set<number>();
    for (const { sequence } of this.#snapshots) sequences.add(sequence);
    return [...sequences].sort((a, b) => a - b);
  }

  // --- Trouble.

  /** The manifest can't be written: nothing is flushed meanwhile. */
  async #retryManifest(error: unknown): Promise<void> {
    if (this.#health.closing) throw error;
    this.#health.tablesFull("the manifest can't be written", error);
    await this.#health.retryDelay();
  }

  #strain(): Strain {
    const backlog = {
      level0Tables: this.#levels.tableCount(0),
      sealedMemtables: this.#flusher.sealed.length,
      memtableShare: this.#memtable.byteLength / this.#options.memtableBytes,
      compactionDebt: this.#compactor.debt,
    };
    return strainOf(backlog, this.#options);
  }

  #logFailed(error: unknown): Error {
    if (error instanceof StorageError && error.code !== "FAILED") return error;
    return isDiskFull(error) ? this.#health.logFull(error) : this.#health.fail(error);
  }
}

/** Adds a memtable to the cursors of an iterator; returns its range tombstones with those that it has. */
function addMemtable(
  memtable: Memtable,
  cursors: Cursor[],
  rangeDeletes: readonly RangeDeleteSource[],
): readonly RangeDeleteSource[] {
  const sets = memtable.rangeDeletes;
  const older = cursors.length;
  if (memtable.count > 0) cursors.push(memtable.cursor());
  return sets.length === 0
    ? rangeDeletes
    : [...rangeDeletes, ...sets.map((set) => new SetSource(set, older))];
}

function encoded(batch: WriteBatch): EncodedBatch {
  if (!(batch instanceof EncodedBatch)) throw new TypeError("a batch that this engine did not make");
  return batch;
}
