/**
 * Every single call into the file system fails, in random runs: once, or from then on until there is space again. Nothing
 * that was acknowledged may be lost, no read may be wrong, and what calls fail with is what their docstrings say.
 */
import { expect, test } from "bun:test";
import { type FileAccess, type FileOperation, MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { testSeed } from "../../test/support/seed.ts";
import { StoreHistory } from "../../test/support/store-history.ts";
import { checkCheckpoints, openStore, runStore, settle } from "../../test/support/store-run.ts";
import { VirtualClock } from "../../test/support/virtual-clock.ts";
import { FileError } from "../env/env.ts";
import { utf8 } from "../lib/bytes.ts";
import { seededRandom } from "../lib/prng.ts";
import type { DurableEngine } from "./engine.ts";
import { StorageError } from "./storage-error.ts";

type Call = FileOperation | FileAccess;

const ACCESSES: readonly Call[] = ["open", "read", "list"];
const SYNCS: readonly Call[] = ["sync", "syncDirectory"];
/** What needs space. */
const SPACE: readonly Call[] = ["create", "write", "makeDirectory", "rename", "link"];
const CHANGES: readonly Call[] = [...SPACE, "truncate", "remove", "removeDirectory"];
/** What a run does not come to. */
const UNUSED: readonly Call[] = ["link", "truncate", "removeDirectory", "list"];

interface Fault {
  readonly call: Call;
  /** The how manieth of these calls fails. */
  readonly nth: number;
  readonly code: "EIO" | "ENOSPC";
  /** For how many milliseconds after that everything else that needs space fails too. */
  readonly lastsMs: number;
}

/** Makes a disk fail; the result tells whether it did. */
function inject(fs: MemoryFileSystem, fault: Fault, clock: VirtualClock, seed: number): () => boolean {
  let calls = 0;
  let untilMs = Number.NEGATIVE_INFINITY;
  fs.partialWrites = seededRandom(seed + fault.nth);
  const before = (call: Call, path: string): void => {
    const isIt = call === fault.call && ++calls === fault.nth;
    if (isIt) untilMs = clock.nowMs() + fault.lastsMs;
    if (isIt || (SPACE.includes(call) && clock.nowMs() < untilMs))
      throw new FileError(fault.code, `${path}: the disk was told to fail`);
  };
  fs.onOperation = before;
  fs.onAccess = before;
  return () => calls >= fault.nth;
}

function heal(fs: MemoryFileSystem): void {
  fs.onOperation = undefined;
  fs.onAccess = undefined;
}

/** How a run went. */
class Outcome {
  readonly fatal: Error[] = [];
  /** What calls into the store failed with. */
  readonly codes = new Set<string>();
  /** What opening or closing it failed with. */
  readonly ends = new Set<string>();

  readonly onError = (error: unknown): void => {
    this.codes.add(documentedCode(error));
  };
  readonly onEnd = (error: unknown): void => {
    this.ends.add(documentedCode(error));
  };
}

/** The code of an error of a kind that callers are told about; anything else is thrown. */
function documentedCode(error: unknown): string {
  if (error instanceof StorageError || error instanceof FileError) return error.code;
  throw error;
}

/** After a failure everything is refused; otherwise everything works, if need be after a while. */
async function checkEnd(
  engine: DurableEngine,
  history: StoreHistory,
  outcome: Outcome,
  clock: VirtualClock,
): Promise<void> {
  // What is still tried while the disk is in trouble may end the store, too.
  await clock.until(() => engine.readOnlyReason === undefined || outcome.fatal.length > 0);
  if (outcome.fatal.length > 0) {
    const durable = history.durableLogged;
    await expect(history.write([])).rejects.toMatchObject({ code: "FAILED" });
    await expect(history.flush()).rejects.toMatchObject({ code: "FAILED" });
    expect(() => engine.getSync(utf8("key"))).toThrow("can't go on");
    expect(history.durableLogged).toBe(durable);
    return;
  }
  await history.write([{ kind: "put", key: "last", value: "word" }]);
  await history.flush();
}

/** Runs the seed's run with a fault, checks how it went and what is left; false if the run had no such call. */
async function faultRun(seed: number, steps: number, fault: Fault): Promise<boolean> {
  const fs = new MemoryFileSystem();
  const clock = new VirtualClock();
  const history = new StoreHistory();
  const outcome = new Outcome();
  const hasFailed = inject(fs, fault, clock, seed);
  const run = runStore({
    ...{ fs, seed, steps, history, clock, onError: outcome.onError },
    onFatal: (error) => outcome.fatal.push(error),
    atEnd: (engine) => checkEnd(engine, history, outcome, clock),
  });
  await run.catch(outcome.onEnd);
  if (!hasFailed()) {
    expect([...outcome.codes, ...outcome.ends]).toEqual([]);
    return false;
  }
  heal(fs);
  checkOutcome(fault, outcome, history.hasBegun);
  // A process that starts again on the same machine finds everything as it was left, one on a machine that lost its power does not.
  const disk = fault.nth % 2 === 0 ? fs : fs.crash(seededRandom(seed));
  const engine = await settle(clock, openStore(disk, seed, clock));
  history.checkRecovered(engine);
  await settle(clock, engine.close());
  await checkCheckpoints(disk, history, seed);
  return true;
}

function checkOutcome({ call, code }: Fault, { fatal, codes, ends }: Outcome, wasOpen: boolean): void {
  // A sync that finds no space is as final as any other sync that fails; what it was for can be written anew elsewhere.
  const documented: string[] = [code];
  if (code === "EIO" || SYNCS.includes(call)) documented.push("FAILED");
  if (code === "ENOSPC") documented.push("READ_ONLY");
  expect(documented).toEqual(expect.arrayContaining([...codes, ...ends]));
  if (!documented.includes("FAILED")) expect(fatal).toEqual([]);
  // Opening tells by its rejection, and an open store calls `onFatal`, once.
  if (!wasOpen) expect([fatal.length, codes.size, ends.size]).toEqual([0, 0, 1]);
  else if (codes.has("FAILED")) expect(fatal.length).toBe(1);
  else expect(fatal.length).toBeLessThanOrEqual(1);
}

/** Runs with faults from this seed on; `RUNS` of them. */
const SEED = testSeed("lsm-faults") % 1_000_000;
const RUNS = Number(process.env.RUNS ?? 3);

/** Lets every call of a kind fail, one in a run; `everyNth` skips some. Returns how many there were. */
async function everyCall(call: Call, code: Fault["code"], lastsMs: number, everyNth = 1): Promise<void> {
  let faults = 0;
  for (let seed = SEED; seed < SEED + RUNS; seed++) {
    for (let nth = 1 + (seed % everyNth); ; nth += everyNth) {
      await telling(`${code} at ${call} number ${nth} of seed ${seed}, for ${lastsMs} ms`, async () => {
        if (!(await faultRun(seed, 30, { call, nth, code, lastsMs }))) nth = Number.POSITIVE_INFINITY;
      });
      if (nth === Number.POSITIVE_INFINITY) break;
      faults++;
    }
  }
  if (!UNUSED.includes(call)) expect(faults).toBeGreaterThan(0);
}

async function telling(where: string, action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
  }
}

