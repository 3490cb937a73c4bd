/**
 * The engine's behaviour without its difficulties: a sorted array that is copied on every write. It is the oracle of
 * the engine's tests, and stands in for it where a test is about something else.
 */
import { compareBytes } from "../lib/bytes.ts";
import type {
  Engine,
  EngineIterator,
  EngineStats,
  ScanRange,
  SealListener,
  Snapshot,
  WriteBatch,
  WritePressure,
} from "./engine.ts";
import type { KeyTrace } from "./key-trace.ts";
import { boundsOf } from "./range-iterator.ts";
import { invalid } from "./storage-error.ts";

interface Entry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly expiresAt: number;
}

type Operation =
  | ({ readonly kind: "put" } & Entry)
  | { readonly kind: "delete"; readonly key: Uint8Array }
  | { readonly kind: "deleteRange"; readonly gte: Uint8Array; readonly lt: Uint8Array };

class OperationList implements WriteBatch {
  readonly operations: Operation[] = [];
  #bytes = 0;

  put(key: Uint8Array, value: Uint8Array, expiresAt = 0): void {
    this.operations.push({ kind: "put", key: key.slice(), value: value.slice(), expiresAt });
    this.#bytes += key.length + value.length;
  }
  delete(key: Uint8Array): void {
    this.operations.push({ kind: "delete", key: key.slice() });
    this.#bytes += key.length;
  }
  deleteRange(gte: Uint8Array, lt: Uint8Array): void {
    this.operations.push({ kind: "deleteRange", gte: gte.slice(), lt: lt.slice() });
    this.#bytes += gte.length + lt.length;
  }
  clear(): void {
    this.operations.length = 0;
    this.#bytes = 0;
  }
  get count(): number {
    return this.operations.length;
  }
  get byteLength(): number {
    return this.#bytes;
  }
}

/** An engine that forgets everything when it is closed. Everything it has counts as flushed when `flush` is called. */
export class MemoryEngine implements Engine {
  readonly pressure: WritePressure = "none";
  readonly readOnlyReason = undefined;
  readonly #listener: SealListener | undefined;
  readonly #snapshots = new Map<Snapshot, readonly Entry[]>();
  #entries: readonly Entry[] = [];
  #sequence = 0;
  #seals = 0;
  #time = 0;

  constructor(listener?: SealListener) {
    this.#listener = listener;
  }

  newBatch(): WriteBatch {
    return new OperationList();
  }

  async write(batch: WriteBatch): Promise<void> {
    this.writeUnlogged(batch);
  }

