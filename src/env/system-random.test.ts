import { expect, test } from "bun:test";
import { systemRandom } from "./system-random.ts";

test("below stays below its bound, and reaches everything below it", () => {
  const random = systemRandom();
  const seen = new Set<number>();
  for (let i = 0; i < 1_000; i++) seen.add(random.below(7));
  expect([...seen].sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(random.below(1)).toBe(0);
  for (let i = 0; i < 1_000; i++) expect(random.below(2 ** 32)).toBeLessThan(2 ** 32);
});

test("no part of a range is preferred, also where the bound does not divide 2^32", () => {
  const random = systemRandom();
  const bound = 3 * 2 ** 30;
  let inLowestThird = 0;
  const draws = 30_000;
  for (let i = 0; i < draws; i++) if (random.below(bound) < 2 ** 30) inLowestThird++;
  // Plain modulo would give 1/2 instead of 1/3; the deviation allowed is more than 15 standard deviations.
  expect(inLowestThird / draws).toBeGreaterThan(0.29);
  expect(inLowestThird / draws).toBeLessThan(0.38);
});

test("float is in [0, 1) and spreads", () => {
  const random = systemRandom();
  let sum = 0;
  for (let i = 0; i < 10_000; i++) {
    const value = random.float();
    expect(value >= 0 && value < 1).toBe(true);
    sum += value;
  }
  expect(sum / 10_000).toBeGreaterThan(0.45);
  expect(sum / 10_000).toBeLessThan(0.55);
});
