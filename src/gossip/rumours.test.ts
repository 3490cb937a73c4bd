import { expect, test } from "bun:test";
import { Rumours } from "./rumours.ts";

/** The keys of one message with room for `room`. */
function leave(rumours: Rumours<string>, room: number, limit: number): string[] {
  const left: string[] = [];
  rumours.offer(limit, (key) => {
    if (left.length === room) return "full";
    left.push(key);
    return "taken";
  });
  return left;
}

test("a fact leaves as often as it may, and is forgotten then", () => {
  const rumours = new Rumours<string>();
  rumours.add("a");
  expect([1, 2, 3, 4].map(() => leave(rumours, 9, 3))).toEqual([["a"], ["a"], ["a"], []]);
  expect(rumours.size).toBe(0);
});

test("every fact leaves once before any leaves twice, in the order in which they came", () => {
  const rumours = new Rumours<string>();
  for (const key of ["a", "b", "c", "d", "e"]) rumours.add(key);
  expect(leave(rumours, 2, 9)).toEqual(["a", "b"]);
  expect(leave(rumours, 2, 9)).toEqual(["c", "d"]);
  rumours.add("f");
  expect(leave(rumours, 2, 9)).toEqual(["e", "f"]);
  expect(leave(rumours, 7, 9)).toEqual(["a", "b", "c", "d", "e", "f"]);
});

test("news about a fact begin from the start, and what is removed leaves no more", () => {
  const rumours = new Rumours<string>();
  rumours.add("a");
  rumours.add("b");
  leave(rumours, 2, 2);
  rumours.add("b");
  rumours.remove("a");
  expect([1, 2, 3].map(() => leave(rumours, 9, 2))).toEqual([["b"], ["b"], []]);
});

test("what has no use for one receiver is kept for others", () => {
  const rumours = new Rumours<string>();
  rumours.add("a");
  rumours.offer(1, () => "skipped");
  expect(leave(rumours, 1, 1)).toEqual(["a"]);
});
