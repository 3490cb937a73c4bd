import { expect, test } from "bun:test";
import { nodeId, shardId } from "../../protocol/ids.ts";
import { type Hint, LeaderHints } from "./leader-hints.ts";

const [n1, n2, n3, n4] = ["n1", "n2", "n3", "n4"].map(nodeId) as [never, never, never, never];
const SHARD = shardId(0);

/** Of a node that has no replica of the shard; n2, n3 and n4 hold it. */
function hints() {
  const heard: { hint: Hint | undefined } = { hint: undefined };
  const leaders = new LeaderHints({
    self: n1,
    host: { shard: () => undefined },
    holdersOf: () => [n2, n3, n4],
    isConnected: () => true,
    heardOf: () => heard.hint,
  });
  return { leaders, heard };
}

test("of a shard that it does not hold a node believes the latest term of what it was told and what it heard", () => {
  const { leaders, heard } = hints();
  expect(leaders.claimOf(SHARD)).toBeUndefined();
  heard.hint = { leader: n2, term: 4 };
  expect(leaders.claimOf(SHARD)).toEqual({ leader: n2, term: 4 });
  leaders.hear(SHARD, 5, n3);
  expect(leaders.leaderOf(SHARD)).toBe(n3);
  heard.hint = { leader: n4, term: 6 };
  expect(leaders.leaderOf(SHARD)).toBe(n4);
});

test("before it knows it asks one after the other of those who hold it, and claims nothing", () => {
  const { leaders } = hints();
  const asked = new Set<string>();
  for (let i = 0; i < 3; i++) {
    const guess = leaders.leaderOf(SHARD)!;
    asked.add(guess);
    leaders.refused(SHARD, guess, undefined);
  }
  expect(asked.size).toBe(3);
  expect(leaders.claimOf(SHARD)).toBeUndefined();
});

test("what gossip told of and was asked in vain is not asked again, until it is told of in a later term", () => {
  const { leaders, heard } = hints();
  heard.hint = { leader: n2, term: 4 };
  leaders.refused(SHARD, n2, n3);
  expect(leaders.leaderOf(SHARD)).toBe(n3);
  leaders.refused(SHARD, n3, undefined);
  expect(leaders.claimOf(SHARD)).toBeUndefined();
  heard.hint = { leader: n2, term: 7 };
  expect(leaders.leaderOf(SHARD)).toBe(n2);
});
