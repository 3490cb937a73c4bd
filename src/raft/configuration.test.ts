import { describe, expect, test } from "bun:test";
import { CONFIGURATION_NODES_MAX, encodeConfiguration } from "../../protocol/configuration.ts";
import { INDEX_ZERO, logIndex, type NodeId, nodeId, term } from "../../protocol/ids.ts";
import type { Configuration, Entry } from "../../protocol/peer-messages.ts";
import { AssertionError } from "../lib/assert.ts";
import {
  ConfigurationHistory,
  faultOf,
  founders,
  membersOf,
  settled,
  stepTowards,
  towards,
  votersOf,
} from "./configuration.ts";

const [n1, n2, n3, n4, n5] = ["n1", "n2", "n3", "n4", "n5"].map(nodeId) as [
  NodeId,
  NodeId,
  NodeId,
  NodeId,
  NodeId,
];
const at = logIndex;

function entry(index: number, configuration: Configuration): Entry {
  return { index: at(index), term: term(1), kind: "config", data: encodeConfiguration(configuration) };
}

describe("a change", () => {
  test("of voters is joint, one of learners is not", () => {
    const now = { voters: [n1, n2], outgoing: [], learners: [n3] };
    expect(towards(now, { voters: [n3, n1], learners: [n2] })).toEqual({
      voters: [n1, n3],
      outgoing: [n1, n2],
      learners: [n2],
    });
    expect(towards(now, { voters: [n2, n1], learners: [n4] })).toEqual({
      voters: [n1, n2],
      outgoing: [],
      learners: [n4],
    });
  });

  test("ends with the new voters alone", () => {
    const joint = towards(founders([n1, n2]), { voters: [n1], learners: [n2] });
    expect(settled(joint)).toEqual({ voters: [n1], outgoing: [], learners: [n2] });
    expect(() => towards(joint, { voters: [n1], learners: [] })).toThrow(AssertionError);
  });

  test("goes by way of learners", () => {
    const now = { voters: [n1, n2], outgoing: [], learners: [n3] };
    const step = (voters: NodeId[], learners: NodeId[]) => stepTowards(now, { voters, learners }, () => true);
    expect(step([n1, n3, n4], [])).toEqual({ voters: [n1, n2], learners: [n3, n4] });
    expect(step([n1, n3], [])).toEqual({ voters: [n1, n3], learners: [] });
    expect(step([n1, n2], [n3])).toBeUndefined();
    expect(step([n1], [n2, n3])).toEqual({ voters: [n1], learners: [n2, n3] });
  });

  test("lets learners go that are wanted no more, whoever else is still to come", () => {
    const now = { voters: [n1, n2], outgoing: [], learners: [n3] };
    const next = stepTowards(now, { voters: [n1, n4], learners: [] }, () => false);
    expect(next).toEqual({ voters: [n1, n2], learners: [n4] });
  });

  test("waits for nobody who does not catch up: one that was to leave keeps its vote, and the rest happens", () => {
    const now = { voters: [n1, n2, n3], outgoing: [], learners: [n4, n5] };
    const step = (ready: NodeId[], voters: NodeId[], learners: NodeId[] = [], from: Configuration = now) =>
      stepTowards(from, { voters, learners }, (node) => ready.includes(node));
    // n3 is dead, n2 is not.
    expect(step([n1, n2, n4], [n1, n4, n5])).toEqual({ voters: [n1, n2, n4], learners: [n5] });
    const half = { voters: [n1, n2, n4], outgoing: [], learners: [n5] };
    expect(step([n1, n2, n4], [n1, n4, n5], [], half)).toBeUndefined();
    expect(step([n1, n2, n4, n5], [n1, n4, n5], [], half)).toEqual({ voters: [n1, n4, n5], learners: [] });
    // Nobody has caught up: nothing is possible, but for those who need no successor.
    expect(step([n1, n2], [n1, n4, n5])).toBeUndefined();
    expect(step([n1, n2], [n1, n4])).toEqual({ voters: [n1, n2], learners: [n4] });
    // Nor does a voter become a learner before its successor votes.
    expect(step([n1, n2], [n1, n2, n4], [n3, n5])).toBeUndefined();
    expect(step([n1, n2, n4], [n1, n2, n4], [n3, n5])).toEqual({ voters: [n1, n2, n4], learners: [n3, n5] });
  });

  test("names no more nodes than an entry may, which nobody could read otherwise", () => {
    const nodes = (count: number): NodeId[] => Array.from({ length: count }, (_, i) => nodeId(`m${i}`));
    const most = nodes(CONFIGURATION_NODES_MAX);
    expect(faultOf({ voters: most, learners: [] })).toBeUndefined();
    expect(faultOf({ voters: nodes(CONFIGURATION_NODES_MAX + 1), learners: [] })).toContain("more than");
    const learners = nodes(CONFIGURATION_NODES_MAX + 1).map((node) => nodeId(`l${node}`));
    expect(faultOf({ voters: most, learners })).toContain("more than");
  });

  test("has to leave a voter, and to name nobody twice", () => {
    expect(faultOf({ voters: [], learners: [n1] })).toBe("there would be no voter left");
    expect(faultOf({ voters: [n1], learners: [n1] })).toBe("n1 is named twice");
    expect(faultOf({ voters: [n1, n2], learners: [n3] })).toBeUndefined();
  });
});

test("who goes is a member as long as both sets decide", () => {
  const joint = { voters: [n3, n4], outgoing: [n1, n3], learners: [n1] };
  expect(membersOf(joint)).toEqual([n1, n3, n4]);
  expect(votersOf(joint)).toEqual([n1, n3, n4]);
});

describe("the configurations of a log", () => {
  const one = founders([n1]);
  const two = founders([n1, n2]);
  const three = founders([n1, n2, n3]);
  const history = (): ConfigurationHistory =>
    new ConfigurationHistory({ index: at(3), configuration: one }, [
      entry(2, three),
      entry(5, two),
      entry(7, three),
    ]);

  test("the last one holds, and what was applied before does not count again", () => {
    expect(history().current).toEqual({ index: at(7), configuration: three });
  });

  test("what is cut off holds no longer, and what was before does", () => {
    const configurations = history();
    configurations.cut(at(8));
    expect(configurations.current.index).toBe(at(7));
    configurations.cut(at(6));
    expect(configurations.current).toEqual({ index: at(5), configuration: two });
    configurations.cut(at(4));
    expect(configurations.current.configuration).toEqual(one);
    expect(() => configurations.cut(at(3))).toThrow(AssertionError);
  });

  test("what is committed can't be cut off any more", () => {
    const configurations = history();
    configurations.committed(at(6));
    configurations.cut(at(7));
    expect(configurations.current.configuration).toEqual(two);
    expect(() => configurations.cut(at(5))).toThrow(AssertionError);
  });

  test("who votes in any that may come back may have to stand", () => {
    const configurations = new ConfigurationHistory({ index: INDEX_ZERO, configuration: two }, [
      entry(1, founders([n3])),
    ]);
    expect([n1, n2, n3, n4].map((node) => configurations.isVoterOfAny(node))).toEqual([
      true,
      true,
      true,
      false,
    ]);
    configurations.committed(at(1));
    expect([n1, n3].map((node) => configurations.isVoterOfAny(node))).toEqual([false, true]);
  });

  test("a snapshot brings its own", () => {
    const configurations = history();
    configurations.reset({ index: at(20), configuration: two });
    expect(configurations.current).toEqual({ index: at(20), configuration: two });
  });
});
