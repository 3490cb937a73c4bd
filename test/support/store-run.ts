/**
 * Random runs over a store whose limits are tiny, so that everything happens all the time: batches of all kinds, alone
 * and at the same time, flushes, compactions, and snapshots that are read while all that goes on. One seed gives one run,
 * operation by operation, as long as the disk does the same: time and threads are virtual.
 */

import { utf8 } from "../../src/lib/bytes.ts";
import { type Random, seededRandom } from "../../src/lib/prng.ts";
import type { DurableEngine, KeySpan, SealListener, Snapshot } from "../../src/storage/engine.ts";
import { openLsm } from "../../src/storage/lsm.ts";
import type { LsmOptions } from "../../src/storage/lsm-options.ts";
import { inlineBackground } from "./inline-background.ts";
import type { MemoryFileSystem } from "./memory-fs.ts";
import { type Change, checkState, type StoreHistory, type StoreState } from "./store-history.ts";
import { VirtualClock } from "./virtual-clock.ts";

export const STORE_DIRECTORY = "/d/store";

const SMALL: Partial<LsmOptions> = {
  memtableBytes: 500,
  blockBytes: 64,
  tableBytes: 300,
  manifestBytes: 600,
  level0Tables: 2,
  level1Bytes: 300,
  levelSizeRatio: 3,
  retryMs: 20,
};

const silent = (): void => {};

/** Options that differ with the seed: log files of one record, of some, and of more than a block of the disk. */
function optionsOf(seed: number): Partial<LsmOptions> {
  const walFileBytes = [200, 20_000, 1][seed % 3]!;
  return { ...SMALL, walFileBytes, blockCacheBytes: seed % 2 === 0 ? 0 : 100_000 };
}

/** Opens the store as the run `seed` does. `fatal` gets what `onFatal` is called with. */
export function openStore(
  fs: MemoryFileSystem,
  seed: number,
  clock: VirtualClock,
  listener?: SealListener,
  fatal: (error: Error) => void = silent,
  directory = STORE_DIRECTORY,
): Promise<DurableEngine> {
  const random = seededRandom(seed);
  // A job waits a while, so that writes go on meanwhile.
  const pause = (): Promise<void> => new Promise((resolve) => clock.timer(random.below(3), resolve));
  const log = { debug: silent, info: silent, warn: silent, error: silent };
  const env = { fs, background: inlineBackground(fs, pause), clock, log };
  return openLsm(env, directory, { ...optionsOf(seed), onFatal: fatal }, listener);
}

/** Steps of the clock after which something can only be going round in circles. */
const STEPS_MAX = 50_000;

/** Lets virtual time go on until `promise` is settled, and returns what it gives. Rejects if that never comes. */
export async function settle<Result>(clock: VirtualClock, promise: Promise<Result>): Promise<Result> {
  let isSettled = false;
  const watched = promise.finally(() => {
    isSettled = true;
  });
  watched.catch(silent);
  for (let steps = 0; !isSettled; steps++) {
    if (steps === STEPS_MAX) throw new Error(`it did not end in ${STEPS_MAX} steps of the clock`);
    await clock.step();
  }
  return watched;
}

/** Checks a history's checkpoints: those that were acknowledged are there, and all that are there are whole. */
export async function checkCheckpoints(
  fs: MemoryFileSystem,
  history: StoreHistory,
  seed: number,
): Promise<void> {
  const clock = new VirtualClock();
  for (const checkpoint of history.checkpoints) {
    const { directory, isDurable } = checkpoint;
    if (!fs.exists(directory)) {
      if (isDurable) throw new Error(`${directory} was made, and is not there`);
      continue;
    }
    const engine = await settle(clock, openStore(fs, seed, clock, undefined, undefined, directory));
    history.checkCheckpoint(engine, checkpoint);
    await settle(clock, engine.close());
  }
}

/** How a run deals with a call that fails: it goes on where this returns, and ends where it throws. */
export type OnError = (error: unknown) => void;

export interface RunOptions {
  readonly fs: MemoryFileSystem;
  readonly seed: number;
  /** What is written, and what was before. */
  readonly history: StoreHistory;
  readonly steps: number;
  readonly clock?: VirtualClock;
  readonly onError?: OnError;
  readonly onFatal?: (error: Error) => void;
  /** Called before the store is closed. */
  readonly atEnd?: (engine: DurableEngine) => Promise<void>;
}

/** Opens the store, does random work in it, closes it. Rejects with what `onError` throws, and with what opening or closing fails with. */
export async function runStore(options: RunOptions): Promise<void> {
  const clock = options.clock ?? new VirtualClock();
  await settle(clock, openAndRun(options, clock));
}

async function openAndRun(options: RunOptions, clock: VirtualClock): Promise<void> {
  const { fs, seed, history, onFatal } = options;
  const engine = await openStore(fs, seed, clock, history, onFatal);
  history.begin(engine);
  try {
    await new StoreRun(engine, clock, options).run();
    await options.atEnd?.(engine);
  } finally {
    await engine.close();
  }
}

