import { describe, expect, test } from "bun:test";
import type { ClientRequest } from "../../protocol/messages.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { Client } from "./cluster-client.ts";
import { errorResponse, FakeCluster, type FakeNode } from "./fake-cluster.ts";
import { FakeWorld } from "./fake-world.ts";
import { connected, failureOf, kinds } from "./test-client.ts";

describe("what a client can ask", () => {
  test("values, numbers and booleans come back as what they are", async () => {
    const { world, client } = await connected();
    expect(await world.until(client.put("a", "1"))).toBe(true);
    expect(await world.until(client.getText("a"))).toBe("1");
    expect(await world.until(client.get("a"))).toEqual(utf8("1"));
    expect(await world.until(client.get("none"))).toBeUndefined();
    expect(await world.until(client.exists("a"))).toBe(true);
    expect(await world.until(client.increment("a", 41))).toBe(42n);
    expect(await world.until(client.delete("a"))).toBe(true);
    expect(await world.until(client.delete("a"))).toBe(false);
    expect(await world.until(client.ping())).toBeGreaterThan(0);
    expect((await world.until(client.topology())).nodes).toHaveLength(3);
  });

  test("a value that the caller got holds on to no more than itself", async () => {
    const { world, client } = await connected();
    await world.until(client.put("a", "small"));
    const value = await world.until(client.get("a"));
    expect(value!.buffer.byteLength).toBeLessThanOrEqual(2 * "small".length);
  });

  test("a request goes straight to its shard's leader", async () => {
    const { world, cluster, client } = await connected();
    for (const key of ["a", "b", "c", "d", "e"]) {
      await world.until(client.get(key));
      expect(cluster.leaderOf(key).received.at(-1)).toMatchObject({ kind: "get", key: utf8(key) });
    }
  });

  test("stale reads are spread over all nodes", async () => {
    const { world, cluster, client } = await connected();
    for (let i = 0; i < 30; i++) await world.until(client.get("a", { consistency: "stale" }));
    for (const node of cluster.nodes) expect(kinds(node, "get")).toHaveLength(10);
  });

  test("what is too large is refused before it is sent, and the connection goes on", async () => {
    const { world, cluster, client } = await connected(1, 1);
    const error = await failureOf(world, client.put("x".repeat(70_000), ""));
    expect(error.code).toBe("TOO_LARGE");
    expect(error.outcome).toBe("notDone");
    await world.until(client.put("a", "1"));
    expect(kinds(cluster.nodes[0]!, "put")).toHaveLength(1);
  });

  test("an error that says no is given to the caller, with what was asked and of whom", async () => {
    const { world, cluster, client } = await connected(1, 1);
    cluster.nodes[0]!.behaveOnce("increment", errorResponse("NOT_AN_INTEGER"));
    const error = await failureOf(world, client.increment("counter"));
    expect(error).toMatchObject({ code: "NOT_AN_INTEGER", retryable: false, outcome: "notDone" });
    expect(error.message).toBe(
      'increment of "counter" failed after 1 attempt: 10.0.0.1:7001 says NOT_AN_INTEGER: as the test wants it; nothing was changed',
    );
  });
});

