import { expect, test } from "bun:test";
import { Client } from "./cluster-client.ts";
import { FakeCluster, type FakeNode } from "./fake-cluster.ts";
import { FakeWorld } from "./fake-world.ts";
import { connected, kinds } from "./test-client.ts";

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

test("a client of a cluster that is being founded waits until it has shards", async () => {
  const world = new FakeWorld();
  const cluster = new FakeCluster(world, 2, 2);
  const leaders = cluster.leaders.splice(0);
  const opening = Client.open({ addresses: cluster.addresses }, world);
  let isOpen = false;
  opening.then(() => {
    isOpen = true;
  });
  await world.pass(500);
  expect(isOpen).toBe(false);
  cluster.leaders.push(...leaders);
  const client = await world.until(opening);
  await world.until(client.put("a", "1"));
  const found = await world.until(Array.fromAsync(client.scan()));
  expect(found).toHaveLength(1);
  // A node that was wiped, and founds another cluster, can't make it forget that there are shards.
  const subscribed = cluster.nodes.find((node) => kinds(node, "topology").length > 0)!;
  cluster.leaders.splice(0);
  subscribed.pushTopology();
  await world.pass(10);
  cluster.leaders.push(...leaders);
  expect(await world.until(client.getText("a"))).toBe("1");
});

test("one that is not founded in time is told of as such", async () => {
  const world = new FakeWorld();
  const cluster = new FakeCluster(world, 1, 1);
  cluster.leaders.splice(0);
  const opening = Client.open({ addresses: cluster.addresses, requestTimeoutMs: 300 }, world);
  const problem = await world.until(
    opening.then(
      () => "",
      (error: Error) => error.message,
    ),
  );
  expect(problem).toContain("says that the cluster is being founded, and has no shards yet");
});
