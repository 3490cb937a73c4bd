/**
 * The power fails at every single operation on the disk, in random runs. After each crash the store has to be what its
 * promises say: every synced write, in order and without holes; and of the unlogged ones exactly those that the last
 * flushed seal covers.
 */
import { expect, test } from "bun:test";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { consoleLog } from "../env/console-log.ts";
import { type Background, FileError } from "../env/env.ts";
import { systemClock } from "../env/system-clock.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { type Random, seededRandom } from "../lib/prng.ts";
import type { Engine, SealListener, WriteBatch } from "./engine.ts";
import { openLsm } from "./lsm.ts";
import type { LsmOptions } from "./lsm-options.ts";

/** What the run did, and what it was told. */
class History implements SealListener {
  /** The logged batches in their order, and how many of them were surely durable at some time. */
  readonly logged: string[][] = [];
  loggedDurable = 0;
  /** The unlogged batches, and how many of them were covered by a seal that was reported as flushed. */
  readonly unlogged: string[][] = [];
  unloggedDurable = 0;
  readonly #seals = new Map<number, { unlogged: number; logged: number }>();
  /** How many logged batches were visible when a seal was made. */
  loggedVisible = 0;

  beforeSeal(seal: number, batch: WriteBatch): void {
    batch.put(utf8("applied"), utf8(String(this.unlogged.length)));
    this.#seals.set(seal, { unlogged: this.unlogged.length, logged: this.loggedVisible });
  }

  flushed(seal: number): void {
    const covered = this.#seals.get(seal)!;
    this.unloggedDurable = covered.unlogged;
    this.loggedDurable = Math.max(this.loggedDurable, covered.logged);
  }
}

/** Tiny limits, so that everything happens all the time; every other seed has log files of more than a block. */
const optionsOf = (seed: number): Partial<LsmOptions> => ({
  ...SMALL,
  walFileBytes: seed % 2 === 0 ? 500 : 20_000,
});

const SMALL = {
  memtableBytes: 400,
  blockBytes: 64,
  tableBytes: 300,
  manifestBytes: 600,
  level0Tables: 2,
  level1Bytes: 1500,
  levelSizeRatio: 3,
};

/** A job waits some turns of the loop, so that writes go on meanwhile. */
function slowBackground(fs: MemoryFileSystem, seed: number): Background {
  const random = seededRandom(seed);
  return inlineBackground(fs, async () => {
    for (let turns = random.below(4); turns > 0; turns--)
      await new Promise((resolve) => setImmediate(resolve));
  });
}

function open(fs: MemoryFileSystem, seed: number, listener?: SealListener): Promise<Engine> {
  const log = { ...consoleLog("error"), error: () => {} };
  return openLsm(
    { fs, background: slowBackground(fs, seed), clock: systemClock(), log },
    "/d/store",
    optionsOf(seed),
    listener,
  );
}

/** A batch of a few keys, some of them deleted; its last operation tells its number. */
function fill(batch: WriteBatch, prefix: string, number: number, random: Random): string[] {
  const operations: string[] = [];
  for (let i = random.below(4); i >= 0; i--) {
    const key = `${prefix}${random.below(12)}`;
    if (random.below(4) === 0) {
      batch.delete(utf8(key));
      operations.push(key);
    } else {
      const value = `${number}.${i}.${"v".repeat(random.below(40))}`;
      batch.put(utf8(key), utf8(value));
      operations.push(`${key}=${value}`);
    }
  }
  batch.put(utf8(`${prefix}-count`), utf8(String(number)));
  operations.push(`${prefix}-count=${number}`);
  return operations;
}

