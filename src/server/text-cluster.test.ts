/** CLUSTER, redirects and key specifications; beside a redis-server in cluster mode where there is one. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nodeId } from "../../protocol/ids.ts";
import type { ClientRequest, ShardPlace, Topology } from "../../protocol/messages.ts";
import { topologyNode } from "../../test/support/topology-node.ts";
import { RawClient, serverPerTest } from "./test-harness.ts";
import { clusterInfoText, rangesByHolders, slotRanges } from "./text-cluster-views.ts";

const start = serverPerTest();
const [n1, n2, n3] = ["n1", "n2", "n3"].map(nodeId) as [never, never, never];

const place = (leader: never | null, ...replicas: never[]): ShardPlace => ({
  ...{ leader, term: 3, replicas, copies: [] },
});

function topology(shards: readonly ShardPlace[], port: number, view = 1): Topology {
  const nodes = [n1, n2, n3].map((id, i) => topologyNode(id, `127.0.0.1:${port + i}`));
  return { version: 1, view, clusterId: "c1", nodes, shards };
}

/** All that a server answers to `commands`, one after the other, up to its answer to a last PING. */
async function transcript(port: number, commands: readonly string[], protocolVersion: 2 | 3 = 2) {
  const client = await RawClient.connect(port);
  const replies: string[] = [];
  for (const command of protocolVersion === 3 ? ["hello 3", ...commands] : commands) {
    client.write(`${command}\r\nping end-of-reply\r\n`);
    const end = "$12\r\nend-of-reply\r\n";
    await client.until(() => client.received.toString().endsWith(end));
    replies.push(client.received.toString().slice(0, -end.length));
    client.received = Buffer.alloc(0);
  }
  client.close();
  return protocolVersion === 3 ? replies.slice(1) : replies;
}

describe("slots in ranges", () => {
  const alike = [place(n1, n1, n2), place(n1, n1, n2), place(n2, n1, n2), place(null, n1, n2)];

  test("neighbours that are led and held by the same nodes are one range, and all slots are in one", () => {
    const ranges = slotRanges({ shards: alike });
    expect(ranges).toEqual([
      { first: 0, last: 8191, leader: n1, followers: [n2] },
      { first: 8192, last: 12287, leader: n2, followers: [n1] },
      { first: 12288, last: 16383, leader: n1, followers: [n2] },
    ]);
    const many = Array.from({ length: 1024 }, (_, i) => place(i % 2 ? n1 : n2, n1, n2));
    const covered = slotRanges({ shards: many }).reduce((sum, { first, last }) => sum + last - first + 1, 0);
    expect(covered).toBe(16384);
  });

  test("ranges with the same holders are one group, wherever they lie", () => {
    const shards = [place(n1, n1, n2), place(n2, n1, n2), place(n1, n1, n2)];
    expect(rangesByHolders({ shards: [...shards, shards[1]!] }).map((group) => group.length)).toEqual([2, 2]);
  });

  test("the cluster is down as long as a shard has no leader", () => {
    const info = clusterInfoText(n2, topology(alike, 1));
    expect(info).toContain("cluster_state:fail\r\n");
    expect(info).toContain("cluster_slots_ok:12288\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:4096\r\n");
    expect(info).toContain("cluster_size:2\r\ncluster_current_epoch:3\r\ncluster_my_epoch:3\r\n");
    expect(clusterInfoText(n1, topology([place(n1, n1)], 1))).toContain("cluster_state:ok\r\n");
  });
});

