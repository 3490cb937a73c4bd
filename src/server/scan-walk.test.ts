/** SCAN over shards and nodes. */
import { expect, test } from "bun:test";
import { nodeId } from "../../protocol/ids.ts";
import type { Topology } from "../../protocol/messages.ts";
import { testSeed } from "../../test/support/seed.ts";
import { topologyNode } from "../../test/support/topology-node.ts";
import { seededRandom } from "../lib/prng.ts";
import { RawClient, startServer, type TestServer } from "./test-harness.ts";

const SHARDS = 8;

/** `count` nodes over one store; node i leads the shards s with s mod count = i. */
async function startNodes(count: number, redirect: "forward" | "moved"): Promise<TestServer[]> {
  const servers: TestServer[] = [];
  for (let i = 0; i < count; i++) servers.push(await startServer({}, { redirect }));
  const nodes = servers.map(({ port }, i) => topologyNode(nodeId(`n${i + 1}`), `127.0.0.1:${port}`));
  for (const [i, { handler }] of servers.entries()) {
    // Each calls itself n1: it is the others that go by other names.
    const idOf = (leader: number) => nodes[(leader - i + count) % count]!.id;
    const shards = Array.from({ length: SHARDS }, (_, shard) => ({
      ...{ leader: idOf(shard % count), term: 1 },
      replicas: nodes.map(({ id }) => id),
      copies: [],
    }));
    const topology: Topology = { version: 1, view: 1, clusterId: "c1", nodes, shards };
    handler.topology = topology;
    Object.defineProperty(handler, "values", { value: servers[0]!.handler.values });
  }
  return servers;
}

/** One step of a scan: the next cursor, and the keys. */
async function step(client: RawClient, cursor: string, options = ""): Promise<[string, string[]]> {
  client.write(`scan ${cursor} ${options}\r\nping done\r\n`);
  await client.until(() => client.received.toString().endsWith("$4\r\ndone\r\n"));
  const words = client.received.toString().split("\r\n");
  client.received = Buffer.alloc(0);
  expect(words[0]).toBe("*2");
  return [words[2]!, words.slice(4, -3).filter((_, i) => i % 2 === 1)];
}

async function stopAll(servers: readonly TestServer[]): Promise<void> {
  for (const { server } of servers) await server.stop();
}

test("any node goes on where another one ended, also if the last key is gone: nothing is left out", async () => {
  const servers = await startNodes(3, "forward");
  const clients = await Promise.all(servers.map(({ port }) => RawClient.connect(port)));
  const { values } = servers[0]!.handler;
  const random = seededRandom(testSeed("scan walk"));
  for (let round = 0; round < 20; round++) {
    values.clear();
    for (let i = 0; i < 200; i++) values.set(`k${i}`, new Uint8Array());
    const there = new Set(values.keys());
    const seen = new Set<string>();
    let cursor = "0";
    let steps = 0;
    do {
      // Mostly one node; now and then it is another one that has never seen the cursor.
      const client = clients[steps % 5 === 4 ? random.below(3) : round % 3]!;
      const [next, keys] = await step(client, cursor, `count ${1 + random.below(9)}`);
      for (const key of keys) seen.add(key);
      if (round % 2 === 1) {
        const victim = keys.at(-1) ?? `k${random.below(200)}`;
        values.delete(victim);
        there.delete(victim);
        values.set(`new${steps}`, new Uint8Array());
      }
      cursor = next;
      steps++;
    } while (cursor !== "0" && steps < 10_000);
    expect(cursor).toBe("0");
    for (const key of there) expect([round, key, seen.has(key)]).toEqual([round, key, true]);
    if (round % 2 === 0) expect(seen.size).toBe(200);
  }
  await stopAll(servers);
});

test("on one node, and with nothing deleted, each key comes once", async () => {
  const servers = await startNodes(1, "forward");
  const client = await RawClient.connect(servers[0]!.port);
  for (let i = 0; i < 300; i++) servers[0]!.handler.values.set(`k${i}`, new Uint8Array());
  const seen: string[] = [];
  let cursor = "0";
  do {
    const [next, keys] = await step(client, cursor);
    expect(keys.length).toBeLessThanOrEqual(10);
    seen.push(...keys);
    cursor = next;
  } while (cursor !== "0");
  expect(seen).toHaveLength(300);
  expect(new Set(seen).size).toBe(300);
  await stopAll(servers);
});

test("a cluster client gets from each node what that leads: together everything, once", async () => {
  const servers = await startNodes(3, "moved");
  const { values } = servers[0]!.handler;
  for (let i = 0; i < 100; i++) values.set(`k${i}`, new Uint8Array());
  const seen: string[] = [];
  let counted = 0;
  let listed = 0;
  for (const { port } of servers) {
    const client = await RawClient.connect(port);
    let cursor = "0";
    do {
      const [next, keys] = await step(client, cursor, "count 7");
      seen.push(...keys);
      cursor = next;
    } while (cursor !== "0");
    client.write("dbsize\r\nkeys k*\r\nping done\r\n");
    await client.until(() => client.received.toString().endsWith("$4\r\ndone\r\n"));
    const [size, list] = client.received.toString().split("\r\n");
    counted += Number(size!.slice(1));
    listed += Number(list!.slice(1));
  }
  expect([...seen].sort()).toEqual([...values.keys()].sort());
  expect([counted, listed]).toEqual([100, 100]);
  await stopAll(servers);
});

test("a cursor of a shard that there is not ends the scan", async () => {
  const servers = await startNodes(1, "forward");
  const client = await RawClient.connect(servers[0]!.port);
  expect(await step(client, String(1023n << 53n))).toEqual(["0", []]);
  await stopAll(servers);
});
