import { expect, test } from "bun:test";
import { utf8 } from "../lib/bytes.ts";
import { OutputCuts } from "./output-cuts.ts";

const key = (n: number): Uint8Array => utf8(String(n).padStart(5, "0"));

/** The keys before which a table ends, of 1000 keys over tables below that end at every hundredth key. */
function cuts(bytes: number, bytesMax: number, endAt?: number): number[] {
  const below = Array.from({ length: 10 }, (_, i) => ({ largestKey: key(i * 100 + 99), bytes }));
  const output = new OutputCuts(below, bytesMax);
  const found: number[] = [];
  for (let n = 0; n < 1000; n++) {
    if (n === endAt) output.ended();
    if (output.cutsBefore(key(n), 0, 5)) found.push(n);
  }
  return found;
}

test("a table ends soon after it lies over too much", () => {
  const found = cuts(10, 25);
  // Over three tables it is too much; a look every 16 keys finds it.
  expect(found.length).toBe(3);
  for (const [index, at] of found.entries()) {
    expect(at).toBeGreaterThanOrEqual((index + 1) * 300);
    expect(at).toBeLessThan((index + 1) * 300 + 16);
  }
});

test("a table that lies over little does not end, and one that ended otherwise begins anew", () => {
  expect(cuts(10, 100)).toEqual([]);
  expect(cuts(10, 45, 450).length).toBe(1);
  expect(cuts(10, 45, 450)[0]).toBeGreaterThanOrEqual(900);
  expect(new OutputCuts([], 0).cutsBefore(key(1), 0, 5)).toBe(false);
});