/** A snapshot that is held, and what it shows. */
interface Held {
  readonly snapshot: Snapshot;
  readonly state: StoreState;
}

class StoreRun {
  readonly #engine: DurableEngine;
  readonly #history: StoreHistory;
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #seed: number;
  readonly #steps: number;
  readonly #onError: OnError;
  readonly #held: Held[] = [];
  readonly #underWay: Promise<void>[] = [];
  /** What they failed with. */
  readonly #late: unknown[] = [];
  #batches = 0;
  #checkpoints = 0;

  constructor(engine: DurableEngine, clock: VirtualClock, { history, seed, steps, onError }: RunOptions) {
    this.#engine = engine;
    this.#history = history;
    this.#clock = clock;
    this.#random = seededRandom(seed);
    this.#seed = seed;
    this.#steps = steps;
    this.#onError =
      onError ??
      ((error) => {
        throw error;
      });
  }

  async run(): Promise<void> {
    for (let i = 0; i < this.#steps; i++) {
      try {
        await this.#step();
      } catch (error) {
        this.#onError(error);
      }
    }
    await Promise.all(this.#underWay);
    for (const error of this.#late) this.#onError(error);
    try {
      for (const held of this.#held.splice(0)) this.#letGo(held);
    } catch (error) {
      this.#onError(error);
    }
  }

  async #step(): Promise<void> {
    const random = this.#random;
    // Time goes on by itself only where nothing else does: a little more of it, and flushes run beside writes.
    if (random.below(2) === 0) this.#clock.advance(1);
    switch (random.below(16)) {
      case 0:
        return this.#history.write(this.#changes());
      case 1: {
        // All have to be settled before the next step: what rejects first is told.
        const kinds = [{}, { sync: false }, { wal: random.below(2) === 0 }];
        const writes = kinds.map((options) => this.#history.write(this.#changes(), options));
        for (const result of await Promise.allSettled(writes))
          if (result.status === "rejected") throw result.reason;
        return;
      }
      case 2:
        return this.#history.write(this.#changes(), { sync: false, wal: random.below(2) === 0 });
      case 3: {
        // On its way while the next steps are taken.
        const write = this.#history.write(this.#changes(), { sync: random.below(2) === 0 });
        this.#underWay.push(
          write.catch((error) => {
            this.#late.push(error);
          }),
        );
        return;
      }
      case 4:
        if (random.below(2) === 0) await this.#history.flush();
        return;
      case 5:
        return this.#sleep(random.below(6));
      case 6: {
        const held = this.#held.length > 2 ? this.#held.splice(random.below(3), 1)[0] : undefined;
        if (held !== undefined) this.#letGo(held);
        else this.#held.push({ snapshot: this.#engine.snapshot(), state: this.#history.now });
        return;
      }
      case 7:
        return checkState(this.#engine, this.#history.now, this.#history.time);
      case 8:
        return this.#history.advanceTime(this.#history.time + random.below(40));
      case 9:
        if (random.below(3) === 0)
          await this.#history.checkpoint(`/d/checkpoint${this.#seed}-${++this.#checkpoints}`);
        return;
      case 10:
        if (random.below(2) === 0) await this.#engine.compact(this.#span());
        return;
      default:
        this.#history.writeUnlogged(this.#changes());
        this.#engine.sealIfFull();
    }
  }

  #letGo({ snapshot, state }: Held): void {
    try {
      checkState(this.#engine, state, this.#history.time, snapshot);
    } finally {
      snapshot.release();
    }
  }

  /** Any span, also an empty one. */
  #span(): KeySpan {
    const key = (): Uint8Array | undefined =>
      this.#random.below(3) === 0 ? undefined : utf8(`key${this.#random.below(16)}`);
    return { gte: key(), lt: key() };
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#clock.timer(ms, resolve));
  }

  /** A few changes; no two batches write the same value. */
  #changes(): Change[] {
    const random = this.#random;
    const batch = ++this.#batches;
    const key = (): string => `key${String(random.below(16)).padStart(2, "0")}`;
    return Array.from({ length: 1 + random.below(4) }, (_, index) => {
      switch (random.below(12)) {
        case 0:
        case 1:
          return { kind: "delete", key: key() };
        case 2: {
          const [gte, lt] = [key(), key()].sort() as [string, string];
          return { kind: "deleteRange", gte, lt: random.below(4) === 0 ? "l" : lt };
        }
        default: {
          const value = `${batch}.${index}.${"v".repeat(random.below(40))}`;
          const expiresAt = random.below(5) === 0 ? this.#history.time + random.below(100) : 0;
          return { kind: "put", key: key(), value, expiresAt };
        }
      }
    });
  }
}
