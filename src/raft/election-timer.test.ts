import { expect, test } from "bun:test";
import { seededRandom } from "../lib/prng.ts";
import { ElectionTimer } from "./election-timer.ts";

function ticksToExpiry(timer: ElectionTimer): number {
  let ticks = 0;
  for (; !timer.expired; ticks++) timer.tick();
  return ticks;
}

test("patience is drawn from one up to twice the election timeout", () => {
  const timer = new ElectionTimer({ electionTicks: 10, random: seededRandom(1) });
  const seen = new Set<number>();
  for (let i = 0; i < 500; i++) {
    seen.add(ticksToExpiry(timer));
    timer.redraw();
  }
  expect([...seen].sort((a, b) => a - b)).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
});

test("a restart keeps the patience and is fresh for one election timeout", () => {
  const timer = new ElectionTimer({ electionTicks: 10, random: { below: () => 4 } });
  expect(ticksToExpiry(timer)).toBe(14);
  expect(timer.fresh).toBe(false);
  timer.restart();
  for (let i = 0; i < 9; i++) timer.tick();
  expect(timer.fresh).toBe(true);
  timer.tick();
  expect(timer.fresh).toBe(false);
  expect(ticksToExpiry(timer)).toBe(4);
});