  writeUnlogged(batch: WriteBatch): void {
    const entries = [...this.#entries];
    for (const operation of (batch as OperationList).operations) {
      this.#sequence++;
      if (operation.kind === "deleteRange") {
        const index = lowerBound(entries, operation.gte);
        entries.splice(index, Math.max(0, lowerBound(entries, operation.lt) - index));
        continue;
      }
      const { key } = operation;
      const index = lowerBound(entries, key);
      const there = index < entries.length && compareBytes(entries[index]!.key, key) === 0 ? 1 : 0;
      if (operation.kind === "delete") entries.splice(index, there);
      else entries.splice(index, there, operation);
    }
    this.#entries = entries;
  }

  sealIfFull(): void {}

  advanceTime(now: number): void {
    if (now > this.#time) this.#time = now;
  }

  rewindTime(now: number): void {
    if (now < this.#time) this.#time = now;
  }

  getSync(key: Uint8Array, snapshot?: Snapshot, now?: number): Uint8Array | undefined {
    const entries = this.#at(snapshot);
    const entry = entries[lowerBound(entries, key)];
    if (entry === undefined || compareBytes(entry.key, key) !== 0 || this.#hasExpired(entry, now))
      return undefined;
    return entry.value;
  }

  trace(key: Uint8Array, now?: number): KeyTrace {
    const entries = this.#at(undefined);
    const entry = entries[lowerBound(entries, key)];
    if (entry === undefined || compareBytes(entry.key, key) !== 0) {
      return { steps: [{ place: "memtable", verdict: "nothing" }], valueBytes: undefined, expiresAt: 0 };
    }
    const gone = this.#hasExpired(entry, now);
    return {
      steps: [{ place: "memtable", verdict: gone ? "expired" : "value" }],
      valueBytes: gone ? undefined : entry.value.length,
      expiresAt: gone ? 0 : entry.expiresAt,
    };
  }

  iterate(range: ScanRange): EngineIterator {
    const { lower, lowerIncluded, upper, upperIncluded } = boundsOf(range);
    const found = this.#at(range.snapshot).filter((entry) => {
      if (this.#hasExpired(entry, range.now)) return false;
      const { key } = entry;
      const low = lower === undefined ? 1 : compareBytes(key, lower);
      const high = upper === undefined ? -1 : compareBytes(key, upper);
      return (low > 0 || (low === 0 && lowerIncluded)) && (high < 0 || (high === 0 && upperIncluded));
    });
    if (range.reverse === true) found.reverse();
    return new ArrayIterator(found, range);
  }

  snapshot(): Snapshot {
    const release = (): void => {
      this.#snapshots.delete(snapshot);
    };
    const snapshot: Snapshot = { sequence: this.#sequence, release, [Symbol.dispose]: release };
    this.#snapshots.set(snapshot, this.#entries);
    return snapshot;
  }

  async flush(): Promise<void> {
    const seal = ++this.#seals;
    const batch = new OperationList();
    this.#listener?.beforeSeal(seal, batch);
    this.writeUnlogged(batch);
    this.#listener?.flushed(seal);
  }

  /** There is nothing to give back. */
  compact(): Promise<void> {
    return this.flush();
  }

  stats(): EngineStats {
    return {
      memtableBytes: 0,
      sealedMemtables: 0,
      tables: 0,
      tableBytes: 0,
      tablesPerLevel: [],
      bytesPerLevel: [],
      readsPerLevel: [],
      flushes: this.#seals,
      flushBytesWritten: 0,
      compactions: 0,
      tablesMoved: 0,
      tablesDropped: 0,
      compactionBytesRead: 0,
      compactionBytesWritten: 0,
      compactionDebt: 0,
      writeAmplification: 1,
      spaceAmplification: 1,
      walBytes: 0,
      walSpareBytes: 0,
      blockCacheBytes: 0,
      blockCacheHits: 0,
      blockCacheMisses: 0,
      pressure: "none",
      pressureCause: undefined,
      writeDelays: 0,
      writeDelayMs: 0,
      writeStopsMemtables: 0,
      writeStopsLevel0: 0,
      writeStopsCompactionDebt: 0,
      writeStopMs: 0,
      readOnly: false,
    };
  }

  async close(): Promise<void> {}

  #hasExpired({ expiresAt }: Entry, now = 0): boolean {
    return expiresAt !== 0 && expiresAt <= Math.max(now, this.#time);
  }

  #at(snapshot: Snapshot | undefined): readonly Entry[] {
    if (snapshot === undefined) return this.#entries;
    const entries = this.#snapshots.get(snapshot);
    if (entries === undefined) throw new Error("a snapshot that was released, or is another engine's");
    return entries;
  }
}

class ArrayIterator implements EngineIterator {
  readonly #entries: readonly Entry[];
  readonly #range: ScanRange;
  #index = -1;
  #end: number;
  #sought = false;
  #closed = false;

  /** `entries`: in the order of the scan, without regard to its limit. */
  constructor(entries: readonly Entry[], range: ScanRange) {
    this.#entries = entries;
    this.#range = range;
    this.#end = this.#endFrom(0);
  }
  next(): boolean {
    if (this.#closed) return false;
    if (this.#index < this.#end) this.#index++;
    if (this.#index < this.#end) return true;
    this.#closed = !this.#sought;
    return false;
  }
  seek(key: Uint8Array): void {
    if (this.#closed) throw invalid("an iterator that is closed can't seek");
    this.#sought = true;
    const sign = this.#range.reverse === true ? -1 : 1;
    const found = this.#entries.findIndex((entry) => compareBytes(entry.key, key) * sign >= 0);
    const first = found < 0 ? this.#entries.length : found;
    this.#index = first - 1;
    this.#end = this.#endFrom(first);
  }
  #endFrom(index: number): number {
    return Math.min(this.#entries.length, index + (this.#range.limit ?? this.#entries.length));
  }
  get key(): Uint8Array {
    return this.#entries[this.#index]!.key;
  }
  get value(): Uint8Array {
    return this.#range.keysOnly === true ? new Uint8Array(0) : this.#entries[this.#index]!.value;
  }
  get expiresAt(): number {
    return this.#entries[this.#index]!.expiresAt;
  }
  get keyBytes(): Uint8Array {
    return this.key;
  }
  get keyStart(): number {
    return 0;
  }
  get keyEnd(): number {
    return this.key.length;
  }
  get valueBytes(): Uint8Array {
    return this.value;
  }
  get valueStart(): number {
    return 0;
  }
  get valueEnd(): number {
    return this.value.length;
  }
  close(): void {
    this.#closed = true;
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

function lowerBound(entries: readonly Entry[], key: Uint8Array): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(entries[middle]!.key, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
