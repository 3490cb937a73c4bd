import { expect, test } from "bun:test";
import { ReplicaChoice, type ReplicaState } from "./replica-choice.ts";

const state = (roundTripMs: number | undefined, waiting = 0, isDown = false): ReplicaState => ({
  roundTripMs,
  waiting,
  isDown,
});

/** How often each was chosen in `times` choices. */
function counts(states: Readonly<Record<string, ReplicaState>>, times: number): Record<string, number> {
  const choice = new ReplicaChoice();
  const chosen: Record<string, number> = {};
  for (let i = 0; i < times; i++) {
    const address = choice.choose(Object.keys(states), (of) => states[of]) ?? "none";
    chosen[address] = (chosen[address] ?? 0) + 1;
  }
  return chosen;
}

test("the nearest is asked, and now and then another one, so that it is known when times change", () => {
  const chosen = counts({ far: state(20), near: state(1), farther: state(30) }, 640);
  expect(chosen.near).toBeGreaterThanOrEqual(630);
  expect((chosen.far ?? 0) + (chosen.farther ?? 0)).toBeGreaterThan(0);
});

test("those that are about as near share the reads", () => {
  const chosen = counts({ a: state(1), b: state(1.2), c: state(9) }, 600);
  expect(chosen.a).toBeGreaterThan(250);
  expect(chosen.b).toBeGreaterThan(250);
});

test("among near ones the one that owes the fewest answers is asked", () => {
  expect(counts({ a: state(1, 9), b: state(1.2, 2), c: state(1, 5) }, 60)).toEqual({ b: 60 });
});

test("who was never asked may be the nearest; who is down is never asked", () => {
  expect(counts({ a: state(1), b: state(undefined), c: state(0.1, 0, true) }, 63).b).toBeGreaterThan(25);
  expect(counts({ a: state(1, 0, true), b: state(1, 0, true) }, 70)).toEqual({ none: 70 });
  expect(new ReplicaChoice().choose([], () => undefined)).toBeUndefined();
});
