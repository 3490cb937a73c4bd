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

test("a restart keeps the patience", () => {
  const timer = new ElectionTimer({ electionTicks: 10, random: { below: () => 4 } });
  expect(ticksToExpiry(timer)).toBe(14);
  timer.restart();
  expect(ticksToExpiry(timer)).toBe(14);
});

test("hurry is for once, never makes more patient, and is over with a reason to be patient", () => {
  const timer = new ElectionTimer({ electionTicks: 10, random: { below: () => 4 } });
  timer.tick();
  timer.hurry(3);
  expect(ticksToExpiry(timer)).toBe(3);
  timer.restart();
  expect(ticksToExpiry(timer)).toBe(14);
  timer.hurry(3);
  timer.defer(4);
  timer.defer(2);
  expect(ticksToExpiry(timer)).toBe(4);
  timer.redraw();
  timer.defer(40);
  for (let i = 0; i < 13; i++) timer.tick();
  timer.hurry(5);
  expect(ticksToExpiry(timer)).toBe(1);
});
