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
import { boundsOf } from "./range-iterator.ts";

interface Entry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

type Operation = { readonly key: Uint8Array; readonly value: Uint8Array | undefined };

class OperationList implements WriteBatch {
  readonly operations: Operation[] = [];
  #bytes = 0;

  put(key: Uint8Array, value: Uint8Array): void {
    this.operations.push({ key: key.slice(), value: value.slice() });
    this.#bytes += key.length + value.length;
  }
  delete(key: Uint8Array): void {
    this.operations.push({ key: key.slice(), value: undefined });
    this.#bytes += key.length;
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
    for (const { key, value } of (batch as OperationList).operations) {
      const index = lowerBound(entries, key);
      const there = index < entries.length && compareBytes(entries[index]!.key, key) === 0 ? 1 : 0;
      if (value === undefined) entries.splice(index, there);
      else entries.splice(index, there, { key, value });
      this.#sequence++;
    }
    this.#entries = entries;
  }

  sealIfFull(): void {}

  getSync(key: Uint8Array, snapshot?: Snapshot): Uint8Array | undefined {
    const entries = this.#at(snapshot);
    const entry = entries[lowerBound(entries, key)];
    return entry !== undefined && compareBytes(entry.key, key) === 0 ? entry.value : undefined;
  }

  iterate(range: ScanRange): EngineIterator {
    const { lower, lowerIncluded, upper, upperIncluded } = boundsOf(range);
    const found = this.#at(range.snapshot).filter(({ key }) => {
      const low = lower === undefined ? 1 : compareBytes(key, lower);
      const high = upper === undefined ? -1 : compareBytes(key, upper);
      return (low > 0 || (low === 0 && lowerIncluded)) && (high < 0 || (high === 0 && upperIncluded));
    });
    if (range.reverse === true) found.reverse();
    return new ArrayIterator(found.slice(0, range.limit));
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

  stats(): EngineStats {
    return {
      memtableBytes: 0,
      sealedMemtables: 0,
      tables: 0,
      tableBytes: 0,
      tablesPerLevel: [],
      flushes: this.#seals,
      compactions: 0,
      compactionBytesRead: 0,
      compactionBytesWritten: 0,
      walBytes: 0,
      blockCacheBytes: 0,
      blockCacheHits: 0,
      blockCacheMisses: 0,
      pressure: "none",
      readOnly: false,
    };
  }

  async close(): Promise<void> {}

  #at(snapshot: Snapshot | undefined): readonly Entry[] {
    if (snapshot === undefined) return this.#entries;
    const entries = this.#snapshots.get(snapshot);
    if (entries === undefined) throw new Error("a snapshot that was released, or is another engine's");
    return entries;
  }
}

class ArrayIterator implements EngineIterator {
  readonly #entries: readonly Entry[];
  #index = -1;

  constructor(entries: readonly Entry[]) {
    this.#entries = entries;
  }
  next(): boolean {
    this.#index++;
    return this.#index < this.#entries.length;
  }
  get key(): Uint8Array {
    return this.#entries[this.#index]!.key;
  }
  get value(): Uint8Array {
    return this.#entries[this.#index]!.value;
  }
  close(): void {
    this.#index = this.#entries.length;
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
