/**
 * What a random run did to a store, what it was promised, and so what the store may hold after whatever happened to it.
 *
 * All batches have an order, that of their sequence numbers. A crash may take unlogged ones that no durable seal covers,
 * and logged ones from the end; nothing else. Every logged batch writes its number, and every seal its own, so that a
 * store that was recovered says itself which of all allowed states it claims to be in; that has to be the state it is in.
 */
import { expect } from "bun:test";
import { fromUtf8, utf8 } from "../../src/lib/bytes.ts";
import type {
  DurableEngine,
  ScanRange,
  SealListener,
  Snapshot,
  WriteBatch,
  WriteOptions,
} from "../../src/storage/engine.ts";

/** What one operation of a batch changes; keys and values are text. */
export type Change =
  | { readonly kind: "put"; readonly key: string; readonly value: string; readonly expiresAt?: number }
  | { readonly kind: "delete"; readonly key: string }
  | { readonly kind: "deleteRange"; readonly gte: string; readonly lt: string };

interface StoredValue {
  readonly value: string;
  /** From which time on it is gone; 0: it stays. */
  readonly expiresAt: number;
}

/** The store's content, with what has expired. */
export type StoreState = Map<string, StoredValue>;

/** The keys that tell what is there: the number of the last logged batch, and that of the last seal. */
const LOGGED = "!logged";
const SEALED = "!sealed";

interface Written {
  readonly changes: readonly Change[];
  /** The number of a logged batch. */
  readonly logged: number | undefined;
  /** How many sequence numbers it takes. */
  readonly count: number;
  /** The first of them; of a batch that waits for its turn it is found later, see `#ordered`. */
  readonly first: number | undefined;
  refused: boolean;
}

/** A checkpoint that was asked for: what was visible then, and whether it was acknowledged. */
export interface Checkpoint {
  readonly directory: string;
  readonly sequence: number;
  isDurable: boolean;
}

export class StoreHistory implements SealListener {
  /** What was there before. */
  readonly #base: StoreState;
  #baseSequence = 0;
  #engine: DurableEngine | undefined;
  readonly #known: Written[] = [];
  /** Batches that became visible one after the other, at times that only the engine knows. */
  readonly #queued: Written[] = [];
  /** The last sequence number of each seal. */
  readonly #seals = new Map<number, number>();
  readonly #checkpoints: Checkpoint[] = [];
  /** Seals are numbered from 1 on with each opening; the mark in the store goes on counting. */
  readonly #baseSeal: number;
  /** The store's own time, which only moves on. */
  #time = 0;
  #lastLogged: number;
  #durableLogged: number;
  #durableSeal: number;

  /** `base`: what the store holds before, durably; `time`: the latest that was told before. */
  constructor(base: StoreState = new Map(), time = 0) {
    this.#base = base;
    this.#time = time;
    this.#lastLogged = Number(base.get(LOGGED)?.value ?? 0);
    this.#durableLogged = this.#lastLogged;
    this.#baseSeal = Number(base.get(SEALED)?.value ?? 0);
    this.#durableSeal = this.#baseSeal;
  }

