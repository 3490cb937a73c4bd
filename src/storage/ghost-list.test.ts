import { expect, test } from "bun:test";
import { GhostList } from "./ghost-list.ts";

test("what was added is known once, and only for a while", () => {
  const ghosts = new GhostList(100);
  for (let id = 1; id <= 50; id++) ghosts.add(id * 128 + id);
  const idOf = (id: number): number => id * 128 + id;
  expect(ghosts.take(idOf(50), 10)).toBe(true);
  expect(ghosts.take(idOf(50), 10)).toBe(false);
  expect(ghosts.take(idOf(30), 10)).toBe(false);
  expect(ghosts.take(idOf(30), 30)).toBe(true);
  expect(ghosts.take(0, 100)).toBe(false);
  // Another block at the same place.
  expect(ghosts.take(idOf(29) + 128 * 100, 100)).toBe(false);
});
