import { expect, test } from "bun:test";
import { EntryClock } from "./entry-clock.ts";

function setUp() {
  const time = { nowMs: 100, wallMs: 10_000 };
  const clock = new EntryClock({ nowMs: () => time.nowMs, wallMs: () => time.wallMs });
  let latest = 0;
  return {
    time,
    clock,
    /** The next entry's time. */
    next: () => {
      latest = clock.after(latest);
      return latest;
    },
    pass: (ms: number) => {
      time.nowMs += ms;
      time.wallMs += ms;
    },
  };
}

test("an entry gets the wall clock's time, in whole milliseconds", () => {
  const { time, next } = setUp();
  time.wallMs = 10_000.7;
  expect(next()).toBe(10_000);
  time.wallMs = 12_000;
  expect(next()).toBe(12_000);
});

test("where the wall clock was set back, time goes on at half its pace until that is there", () => {
  const { time, next, pass } = setUp();
  next();
  time.wallMs = 9_000;
  expect(next()).toBe(10_000);
  pass(200);
  expect(next()).toBe(10_100);
  for (let i = 0; i < 100; i++) {
    // Small steps must not be lost in rounding.
    pass(1);
    next();
  }
  expect(next()).toBeGreaterThanOrEqual(10_145);
  pass(2000);
  // Two seconds after it was set back by one, it has caught up.
  expect(next()).toBe(time.wallMs);
});

test("a log that another leader's fast clock has brought ahead is waited for in the same way", () => {
  const { clock, pass, time } = setUp();
  expect(clock.after(15_000)).toBe(15_000);
  pass(1000);
  expect(clock.after(15_000)).toBe(15_500);
  expect(clock.after(20_000)).toBe(20_000);
  pass(100);
  expect(clock.after(20_000)).toBe(20_050);
  time.wallMs = 30_000;
  expect(clock.after(20_050)).toBe(30_000);
});

test("it never goes back, whatever the clocks do", () => {
  const { next, time } = setUp();
  let before = 0;
  for (const [nowMs, wallMs] of [
    [0, 5],
    [1, 100],
    [2, 3],
    [50, 4],
    [51, 200],
    [52, 90],
    [400, 91],
    [401, 500],
  ]) {
    time.nowMs = nowMs!;
    time.wallMs = wallMs!;
    const now = next();
    expect(now).toBeGreaterThanOrEqual(before);
    before = now;
  }
});