describe("keyspaces", () => {
  test("each has keys of its own, by every method", async () => {
    const { world, cluster, client } = await connected();
    const { id } = await world.until(client.createKeyspace("orders"));
    expect(await world.until(client.listKeyspaces())).toEqual([{ id, name: "orders", mode: "raft" }]);
    const orders = await world.until(client.keyspace("orders"));
    expect([client.keyspaceName, orders.keyspaceName]).toEqual(["default", "orders"]);
    await world.until(client.put("a", "1"));
    expect(await world.until(orders.get("a"))).toBeUndefined();
    await world.until(orders.put("a", "2"));
    await world.until(orders.putMany([["b", "3"]]));
    await world.until(orders.batch([["c", "4"]]));
    expect(await world.until(orders.increment("b"))).toBe(4n);
    expect(await world.until(client.getText("a"))).toBe("1");
    expect((await world.until(orders.getMany(["a", "b", "c"]))).map((value) => fromUtf8(value!))).toEqual([
      "2",
      "4",
      "4",
    ]);
    const keys: string[] = [];
    const scan = orders.scan();
    for (
      let next = await world.until(scan.next());
      next.done !== true;
      next = await world.until(scan.next())
    ) {
      keys.push(fromUtf8(next.value.key));
    }
    expect(keys).toEqual(["a", "b", "c"]);
    expect(await world.until(orders.deleteMany(["a", "b"]))).toBe(2);
    expect(await world.until(client.exists("a"))).toBe(true);
    expect(await world.until((await world.until(orders.keyspace("default"))).getText("a"))).toBe("1");
    // What is for the default one names none.
    const named = cluster.nodes.flatMap((node) => kinds(node, "put")) as { keyspace?: number }[];
    expect(named.map(({ keyspace }) => keyspace).sort()).toEqual([id, undefined]);
  });

  test("one that was dropped is gone, also for who knew its number", async () => {
    const { world, client } = await connected(1, 1);
    await world.until(client.createKeyspace("a"));
    const dropped = await world.until(client.keyspace("a"));
    await world.until(client.dropKeyspace("a"));
    await world.until(client.createKeyspace("a"));
    expect((await failureOf(world, dropped.get("k"))).code).toBe("NO_KEYSPACE");
    expect(await world.until((await world.until(client.keyspace("a"))).get("k"))).toBeUndefined();
    expect((await failureOf(world, client.keyspace("b"))).code).toBe("NO_KEYSPACE");
    expect((await failureOf(world, client.dropKeyspace("b"))).code).toBe("NO_KEYSPACE");
    expect((await failureOf(world, client.createKeyspace("a b"))).code).toBe("BAD_REQUEST");
  });
});

describe("batches", () => {
  test("each shard gets one", async () => {
    const { world, cluster, client } = await connected(1, 4);
    const keys = Array.from({ length: 40 }, (_, i) => `key${i}`);
    await world.until(client.batch(keys.map((key) => [key, key])));
    const batches = kinds(cluster.nodes[0]!, "batch") as Extract<ClientRequest, { kind: "batch" }>[];
    expect(batches).toHaveLength(4);
    for (const { entries } of batches) {
      expect(new Set(entries.map(({ key }) => cluster.shardOf(key))).size).toBe(1);
    }
    expect(await world.until(client.getText("key39"))).toBe("key39");
  });

  test("an atomic one over several shards is refused, one within a shard is not", async () => {
    const { world, client } = await connected(1, 4);
    const keys = Array.from({ length: 40 }, (_, i) => `key${i}`);
    const asked = client.batch(
      keys.map((key) => [key, key]),
      { atomic: true },
    );
    expect((await failureOf(world, asked)).code).toBe("CROSS_SHARD");
    await world.until(
      client.batch(
        [
          ["{t}a", "1"],
          ["{t}b", "2"],
        ],
        { atomic: true },
      ),
    );
    expect(await world.until(client.getText("{t}b"))).toBe("2");
  });

  test("when one shard fails, the error says that others have their part", async () => {
    const { world, cluster, client } = await connected(1, 2);
    const keys = Array.from({ length: 20 }, (_, i) => `key${i}`);
    cluster.nodes[0]!.behaveOnce("batch", errorResponse("BAD_REQUEST"));
    const error = await failureOf(world, client.batch(keys.map((key) => [key, key])));
    expect(error).toMatchObject({ code: "BAD_REQUEST", outcome: "unknown" });
    expect(error.message).toStartWith("1 of 2 shards is written, then: batch of ");
  });
});

