import { expect, test } from "bun:test";
import { nodeId } from "../../protocol/ids.ts";
import type { ClusterStatus, NodeStatus } from "../../protocol/messages.ts";
import { movesOf } from "./shard-moves.ts";

const [n1, n2, n3, n4] = ["n1", "n2", "n3", "n4"].map(nodeId) as [never, never, never, never];

const shardOf = (lag: readonly (readonly [never, number | null])[]): ClusterStatus["shards"][number] => ({
  ...{ shard: 0, leader: n1, term: 1, commitIndex: 9, appliedIndex: 9 },
  lag: lag.map(([node, entries]) => ({ node, entries })),
  copies: [],
});
/** n1 has 600 bytes, in two shards. */
const LEADER = {
  id: n1,
  shards: [{ shard: -1 }, { shard: 0 }, { shard: 1 }],
  storage: { tableBytes: 500, memtableBytes: 100 },
} as unknown as NodeStatus;

const set = (wanted: never[], voters: never[], learners: never[] = [], outgoing: never[] = []) => ({
  wanted,
  copies: [],
  actual: { voters, outgoing, learners },
});

test("a shard that is held as it is wanted is not on its way", () => {
  expect(movesOf([set([n1, n2, n3], [n3, n1, n2])], [shardOf([])], [LEADER])).toEqual([]);
});

test("who comes and who goes is told, with how far and how much that is", () => {
  const lag = shardOf([
    [n1, 0],
    [n4, 42],
  ]);
  expect(movesOf([set([n1, n2, n4], [n1, n2, n3], [n4])], [lag], [LEADER])).toEqual([
    { shard: 0, joining: [n4], leaving: [n3], entriesBehind: 42, bytes: 300 },
  ]);
});

test("what is not known is no number", () => {
  const moves = movesOf([set([n1, n2, n4], [n1, n2, n3])], [shardOf([[n1, 0]])], []);
  expect(moves).toEqual([{ shard: 0, joining: [n4], leaving: [n3], entriesBehind: null, bytes: null }]);
});

test("a copy that shall have no vote is neither coming nor going", () => {
  const kept = { ...set([n1, n2], [n1, n2], [n3]), copies: [n3] };
  expect(movesOf([kept], [shardOf([])], [LEADER])).toEqual([]);
  // It votes yet, and another one is to.
  const demoted = { ...set([n1, n4], [n1, n3], [n4]), copies: [n3] };
  expect(movesOf([demoted], [shardOf([])], [LEADER])).toMatchObject([{ joining: [n4], leaving: [] }]);
});

test("who only has to leave brings nothing anywhere", () => {
  const joint = set([n1, n2, n4], [n1, n2, n4], [], [n1, n2, n3]);
  expect(movesOf([joint], [shardOf([])], [LEADER])).toEqual([
    { shard: 0, joining: [], leaving: [n3], entriesBehind: null, bytes: 0 },
  ]);
});
