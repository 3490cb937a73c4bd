import { expect, test } from "bun:test";
import { seededRandom } from "../../src/lib/prng.ts";
import { DEFAULT_OPTIONS, type SimulationOptions } from "./options.ts";
import { drawProfile } from "./profile.ts";
import { kindOfProblem, shrink } from "./shrink.ts";
import type { RunResult } from "./simulation.ts";

const OPTIONS: SimulationOptions = { ...DEFAULT_OPTIONS, seed: 5 };
const PROFILE = {
  ...drawProfile(seededRandom(1), seededRandom(2), { ...OPTIONS, course: "any" }),
  ...{ faultsMs: 8000, nodes: 5, clients: 6 },
};

/** A fault every 200 ms, and what `problemOf` says of them. */
function pretend(
  options: SimulationOptions,
  problemOf: (faults: readonly number[], options: SimulationOptions) => string | undefined,
): RunResult {
  const planned = Math.floor((options.minutes * 60_000 || PROFILE.faultsMs) / 200);
  const all = Array.from({ length: planned }, (_, number) => number);
  const problem = problemOf(
    all.filter((number) => options.only?.includes(number) ?? true),
    options,
  );
  return {
    ...{ seed: options.seed, ok: problem === undefined, problem, planned, profile: PROFILE, operations: 100 },
    ...{ trace: "", events: 1, simulatedS: 1, faults: {}, lastEvents: [], snapshots: 0 },
  };
}

test("what is left is no more than the failure needs, and it is the same failure", async () => {
  // Less fails in another way, which is not what is looked for.
  const problemOf = (faults: readonly number[], { clients, operationsMax }: SimulationOptions) =>
    faults.includes(3) && faults.includes(9) && clients !== 1 && operationsMax > 30
      ? `n${faults.length} is behind in term ${faults.length}`
      : "n1 is ahead";
  const told: string[] = [];
  const smallest = await shrink({
    options: OPTIONS,
    failure: pretend(OPTIONS, problemOf),
    attempt: async (candidate) => pretend(candidate, problemOf),
    tell: (line) => told.push(line),
  });
  expect(smallest.only).toEqual([3, 9]);
  expect(smallest.clients).toBe(2);
  expect(smallest.operationsMax).toBe(32);
  expect(smallest.nodes).toBe(1);
  // Ten faults are needed, of the forty that there would be: 2 s, to the last of the steps.
  expect(smallest.minutes * 60).toBeGreaterThanOrEqual(2);
  expect(smallest.minutes * 60).toBeLessThan(2.2);
  expect(told.length).toBeGreaterThan(4);
  expect(told.every((line) => line.includes("is behind"))).toBe(true);
});

test("what can't be made smaller stays what it is", async () => {
  const problemOf = (faults: readonly number[]) => (faults.length === 40 ? "all of it" : undefined);
  const only = Array.from({ length: 40 }, (_, number) => number);
  const options = { ...OPTIONS, nodes: 5, clients: 6, only };
  const isWhole = (candidate: SimulationOptions) =>
    candidate.nodes === 5 && candidate.clients === 6 && candidate.operationsMax > 100;
  const smallest = await shrink({
    options,
    failure: pretend(options, problemOf),
    attempt: async (candidate) =>
      pretend(candidate, (faults) =>
        isWhole(candidate) && candidate.faults === undefined ? problemOf(faults) : undefined,
      ),
    tell: () => {},
  });
  expect(smallest).toEqual(options);
});

test("a kind of problem is what is wrong, and not with whom", () => {
  const kinds = (problems: readonly string[]) => new Set(problems.map(kindOfProblem)).size;
  const vote = "n3 says that it votes for n3 in term 3 of shard 0, and its disk has n2 in term 3";
  const other =
    "n10 says that it votes for n1 in term 12 of the system group, and its disk has undefined in term 2\nmore";
  expect(kinds([vote, other])).toBe(1);
  expect(
    kinds(['not linearizable: key "a b": no order', 'not linearizable: key "key3": no order', vote]),
  ).toBe(2);
  expect(kindOfProblem(undefined)).toBe("");
});
