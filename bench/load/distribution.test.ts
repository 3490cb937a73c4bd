import { expect, test } from "bun:test";
import { seededRandom } from "../../src/lib/prng.ts";
import { createChooser, type Distribution, Zipfian } from "./distribution.ts";

const SEED = 20_240_501;
const DRAWS = 200_000;

function histogram(distribution: Distribution, keys: number): number[] {
  const chooser = createChooser(distribution, { count: keys }, seededRandom(SEED));
  const counts = new Array<number>(keys).fill(0);
  for (let i = 0; i < DRAWS; i++) counts[chooser.next()]! += 1;
  return counts;
}

test(`uniform: every key about equally often (seed ${SEED})`, () => {
  const counts = histogram("uniform", 100);
  for (const count of counts) expect(Math.abs(count - DRAWS / 100)).toBeLessThan(250);
});

test(`zipfian: the shares of the ranks follow 1/rank^0.99, each rank on a key of its own (seed ${SEED})`, () => {
  const keys = 1000;
  const shares = histogram("zipfian", keys).sort((a, b) => b - a);
  let zeta = 0;
  for (let rank = 1; rank <= keys; rank++) zeta += rank ** -0.99;
  const expected = (rank: number): number => (DRAWS * rank ** -0.99) / zeta;
  expect(Math.abs(shares[0]! / expected(1) - 1)).toBeLessThan(0.03);
  expect(Math.abs(shares[1]! / expected(2) - 1)).toBeLessThan(0.05);
  // Below the second rank the method is an approximation.
  for (const rank of [5, 10, 50, 100]) {
    expect(Math.abs(shares[rank - 1]! / expected(rank) - 1)).toBeLessThan(0.2);
  }
  const topTen = shares.slice(0, 10).reduce((sum, count) => sum + count, 0) / DRAWS;
  expect(topTen).toBeGreaterThan(0.35);
  expect(topTen).toBeLessThan(0.45);
});

test(`zipfian: the hot keys are spread over the key space (seed ${SEED})`, () => {
  const keys = 1000;
  const byShare = histogram("zipfian", keys)
    .map((count, key) => ({ count, key }))
    .sort((a, b) => b.count - a.count)
    .slice(0, 8);
  const quarters = new Set(byShare.map(({ key }) => Math.floor((key * 4) / keys)));
  expect(quarters.size).toBe(4);
});

test(`latest: the newest key is the hottest, and follows keys that are added (seed ${SEED})`, () => {
  const keys = { count: 500 };
  const chooser = createChooser("latest", keys, seededRandom(SEED));
  const hottest = (): number => {
    const counts = new Map<number, number>();
    for (let i = 0; i < 20_000; i++) {
      const key = chooser.next();
      expect(key).toBeGreaterThanOrEqual(0);
      expect(key).toBeLessThan(keys.count);
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return [...counts].sort((a, b) => b[1] - a[1])[0]![0];
  };
  expect(hottest()).toBe(499);
  keys.count = 800;
  expect(hottest()).toBe(799);
});

test("a zipfian that grew draws what one of that size from the start draws", () => {
  const grown = new Zipfian(10, seededRandom(SEED));
  grown.grow(5000);
  const whole = new Zipfian(5000, seededRandom(SEED));
  for (let i = 0; i < 1000; i++) expect(grown.next()).toBe(whole.next());
});

test.each([1, 2, 3])("every distribution works with %d keys", (keys) => {
  for (const distribution of ["uniform", "zipfian", "latest"] as const) {
    const counts = histogram(distribution, keys);
    for (const count of counts) expect(count).toBeGreaterThan(0);
  }
});
