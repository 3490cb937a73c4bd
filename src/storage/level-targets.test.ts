import { expect, test } from "bun:test";
import { limits, table, view } from "../../test/support/compaction-levels.ts";
import { compactionDebt, levelScore, levelTargets } from "./level-targets.ts";

const LIMITS = limits({ level0Tables: 4, level1Bytes: 100, levelSizeRatio: 10 });

/** Levels with so many bytes each, from level 0 on. */
function levels(...bytes: number[]): ReturnType<typeof view>["levels"] {
  return view(bytes.flatMap((length, level) => (length === 0 ? [] : [table(level, "a-z", length)]))).levels;
}

test("level 0 goes into the last level until that is worth one above it", () => {
  expect(levelTargets(levels(50), LIMITS).base).toBe(6);
  expect(levelTargets(levels(50, 0, 0, 0, 0, 0, 400), LIMITS).base).toBe(6);
  const { base, targets } = levelTargets(levels(50, 0, 0, 0, 0, 0, 401), LIMITS);
  expect([base, targets[5]]).toEqual([5, 100]);
});

test("each level should hold a tenth of the next, and never less than level 0 brings", () => {
  const { base, bytes, targets } = levelTargets(levels(0, 0, 0, 0, 150, 3000, 40_000), LIMITS);
  expect([base, bytes[5]]).toEqual([4, 3000]);
  expect(targets).toEqual([0, 0, 0, 0, 400, 4000, 40_000]);
  expect(levelTargets(levels(0, 0, 0, 0, 0, 20, 300), LIMITS).targets[5]).toBe(100);
});

test("a store that shrinks keeps its base level, one that is huge has no more than there are", () => {
  expect(levelTargets(levels(0, 0, 0, 0, 5, 10, 100), LIMITS).base).toBe(4);
  const { base, targets } = levelTargets(levels(0, 1, 1, 1, 1, 1, 1e12), LIMITS);
  expect([base, targets[1]]).toEqual([1, 400]);
});

test("the score of a level is what it holds of what it should, and of level 0 the number of tables", () => {
  const targets = levelTargets(levels(0, 0, 0, 0, 0, 200, 900), LIMITS);
  const score = (level: number): number => levelScore(targets, level, 6, LIMITS);
  expect([score(0), score(4), score(5), score(6)]).toEqual([1.5, 0, 2, 0]);
});

test("the debt is what has to be written until no level is too full", () => {
  expect(compactionDebt(levels(50, 0, 0, 0, 0, 100, 1000), LIMITS)).toBe(0);
  // Half of level 5, with what of level 6 lies under it.
  expect(compactionDebt(levels(0, 0, 0, 0, 0, 200, 1000), LIMITS)).toBe(600);
  const flushed = Array.from({ length: 4 }, () => table(0, "a-z", 50));
  const full = view([...flushed, table(5, "a-z", 60), table(6, "a-z", 1000)]).levels;
  // Level 0 and level 5; then 160 bytes are too many there, and bring 1000 / 260 as many along.
  expect(compactionDebt(full, LIMITS)).toBe(Math.round(260 + 160 * (1 + 1000 / 260)));
});
