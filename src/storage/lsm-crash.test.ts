/**
 * The power fails at every single operation on the disk, in random runs. After each crash the store has to be what its
 * promises say: every synced write, in order and without holes; and of the unlogged ones exactly those that the last
 * flushed seal covers. Checkpoints are whole or not there. And the store has to work on from there.
 *
 * `SEED` repeats a run, `RUNS` says how many seeds from there on.
 */
import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { testSeed } from "../../test/support/seed.ts";
import { StoreHistory } from "../../test/support/store-history.ts";
import { checkCheckpoints, openStore, runStore, settle } from "../../test/support/store-run.ts";
import { VirtualClock } from "../../test/support/virtual-clock.ts";
import { FileError } from "../env/env.ts";
import { type Random, seededRandom } from "../lib/prng.ts";

const SEED = testSeed("lsm-crash") % 1_000_000;
const RUNS = Number(process.env.RUNS ?? 2);
/** A run that is crashed everywhere, and one that is crashed here and there. */
const SHORT_STEPS = 25;
const LONG_STEPS = 250;
const LONG_CRASHES = 10;
/** At every so manieth crash the recovery from it is crashed everywhere, too. */
const DOUBLE_EVERY = 15;

/**
 * Ends everything at the disk's operation number `at`; the result tells what is left, once it happened. In a quarter of
 * the cases only the process ends, and the system writes what it has.
 */
function crashAt(fs: MemoryFileSystem, at: number, random: Random): () => MemoryFileSystem | undefined {
  let count = 0;
  let survivor: MemoryFileSystem | undefined;
  fs.onOperation = (_operation, path) => {
    if (++count !== at) return;
    const killed = random.below(4) === 0 ? fs.copy() : undefined;
    const crashed = fs.crash(random);
    survivor = killed ?? crashed;
    throw new FileError("EIO", `${path}: the power failed`);
  };
  return () => survivor;
}

/** Opens and closes the store on a disk that dies at operation `at` of that; what is left if it came to it. */
async function crashRecovery(
  disk: MemoryFileSystem,
  at: number,
  seed: number,
  random: Random,
): Promise<MemoryFileSystem | undefined> {
  const survivor = crashAt(disk, at, random);
  const clock = new VirtualClock();
  const life = openStore(disk, seed, clock).then((engine) => engine.close());
  await settle(clock, life).catch((error) => {
    if (survivor() === undefined) throw error;
  });
  return survivor();
}

/** Checks what is left after a crash, lets more work be done until another crash or the end, and checks again. */
async function checkAndGoOn(
  disk: MemoryFileSystem,
  history: StoreHistory,
  seed: number,
  random: Random,
): Promise<void> {
  const clock = new VirtualClock();
  const engine = await settle(clock, openStore(disk, seed, clock));
  const state = history.checkRecovered(engine);
  await settle(clock, engine.close());
  await checkCheckpoints(disk, history, seed);
  const next = new StoreHistory(state, history.time);
  const survivor = crashAt(disk, 1 + random.below(200), random);
  await runStore({ fs: disk, seed: seed + 1, steps: 6, history: next }).catch((error) => {
    if (survivor() === undefined) throw error;
  });
  const last = survivor() ?? disk.crash(random);
  const reopened = await settle(clock, openStore(last, seed, clock));
  const lastState = next.checkRecovered(reopened);
  await settle(clock, reopened.flush());
  await settle(clock, reopened.close());
  const again = await settle(clock, openStore(last.crash(random), seed, clock));
  expect(new StoreHistory(lastState, next.time).checkRecovered(again)).toEqual(lastState);
  await settle(clock, again.close());
}

/** The seed's run with a crash at operation `at`; false if it ended before. */
async function crashRun(seed: number, steps: number, at: number, isDouble: boolean): Promise<boolean> {
  const random = seededRandom(seed * 100_003 + at);
  const history = new StoreHistory();
  const fs = new MemoryFileSystem();
  const survivor = crashAt(fs, at, random);
  await runStore({ fs, seed, steps, history }).catch((error) => {
    if (survivor() === undefined) throw error;
  });
  const left = survivor();
  if (left === undefined) return false;
  for (let second = 1; isDouble; second++) {
    const disk = await crashRecovery(left.copy(), second, seed, random);
    if (disk === undefined) break;
    await checkAndGoOn(disk, history, seed, random);
  }
  await checkAndGoOn(left, history, seed, random);
  return true;
}

async function crashRunTelling(seed: number, steps: number, at: number, isDouble: boolean): Promise<boolean> {
  try {
    return await crashRun(seed, steps, at, isDouble);
  } catch (error) {
    const where = `seed ${seed}, ${steps} steps, operation ${at}`;
    throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
  }
}

test("a crash at every disk operation of a run, and of the recovery, loses nothing that was promised", async () => {
  for (let seed = SEED; seed < SEED + RUNS; seed++) {
    let at = 1;
    while (await crashRunTelling(seed, SHORT_STEPS, at, at % DOUBLE_EVERY === 0)) at++;
    expect(at).toBeGreaterThan(30);
  }
}, 3_600_000);

test("a crash anywhere in a long run loses nothing that was promised", async () => {
  for (let seed = SEED; seed < SEED + RUNS; seed++) {
    const fs = new MemoryFileSystem();
    let operations = 0;
    fs.onOperation = () => {
      operations++;
    };
    await runStore({ fs, seed, steps: LONG_STEPS, history: new StoreHistory() });
    const random = seededRandom(seed);
    for (let i = 0; i < LONG_CRASHES; i++) {
      const at = 1 + random.below(operations);
      expect([at, await crashRunTelling(seed, LONG_STEPS, at, false)]).toEqual([at, true]);
    }
  }
}, 3_600_000);