describe("--redirect moved", () => {
  // Slot 15495 is that of `a` (the last quarter), 3300 that of `b` (the first).
  const shards = [place(n1, n1, n2), place(n2, n1, n2), place(n2, n2, n3), place(n2, n1, n2)];

  test("a command that another node leads is answered with where it belongs, and not carried out", async () => {
    const { port, handler } = await start({}, { redirect: "moved" });
    handler.topology = topology(shards, 7001);
    expect(await transcript(port, ["set a 1", "get a", "set b 1", "get b", "incr a"])).toEqual([
      "-MOVED 15495 127.0.0.1:7002\r\n",
      "-MOVED 15495 127.0.0.1:7002\r\n",
      "+OK\r\n",
      "$1\r\n1\r\n",
      "-MOVED 15495 127.0.0.1:7002\r\n",
    ]);
    expect((await transcript(port, ["info stats"]))[0]).toContain("flotilla_moved:3\r\n");
  });

  test("keys of several slots are refused, those of one slot are served together", async () => {
    const { port, handler } = await start({}, { redirect: "moved" });
    handler.topology = topology(shards, 7001);
    const crossSlot = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    const commands = ["mset a 1 b 2", "mget b a", "del b a", "mset {b}x 1 {b}y 2", "mget {b}x {b}y b"];
    expect(await transcript(port, commands)).toEqual([
      ...[crossSlot, crossSlot, crossSlot],
      "+OK\r\n",
      "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n",
    ]);
  });

  test("READONLY has this node's replica read, if there is one, and nothing written", async () => {
    const { port, handler } = await start({}, { redirect: "moved" });
    handler.topology = topology(shards, 7001);
    const asked: ClientRequest[] = [];
    const respond = handler.respond.bind(handler);
    handler.respond = (request) => {
      asked.push(request);
      return respond(request);
    };
    // `foo` has slot 12182, of which this node has no replica.
    const replies = await transcript(port, [
      "readonly",
      "get a",
      "mget a {a}2",
      "set a 1",
      "get foo",
      "readwrite",
      "get a",
    ]);
    expect(replies).toEqual([
      "+OK\r\n",
      "$-1\r\n",
      "*2\r\n$-1\r\n$-1\r\n",
      "-MOVED 15495 127.0.0.1:7002\r\n",
      "-MOVED 12182 127.0.0.1:7002\r\n",
      "+OK\r\n",
      "-MOVED 15495 127.0.0.1:7002\r\n",
    ]);
    const reads = asked.filter(({ kind }) => kind === "get");
    expect(reads.map((read) => "consistency" in read && read.consistency)).toEqual([
      "stale",
      "stale",
      "stale",
    ]);
  });

  test("where nobody leads, the command is not refused but waits for a leader", async () => {
    const { port, handler } = await start({}, { redirect: "moved" });
    handler.topology = topology(
      shards.map((shard) => ({ ...shard, leader: null, term: 4 })),
      7001,
    );
    const routings: string[] = [];
    const execute = handler.execute.bind(handler);
    handler.execute = (request, sink, requestId, routing) => {
      if (request.kind === "put") routings.push(routing);
      execute(request, sink, requestId, routing);
    };
    expect(await transcript(port, ["set a 1"])).toEqual(["+OK\r\n"]);
    expect(routings).toEqual(["forward"]);
  });

  test("commands without keys, and without a topology all, are carried out here", async () => {
    const { port, handler } = await start({}, { redirect: "moved" });
    handler.topology = undefined;
    expect(await transcript(port, ["ping", "set a 1", "cluster slots"])).toEqual([
      "+PONG\r\n",
      "+OK\r\n",
      "-CLUSTERDOWN this node is starting: it knows nothing of the cluster yet\r\n",
    ]);
  });
});

test("a node that has joined and does not know yet who holds what says so, and not that there is nothing", async () => {
  const { port, handler } = await start({}, { redirect: "moved" });
  handler.topology = topology([], 7001);
  const commands = ["slots", "shards", "nodes", "info", "countkeysinslot 1"].map((name) => `cluster ${name}`);
  const replies = await transcript(port, commands);
  for (const reply of replies) expect(reply).toStartWith("-CLUSTERDOWN this node is starting: ");
  expect(replies).toHaveLength(5);
});

