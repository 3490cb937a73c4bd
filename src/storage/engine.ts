/**
 * The storage engine as everything above it sees it: an ordered map from byte strings to byte strings with atomic
 * batches, snapshots and ordered scans. `lsm.ts` is the real one, `memory-engine.ts` the oracle of the tests.
 */

import type { KeyTrace } from "./key-trace.ts";

/**
 * An ordered list of operations that take effect together. Reusable after `clear`. Later operations win. What can't be
 * written (a `TypeError`, or `INVALID` for what is too long) is refused by the call itself, and leaves the batch as it was.
 */
export interface WriteBatch {
  /**
   * Both are copied. `expiresAt`: from which time on the value is gone, in milliseconds since the Unix epoch; 0 (the
   * default): it stays. What time it is, is said by who reads, and by `Engine.advanceTime`.
   */
  put(key: Uint8Array, value: Uint8Array, expiresAt?: number): void;
  delete(key: Uint8Array): void;
  /** Deletes all keys from `gte` on and below `lt`; nothing if there can be none. Both are copied. */
  deleteRange(gte: Uint8Array, lt: Uint8Array): void;
  clear(): void;
  /** Operations in it. */
  readonly count: number;
  /** Bytes it takes in a log. */
  readonly byteLength: number;
}

/** Bounds of a scan, in byte order. At most one of gte/gt and one of lt/lte; `prefix` excludes all four. */
export interface ScanRange {
  readonly gte?: Uint8Array | undefined;
  readonly gt?: Uint8Array | undefined;
  readonly lt?: Uint8Array | undefined;
  readonly lte?: Uint8Array | undefined;
  readonly prefix?: Uint8Array | undefined;
  readonly reverse?: boolean;
  readonly limit?: number;
  readonly snapshot?: Snapshot | undefined;
  /** Values that expire at or before this time are passed over (milliseconds); the store's own time if that is later. */
  readonly now?: number | undefined;
  /** The iterator's values are empty, and need not be read. */
  readonly keysOnly?: boolean;
}

/** What one moment of the store looked like. Pins files and memory until released. */
export interface Snapshot extends Disposable {
  readonly sequence: number;
  release(): void;
}

/**
 * A position in an ordered scan. Pins what it reads; use `using` or call `close`. `key` and `value` are borrowed: valid
 * until the next `next()`, `seek()` or `close()`.
 */
export interface EngineIterator extends Disposable {
  /** Moves to the next entry (the first, on the first call); false at the end, which closes it unless it has sought. */
  next(): boolean;
  /**
   * Goes elsewhere in its range, in either direction: the next `next()` moves to the first entry at or after `key`, in a
   * reverse scan to the last one at or before it. A limit counts anew from here. What is read stays what the store was
   * when the iterator was made. For who seeks again and again this costs less than an iterator for each; from the first
   * time on only `close` closes it. Throws `INVALID` if it is closed, `CORRUPT` or `FileError`, and is closed then.
   */
  seek(key: Uint8Array): void;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** From which time on the value is gone, in milliseconds since the Unix epoch; 0: it stays. Not borrowed. */
  readonly expiresAt: number;
  /** The key is `keyBytes[keyStart, keyEnd)`, and the value likewise: for loops that do not want a view for each entry. */
  readonly keyBytes: Uint8Array;
  readonly keyStart: number;
  readonly keyEnd: number;
  readonly valueBytes: Uint8Array;
  readonly valueStart: number;
  readonly valueEnd: number;
  close(): void;
}

export interface WriteOptions {
  /**
   * Wait until the write is durable (default true). One that does not wait is in the system's hands when its promise
   * resolves: it outlives the death of the process, however sudden, but a power loss only once the disk has it, with the
   * next write that waits or with a `flush`. Of such writes a power loss takes the last ones, and never one before another.
   */
  readonly sync?: boolean;
  /**
   * Through the log (default true). A write without it is visible in its turn and durable only with the next `flush`,
   * even if later writes that were logged outlive a crash.
   */
  readonly wal?: boolean;
}

/**
 * How the engine's users that keep a log of their own (the Raft groups) follow what is durable in tables. Before a
 * memtable is sealed, `beforeSeal` may add to it what describes it (applied indexes, sessions), atomically with it.
 * When the table that came of it is durable, and all earlier ones are, `flushed` is called with the same number.
 */
export interface SealListener {
  beforeSeal(seal: number, batch: WriteBatch): void;
  flushed(seal: number): void;
}

export type WritePressure = "none" | "slow" | "stop";

/** What is behind when writers have to slow down: flushes, or compactions. */
export type StallCause = "memtables" | "level 0" | "compaction debt";

/** Keys from `gte` on and below `lt`; a bound that is not given is open. */
export interface KeySpan {
  readonly gte?: Uint8Array | undefined;
  readonly lt?: Uint8Array | undefined;
}

