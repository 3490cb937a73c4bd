import { expect, test } from "bun:test";
import { nodeId } from "../protocol/ids.ts";
import type { ShardPlace, Topology } from "../protocol/messages.ts";
import { TopologySource } from "./topology.ts";

const [n1, n2] = [nodeId("n1"), nodeId("n2")];
const NODES = [
  { id: n1, address: "127.0.0.1:7001" },
  { id: n2, address: "127.0.0.1:7002" },
];

/** A cluster of two shards that a test may change. */
function cluster() {
  const facts = { version: 3, clusterId: "aa", nodes: NODES };
  const shards: ShardPlace[] = [
    { leader: n1, term: 4, replicas: [n1, n2] },
    { leader: null, term: 5, replicas: [n1, n2] },
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

const topologyOf = (source: TopologySource): Topology => source.current();

test("a topology has nodes, leaders, terms and replicas", () => {
  const { source } = cluster();
  expect(topologyOf(source)).toEqual({
    version: 3,
    view: expect.any(Number),
    clusterId: "aa",
    nodes: NODES,
    shards: [
      { leader: n1, term: 4, replicas: [n1, n2] },
      { leader: null, term: 5, replicas: [n1, n2] },
    ],
  });
});

test("who has the latest one is told so, and nothing is made anew for it", () => {
  const { source, built } = cluster();
  const { view } = topologyOf(source);
  const before = built();
  expect(source.answer({ known: view })).toEqual({ kind: "unchanged" });
  expect(source.answer({ known: view + 1 })).toMatchObject({ kind: "topology" });
  expect(source.answer({ known: undefined })).toMatchObject({ kind: "topology" });
  expect(built()).toBe(before);
});

test("another leader, another replica set and another node make another view each", () => {
  const { source, shards, facts } = cluster();
  const views = [topologyOf(source).view];
  shards[1] = { leader: n2, term: 5, replicas: [n1, n2] };
  views.push(topologyOf(source).view);
  shards[0] = { leader: n1, term: 4, replicas: [n1] };
  views.push(topologyOf(source).view);
  facts.nodes = [{ id: n1, address: "127.0.0.1:9999" }, NODES[1]!];
  views.push(topologyOf(source).view);
  expect(new Set(views).size).toBe(4);
  expect(views.every(Number.isSafeInteger)).toBe(true);
});

test("two nodes that know the same say the same view", () => {
  expect(topologyOf(cluster().source).view).toBe(topologyOf(cluster().source).view);
});
