/**
 * What gossip promises, in a simulator of its own. `RUNS` says how many seeds each story is told with (its default is small),
 * `SEED` repeats a run, `GOSSIP_HOURS` how many hours of virtual time messages get lost.
 */
import { describe, expect, test } from "bun:test";
import { testSeed } from "../../test/support/seed.ts";
import {
  type Absence,
  bearsABadPath,
  bearsLoss,
  comesBack,
  DETECTION_MS_MAX,
  detectsADeath,
  healsAPartition,
  spreads,
  spreadsACrowd,
  takesTurns,
  wakesUp,
} from "./testing/scenarios.ts";

const SEED = testSeed("src/gossip/gossip.test.ts");
const RUNS = Number(process.env.RUNS ?? 1);
const HOURS = Number(process.env.GOSSIP_HOURS ?? 1);

/** Tells a story with `runs` seeds; a failure says with which. */
function tell<T>(runs: number, story: (seed: number) => T): T[] {
  return Array.from({ length: runs * RUNS }, (_, run) => {
    const seed = (SEED + run * 7_919) % 2 ** 31;
    try {
      return story(seed);
    } catch (error) {
      throw new Error(`SEED=${SEED}, run ${run}, seed ${seed}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  });
}

describe("a node that was killed is dead to all others in less than 3 s", () => {
  for (const [nodes, runs] of [
    ...[2, 3, 4, 5, 7, 10, 20].map((size) => [size, 20] as const),
    ...[50, 100, 200].map((size) => [size, 3] as const),
  ]) {
    test(`of ${nodes}`, () => {
      const times = tell(runs, (seed) => detectsADeath({ nodes, seed }));
      expect(Math.max(...times)).toBeLessThan(DETECTION_MS_MAX);
    });
  }
});

describe("nobody is called dead who is not", () => {
  for (const [nodes, share] of [
    [2, 1],
    [3, 1],
    [10, 0.5],
    [50, 0.05],
  ] as const) {
    test(`among ${nodes} nodes, ${HOURS * share} h long, when a message in ten is lost`, () => {
      tell(1, (seed) => bearsLoss({ nodes, seed, hours: HOURS * share, lossPercent: 10, latencyMsMax: 20 }));
    });
  }

  test("because of one bad path", () => {
    for (const nodes of [3, 5, 20]) tell(2, (seed) => bearsABadPath({ nodes, seed }));
  });

  test("by a process that stood still", () => {
    for (const nodes of [3, 20]) tell(5, (seed) => wakesUp({ nodes, seed, latencyMsMax: 150 }));
  });
});

describe("who was away is back", () => {
  test("after a partition, with what was new on the other side", () => {
    for (const nodes of [2, 3, 5, 20]) tell(5, (seed) => healsAPartition({ nodes, seed }));
    tell(1, (seed) => healsAPartition({ nodes: 100, seed }));
  });

  for (const absence of ["dead", "left", "short"] satisfies Absence[]) {
    test(`after a restart (${absence})`, () => {
      for (const nodes of [2, 3, 20]) tell(5, (seed) => comesBack({ nodes, seed, absence }));
      tell(1, (seed) => comesBack({ nodes: 100, seed, absence }));
    });
  }

  test("when others have forgotten everything, too", () => {
    tell(5, (seed) => comesBack({ nodes: 5, seed, absence: "short", together: 3 }));
  });

  test("for the first time, and of which nobody knows anything but what it carried", () => {
    tell(5, (seed) => comesBack({ nodes: 5, seed, absence: "short", again: false }));
  });
});

describe("what one knows all know", () => {
  test("after a number of rounds like the logarithm of theirs", () => {
    for (const nodes of [3, 10, 50, 200]) tell(5, (seed) => spreads({ nodes, seed }));
  });

  test("also when very much is new", () => {
    for (const nodes of [3, 10, 50])
      tell(1, (seed) => spreadsACrowd({ nodes, seed, shards: 1024, lossPercent: 5, msMax: 60_000 }));
  });

  test("and whatever is new has its turn", () => {
    tell(5, (seed) => takesTurns({ nodes: 5, seed, msMax: 60_000 }));
  });
});
