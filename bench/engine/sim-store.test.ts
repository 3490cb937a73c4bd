/**
 * The compaction policy over tens of thousands of flushes. `SimStore` throws where levels overlap, plans take what is not
 * theirs, compactions find no end, or a key does not read as it was written last; the amplifications are asserted here.
 */
import { expect, test } from "bun:test";
import { seededRandom } from "../../src/lib/prng.ts";
import { testSeed } from "../../test/support/seed.ts";
import { SimStore } from "./sim-store.ts";
import { SIM_DEFAULTS, simulate, WORKLOADS, type Workload } from "./sim-workloads.ts";

const SEED = testSeed("sim-store");
const FLUSHES = 3000;

/** Upper bounds: bytes written for a byte flushed, bytes held for a byte that is seen, tables that a read looks into. */
const BOUNDS: Record<Workload, { write: number; space: number; read: number }> = {
  uniform: { write: 8.5, space: 1.15, read: 3.3 },
  zipfian: { write: 7, space: 1.15, read: 3.4 },
  sequential: { write: 2.3, space: 1.15, read: 1.3 },
  deletes: { write: 7.5, space: 1.25, read: 3.3 },
  queue: { write: 3, space: 1.5, read: 0.5 },
  expiry: { write: 8.5, space: 1.2, read: 3.3 },
};

test.each(WORKLOADS)("%s: what is written, held and looked into stays within bounds", (workload) => {
  const result = simulate(workload, { ...SIM_DEFAULTS, keys: 3000 }, FLUSHES, seededRandom(SEED));
  const { write, space, read } = BOUNDS[workload];
  expect(result.writeAmplification).toBeLessThan(write);
  expect(result.spaceAmplification).toBeLessThan(space);
  expect(result.readAmplification).toBeLessThan(read);
  expect(result.counts.level0Max).toBe(4);
  // At rest garbage is a small part, and none is left when everything is compacted.
  expect(result.garbageShare).toBeLessThan(0.15);
  expect([result.garbageLeft, result.entriesLeft]).toEqual([0, 1]);
});

test("a store that is written faster than it is compacted has longer levels, and loses nothing", () => {
  const slow = { ...SIM_DEFAULTS, keys: 3000, workerBytes: 3 * 6400, level0TablesStop: 12 };
  const result = simulate("uniform", slow, FLUSHES, seededRandom(SEED));
  expect(result.counts.level0Max).toBe(12);
  expect(result.counts.stalls).toBeGreaterThan(0);
  // More goes at once, so that less is written for each byte.
  expect(result.writeAmplification).toBeLessThan(6);
  expect(result.spaceAmplification).toBeLessThan(1.6);
});

test("what has expired goes without being read where nothing else is left", () => {
  const store = new SimStore({ ...SIM_DEFAULTS, keys: 3000 });
  const random = seededRandom(SEED);
  for (let flush = 1; flush <= 200; flush++) {
    store.now = flush;
    const keys = Uint32Array.from(new Set(Array.from({ length: 64 }, () => random.below(3000)))).sort();
    store.flush(keys, new Uint32Array(keys.length).fill(1000));
  }
  store.settle();
  const { compactedBytes } = store.counts;
  store.now = 999;
  store.settle();
  expect(store.space().live).toBeGreaterThan(2000);
  store.now = 1000;
  store.settle();
  expect(store.levels.slice(1).flat()).toEqual([]);
  expect(store.counts.compactedBytes).toBe(compactedBytes);
});

test("any limits, any number of workers at any speed: the plans are sound and come to an end", () => {
  const runs = Number(process.env.RUNS ?? 20);
  for (let run = 0; run < runs; run++) {
    const random = seededRandom(SEED + run);
    const of = <T>(values: readonly T[]): T => values[random.below(values.length)]!;
    const options = {
      ...SIM_DEFAULTS,
      keys: of([100, 500, 2000]),
      level0Tables: of([1, 2, 4, 8]),
      level1Bytes: of([1000, 6400, 25_600]),
      levelSizeRatio: of([2, 4, 10]),
      tableBytes: of([500, 3200, 20_000]),
      garbageShare: of([0.05, 0.25, 0.9]),
      workers: of([1, 2, 3]),
      workerBytes: of([2000, 20_000, Number.POSITIVE_INFINITY]),
      level0TablesStop: of([8, 24]),
    };
    const workload = of(WORKLOADS);
    try {
      const result = simulate(workload, options, 150, random);
      expect([result.garbageLeft, result.entriesLeft]).toEqual(result.entriesLeft === 0 ? [0, 0] : [0, 1]);
      expect(result.counts.level0Max).toBeLessThanOrEqual(options.level0TablesStop);
    } catch (error) {
      throw new Error(`SEED=${SEED + run} RUNS=1: ${workload}, ${JSON.stringify(options)}`, { cause: error });
    }
  }
});