describe("pipelining", () => {
  test("what is asked for in one turn leaves in one piece, on one connection", async () => {
    const { world, cluster, client } = await connected(1, 1);
    await world.until(client.put("first", ""));
    const node = cluster.nodes[0]!;
    const chunksBefore = node.chunks;
    const values = await world.until(
      Promise.all(Array.from({ length: 1000 }, (_, i) => client.put(`k${i}`, `v${i}`))),
    );
    expect(values).toHaveLength(1000);
    expect(node.chunks - chunksBefore).toBe(1);
    expect(node.connections).toBe(1);
    const read = await world.until(
      Promise.all(Array.from({ length: 1000 }, (_, i) => client.getText(`k${i}`))),
    );
    expect(read).toEqual(Array.from({ length: 1000 }, (_, i) => `v${i}`));
  });
});

describe("leaders that move", () => {
  test("a redirect is followed at once, and remembered", async () => {
    const { world, cluster, client } = await connected(3, 1);
    cluster.leaders[0] = 2;
    await world.until(client.put("a", "1"));
    const asked = cluster.nodes[0]!.received.length;
    await world.until(client.put("b", "2"));
    expect(cluster.nodes[0]!.received.length).toBe(asked);
    expect(kinds(cluster.nodes[2]!, "put")).toHaveLength(2);
  });

  test("without a hint, the topology is fetched anew, once for all who need it", async () => {
    const { world, cluster, client } = await connected(3, 1);
    await world.pass(100);
    cluster.nodes[0]!.behave((r) => ("key" in r ? errorResponse("NOT_LEADER") : "serve"));
    cluster.leaders[0] = 1;
    const before = cluster.nodes.map((node) => kinds(node, "topology").length).reduce((a, b) => a + b);
    await world.until(Promise.all(Array.from({ length: 100 }, (_, i) => client.get(`k${i}`))));
    const after = cluster.nodes.map((node) => kinds(node, "topology").length).reduce((a, b) => a + b);
    expect(after - before).toBe(1);
    expect(kinds(cluster.nodes[1]!, "get").length).toBeGreaterThanOrEqual(100);
  });

  test("two nodes that point at each other do not make the client spin", async () => {
    const { world, cluster, client } = await connected(2, 1, { requestTimeoutMs: 1000 });
    const [a, b] = cluster.nodes as [FakeNode, FakeNode];
    a.behave((r) => ("key" in r ? errorResponse("NOT_LEADER", b) : "serve"));
    b.behave((r) => ("key" in r ? errorResponse("NOT_LEADER", a) : "serve"));
    const error = await failureOf(world, client.get("k"));
    expect(error.code).toBe("NOT_LEADER");
    expect(kinds(a, "get").length + kinds(b, "get").length).toBeLessThan(30);
  });

  test("when the leader dies, its requests go on at the next one", async () => {
    const { world, cluster, client } = await connected(3, 1);
    await world.until(client.put("a", "1"));
    cluster.nodes[0]!.stop();
    cluster.leaders[0] = 1;
    const values = await world.until(
      Promise.all(Array.from({ length: 50 }, (_, i) => client.put(`k${i}`, "x"))),
    );
    expect(values).toHaveLength(50);
    expect(await world.until(client.getText("a"))).toBe("1");
  });

  test("when the leader dies and no node answers for the topology, the others are asked", async () => {
    const { world, cluster, client } = await connected(3, 1);
    await world.until(client.put("a", "1"));
    for (const node of cluster.nodes) node.behave((r) => (r.kind === "topology" ? "ignore" : "serve"));
    cluster.nodes[0]!.stop();
    cluster.leaders[0] = 1;
    expect(await world.until(client.put("b", "1"))).toBe(true);
  });

  test("an error that says 'not now' is tried again until it is over", async () => {
    const { world, cluster, client } = await connected(1, 1);
    cluster.nodes[0]!.behave((r) => ("key" in r ? errorResponse("UNAVAILABLE") : "serve"));
    const asked = client.put("a", "1");
    await world.pass(1500);
    cluster.nodes[0]!.behave(() => "serve");
    expect(await world.until(asked)).toBe(true);
    expect(cluster.executions.get("put a")).toBe(1);
  });
});