export interface EngineStats {
  readonly memtableBytes: number;
  readonly sealedMemtables: number;
  readonly tables: number;
  readonly tableBytes: number;
  /** By level, from 0 on: tables, their bytes, and how often a `get` looked into one (its filter may have said no). */
  readonly tablesPerLevel: readonly number[];
  readonly bytesPerLevel: readonly number[];
  readonly readsPerLevel: readonly number[];
  readonly flushes: number;
  readonly flushBytesWritten: number;
  /** Merges, and tables that changed their level, or went, without being rewritten. */
  readonly compactions: number;
  readonly tablesMoved: number;
  readonly tablesDropped: number;
  readonly compactionBytesRead: number;
  readonly compactionBytesWritten: number;
  /** About how many bytes compactions have to write until no level is too full. */
  readonly compactionDebt: number;
  /** Bytes that flushes and compactions have written for each byte flushed, since the store was opened. */
  readonly writeAmplification: number;
  /** Bytes of all tables for each byte of the deepest level that has any: at most so much is overwritten or deleted. */
  readonly spaceAmplification: number;
  /** Bytes of the log up to its last record, and of the spare files that are kept for what comes after. */
  readonly walBytes: number;
  readonly walSpareBytes: number;
  readonly blockCacheBytes: number;
  readonly blockCacheHits: number;
  readonly blockCacheMisses: number;
  readonly pressure: WritePressure;
  /** What makes writers slow down or stop now, a full disk aside. */
  readonly pressureCause: StallCause | undefined;
  /** How often, and how many milliseconds in all, groups of logged writes were slowed down since the store was opened. */
  readonly writeDelays: number;
  readonly writeDelayMs: number;
  /** How often writers were stopped, by what was behind, and for how many milliseconds in all. */
  readonly writeStopsMemtables: number;
  readonly writeStopsLevel0: number;
  readonly writeStopsCompactionDebt: number;
  readonly writeStopMs: number;
  readonly readOnly: boolean;
}

/** An engine whose data is in files. */
export interface DurableEngine extends Engine {
  /**
   * Makes `directory` a store of its own that holds everything written so far, durably, without copying: both have the
   * same tables, by hard links. So it has to be on the store's file system, and must not exist; what an interrupted
   * checkpoint has left in `directory.tmp` is replaced. Writes go on meanwhile. All or nothing: rejects with a `FileError`
   * (`EEXIST`, `EXDEV`, `ENOSPC`), with `LOCKED` if the same checkpoint is being made, or as `flush` does.
   */
  checkpoint(directory: string): Promise<void>;
}

export interface Engine {
  newBatch(): WriteBatch;
  /** Applies a batch atomically through the WAL. Resolves when it is visible and, with `sync`, durable. */
  write(batch: WriteBatch, options?: WriteOptions): Promise<void>;
  /**
   * Applies a batch atomically to the memtable only, at once: for writers whose own log is the WAL. It is durable when
   * the memtable is flushed. Never blocks; heed `pressure` before accepting more work. Never seals a memtable either:
   * only the writer knows when its state and what it has written agree, and says so with `sealIfFull`.
   */
  writeUnlogged(batch: WriteBatch): void;
  /** Seals the memtable if it has reached its limit. To be called by writers of unlogged batches, between batches. */
  sealIfFull(): void;
  /**
   * The value, or `undefined`. Borrowed: valid until the next call into the engine or one of its iterators, and not beyond
   * the caller's synchronous step, since memtables come and go in between; copy it to keep it. A value that
   * expires at or before `now` (milliseconds), or before the store's own time, is not there.
   */
  getSync(key: Uint8Array, snapshot?: Snapshot, now?: number): Uint8Array | undefined;
  /** Where `getSync` of `key` looks now, and what it finds there. Not for hot paths. Throws as `getSync` does. */
  trace(key: Uint8Array, now?: number): KeyTrace;
  /**
   * The entries in a range as they are now, or were at its snapshot. Throws `INVALID` for bounds that contradict each other,
   * and for a snapshot that was released (as `getSync` does); moving it throws `CORRUPT` or `FileError`, and ends it.
   */
  iterate(range: ScanRange): EngineIterator;
  snapshot(): Snapshot;
  /**
   * Moves the store's own time on (milliseconds since the Unix epoch; a lower one is passed over). Every read from now
   * on is at that time or later, so compactions may drop what has expired by then. It is not kept over a restart: at
   * the start it is 0, and nothing has expired.
   */
  advanceTime(now: number): void;
  /**
   * Moves the store's own time back, for data that live in an earlier time than what was here before and are written from
   * now on (a later one is passed over). What was dropped stays dropped: whoever reads older data goes on to say the time.
   */
  rewindTime(now: number): void;
  /** Seals the memtable and resolves when everything is in durable tables whose writing was begun, logged or not. */
  flush(): Promise<void>;
  /**
   * Flushes, then merges all tables of the span down into the deepest level that has any of it, so that what was deleted
   * or overwritten there, or has expired at the store's time, gives its space back (what a snapshot still sees does not).
   * The whole store without a span. Tables with nothing to merge or to drop are left as they are. Writes and reads go on
   * meanwhile, and other compactions in between. Rejects as `flush` does, and with `CLOSED` if the store is closed
   * meanwhile; what was done until then stays.
   */
  compact(span?: KeySpan): Promise<void>;
  /** Writers should slow down or wait: flushes or compactions are behind. */
  readonly pressure: WritePressure;
  /** Why the engine takes no writes now (a full disk), or `undefined`. */
  readonly readOnlyReason: string | undefined;
  stats(): EngineStats;
  /**
   * Waits for background work, syncs the WAL, gives the directory back. What is only in the memtable and was unlogged is not
   * flushed. Iterators are to be closed before: one that is not reads on, until somebody opens the directory again, which
   * removes the files that only it needs.
   */
  close(): Promise<void>;
}