test("a node that forwards answers CLUSTER truthfully, and redirects nobody", async () => {
  const { port, handler } = await start();
  handler.topology = topology([place(n2, n1, n2)], 7001);
  const [slots, set, hello] = await transcript(port, ["cluster slots", "set a 1", "hello 2"]);
  expect(slots).toMatch(/^\*1\r\n\*4\r\n:0\r\n:16383\r\n\*4\r\n\$9\r\n127.0.0.1\r\n:7002\r\n\$40\r\n/);
  expect(set).toBe("+OK\r\n");
  expect(hello).toContain("standalone");
});

test("MSET sets the keys of a shard together, and of a key that is named twice the last value holds", async () => {
  const { port, handler } = await start();
  handler.topology = topology([place(n1, n1), place(n2, n1)], 7001);
  const batches: number[] = [];
  const execute = handler.execute.bind(handler);
  handler.execute = (request, sink, requestId, routing) => {
    if (request.kind === "batch") batches.push(request.entries.length);
    execute(request, sink, requestId, routing);
  };
  // `a` lies in the second half of the slots, the others in the first.
  expect(await transcript(port, ["mset a 1 b 2 c 3 f 4 a 5", "mget a b c f"])).toEqual([
    "+OK\r\n",
    "*4\r\n$1\r\n5\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n",
  ]);
  expect(batches.sort()).toEqual([2, 3]);
});

test("the ids of nodes are the same on every node, and another cluster's are others", async () => {
  const ids: string[] = [];
  for (const clusterId of ["c1", "c1", "c2"]) {
    const { port, handler, server } = await start();
    handler.topology = { ...topology([place(n1, n1)], 7001), clusterId };
    ids.push((await transcript(port, ["cluster myid"]))[0]!);
    await server.stop();
  }
  expect(ids[0]).toMatch(/^\$40\r\n[0-9a-f]{40}\r\n$/);
  expect(ids[1]).toBe(ids[0]!);
  expect(ids[2]).not.toBe(ids[0]!);
});

test("the keys of a slot are found among those of its shard", async () => {
  const { port, handler } = await start();
  handler.topology = topology([place(n1, n1), place(n1, n1)], 7001);
  const commands = ["mset {b}1 x {b}2 x {b}3 x a x c x", "cluster countkeysinslot 3300"];
  commands.push("cluster getkeysinslot 3300 2", "cluster getkeysinslot 3300 0", "cluster countkeysinslot 1");
  expect((await transcript(port, commands)).slice(1)).toEqual([
    ":3\r\n",
    "*2\r\n$4\r\n{b}1\r\n$4\r\n{b}2\r\n",
    "*0\r\n",
    ":0\r\n",
  ]);
});

/** What both answer alike, but for what names a node, a time or an epoch. */
const COMMANDS = [
  "cluster slots",
  "cluster shards",
  "cluster nodes",
  "cluster myid",
  "cluster keyslot foo",
  "cluster keyslot",
  "cluster slots x",
  "cluster countkeysinslot 7",
  "cluster countkeysinslot 16384",
  "cluster countkeysinslot x",
  "cluster getkeysinslot 7 5",
  "cluster getkeysinslot 16384 5",
  "cluster getkeysinslot 7 -1",
  "cluster getkeysinslot 7 x",
  "cluster replicas nope",
  "cluster slaves nope",
  "cluster foo",
  "readonly",
  "get a",
  "readwrite",
  "asking",
  "mget a b",
  "mset a 1 b 2",
  "del a b c",
  "exists a b",
  "set {t}a 1",
  "mget {t}a {t}b",
  "del {t}a {t}b",
  "dbsize",
  "info cluster",
  "config get cluster-enabled",
];
const KEY_COMMANDS = [
  ...["get", "set", "setnx", "mget", "mset", "strlen", "incr", "decr", "incrby", "decrby"],
  ...["del", "unlink", "exists", "touch", "type", "getset", "getex", "getdel", "setex", "psetex"],
  ...["expire", "pexpire", "expireat", "pexpireat", "expiretime", "pexpiretime", "ttl", "pttl", "persist"],
];

