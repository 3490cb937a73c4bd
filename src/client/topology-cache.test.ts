import { expect, test } from "bun:test";
import { nodeId } from "../../protocol/ids.ts";
import type { Topology } from "../../protocol/messages.ts";
import { topologyNode } from "../../test/support/topology-node.ts";
import { TopologyCache } from "./topology-cache.ts";

const topology = (leaders: (string | null)[], clusterId = "c1", term = 1): Topology => ({
  ...{ version: 1, view: 1, clusterId },
  nodes: [1, 2, 3].map((i) => topologyNode(nodeId(`n${i}`), `10.0.0.${i}:1`)),
  shards: leaders.map((leader) => ({
    leader: leader === null ? null : nodeId(leader),
    term,
    replicas: [nodeId("n1"), nodeId("n2")],
    copies: [],
  })),
});
const all = () => true;

test("leaders are found by shard, and nodes that were not named as seeds are known", () => {
  const cache = new TopologyCache(["seed:1", "10.0.0.2:1"], 0);
  expect(cache.shards).toBe(0);
  cache.replace(topology(["n3", "n1"]));
  expect(cache.shards).toBe(2);
  expect(cache.leaderOf(0)).toBe("10.0.0.3:1");
  expect(cache.addresses).toEqual(["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "seed:1"]);
});

test("a leader that the node asked does not know is kept, one that was lost is not", () => {
  const cache = new TopologyCache(["seed:1"], 0);
  cache.replace(topology(["n1", "n1"]));
  cache.learnLeader(1, "10.0.0.2:1");
  cache.replace(topology([null, null]));
  expect([cache.leaderOf(0), cache.leaderOf(1)]).toEqual(["10.0.0.1:1", "10.0.0.2:1"]);
  cache.forgetLeader(0, "10.0.0.2:1");
  expect(cache.leaderOf(0)).toBe("10.0.0.1:1");
  cache.forgetNode("10.0.0.1:1");
  cache.replace(topology([null, null]));
  expect([cache.leaderOf(0), cache.leaderOf(1)]).toEqual([undefined, "10.0.0.2:1"]);
});

test("of two claims about a shard the one of the higher term holds, however they come", () => {
  const cache = new TopologyCache(["seed:1"], 0);
  cache.replace(topology(["n1"], "c1", 5));
  cache.replace(topology(["n2"], "c1", 4));
  expect(cache.leaderOf(0)).toBe("10.0.0.1:1");
  // Who was redirected knows of a later term than the one in which the node that said so led.
  cache.learnLeader(0, "10.0.0.3:1");
  cache.replace(topology(["n1"], "c1", 5));
  expect(cache.leaderOf(0)).toBe("10.0.0.3:1");
  cache.replace(topology(["n2"], "c1", 6));
  expect(cache.leaderOf(0)).toBe("10.0.0.2:1");
});

test("replicas are known by shard", () => {
  const cache = new TopologyCache(["seed:1"], 0);
  expect(cache.replicasOf(0)).toEqual([]);
  cache.replace(topology(["n1", null]));
  expect(cache.replicasOf(1)).toEqual(["10.0.0.1:1", "10.0.0.2:1"]);
  expect(cache.view).toBe(1);
});

test("another cluster takes nothing over from the one before", () => {
  const cache = new TopologyCache(["seed:1"], 0);
  expect(cache.replace(topology(["n1"]))).toBe(false);
  expect(cache.replace(topology(["n1"]))).toBe(false);
  expect(cache.replace(topology([null], "c2"))).toBe(true);
  expect(cache.leaderOf(0)).toBeUndefined();
});

test("a node that has just started, and knows of no shards yet, takes nothing away", () => {
  const cache = new TopologyCache(["seed:1"], 0);
  expect(cache.replace(topology([]))).toBe(false);
  expect(cache.replace(topology(["n1", "n2"]))).toBe(true);
  expect(cache.replace(topology([]))).toBe(false);
  expect([cache.shards, cache.leaderOf(1)]).toEqual([2, "10.0.0.2:1"]);
});

test("the round over the nodes skips those that are not usable, but never ends", () => {
  const cache = new TopologyCache(["a:1", "b:1", "c:1"], 0);
  const round = (usable: (address: string) => boolean) => [0, 1, 2].map(() => cache.nextAddress(usable));
  expect(round(all)).toEqual(["a:1", "b:1", "c:1"]);
  expect(round((address) => address !== "b:1")).toEqual(["a:1", "c:1", "a:1"]);
  expect(new Set(round(() => false)).size).toBe(3);
});