/** Runs random work until it is through or the disk is gone. */
async function work(fs: MemoryFileSystem, seed: number, history: History): Promise<void> {
  const random = seededRandom(seed);
  const engine = await open(fs, seed, history);
  const logged = (sync: boolean): Promise<void> => {
    const batch = engine.newBatch();
    const number = history.logged.length + 1;
    history.logged.push(fill(batch, "logged", number, random));
    return engine.write(batch, { sync }).then(() => {
      history.loggedVisible = Math.max(history.loggedVisible, number);
      if (sync) history.loggedDurable = Math.max(history.loggedDurable, number);
    });
  };
  const underWay: Promise<void>[] = [];
  for (let i = 0; i < 30; i++) {
    switch (random.below(7)) {
      case 0:
        await logged(true);
        break;
      case 1:
        await Promise.all([logged(true), logged(false), logged(true)]);
        break;
      case 2:
        // On its way while the next steps are taken.
        underWay.push(logged(random.below(2) === 0).catch(() => {}));
        break;
      case 3:
        if (random.below(3) === 0) await engine.flush();
        break;
      default: {
        const batch = engine.newBatch();
        const operations = fill(batch, "unlogged", history.unlogged.length + 1, random);
        engine.writeUnlogged(batch);
        history.unlogged.push(operations);
        engine.sealIfFull();
      }
    }
  }
  await Promise.all(underWay);
  await engine.close();
}

function expected(batches: readonly (readonly string[])[], count: number): Map<string, string> {
  const state = new Map<string, string>();
  for (const operations of batches.slice(0, count)) {
    for (const operation of operations) {
      const [key, value] = operation.split("=") as [string, string | undefined];
      if (value === undefined) state.delete(key);
      else state.set(key, value);
    }
  }
  return state;
}

function stateOf(engine: Engine, prefix: string): Map<string, string> {
  const state = new Map<string, string>();
  using iterator = engine.iterate({ prefix: utf8(prefix) });
  while (iterator.next()) {
    const key = fromUtf8(iterator.key);
    expect(fromUtf8(engine.getSync(iterator.key.slice())!)).toBe(fromUtf8(iterator.value));
    state.set(key, fromUtf8(iterator.value));
  }
  return state;
}

/** Returns how many logged batches there are. */
function check(engine: Engine, history: History): number {
  const number = (key: string): number => Number(fromUtf8(engine.getSync(utf8(key)) ?? utf8("0")));
  const logged = number("logged-count");
  expect(logged).toBeGreaterThanOrEqual(history.loggedDurable);
  expect(stateOf(engine, "logged")).toEqual(expected(history.logged, logged));
  const unlogged = number("applied");
  expect(unlogged).toBeGreaterThanOrEqual(history.unloggedDurable);
  expect(stateOf(engine, "unlogged")).toEqual(expected(history.unlogged, unlogged));
  return logged;
}

/** Lets the disk die at its operation number `at`; the result tells what is left, once it happened. */
function crashAt(fs: MemoryFileSystem, at: number, random: Random): () => MemoryFileSystem | undefined {
  let count = 0;
  let survivor: MemoryFileSystem | undefined;
  fs.onOperation = (_operation, path) => {
    if (++count !== at) return;
    survivor = fs.crash(random);
    throw new FileError("EIO", `${path}: the power failed`);
  };
  return () => survivor;
}

const SEEDS = Number(process.env.FLOTILLA_CRASH_SEEDS ?? 8);

test("a crash at every disk operation of a run loses nothing that was promised", async () => {
  let crashes = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    for (let at = 1; ; at++) {
      const where = `seed ${seed}, operation ${at}`;
      const random = seededRandom(seed * 100_003 + at);
      const history = new History();
      const fs = new MemoryFileSystem();
      const survivor = crashAt(fs, at, random);
      const failure = await work(fs, seed, history).then(
        () => undefined,
        (error: Error) => error,
      );
      let disk = survivor();
      if (disk === undefined) {
        if (failure !== undefined) throw new Error(`${where}: no crash, but a failure`, { cause: failure });
        break;
      }
      crashes++;
      try {
        // A second crash, while the store recovers from the first.
        const second = crashAt(disk, 1 + random.below(12), random);
        await open(disk, seed).then(
          (engine) => engine.close(),
          () => {},
        );
        disk = second() ?? disk;
        disk.onOperation = undefined;
        const engine = await open(disk, seed);
        const logged = check(engine, history);
        // It has to be possible to go on from there.
        history.logged.length = logged;
        const batch = engine.newBatch();
        history.logged.push(fill(batch, "logged", logged + 1, random));
        await engine.write(batch);
        history.loggedDurable = logged + 1;
        await engine.close();
        const reopened = await open(disk.crash(random), seed);
        check(reopened, history);
        await reopened.close();
      } catch (error) {
        throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
      }
    }
  }
  expect(crashes).toBeGreaterThan(SEEDS * 50);
}, 60_000);
