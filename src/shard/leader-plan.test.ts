import { expect, test } from "bun:test";
import { type NodeId, nodeId } from "../../protocol/ids.ts";
import { HELD_MS, LeaderPlan } from "./leader-plan.ts";
import type { Shard } from "./shard.ts";

const [n1, n2, n3] = [nodeId("n1"), nodeId("n2"), nodeId("n3")];
const MEMBERS = [n1, n2, n3];
const SETTLE_MS = 200;
/** Longer than a member has to be connected before leadership moves back to it. */
const LONG_MS = 10_000;

/** What the plan looks at in a shard. Group g prefers member g mod 3: n1, n2, n3, n1, ... */
function shard(
  group: number,
  state: { leads?: boolean; leader?: NodeId; caughtUp?: readonly NodeId[]; voters?: readonly NodeId[] } = {},
) {
  const { leads = false, leader = leads ? n1 : undefined, caughtUp = [n2, n3], voters = MEMBERS } = state;
  const members = { voters, outgoing: [], learners: [] };
  return { group, leader, members, isLeader: leads, caughtUpMembers: () => caughtUp } as unknown as Shard;
}

/** A plan of n1, with shards that began at 0. */
function planOf(...shards: readonly Shard[]): LeaderPlan {
  const plan = new LeaderPlan(n1, SETTLE_MS, () => []);
  for (const each of shards) plan.added(each, 0);
  return plan;
}

const groups = (shards: readonly Shard[]) => shards.map(({ group }) => Number(group));

test("a node campaigns for what prefers it, once, when a majority has settled", () => {
  const plan = planOf(...[0, 1, 2, 3].map((group) => shard(group)));
  expect(plan.toCampaign(1000)).toEqual([]);
  plan.connected(n2, 1000);
  expect(plan.toCampaign(1000 + SETTLE_MS - 1)).toEqual([]);
  expect(groups(plan.toCampaign(1000 + SETTLE_MS))).toEqual([0, 3]);
  expect(plan.toCampaign(5000)).toEqual([]);
  // A replica that is made later has its own time.
  plan.added(shard(6), 6000);
  expect(plan.toCampaign(6000 + SETTLE_MS - 1)).toEqual([]);
  expect(groups(plan.toCampaign(6000 + SETTLE_MS))).toEqual([6]);
});

test("each group has its own majority, and prefers one of its voters", () => {
  const n4 = nodeId("n4");
  const plan = planOf(
    shard(0, { voters: [n1, n4] }),
    shard(2, { voters: [n1, n2] }),
    shard(1, { voters: [n2, n4] }),
  );
  plan.connected(n2, 0);
  expect(groups(plan.toCampaign(1000))).toEqual([2]);
  plan.connected(n4, 2000);
  expect(groups(plan.toCampaign(3000))).toEqual([0]);
});

test("nobody campaigns against a leader that is there", () => {
  const plan = planOf(shard(0, { leader: n2 }), shard(3));
  plan.connected(n2, 0);
  expect(groups(plan.toCampaign(1000))).toEqual([3]);
});

test("alone a node campaigns for everything at once, and without members for nothing", () => {
  const plan = planOf(shard(0, { voters: [n1] }), shard(1, { voters: [n1] }), shard(2, { voters: [] }));
  expect(groups(plan.toCampaign(0))).toEqual([0, 1]);
});

test("of a replica that is gone nothing is known", () => {
  const gone = shard(0, { voters: [n1] });
  const plan = planOf(gone);
  plan.removed(gone);
  expect(plan.toCampaign(0)).toEqual([]);
});

test("what prefers another member goes there, once that is steady and has the whole log", () => {
  const plan = new LeaderPlan(n1, SETTLE_MS, () => []);
  const shards = [
    shard(0, { leads: true }),
    shard(1, { leads: true }),
    shard(2, { leads: true, caughtUp: [n2] }),
    shard(4, { leader: n3 }),
  ];
  expect(plan.toTransfer(shards, LONG_MS)).toEqual([]);
  plan.connected(n2, LONG_MS);
  plan.connected(n3, LONG_MS);
  expect(plan.toTransfer(shards, LONG_MS + 1)).toEqual([]);
  expect(plan.toTransfer(shards, 2 * LONG_MS).map(({ shard, to }) => [Number(shard.group), to])).toEqual([
    [1, n2],
  ]);
});

test("a member whose connection comes and goes has to be steady again first", () => {
  const plan = new LeaderPlan(n1, SETTLE_MS, () => []);
  const shards = [shard(1, { leads: true })];
  plan.connected(n2, 0);
  plan.disconnected(n2);
  expect(plan.toTransfer(shards, LONG_MS)).toEqual([]);
  plan.connected(n2, LONG_MS);
  expect(plan.toTransfer(shards, LONG_MS + 100)).toEqual([]);
  expect(plan.toTransfer(shards, 2 * LONG_MS)).toHaveLength(1);
});

test("few leaderships move at a time", () => {
  const plan = new LeaderPlan(n1, SETTLE_MS, () => []);
  plan.connected(n2, 0);
  const shards = Array.from({ length: 20 }, (_, i) => shard(1 + 3 * i, { leads: true }));
  expect(plan.toTransfer(shards, LONG_MS)).toHaveLength(4);
});

test("what was moved here on purpose stays a while, unless the preferred member goes meanwhile", () => {
  const plan = new LeaderPlan(n1, SETTLE_MS, () => []);
  plan.connected(n2, 0);
  const given = [shard(1, { leads: true })];
  plan.hold(given[0]!, LONG_MS);
  expect(plan.toTransfer(given, LONG_MS + HELD_MS - 1)).toEqual([]);
  expect(plan.toTransfer(given, LONG_MS + HELD_MS)).toHaveLength(1);
  plan.hold(given[0]!, LONG_MS);
  plan.disconnected(n2);
  plan.connected(n2, LONG_MS);
  expect(plan.toTransfer(given, 2 * LONG_MS)).toHaveLength(1);
});

test("what the facts say comes first, of those who have a vote", () => {
  const n4 = nodeId("n4");
  const orders: Readonly<Record<number, readonly NodeId[]>> = { 1: [n3, n2], 2: [n4, n2], 4: [n1, n3] };
  const plan = new LeaderPlan(n1, SETTLE_MS, (group) => orders[group] ?? []);
  const shards = [1, 2, 4, 5].map((group) => shard(group, { leads: true }));
  for (const node of [n2, n3, n4]) plan.connected(node, 0);
  const transfers = plan.toTransfer(shards, LONG_MS);
  expect(transfers.map(({ shard, to }) => [Number(shard.group), to])).toEqual([
    [1, n3],
    [2, n2],
    [5, n3],
  ]);
  const young = [4, 1, 3].map((group) => shard(group));
  for (const each of young) plan.added(each, LONG_MS);
  expect(groups(plan.toCampaign(2 * LONG_MS))).toEqual([4, 3]);
});
