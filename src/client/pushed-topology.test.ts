import { expect, test } from "bun:test";
import type { ClientRequest } from "../../protocol/messages.ts";
import { Client } from "./cluster-client.ts";
import { FakeCluster, type FakeNode } from "./fake-cluster.ts";
import { FakeWorld } from "./fake-world.ts";

async function connected(nodes: number, shards: number) {
  const world = new FakeWorld();
  const cluster = new FakeCluster(world, nodes, shards);
  const client = await world.until(Client.open({ addresses: cluster.addresses }, world));
  return { world, cluster, client };
}

const kinds = (node: FakeNode, kind: ClientRequest["kind"]) => node.received.filter((r) => r.kind === kind);

test("the topology that a node pushes is learned, and no request is redirected", async () => {
  const { world, cluster, client } = await connected(3, 1);
  const subscribed = cluster.nodes.filter((node) => kinds(node, "topology").length > 0);
  expect(subscribed).toHaveLength(1);
  cluster.leaders[0] = 2;
  cluster.term++;
  subscribed[0]!.pushTopology();
  await world.pass(10);
  await world.until(client.put("a", "1"));
  expect(kinds(cluster.nodes[2]!, "put")).toHaveLength(1);
  expect(client.counts).toEqual({ requests: 2, redirected: 0 });
  cluster.leaders[0] = 1;
  await world.until(client.put("a", "2"));
  expect(client.counts).toEqual({ requests: 3, redirected: 1 });
});

test("when the node that pushes is lost, another one is asked to", async () => {
  const { world, cluster, client } = await connected(3, 1);
  const first = cluster.nodes.find((node) => kinds(node, "topology").length > 0)!;
  await world.pass(100);
  first.stop();
  await world.pass(100);
  const second = cluster.nodes.find((node) => node !== first && kinds(node, "topology").length > 0)!;
  cluster.leaders[0] = second.index;
  cluster.term++;
  second.pushTopology();
  await world.pass(10);
  await world.until(client.put("a", "1"));
  expect(client.counts.redirected).toBe(0);
  expect(kinds(second, "put")).toHaveLength(1);
});

test("a node that has left the cluster is left alone, once it owes nothing", async () => {
  const world = new FakeWorld();
  const cluster = new FakeCluster(world, 3, 3);
  const [first, second] = cluster.nodes as [FakeNode, FakeNode];
  const client = await world.until(Client.open({ addresses: [first.address] }, world));
  for (const key of ["a", "b", "c", "d", "e", "f"]) await world.until(client.get(key));
  expect(second.connections).toBe(1);
  second.isMember = false;
  cluster.leaders[1] = 0;
  cluster.term++;
  first.pushTopology();
  await world.pass(10);
  expect(second.connections).toBe(0);
  for (const key of ["a", "b", "c", "d", "e", "f"]) await world.until(client.get(key));
  expect(client.counts.redirected).toBe(0);
});
