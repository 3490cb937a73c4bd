import { expect, test } from "bun:test";
import { seededRandom } from "./prng.ts";

const take = (seed: number, count: number, bound: number) => {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => random.below(bound));
};

test("the same seed gives the same numbers, another seed others", () => {
  expect(take(1, 100, 1_000_000)).toEqual(take(1, 100, 1_000_000));
  expect(take(1, 100, 1_000_000)).not.toEqual(take(2, 100, 1_000_000));
});

test("all numbers below the bound come, about equally often, and no others", () => {
  const counts = new Array<number>(10).fill(0);
  for (const value of take(3, 100_000, 10)) counts[value]!++;
  expect(counts).toHaveLength(10);
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
});

test("fractions lie from 0 up to 1", () => {
  const random = seededRandom(4);
  for (let i = 0; i < 10_000; i++) {
    const value = random.float();
    expect(value >= 0 && value < 1).toBe(true);
  }
});