  /** The store was opened, nothing has been written yet. */
  begin(engine: DurableEngine): void {
    this.#engine = engine;
    this.#baseSequence = this.#sequence();
    // What has expired may be gone already: a reader never goes back.
    engine.advanceTime(this.#time);
  }

  /** Whether the store was opened. */
  get hasBegun(): boolean {
    return this.#engine !== undefined;
  }

  /** How many batches were acknowledged as durable, earlier histories of the store included. */
  get durableLogged(): number {
    return this.#durableLogged;
  }

  /** The seal of a batch: called by the engine. */
  beforeSeal(seal: number, batch: WriteBatch): void {
    const first = this.#sequence() + 1;
    const mark = this.#baseSeal + seal;
    batch.put(utf8(SEALED), utf8(String(mark)));
    const change: Change = { kind: "put", key: SEALED, value: String(mark) };
    this.#known.push({ changes: [change], logged: undefined, count: batch.count, first, refused: false });
    this.#seals.set(mark, first + batch.count - 1);
  }

  flushed(seal: number): void {
    expect(this.#baseSeal + seal).toBe(this.#durableSeal + 1);
    this.#durableSeal++;
  }

  /** Writes an unlogged batch. */
  writeUnlogged(changes: readonly Change[]): void {
    const first = this.#sequence() + 1;
    const batch = this.#batchOf(changes);
    this.#engine!.writeUnlogged(batch);
    this.#known.push({ changes, logged: undefined, count: batch.count, first, refused: false });
  }

  /**
   * Writes a batch through the engine's queue; with `wal` it is logged. Rejects as the engine does; what was refused
   * because the disk is full must not be there, of what failed otherwise nobody knows.
   */
  async write(changes: readonly Change[], options: WriteOptions = {}): Promise<void> {
    const number = options.wal === false ? undefined : ++this.#lastLogged;
    const mark: Change[] = number === undefined ? [] : [{ kind: "put", key: LOGGED, value: String(number) }];
    const all = [...changes, ...mark];
    const batch = this.#batchOf(all);
    const written: Written = {
      ...{ changes: all, logged: number, count: batch.count, first: undefined },
      refused: false,
    };
    this.#queued.push(written);
    try {
      await this.#engine!.write(batch, options);
    } catch (error) {
      written.refused = (error as { code?: unknown }).code === "READ_ONLY";
      throw error;
    }
    if (options.sync !== false) this.#durableLogged = Math.max(this.#durableLogged, number ?? 0);
  }

  /** Flushes; what was written before is durable then. */
  async flush(): Promise<void> {
    const sequence = this.#sequence();
    const logged = this.#ordered().filter(({ last }) => last <= sequence);
    await this.#engine!.flush();
    expect(this.#seals.get(this.#durableSeal)!).toBeGreaterThanOrEqual(sequence);
    for (const { written } of logged)
      this.#durableLogged = Math.max(this.#durableLogged, written.logged ?? 0);
  }

  /** The time that was told last. */
  get time(): number {
    return this.#time;
  }

  advanceTime(now: number): void {
    this.#time = Math.max(this.#time, now);
    this.#engine!.advanceTime(now);
  }

  /**
   * Makes a checkpoint. What is under its name is a store that holds everything written before, whatever became of this
   * one: see `checkCheckpoint`.
   */
  async checkpoint(directory: string): Promise<void> {
    const checkpoint = { directory, sequence: this.#sequence(), isDurable: false };
    this.#checkpoints.push(checkpoint);
    await this.#engine!.checkpoint(directory);
    checkpoint.isDurable = true;
  }

  /** The checkpoints that were asked for, and whether they were acknowledged. */
  get checkpoints(): readonly Checkpoint[] {
    return this.#checkpoints;
  }

  /** Checks that `engine`, opened in a checkpoint's directory, holds all that was durable at some moment after it was asked for. */
  checkCheckpoint(engine: DurableEngine, { sequence }: Checkpoint): void {
    const seal = markOf(engine, SEALED);
    const last = this.#seals.get(seal);
    if (last === undefined || last < sequence)
      throw new Error(`a checkpoint of ${sequence} holds seal ${seal}, which ends with ${last}`);
    checkState(engine, this.stateAt(last), this.#time);
  }

  /** What is visible at a sequence number that this history has reached. */
  stateAt(sequence: number): StoreState {
    return this.#state(({ last }) => last <= sequence);
  }

  /** What is visible now. */
  get now(): StoreState {
    return this.stateAt(this.#sequence());
  }

  /**
   * Checks that `engine`, opened after this history was cut off somehow, holds what this history allows, and returns
   * that.
   */
  checkRecovered(engine: DurableEngine): StoreState {
    const logged = markOf(engine, LOGGED);
    expect(logged).toBeGreaterThanOrEqual(this.#durableLogged);
    expect(logged).toBeLessThanOrEqual(this.#lastLogged);
    const seal = markOf(engine, SEALED);
    expect(seal).toBeGreaterThanOrEqual(this.#durableSeal);
    const flushedSequence = seal === this.#baseSeal ? this.#baseSequence : this.#seals.get(seal)!;
    if (flushedSequence === undefined)
      throw new Error(`the store says that it holds seal ${seal}, which there was not`);
    if (this.#queued.some((written) => written.logged === logged && written.refused))
      throw new Error(`the store holds batch ${logged}, which was refused`);
    const state = this.#state(
      ({ last, written }) =>
        last <= flushedSequence || (written.logged !== undefined && written.logged <= logged),
    );
    checkState(engine, state, this.#time);
    return state;
  }

  /** All batches in their order, with their last sequence numbers. */
  #ordered(): { readonly written: Written; readonly last: number }[] {
    const ordered: { written: Written; last: number }[] = [];
    const queued = this.#queued.filter(({ refused }) => !refused);
    let next = this.#baseSequence + 1;
    const take = (written: Written): void => {
      next += written.count;
      ordered.push({ written, last: next - 1 });
    };
    let position = 0;
    for (const known of this.#known) {
      // Between two batches whose place is known are those that waited in the queue.
      while (next < known.first!) take(queued[position++]!);
      if (next !== known.first) throw new Error(`sequence number ${next} was expected to be ${known.first}`);
      take(known);
    }
    for (; position < queued.length; position++) take(queued[position]!);
    return ordered;
  }

  #state(includes: (place: { written: Written; last: number }) => boolean): StoreState {
    const state = new Map(this.#base);
    for (const place of this.#ordered()) {
      if (!includes(place)) continue;
      for (const change of place.written.changes) applyChange(state, change);
    }
    return state;
  }

  #batchOf(changes: readonly Change[]): WriteBatch {
    const batch = this.#engine!.newBatch();
    for (const change of changes) {
      if (change.kind === "put") batch.put(utf8(change.key), utf8(change.value), change.expiresAt);
      else if (change.kind === "delete") batch.delete(utf8(change.key));
      else batch.deleteRange(utf8(change.gte), utf8(change.lt));
    }
    return batch;
  }

  /** The last sequence number that is visible. */
  #sequence(): number {
    using snapshot = this.#engine!.snapshot();
    return snapshot.sequence;
  }
}

function markOf(engine: DurableEngine, key: string): number {
  return Number(fromUtf8(engine.getSync(utf8(key)) ?? utf8("0")));
}

function applyChange(state: StoreState, change: Change): void {
  switch (change.kind) {
    case "put":
      state.set(change.key, { value: change.value, expiresAt: change.expiresAt ?? 0 });
      return;
    case "delete":
      state.delete(change.key);
      return;
    case "deleteRange":
      for (const key of state.keys()) if (change.gte <= key && key < change.lt) state.delete(key);
  }
}

/**
 * Checks that scans both ways, and gets, give what `state` has: as it is now, or in `snapshot`; at the time `now`.
 * Compared by hand: this is called very often.
 */
export function checkState(engine: DurableEngine, state: StoreState, now: number, snapshot?: Snapshot): void {
  const keys: string[] = [];
  for (const [key, { expiresAt }] of state) if (expiresAt === 0 || expiresAt > now) keys.push(key);
  keys.sort();
  checkScan(engine, { snapshot, now }, keys, state);
  checkScan(engine, { snapshot, now, reverse: true }, keys.toReversed(), state);
  let next = 0;
  for (const key of [...state.keys()].sort()) {
    const found = engine.getSync(utf8(key), snapshot, now);
    const expected = key === keys[next] ? state.get(keys[next++]!)!.value : undefined;
    const value = found === undefined ? undefined : fromUtf8(found);
    if (value !== expected) throw new Error(`get ${key}: ${value}, expected ${expected}`);
  }
}

function checkScan(
  engine: DurableEngine,
  range: ScanRange,
  keys: readonly string[],
  state: StoreState,
): void {
  using iterator = engine.iterate(range);
  for (const key of keys) {
    const found = iterator.next() ? `${fromUtf8(iterator.key)}=${fromUtf8(iterator.value)}` : "the end";
    const expected = `${key}=${state.get(key)!.value}`;
    if (found !== expected) throw new Error(`scan at ${key}: ${found}, expected ${expected}`);
  }
  if (iterator.next()) throw new Error(`scan: ${fromUtf8(iterator.key)}, expected the end`);
}
