import { expect, test } from "bun:test";
import { PauseWatch } from "./pause-watch.ts";

function watched(toleranceMs = 50) {
  let [nowMs, wallMs] = [1_000, 1_700_000_000_000];
  const watch = new PauseWatch({ nowMs: () => nowMs, wallMs: () => wallMs }, toleranceMs);
  const pass = (monotonicMs: number, realMs = monotonicMs) => {
    nowMs += monotonicMs;
    wallMs += realMs;
    return watch.look();
  };
  return pass;
}

test("time that both clocks saw is no pause, however long", () => {
  const pass = watched();
  expect([pass(10), pass(3_600_000), pass(0), pass(1)]).toEqual([0, 0, 0, 0]);
});

test("time that only the wall clock saw is one, each time, once it is more than the tolerance", () => {
  const pass = watched();
  expect(pass(10, 60)).toBe(0);
  expect(pass(10, 11)).toBe(1);
  expect(pass(10)).toBe(1);
  expect(pass(0, 400)).toBe(2);
  expect(pass(0, 50)).toBe(2);
});

test("pauses in small steps add up", () => {
  const pass = watched();
  expect([pass(10, 40), pass(10, 40)]).toEqual([0, 1]);
});

test("a wall clock that was set back shows the next pause none the less", () => {
  const pass = watched();
  expect(pass(10, -10_000)).toBe(0);
  expect(pass(10, 110)).toBe(1);
});
