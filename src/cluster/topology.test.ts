import { expect, test } from "bun:test";
import { type NodeId, nodeId } from "../../protocol/ids.ts";
import type { ShardPlace, Topology } from "../../protocol/messages.ts";
import { topologyNode } from "../../test/support/topology-node.ts";
import type { LeaderHints } from "./leader-hints.ts";
import type { Membership } from "./membership.ts";
import { TopologySource, topologyOf } from "./topology.ts";

const [n1, n2] = [nodeId("n1"), nodeId("n2")];
const NODES = [topologyNode(n1, "127.0.0.1:7001"), topologyNode(n2, "127.0.0.1:7002")];

/** A cluster of two shards that a test may change. */
function cluster() {
  const facts = { version: 3, clusterId: "aa", nodes: NODES };
  const shards: ShardPlace[] = [
    { leader: n1, term: 4, replicas: [n1, n2], copies: [] },
    { leader: null, term: 5, replicas: [n1, n2], copies: [] },
  ];
  let built = 0;
  const source = new TopologySource({
    shards: () => shards.length,
    facts: () => facts,
    place: (shard) => {
      built++;
      return shards[shard]!;
    },
    marksOf: (shard) => [shards[shard]!.leader, shards[shard]!.replicas],
  });
  return { facts, shards, source, built: () => built };
}

const current = (source: TopologySource): Topology => source.current();

test("a topology has nodes, leaders, terms and replicas", () => {
  const { source } = cluster();
  expect(current(source)).toEqual({
    version: 3,
    view: expect.any(Number),
    clusterId: "aa",
    nodes: NODES,
    shards: [
      { leader: n1, term: 4, replicas: [n1, n2], copies: [] },
      { leader: null, term: 5, replicas: [n1, n2], copies: [] },
    ],
  });
});

test("who has the latest one is told so, and nothing is made anew for it", () => {
  const { source, built } = cluster();
  const { view } = current(source);
  const before = built();
  expect(source.answer({ known: view })).toEqual({ kind: "unchanged" });
  expect(source.answer({ known: view + 1 })).toMatchObject({ kind: "topology" });
  expect(source.answer({ known: undefined })).toMatchObject({ kind: "topology" });
  expect(built()).toBe(before);
});

test("another leader, another replica set and another node make another view each", () => {
  const { source, shards, facts } = cluster();
  const views = [current(source).view];
  shards[1] = { leader: n2, term: 5, replicas: [n1, n2], copies: [] };
  views.push(current(source).view);
  shards[0] = { leader: n1, term: 4, replicas: [n1], copies: [] };
  views.push(current(source).view);
  for (const other of [
    { address: "127.0.0.1:9999" },
    { labels: { zone: "x" } },
    { standing: "draining" as const },
    { isUp: false },
  ]) {
    facts.nodes = [{ ...NODES[0]!, ...other }, NODES[1]!];
    views.push(current(source).view);
  }
  expect(new Set(views).size).toBe(7);
  expect(views.every(Number.isSafeInteger)).toBe(true);
});

test("two nodes that know the same say the same view", () => {
  expect(current(cluster().source).view).toBe(current(cluster().source).view);
});

test("nodes are told with what the cluster has decided, and whether they were heard of", () => {
  const n3 = nodeId("n3");
  const fact = { labels: { zone: "x" } };
  const membership = {
    facts: { version: 3, clusterId: "aa", nodes: { n1: fact, n2: fact }, shards: [] },
    connected: [
      { id: n1, address: "a:1", state: "member" },
      { id: n2, address: "b:1", state: "draining" },
      { id: n3, address: "c:1", state: "member" },
    ],
  } as unknown as Membership;
  const states = { n1: "suspect", n2: "dead", n3: undefined } as const;
  const heard = { stateOf: (node: NodeId) => states[node as "n1" | "n2" | "n3"] };
  const { nodes } = topologyOf({ shard: () => undefined }, membership, {} as LeaderHints, heard).current();
  expect(nodes).toEqual([
    { id: n1, address: "a:1", ...fact, standing: "member", isUp: true },
    { id: n2, address: "b:1", ...fact, standing: "draining", isUp: false },
    // Others have told of it, and the facts are to come.
    { id: n3, address: "c:1", labels: {}, standing: "member", isUp: true },
  ]);
});

test("who shall have a copy without a vote is told, whether it is there yet or not", () => {
  const n3 = nodeId("n3");
  const set = {
    ...{ first: [n1], wanted: [n2, n1], copies: [n3, n2], promoted: [], version: 1 },
    actual: { term: 1, index: 1, voters: [n1], outgoing: [], learners: [n2] },
  };
  const membership = {
    facts: { version: 3, clusterId: "aa", nodes: {}, shards: [set] },
    connected: [],
  } as unknown as Membership;
  const leaders = { claimOf: () => undefined } as unknown as LeaderHints;
  const heard = { stateOf: () => undefined };
  const { shards } = topologyOf({ shard: () => undefined }, membership, leaders, heard).current();
  // The copy of n2 waits for its vote.
  expect(shards).toEqual([{ leader: null, term: 0, replicas: [n1, n2], copies: [n3] }]);
});