describe("writes whose answer is lost", () => {
  test("are sent again with the same stamp, and happen once", async () => {
    const { world, cluster, client } = await connected(1, 1);
    cluster.set("n", "1");
    cluster.nodes[0]!.behaveOnce("increment", "executeAndDrop");
    expect(await world.until(client.increment("n"))).toBe(2n);
    const sent = kinds(cluster.nodes[0]!, "increment") as Extract<ClientRequest, { kind: "increment" }>[];
    expect(sent).toHaveLength(2);
    expect(sent[1]!.stamp).toEqual(sent[0]!.stamp);
    expect(sent[0]!.stamp.session).toBeGreaterThan(0);
    expect(cluster.executions.get("increment n")).toBe(1);
  });

  test("without sessions are never sent twice, and the error says that they may have happened", async () => {
    const { world, cluster, client } = await connected(1, 1, { sessions: false });
    cluster.nodes[0]!.behaveOnce("increment", "executeAndDrop");
    const error = await failureOf(world, client.increment("n"));
    expect(error).toMatchObject({ code: "TIMEOUT", outcome: "unknown" });
    expect(error.message).toEndWith("; it may have happened");
    expect(kinds(cluster.nodes[0]!, "increment")).toHaveLength(1);
    expect(kinds(cluster.nodes[0]!, "openSession")).toHaveLength(0);
  });

  test("without sessions a node's own timeout is final, too", async () => {
    const { world, cluster, client } = await connected(1, 1, { sessions: false });
    cluster.nodes[0]!.behaveOnce("put", errorResponse("TIMEOUT"));
    expect(await failureOf(world, client.put("a", "1"))).toMatchObject({
      code: "TIMEOUT",
      outcome: "unknown",
    });
    expect(kinds(cluster.nodes[0]!, "put")).toHaveLength(1);
  });

  test("that were never sent are tried elsewhere even without sessions", async () => {
    const { world, cluster, client } = await connected(2, 1, { sessions: false });
    cluster.nodes[0]!.stop();
    cluster.leaders[0] = 1;
    await world.pass(10);
    expect(await world.until(client.put("a", "1"))).toBe(true);
    expect(cluster.executions.get("put a")).toBe(1);
  });

  test("reads are simply asked again", async () => {
    const { world, cluster, client } = await connected(1, 1, { sessions: false });
    cluster.set("a", "1");
    cluster.nodes[0]!.behaveOnce("get", "drop");
    expect(await world.until(client.getText("a"))).toBe("1");
  });
});

