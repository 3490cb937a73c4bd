/**
 * The simulator itself, some seeds of it with every run of the tests, and the seeds that once found something. `RUNS` and
 * `SEED` in the environment make it other ones; `bun run sim --runs N` uses all cores.
 */
import { expect, spyOn, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { testSeed } from "../support/seed.ts";
import { FAULT_KINDS } from "./fault-kinds.ts";
import { runApart, runMany } from "./many-runs.ts";
import { MUTANTS } from "./mutants/all.ts";
import { plant } from "./mutants/mutant.ts";
import { DEFAULT_OPTIONS, flagsOf, parseFaults, type SimulationOptions } from "./options.ts";
import { readRegressions } from "./regressions.ts";
import { parseSimArguments } from "./sim-arguments.ts";
import { type RunResult, simulate } from "./simulation.ts";

const RUNS = Number(process.env.RUNS ?? 200);
const ROOT = join(import.meta.dir, "../..");

/** Runs `options`, and throws what was wrong with the command that shows it. */
async function run(options: SimulationOptions): Promise<RunResult> {
  const result = await simulate(options);
  if (result.ok) return result;
  throw new Error(reportOf(options, result));
}

function reportOf(options: SimulationOptions, { problem, lastEvents }: RunResult): string {
  return `bun run sim ${flagsOf(options)} --trace\n${problem}\n${lastEvents.join("\n")}`;
}

test(
  `a cluster keeps its word under what ${RUNS} seeds do to it`,
  async () => {
    const seed = testSeed("sim");
    let snapshots = 0;
    const faults = new Set<string>();
    const failed: string[] = [];
    await runMany({
      options: { ...DEFAULT_OPTIONS, seed },
      runs: RUNS,
      workers: navigator.hardwareConcurrency,
      done: (result) => {
        if (!result.ok) failed.push(reportOf({ ...DEFAULT_OPTIONS, seed: result.seed }, result));
        snapshots += result.snapshots;
        for (const kind of Object.keys(result.faults)) faults.add(kind);
        return failed.length === 0;
      },
    });
    expect(failed).toEqual([]);
    console.log(`sim: ${faults.size} kinds of faults, ${snapshots} snapshots installed`);
    expect(faults.size).toBeGreaterThan(Math.min(RUNS, 12));
    expect(snapshots).toBeGreaterThan(0);
  },
  Math.max(180_000, RUNS * 20_000),
);

test("what once went wrong goes well", async () => {
  for (const { flags } of readRegressions()) await run(parseSimArguments(flags).options);
}, 180_000);

const SHORT: SimulationOptions = { ...DEFAULT_OPTIONS, minutes: 0.03, faults: FAULT_KINDS };

test("a seed always does the same, to the byte, and another one does not", async () => {
  const shown: string[][] = [[], []];
  const first = await simulate({ ...SHORT, seed: 7 }, (line) => shown[0]!.push(line));
  const again = await simulate({ ...SHORT, seed: 7 }, (line) => shown[1]!.push(line));
  expect(shown[1]).toEqual(shown[0]!);
  expect(again.trace).toBe(first.trace);
  expect(again.events).toBe(first.events);
  expect((await simulate({ ...SHORT, seed: 8 })).trace).not.toBe(first.trace);
}, 60_000);

test("a seed does the same in whatever process and after whatever runs", async () => {
  const hashes = async (seed: number, runs: number, workers: number): Promise<Map<number, string>> => {
    const found = new Map<number, string>();
    const done = (result: RunResult): boolean => {
      found.set(result.seed, result.trace);
      return true;
    };
    await runMany({ options: { ...SHORT, seed }, runs, workers, done });
    return found;
  };
  const together = await hashes(20, 4, 2);
  const apart = await hashes(22, 2, 1);
  expect([...together.keys()].sort()).toEqual([20, 21, 22, 23]);
  for (const [seed, hash] of apart) expect(together.get(seed)).toBe(hash);
}, 60_000);

test("a run that takes too long is given up, and says so", async () => {
  const result = await runApart({ ...DEFAULT_OPTIONS, minutes: 60 }, 50);
  expect(result.ok).toBe(false);
  expect(result.problem).toBe("it took longer than 0.05 s and was given up");
}, 60_000);

test("a run without faults makes none, and its clients get answers", async () => {
  const result = await run({ ...SHORT, seed: 3, faults: [] });
  expect(result.faults).toEqual({});
  expect(result.operations).toBeGreaterThan(50);
}, 60_000);

test("a cluster of which nobody wants anything is at rest, so that hours of it can be run", async () => {
  const result = await run({ ...DEFAULT_OPTIONS, seed: 7, faults: [], minutes: 2, operationsMax: 0 });
  expect(result.events / result.simulatedS).toBeLessThan(600);
}, 60_000);

test("a founder that loses its disk before all have met does not lose the cluster", async () => {
  const result = await run({ ...DEFAULT_OPTIONS, seed: 5, course: "founding" });
  expect(result.faults.wipe).toBe(1);
  expect(result.operations).toBeGreaterThan(50);
}, 60_000);

test("leaders of a shard follow each other, and are cut off as they begin", async () => {
  const told: string[] = [];
  const result = await simulate({ ...DEFAULT_OPTIONS, seed: 5, course: "succession", faults: [] }, (line) =>
    told.push(line),
  );
  expect(result.problem).toBeUndefined();
  const count = (what: string) => told.filter((line) => line.includes(what)).length;
  expect(count("leads shard 0 in term")).toBeGreaterThan(4);
  expect(count("to all others, both ways: stalled")).toBeGreaterThan(3);
}, 60_000);

test("streams of snapshots break off, go on, and are followed by others", async () => {
  const events: string[] = [];
  for (const seed of [5, 6, 7, 8, 9, 10]) {
    const options = { ...DEFAULT_OPTIONS, seed, course: "streaming", faults: [] } as const;
    const result = await simulate(options, (line) => events.push(line));
    expect(result.problem).toBeUndefined();
  }
  const count = (pattern: RegExp): number => events.filter((event) => pattern.test(event)).length;
  expect(count(/ streams to n\d: /)).toBeGreaterThan(2);
  expect(count(/ goes on with its snapshot to n\d from part [1-9]/)).toBeGreaterThan(0);
  expect(count(/ sends a snapshot$/)).toBeGreaterThan(count(/ installed a snapshot$/));
}, 60_000);

test("the flags of a run say which one it was", () => {
  const options: SimulationOptions = {
    ...{ seed: 5, nodes: 5, faults: parseFaults("crash,wipe"), minutes: 0.5, clients: 2 },
    ...{ course: "founding", operationsMax: 40, only: [1, 4] },
  };
  expect(parseSimArguments(flagsOf(options).split(" ")).options).toEqual(options);
  expect(parseSimArguments(["--seed", "9"]).options).toEqual({ ...DEFAULT_OPTIONS, seed: 9 });
  expect(() => parseFaults("crash,hail")).toThrow('there is no fault "hail"');
});

test("flags that make no sense together, or are out of bounds, are refused", () => {
  const said: string[] = [];
  const refuse = (...flags: string[]) => {
    const complaints = spyOn(process.stderr, "write").mockImplementation((text) => said.push(`${text}`) > 0);
    try {
      expect(() => parseSimArguments(flags)).toThrow();
    } finally {
      complaints.mockRestore();
    }
    return said.at(-1);
  };
  expect(refuse("--nodes", "9")).toContain("a whole number from 0 to 7 was expected");
  expect(refuse("--seed", "")).toContain("a whole number of at least 0 was expected");
  expect(refuse("--runs", "3", "--shrink")).toContain("--shrink is of one run");
  expect(refuse("--runs", "3", "--trace")).toContain("--trace is of one run");
  expect(parseSimArguments(["--seed", "3", "--shrink"]).shrink).toBe(true);
});

test("every mutant applies, and has a name of its own", () => {
  for (const mutant of MUTANTS) {
    const text = readFileSync(join(ROOT, mutant.file), "utf8");
    expect(plant(mutant, text)).not.toBe(text);
  }
  expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
});