describe.skipIf(Bun.which("redis-server") === null)("redis-server in cluster mode", () => {
  const directory = mkdtempSync(join(tmpdir(), "flotilla-redis-cluster-"));
  let server: Bun.Subprocess | undefined;
  let started: Promise<number> | undefined;
  afterAll(async () => {
    server?.kill();
    await server?.exited;
    rmSync(directory, { recursive: true });
  });

  const redis = (): Promise<number> => {
    started ??= startRedis();
    return started;
  };

  async function startRedis(): Promise<number> {
    for (;;) {
      // Its bus takes the port 10000 above it.
      const port = 20_000 + Math.floor(Math.random() * 20_000);
      const options = ["--port", port, "--cluster-enabled", "yes", "--save", "", "--dir", directory];
      const args = [...options, "--bind", "127.0.0.1", "--cluster-announce-ip", "127.0.0.1"].map(String);
      server = Bun.spawn([Bun.which("redis-server")!, ...args], { stdout: "ignore" });
      let client: RawClient | undefined;
      while (client === undefined && server.exitCode === null) {
        client = await RawClient.connect(port).catch(() => undefined);
      }
      if (client === undefined) continue;
      client.close();
      const [reply] = await transcript(port, ["cluster addslotsrange 0 16383"]);
      if (!reply!.startsWith("+OK")) {
        // Somebody else has the port, or it is still loading.
        server.kill();
        await server.exited;
        continue;
      }
      while (!(await transcript(port, ["cluster info"]))[0]!.includes("cluster_state:ok"));
      return port;
    }
  }

  test("gives the same replies, in both versions of RESP", async () => {
    const theirs = await redis();
    const own = await start({}, { redirect: "moved" });
    own.handler.topology = {
      ...topology([place(n1, n1)], own.port),
      nodes: [topologyNode(n1, `127.0.0.1:${own.port}`)],
    };
    for (const version of [2, 3] as const) {
      const expected = await transcript(theirs, COMMANDS, version);
      const found = await transcript(own.port, COMMANDS, version);
      for (const [i, command] of COMMANDS.entries()) {
        expect([version, command, plain(found[i]!, own.port)]).toEqual([
          version,
          command,
          plain(expected[i]!, theirs),
        ]);
      }
    }
    // Of what CLUSTER INFO has there, here is what has a counterpart, in the same order.
    const names = (reply: string) =>
      [...reply.matchAll(/^(cluster_(?!stats)\w+):/gm)].map(([, name]) => name);
    const [info] = await transcript(theirs, ["cluster info"]);
    expect(names((await transcript(own.port, ["cluster info"]))[0]!)).toEqual(names(info!));
  }, 20_000);

  test("has the same key specifications and hints", async () => {
    const theirs = await redis();
    const own = await start();
    for (const name of KEY_COMMANDS) {
      const commands = [`command info ${name}`];
      const [expected] = await transcript(theirs, commands, 3);
      const [found] = await transcript(own.port, commands, 3);
      expect([name, withoutCategories(found!)]).toEqual([name, withoutCategories(expected!)]);
    }
  }, 20_000);
});

function plain(reply: string, port: number): string {
  return reply
    .replace(/[0-9a-f]{40}/g, "<id>")
    .replaceAll(`@${port + 10_000}`, "@<bus>")
    .replaceAll(`@${port}`, "@<bus>")
    .replaceAll(`${port}`, "<port>")
    .replace(/(- 0) \d+ \d+ connected/, "$1 <time> <epoch> connected")
    .replace(/(replication-offset\r\n:)\d+/, "$1<offset>")
    .replace(/^([$=])\d+(\r\n(?:txt:)?<id> )/m, "$1<length>$2");
}

/** COMMAND INFO without the categories and the notes in words. */
function withoutCategories(reply: string): string {
  return reply
    .replace(/~\d+\r\n(\+@\w+\r\n)*(?=~)/, "~0\r\n")
    .replace(/%4\r\n\$5\r\nnotes\r\n\$\d+\r\n.*\r\n/, "%3\r\n");
}