describe("sessions", () => {
  test("are opened once a shard, by the first write", async () => {
    const { world, cluster, client } = await connected(1, 4);
    await world.until(client.get("a"));
    expect(cluster.sessions.size).toBe(0);
    await world.until(Promise.all(Array.from({ length: 100 }, (_, i) => client.put(`k${i}`, ""))));
    expect(cluster.sessions.size).toBe(4);
  });

  test("a lost answer to the opening costs a session and nothing else", async () => {
    const { world, cluster, client } = await connected(1, 1);
    cluster.nodes[0]!.behaveOnce("openSession", "executeAndDrop");
    expect(await world.until(client.put("a", "1"))).toBe(true);
    expect(cluster.sessions.size).toBe(2);
  });

  test("number writes from 1 and acknowledge what was answered", async () => {
    const { world, cluster, client } = await connected(1, 1);
    for (let i = 0; i < 5; i++) await world.until(client.put(`k${i}`, ""));
    const puts = kinds(cluster.nodes[0]!, "put") as Extract<ClientRequest, { kind: "put" }>[];
    expect(puts.map(({ stamp }) => stamp.sequence)).toEqual([1, 2, 3, 4, 5]);
    expect(puts.map(({ stamp }) => stamp.acknowledgedBelow)).toEqual([1, 2, 3, 4, 5]);
  });

  test("no more than the window is under way, and an unanswered write holds back what runs ahead of it", async () => {
    const { world, cluster, client } = await connected(1, 1, { sessionWindow: 4 });
    const node = cluster.nodes[0]!;
    node.behave((r) => (r.kind === "put" && fromUtf8(r.key) === "k0" ? "ignore" : "serve"));
    const asked = Array.from({ length: 10 }, (_, i) => client.put(`k${i}`, ""));
    await world.pass(100);
    expect(kinds(node, "put").map((r) => (r.kind === "put" ? r.stamp.sequence : 0))).toEqual([1, 2, 3, 4]);
    node.behave(() => "serve");
    node.dropConnections();
    expect(await world.until(Promise.all(asked))).toHaveLength(10);
    for (let i = 0; i < 10; i++) expect(cluster.executions.get(`put k${i}`)).toBe(1);
  });

  test("one that expired is replaced for writes that were not sent before", async () => {
    const { world, cluster, client } = await connected(1, 1);
    await world.until(client.put("a", "1"));
    cluster.sessions.clear();
    const values = await world.until(
      Promise.all([client.put("b", ""), client.put("c", ""), client.put("d", "")]),
    );
    expect(values).toEqual([true, true, true]);
    expect(cluster.sessions.size).toBe(1);
    for (const key of ["b", "c", "d"]) expect(cluster.executions.get(`put ${key}`)).toBe(1);
  });

  test("that never last are asked for less and less often, until the write's time is over", async () => {
    const { world, cluster, client } = await connected(1, 1);
    const node = cluster.nodes[0]!;
    node.behave((r) => {
      if (r.kind === "put") cluster.sessions.clear();
      return "serve";
    });
    expect(await failureOf(world, client.put("a", "1"))).toMatchObject({
      code: "SESSION_EXPIRED",
      outcome: "notDone",
    });
    // In 5 s, one in a quarter of a second or so.
    expect(kinds(node, "openSession").length).toBeWithin(20, 50);
    expect(cluster.executions.has("put a")).toBe(false);
  });

  test("one that expired under a retry leaves the outcome unknown", async () => {
    const { world, cluster, client } = await connected(1, 1);
    await world.until(client.put("a", "1"));
    cluster.nodes[0]!.behave((r) => {
      if (r.kind !== "increment") return "serve";
      cluster.nodes[0]!.behave(() => "serve");
      cluster.execute(r);
      cluster.sessions.clear();
      return "drop";
    });
    expect(await failureOf(world, client.increment("n"))).toMatchObject({
      code: "SESSION_EXPIRED",
      outcome: "unknown",
    });
    expect(cluster.executions.get("increment n")).toBe(1);
  });

  test("are forgotten with the cluster they belong to", async () => {
    const { world, cluster, client } = await connected(1, 1);
    await world.until(client.put("a", "1"));
    await world.pass(100);
    cluster.clusterId = "c2";
    cluster.nodes[0]!.dropConnections();
    await world.pass(100);
    // The other cluster may have a session of the same number, which is somebody else's.
    await world.until(client.put("b", "1"));
    expect(cluster.sessions.size).toBe(2);
  });
});

