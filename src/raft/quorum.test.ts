import { expect, test } from "bun:test";
import fc from "fast-check";
import { type NodeId, nodeId } from "../../protocol/ids.ts";
import type { Configuration } from "../../protocol/peer-messages.ts";
import { majority, reachedByMajority, voteResult } from "./quorum.ts";

test("any two majorities share a member, and no smaller number is enough", () => {
  expect([1, 2, 3, 4, 5, 6, 7].map(majority)).toEqual([1, 2, 2, 3, 3, 4, 4]);
});

test("a majority has reached the result, and none has reached more", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 9 }), (values) => {
      const needed = majority(values.length);
      const result = reachedByMajority([...values]);
      expect(values.filter((value) => value >= result).length).toBeGreaterThanOrEqual(needed);
      expect(values.filter((value) => value > result).length).toBeLessThan(needed);
    }),
  );
});

const NODES = ["n1", "n2", "n3", "n4", "n5"].map(nodeId);

function subsets(nodes: readonly NodeId[]): NodeId[][] {
  return Array.from({ length: 2 ** nodes.length }, (_, bits) => nodes.filter((_, at) => (bits >> at) & 1));
}

function wins(configuration: Configuration, yes: readonly NodeId[]): boolean {
  return voteResult(configuration, new Set(yes), new Set()) === "won";
}

test("before, within and after a change of voters, any two decisions share a voter", () => {
  const sets = subsets(NODES).filter((set) => set.length > 0);
  let looked = 0;
  for (const before of sets.filter((_, at) => at % 3 === 0)) {
    for (const after of sets) {
      const joint = { voters: after, outgoing: before, learners: [] };
      const old = { voters: before, outgoing: [], learners: [] };
      const next = { voters: after, outgoing: [], learners: [] };
      for (const deciders of sets) {
        if (!wins(joint, deciders)) continue;
        // If those who did not take part could decide by either set, two leaders could be elected, or a commit missed.
        const others = NODES.filter((node) => !deciders.includes(node));
        expect(wins(old, others) || wins(next, others) || wins(joint, others)).toBe(false);
        looked++;
      }
    }
  }
  expect(looked).toBeGreaterThan(1000);
});
