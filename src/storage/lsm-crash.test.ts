/**
 * The power fails at every single operation on the disk, in random runs. After each crash the store has to be what its
 * promises say: every synced write, in order and without holes; and of the unlogged ones exactly those that the last
 * flushed seal covers.
 */
import { expect, test } from "bun:test";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { consoleLog } from "../env/console-log.ts";
import { FileError } from "../env/env.ts";
import { systemClock } from "../env/system-clock.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { type Random, seededRandom } from "../lib/prng.ts";
import type { Engine, SealListener, WriteBatch } from "./engine.ts";
import { openLsm } from "./lsm.ts";

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

const SMALL = {
  memtableBytes: 400,
  blockBytes: 64,
  tableBytes: 300,
  walFileBytes: 500,
  manifestBytes: 600,
  level0Tables: 2,
  level1Bytes: 1500,
  levelSizeRatio: 3,
};

function open(fs: MemoryFileSystem, listener: SealListener | undefined): Promise<Engine> {
  const log = { ...consoleLog("error"), error: () => {} };
  return openLsm(
    { fs, background: inlineBackground(fs), clock: systemClock(), log },
    "/d/store",
    SMALL,
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
async function work(fs: MemoryFileSystem, random: Random, history: History): Promise<void> {
  const engine = await open(fs, history);
  const logged = (sync: boolean): Promise<void> => {
    const batch = engine.newBatch();
    const number = history.logged.length + 1;
    history.logged.push(fill(batch, "logged", number, random));
    return engine.write(batch, { sync }).then(() => {
      history.loggedVisible = Math.max(history.loggedVisible, number);
      if (sync) history.loggedDurable = Math.max(history.loggedDurable, number);
    });
  };
  for (let i = 0; i < 25; i++) {
    switch (random.below(6)) {
      case 0:
        await logged(true);
        break;
      case 1:
        await Promise.all([logged(true), logged(false), logged(true)]);
        break;
      case 2:
        await logged(false);
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

function check(engine: Engine, history: History): void {
  const number = (key: string): number => Number(fromUtf8(engine.getSync(utf8(key)) ?? utf8("0")));
  const logged = number("logged-count");
  expect(logged).toBeGreaterThanOrEqual(history.loggedDurable);
  expect(stateOf(engine, "logged")).toEqual(expected(history.logged, logged));
  const unlogged = number("applied");
  expect(unlogged).toBeGreaterThanOrEqual(history.unloggedDurable);
  expect(stateOf(engine, "unlogged")).toEqual(expected(history.unlogged, unlogged));
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

const SEEDS = Number(process.env["FLOTILLA_CRASH_SEEDS"] ?? 12);

test("a crash at every disk operation of a run loses nothing that was promised", async () => {
  let crashes = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    for (let at = 1; ; at++) {
      const where = `seed ${seed}, operation ${at}`;
      const random = seededRandom(seed * 100_003 + at);
      const history = new History();
      const fs = new MemoryFileSystem();
      const survivor = crashAt(fs, at, random);
      const failure = await work(fs, seededRandom(seed), history).then(
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
        await open(disk, undefined).then(
          (engine) => engine.close(),
          () => {},
        );
        disk = second() ?? disk;
        disk.onOperation = undefined;
        const engine = await open(disk, undefined);
        check(engine, history);
        await engine.close();
      } catch (error) {
        throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
      }
    }
  }
  expect(crashes).toBeGreaterThan(SEEDS * 50);
}, 60_000);
