import { expect, test } from "bun:test";
import type { MemberState, NodeLoad } from "../../protocol/gossip-messages.ts";
import { type NodeId, nodeId } from "../../protocol/ids.ts";
import { MOVE_LIMITS, reportOf } from "../placement/plan.ts";
import type { Shard } from "../shard/shard.ts";
import {
  faultOfLabels,
  NO_FACTS,
  type NodeFact,
  type NodeState,
  type SystemFacts,
} from "../shard/system-facts.ts";
import {
  createPlacement,
  drivenFacts,
  type FactSources,
  firstSets,
  moveOutlook,
  placementStatus,
} from "./driven-facts.ts";

const [n1, n2, n3, n4] = ["n1", "n2", "n3", "n4"].map(nodeId) as [NodeId, NodeId, NodeId, NodeId];
const NOW_MS = 100_000;
const SETTINGS = { shards: 4, replicas: 3, virtualNodes: 20 };
const SYSTEM = { voters: [n1, n2, n3], outgoing: [], learners: [n4] };

const fact = (host: string, state: NodeState = "member", labels = {}): NodeFact => {
  return { address: `${host}:7001`, labels, state, successor: "" };
};

function factsOf(nodes: Readonly<Record<string, NodeFact>>): SystemFacts {
  const founders = ["n1", "n2", "n3"].map((id) => ({ id: nodeId(id), ...nodes[id]! }));
  const sets = firstSets(founders, SETTINGS);
  const shards = sets.map((wanted) => {
    const actual = { term: 1, index: 1, voters: wanted.toSorted(), outgoing: [], learners: [] };
    return { first: wanted, wanted, copies: [], promoted: [], version: 1, actual };
  });
  return { ...NO_FACTS, clusterId: "aa", settings: SETTINGS, nodes, shards, systemVoters: [n1, n2, n3] };
}

const NODES = { n1: fact("a"), n2: fact("b"), n3: fact("c"), n4: fact("d") };

function sources(
  states: Readonly<Record<string, MemberState>> = {},
  deadSinceMs: number | undefined = undefined,
  loads: Readonly<Record<string, Pick<NodeLoad, "shards" | "dataBytes">>> = {},
): FactSources {
  const heard: FactSources["heard"] = {
    stateOf: (id) => states[id] ?? "alive",
    deadSinceMs: () => deadSinceMs,
    loadOf: (id) => loads[id] as NodeLoad | undefined,
  };
  return { heard, nowMs: NOW_MS, lostAfterMs: 5000 };
}

const healthOf = (facts: SystemFacts, given: FactSources) =>
  Object.fromEntries(drivenFacts(facts, SYSTEM, given).nodes.map(({ id, health }) => [id, health]));

test("labels say where a node is, and its address where there are none", () => {
  const labelled = { ...NODES, n2: fact("b", "member", { host: "rack1", zone: "z" }) };
  const nodes = drivenFacts(factsOf(labelled), SYSTEM, sources()).nodes;
  expect(nodes.map(({ host, zone }) => [host, zone])).toEqual([
    ["a", ""],
    ["rack1", "z"],
    ["c", ""],
    ["d", ""],
  ]);
});

test("a node carries as much as its label says", () => {
  const heavy = { ...NODES, n2: fact("b", "member", { weight: "2.5" }) };
  expect(drivenFacts(factsOf(heavy), SYSTEM, sources()).nodes.map(({ weight }) => weight)).toEqual([
    1, 2.5, 1, 1,
  ]);
  for (const weight of ["0", "-1", "101", "heavy", "1e1", ""]) {
    expect(faultOfLabels({ weight })).toContain("weight");
  }
  expect(faultOfLabels({ weight: "0.1" })).toBeUndefined();
});

test("who is suspected is up, who is dead is down, and lost after a while", () => {
  const states = { n2: "suspect", n3: "dead", n4: "left" } as const;
  expect(healthOf(factsOf(NODES), sources(states, NOW_MS - 4999))).toEqual({
    ...{ n1: "up", n2: "up", n3: "down", n4: "down" },
  });
  expect(healthOf(factsOf(NODES), sources(states, NOW_MS - 5000))).toMatchObject({ n3: "lost", n4: "lost" });
});

test("who was removed counts as long as it holds anything or votes", () => {
  const nodes = { ...NODES, n3: fact("c", "removed"), n4: fact("d", "removed"), n5: fact("e", "draining") };
  const driven = drivenFacts(factsOf(nodes), SYSTEM, sources());
  expect(driven.nodes.map(({ id, isLeaving }) => [id, isLeaving])).toEqual([
    [n1, false],
    [n2, false],
    [n3, true],
    [nodeId("n5"), true],
  ]);
});

test("a replica is as long as those of its holders are on average, and nothing where nobody has told", () => {
  const loads = { n1: { shards: 4, dataBytes: 400 }, n2: { shards: 4, dataBytes: 4000 } };
  const facts = factsOf(NODES);
  expect(drivenFacts(facts, SYSTEM, sources({}, undefined, loads)).shards[0]!.bytes).toBe(1000);
  expect(drivenFacts(facts, SYSTEM, sources()).shards[0]!.bytes).toBe(0);
});

test("a replacement is who was named", () => {
  const nodes = { ...NODES, n2: { ...fact("b", "removed"), successor: n4 } };
  const driven = drivenFacts(factsOf(nodes), SYSTEM, sources());
  const { toCome } = reportOf(driven, {
    ...{ movesPerNode: 1, bytesPerNode: 1, moves: 1 },
    bytesPerSecond: 1,
    moveSeconds: 1,
  });
  expect(toCome.map(({ add, remove }) => [add, remove])).toEqual([0, 1, 2, 3].map(() => [n4, n2]));
});

test("what there is to move is told in full, and what it comes to", () => {
  const facts = factsOf({ ...NODES, n3: fact("c", "draining") });
  const given = sources({}, undefined, { n1: { shards: 4, dataBytes: 400 } });
  expect(moveOutlook(facts, given, MOVE_LIMITS)).toMatchObject({ underWay: 0, toCome: 4, bytes: 400 });
  const { underWay, toCome, bytes, seconds } = placementStatus(facts, given, MOVE_LIMITS);
  expect(moveOutlook(facts, given, MOVE_LIMITS)).toEqual({
    ...{ underWay: underWay.length, toCome: toCome.length, bytes, seconds },
  });
  expect(seconds).toBeGreaterThan(MOVE_LIMITS.moveSeconds);
  const { outlook } = createPlacement({
    ...given,
    host: { systemShard: {} as Shard },
    membership: { facts },
    ...{ clock: { nowMs: () => NOW_MS }, log: { info: () => {} }, limits: MOVE_LIMITS },
  });
  expect(outlook(() => undefined)).toMatchObject({ toCome: 4, bytes: 400 });
  expect(outlook((node) => (node === n2 ? { shards: 2, dataBytes: 600 } : undefined)).bytes).toBe(1200);
  expect(moveOutlook(NO_FACTS, sources(), MOVE_LIMITS)).toMatchObject({ underWay: 0, toCome: 0, seconds: 0 });
});
