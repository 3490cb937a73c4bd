import { expect, test } from "bun:test";
import { StreamBudget } from "./stream-budget.ts";

function setUp(bytesPerSecond: number) {
  const time = { nowMs: 5000 };
  const budget = new StreamBudget({ streams: 2, bytesPerSecond, burstMs: 100 }, { nowMs: () => time.nowMs });
  return { time, budget };
}

test("only so many snapshots are sent at a time", () => {
  const { budget } = setUp(1000);
  expect([budget.begin(), budget.begin(), budget.begin()]).toEqual([true, true, false]);
  expect(budget.active).toBe(2);
  budget.end();
  expect(budget.begin()).toBe(true);
});

test("over a while no more bytes are sent than the limit says, whatever the size of the parts and of the steps", () => {
  for (const [part, stepMs] of [
    [10, 1],
    [3000, 7],
    [100_000, 50],
  ] as const) {
    const { time, budget } = setUp(1_000_000);
    let sent = 0;
    while (time.nowMs < 15_000) {
      while (budget.maySend) {
        budget.sent(part);
        sent += part;
      }
      time.nowMs += stepMs;
    }
    expect(sent).toBeGreaterThan(9_900_000);
    // Ten seconds' worth, what had been saved, and the part that overdraws.
    expect(sent).toBeLessThanOrEqual(10_000_000 + 100_000 + part);
  }
});

test("a pause saves no more than a moment's worth", () => {
  const { time, budget } = setUp(1000);
  time.nowMs += 3_600_000;
  expect(budget.maySend).toBe(true);
  budget.sent(100);
  expect(budget.maySend).toBe(false);
});
