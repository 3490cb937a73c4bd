import { expect, test } from "bun:test";
import { DEFAULT_GOSSIP } from "./options.ts";
import { suspicionTimeoutMs } from "./suspicion.ts";

const timeouts = (nodes: number) =>
  [1, 2, 3, 4, 5].map((suspectors) => Math.round(suspicionTimeoutMs(DEFAULT_GOSSIP, nodes, suspectors)));

test("each node that confirms a suspicion makes it shorter, the first ones most", () => {
  expect(timeouts(10)).toEqual([4000, 2500, 1623, 1000, 1000]);
});

test("it grows with the logarithm of the number of nodes", () => {
  expect(timeouts(100)).toEqual(timeouts(10));
  expect(timeouts(1000)).toEqual([5400, 3375, 2190, 1350, 1350]);
});

test("where few are left, as many confirm as there are", () => {
  expect(timeouts(3)).toEqual([4000, 1000, 1000, 1000, 1000]);
  expect(timeouts(4)).toEqual([4000, 2107, 1000, 1000, 1000]);
});

test("where nobody can confirm, one has a while", () => {
  expect(timeouts(2)).toEqual([1500, 1500, 1500, 1500, 1500]);
});