for (const call of [...SYNCS, ...CHANGES]) {
  test(`EIO at every ${call}: the store stops, and nothing that was acknowledged is lost`, async () => {
    await everyCall(call, "EIO", 0);
  }, 3_600_000);
}

for (const call of ACCESSES) {
  test(`EIO at ${call}: the caller is told, or the store stops`, async () => {
    await everyCall(call, "EIO", 0, 5);
  }, 3_600_000);
}

for (const call of [...SPACE, ...SYNCS]) {
  test(`ENOSPC at every ${call}, once or for a while: the store goes on when there is space`, async () => {
    await everyCall(call, "ENOSPC", 0);
    await everyCall(call, "ENOSPC", 200);
  }, 3_600_000);
}

/** A disk with tables and logs, as a crash left it, and what may be on it. */
async function crashedStore(seed: number): Promise<{ disk: MemoryFileSystem; history: StoreHistory }> {
  const fs = new MemoryFileSystem();
  const history = new StoreHistory();
  let disk = fs;
  const atEnd = async (): Promise<void> => {
    disk = fs.crash(seededRandom(seed));
  };
  await runStore({ fs, seed, steps: 40, history, atEnd }).catch(() => {});
  return { disk, history };
}

test("a fault while the store is opened is told, and the next opening finds everything", async () => {
  let faults = 0;
  for (let seed = SEED; seed < SEED + RUNS; seed++) {
    const { disk, history } = await crashedStore(seed);
    for (const call of [...SYNCS, ...CHANGES, ...ACCESSES]) {
      for (const code of ["EIO", "ENOSPC"] as const) {
        for (let nth = 1; ; nth++) {
          const fault = { call, nth, code, lastsMs: 0 };
          let isOver = false;
          await telling(`${code} at ${call} number ${nth} of opening seed ${seed}`, async () => {
            isOver = !(await openingRun(disk.copy(), seed, fault, history));
          });
          if (isOver) break;
          faults++;
        }
      }
    }
  }
  expect(faults).toBeGreaterThan(50);
}, 3_600_000);

/** Opens a store with a fault, closes it, and opens it again without; false if there was no such call. */
async function openingRun(
  fs: MemoryFileSystem,
  seed: number,
  fault: Fault,
  history: StoreHistory,
): Promise<boolean> {
  const clock = new VirtualClock();
  const outcome = new Outcome();
  const hasFailed = inject(fs, fault, clock, seed);
  let isOpen = false;
  const life = openStore(fs, seed, clock, undefined, (error) => outcome.fatal.push(error)).then((engine) => {
    isOpen = true;
    return engine.close();
  });
  await settle(clock, life.catch(outcome.onEnd));
  if (!hasFailed()) return false;
  heal(fs);
  if (!isOpen) checkOutcome(fault, outcome, false);
  const disk = fault.nth % 2 === 0 ? fs : fs.crash(seededRandom(seed));
  const engine = await settle(clock, openStore(disk, seed, clock));
  history.checkRecovered(engine);
  await settle(clock, engine.close());
  return true;
}