describe("deadlines", () => {
  test("with no node there, connecting fails in time and says why", async () => {
    const world = new FakeWorld();
    const startMs = world.clock.nowMs();
    const error = await failureOf(
      world,
      Client.open({ addresses: ["10.0.0.1:1", "10.0.0.2:1"], requestTimeoutMs: 700 }, world),
    );
    expect(world.clock.nowMs() - startMs).toBeCloseTo(700, 0);
    expect(error.code).toBe("UNAVAILABLE");
    expect(error.message).toStartWith(
      "cannot connect to a cluster at 10.0.0.1:1, 10.0.0.2:1: topology failed after ",
    );
    expect(error.message).toContain("ECONNREFUSED");
  });

  test("an address where nothing answers delays no longer than the connect timeout", async () => {
    const world = new FakeWorld();
    const cluster = new FakeCluster(world, 1, 1);
    world.blackHoles.add("10.9.9.9:1");
    const startMs = world.clock.nowMs();
    await world.until(
      Client.open({ addresses: ["10.9.9.9:1", ...cluster.addresses], connectTimeoutMs: 300 }, world),
    );
    expect(world.clock.nowMs() - startMs).toBeLessThan(400);
  });

  test("when all nodes are gone, every request ends, and writes that were never sent say so", async () => {
    const { world, cluster, client } = await connected(3, 4);
    await world.until(client.put("a", "1"));
    for (const node of cluster.nodes) node.stop();
    await world.pass(10);
    const startMs = world.clock.nowMs();
    const error = await failureOf(world, client.put("a", "2"));
    expect(error).toMatchObject({ code: "UNAVAILABLE", outcome: "notDone", retryable: true });
    expect(world.clock.nowMs() - startMs).toBeCloseTo(5000, 0);
    expect((await failureOf(world, client.get("a"))).code).toBe("UNAVAILABLE");
  });

  test("a write that waits for a session in vain says why there is none", async () => {
    const { world, cluster, client } = await connected(1, 1);
    cluster.nodes[0]!.behave((r) => (r.kind === "openSession" ? errorResponse("READ_ONLY") : "serve"));
    const error = await failureOf(world, client.put("a", "1"));
    expect(error).toMatchObject({ code: "READ_ONLY", outcome: "notDone" });
    expect(error.message).toMatch(
      /^put of "a" failed: opening a session on shard 0 failed after \d+ attempts: 10\.0\.0\.1:7001 says READ_ONLY: as the test wants it; nothing was changed$/,
    );
  });

  test("what was said before an answer stayed away is not forgotten", async () => {
    const { world, cluster, client } = await connected(1, 1);
    let refusals = 0;
    cluster.nodes[0]!.behave((r) => {
      if (r.kind !== "get") return "serve";
      return refusals++ === 0 ? errorResponse("UNAVAILABLE") : "ignore";
    });
    expect((await failureOf(world, client.get("a"))).message).toBe(
      'get of "a" failed after 2 attempts: 10.0.0.1:7001 did not answer in time ' +
        "(before that: 10.0.0.1:7001 says UNAVAILABLE: as the test wants it)",
    );
  });

  test.each([
    ["ключ", 'get of "ключ" failed'],
    ["a\nb", 'get of "a\\x0ab" failed'],
    [new Uint8Array([0xff, 0x61, 0x00]), 'get of "\\xffa\\x00" failed'],
  ])("an error names key %p readably, and in one line", async (key, sentence) => {
    const { world, cluster, client } = await connected(1, 1, { requestTimeoutMs: 100 });
    cluster.nodes[0]!.behave(() => errorResponse("UNAVAILABLE"));
    expect((await failureOf(world, client.get(key))).message).toStartWith(sentence);
  });

  test("a write that was sent and not answered ends with outcome unknown", async () => {
    const { world, cluster, client } = await connected(1, 1, { requestTimeoutMs: 1000 });
    await world.until(client.put("a", "1"));
    cluster.nodes[0]!.behave((r) => (r.kind === "put" ? "ignore" : "serve"));
    const error = await failureOf(world, client.put("a", "2"));
    expect(error).toMatchObject({ code: "TIMEOUT", outcome: "unknown" });
    expect(error.message).toBe(
      'put of "a" failed after 1 attempt: 10.0.0.1:7001 did not answer in time; it may have happened',
    );
  });

  test("a node that fell silent is given up for another one", async () => {
    const { world, cluster, client } = await connected(3, 1);
    await world.until(client.put("a", "1"));
    cluster.nodes[0]!.behave(() => "ignore");
    cluster.leaders[0] = 1;
    const startMs = world.clock.nowMs();
    expect(await world.until(client.put("b", "1"))).toBe(true);
    expect(world.clock.nowMs() - startMs).toBeLessThan(3500);
    expect(cluster.executions.get("put b")).toBe(1);
  });

  test("reads that any node may serve do not wait for one that fell silent, nor do later ones ask it first", async () => {
    const { world, cluster, client } = await connected(3, 1);
    cluster.set("a", "1");
    for (let i = 0; i < 3; i++) await world.until(client.get("a", { consistency: "stale" }));
    const [, silent] = cluster.nodes as [FakeNode, FakeNode, FakeNode];
    silent.behave(() => "ignore");
    const startMs = world.clock.nowMs();
    const reads = Array.from({ length: 6 }, () => client.getText("a", { consistency: "stale" }));
    expect(await world.until(Promise.all(reads))).toEqual(["1", "1", "1", "1", "1", "1"]);
    await world.until(client.topology());
    const waitedMs = world.clock.nowMs() - startMs;
    expect(waitedMs).toBeGreaterThan(200);
    expect(waitedMs).toBeLessThan(350);
    const asked = kinds(silent, "get").length;
    for (let i = 0; i < 6; i++) await world.until(client.get("a", { consistency: "stale" }));
    expect(world.clock.nowMs() - startMs - waitedMs).toBeLessThan(50);
    expect(kinds(silent, "get")).toHaveLength(asked);
    // When it is heard again it takes its share again.
    silent.behave(() => "serve");
    await world.pass(400);
    for (let i = 0; i < 3; i++) await world.until(client.get("a", { consistency: "stale" }));
    expect(kinds(silent, "get").length).toBeGreaterThan(asked);
  });

  test("a read finds the leader that took over from one that fell silent", async () => {
    const { world, cluster, client } = await connected(3, 1);
    cluster.set("a", "1");
    await world.until(client.get("a"));
    cluster.nodes[0]!.behave(() => "ignore");
    world.after(900, () => {
      cluster.leaders[0] = 1;
    });
    const startMs = world.clock.nowMs();
    expect(await world.until(client.getText("a"))).toBe("1");
    expect(world.clock.nowMs() - startMs).toBeLessThan(1300);
  });

  test("a node that accepts connections and says nothing delays nobody for long who asks others as well", async () => {
    for (const order of [0, 1]) {
      const world = new FakeWorld();
      const cluster = new FakeCluster(world, 1, 1);
      world.serve("10.9.9.9:1", { opened: () => {}, received: () => {}, closed: () => {} });
      const addresses = [...cluster.addresses];
      addresses.splice(order, 0, "10.9.9.9:1");
      const startMs = world.clock.nowMs();
      await world.until(Client.open({ addresses }, world));
      expect(world.clock.nowMs() - startMs).toBeLessThan(350);
    }
  });

  test("a node that is only slow with one request is not given up", async () => {
    const { world, cluster, client } = await connected(1, 1, { requestTimeoutMs: 10_000 });
    await world.until(client.put("a", "1"));
    const node = cluster.nodes[0]!;
    node.behave((r) => (r.kind === "get" ? "ignore" : "serve"));
    const error = await failureOf(world, client.get("a"));
    expect(error.code).toBe("TIMEOUT");
    expect(kinds(node, "get")).toHaveLength(1);
    expect(kinds(node, "ping").length).toBeGreaterThan(5);
  });

  test("a named node that can't be reached is reported at once", async () => {
    const { world, cluster, client } = await connected(3, 1);
    cluster.nodes[2]!.stop();
    const startMs = world.clock.nowMs();
    expect((await failureOf(world, client.ping(cluster.nodes[2]!.address))).code).toBe("UNAVAILABLE");
    expect(world.clock.nowMs() - startMs).toBeLessThan(10);
  });
});

describe("closing", () => {
  test("ends what is under way and what comes after", async () => {
    const { world, cluster, client } = await connected(1, 1);
    await world.until(client.put("a", "1"));
    cluster.nodes[0]!.behave(() => "ignore");
    const read = client.get("a");
    const written = client.put("a", "2");
    // Both reject below; nobody listens until then.
    read.catch(() => undefined);
    written.catch(() => undefined);
    await world.pass(10);
    client.close();
    expect((await failureOf(world, read)).message).toContain("the client was closed");
    expect(await failureOf(world, written)).toMatchObject({ outcome: "unknown" });
    expect(await failureOf(world, client.get("a"))).toMatchObject({
      code: "UNAVAILABLE",
      outcome: "notDone",
    });
    await world.pass(10);
    expect(cluster.nodes[0]!.connections).toBe(0);
  });
});
