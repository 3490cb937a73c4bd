/** Every command through the client library on three nodes, and that each write happens once. */
import { beforeAll, expect, test } from "bun:test";
import type { KeyValue } from "../../protocol/messages.ts";
import type { Client } from "../../src/client/client.ts";
import { compareBytes, fromUtf8, utf8 } from "../../src/lib/bytes.ts";
import { seededRandom } from "../../src/lib/prng.ts";
import { withCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { keyOfEachShard } from "../support/keys.ts";
import { codeOf } from "../support/outcome.ts";
import { testSeed } from "../support/seed.ts";
import { sharedCluster } from "../support/shared-cluster.ts";

const SEED = testSeed("commands");
const SHARDS = 8;
const cluster = sharedCluster({ shards: SHARDS });
let client: Client;

beforeAll(async () => {
  client = await cluster().connect();
});

test("put, get, exists and delete, in every shard", async () => {
  for (const key of keyOfEachShard(SHARDS, "basic")) {
    expect(await client.get(key)).toBeUndefined();
    expect(await client.exists(key)).toBe(false);
    expect(await client.delete(key)).toBe(false);
    expect(await client.put(key, "one")).toBe(true);
    expect(await client.put(key, "two")).toBe(true);
    expect(await client.getText(key)).toBe("two");
    expect(await client.exists(key)).toBe(true);
    expect(await client.put(key, "three", { condition: "ifAbsent" })).toBe(false);
    expect(await client.put(key, "four", { condition: "ifPresent" })).toBe(true);
    expect(await client.getText(key)).toBe("four");
    expect(await client.delete(key)).toBe(true);
    expect(await client.put(key, "five", { condition: "ifPresent" })).toBe(false);
    expect(await client.put(key, "six", { condition: "ifAbsent" })).toBe(true);
    expect(await client.getText(key)).toBe("six");
  }
});

test("keys and values are bytes, empty ones and large ones too", async () => {
  const key = Uint8Array.of(0, 0xff, 0x0d, 0x0a, 0x7b, 0x7d);
  for (const value of [
    new Uint8Array(0),
    Uint8Array.of(0, 255, 10),
    new Uint8Array(3 * 1024 * 1024).fill(7),
  ]) {
    await client.put(key, value);
    expect(Buffer.compare((await client.get(key))!, value)).toBe(0);
  }
  await client.put(new Uint8Array(65_535).fill(1), "the longest key");
  expect(await client.getText(new Uint8Array(65_535).fill(1))).toBe("the longest key");
  expect(await codeOf(client.put(new Uint8Array(65_536), "longer"))).toBe("TOO_LARGE notDone");
  expect(await codeOf(client.put("large", new Uint8Array(8 * 1024 * 1024 + 1)))).toBe("TOO_LARGE notDone");
  await client.put("large", new Uint8Array(8 * 1024 * 1024).fill(9));
  expect((await client.get("large"))?.length).toBe(8 * 1024 * 1024);
}, 20_000);

test("compare-and-set creates, changes, deletes, and refuses", async () => {
  expect(await client.compareAndSet("cas", "a", "b")).toBe(false);
  expect(await client.compareAndSet("cas", undefined, "a")).toBe(true);
  expect(await client.compareAndSet("cas", undefined, "x")).toBe(false);
  expect(await client.compareAndSet("cas", "a", "b")).toBe(true);
  expect(await client.compareAndSet("cas", "a", "c")).toBe(false);
  expect(await client.getText("cas")).toBe("b");
  expect(await client.compareAndSet("cas", "b", undefined)).toBe(true);
  expect(await client.exists("cas")).toBe(false);
});

test("keys with a time to live are gone after it, and not before", async () => {
  for (const key of keyOfEachShard(SHARDS, "ttl")) {
    expect(await client.put(key, "1", { ttlMs: 60_000 })).toBe(true);
    expect(await client.put(key, "2", { ttlMs: 60_000, condition: "ifAbsent" })).toBe(false);
    const left = (await client.ttl(key))!;
    expect(left > 30_000 && left <= 60_000).toBe(true);
    const startedAt = performance.now();
    expect(await client.expire(key, 250)).toBe(true);
    // Nobody writes meanwhile: it is the reads that move the log's time.
    await eventually("the key is gone", 5000, async () => (await client.get(key)) === undefined);
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(250);
    expect(await client.exists(key)).toBe(false);
    expect(await client.ttl(key)).toBeUndefined();
    expect(await client.put(key, "3", { ttlMs: 60_000, condition: "ifAbsent" })).toBe(true);
    expect(await client.increment(key)).toBe(4n);
    expect(await client.put(key, "5", { keepTtl: true })).toBe(true);
    expect(await client.ttl(key)).toBeGreaterThan(30_000);
    expect(await client.persist(key)).toBe(true);
    expect(await client.persist(key)).toBe(false);
    expect(await client.ttl(key)).toBe(Number.POSITIVE_INFINITY);
    expect(await client.expire(key, { expiresAtMs: 4_000_000_000_000 })).toBe(true);
    expect(await client.expiresAt(key)).toBe(4_000_000_000_000);
    expect(await client.put(key, "6")).toBe(true);
    expect(await client.expiresAt(key)).toBe(Number.POSITIVE_INFINITY);
    expect(await client.expire(key, { expiresAtMs: 0 })).toBe(true);
    expect(await client.get(key)).toBeUndefined();
    expect(await client.expire(key, 1000)).toBe(false);
  }
  expect(await codeOf(client.put("ttl", "1", { ttlMs: 0 }))).toBe("BAD_REQUEST notDone");
  expect(await codeOf(client.put("ttl", "1", { ttlMs: 1, keepTtl: true }))).toBe("BAD_REQUEST notDone");
  expect(await codeOf(client.expire("ttl", {}))).toBe("BAD_REQUEST notDone");
}, 20_000);

test("increments count, also down, and refuse what is no number", async () => {
  expect(await client.increment("n")).toBe(1n);
  expect(await client.increment("n", 41)).toBe(42n);
  expect(await client.increment("n", -50n)).toBe(-8n);
  expect(await client.getText("n")).toBe("-8");
  await client.put("n", "9223372036854775807");
  expect(await codeOf(client.increment("n"))).toBe("NOT_AN_INTEGER notDone");
  await client.put("n", "abc");
  expect(await codeOf(client.increment("n"))).toBe("NOT_AN_INTEGER notDone");
  expect(await client.getText("n")).toBe("abc");
});

test("increments of many clients add up", async () => {
  const clients = await Promise.all(Array.from({ length: 8 }, () => cluster().connect()));
  const keys = keyOfEachShard(SHARDS, "sum");
  const each = 50;
  const sums = await Promise.all(
    clients.flatMap((one) => keys.flatMap((key) => Array.from({ length: each }, () => one.increment(key)))),
  );
  expect(sums).toHaveLength(clients.length * keys.length * each);
  for (const key of keys) expect(await client.getText(key)).toBe(String(clients.length * each));
}, 20_000);

test("batches are written in every shard, and at once where that is asked for", async () => {
  const entries = Array.from({ length: 500 }, (_, i): [string, string] => [`batch${i}`, `value ${i}`]);
  await client.batch(entries);
  for (const [key, value] of entries.filter((_, i) => i % 25 === 0))
    expect(await client.getText(key)).toBe(value);
  await client.batch(
    [
      ["{one}a", "1"],
      ["{one}b", "2"],
    ],
    { atomic: true },
  );
  expect(await client.getText("{one}b")).toBe("2");
  expect(await codeOf(client.batch(entries, { atomic: true }))).toBe("CROSS_SHARD notDone");
});

test("a scan gives all keys of all shards in order, within its bounds", async () => {
  const random = seededRandom(SEED);
  const model = new Map<string, string>();
  while (model.size < 2500) model.set(`scan:${random.below(2 ** 32).toString(36)}`, String(model.size));
  await client.batch(model);
  const sorted = [...model.keys()].sort((a, b) => compareBytes(utf8(a), utf8(b)));
  const keysOf = async (entries: AsyncIterable<KeyValue>): Promise<string[]> => {
    const keys: string[] = [];
    for await (const { key } of entries) keys.push(fromUtf8(key));
    return keys;
  };
  expect(await keysOf(client.scan({ prefix: "scan:" }))).toEqual(sorted);
  expect(await keysOf(client.scan({ prefix: "scan:", keysOnly: true }))).toEqual(sorted);
  expect(await keysOf(client.scan({ prefix: "scan:", limit: 700 }))).toEqual(sorted.slice(0, 700));
  expect(await keysOf(client.scan({ start: sorted[100]!, end: sorted[1900]! }))).toEqual(
    sorted.slice(100, 1900),
  );
  expect(await keysOf(client.scan({ prefix: "none:" }))).toEqual([]);
  for await (const { key, value } of client.scan({ prefix: "scan:", limit: 50 })) {
    expect(fromUtf8(value)).toBe(model.get(fromUtf8(key))!);
  }
}, 20_000);

test("ping, topology and status", async () => {
  for (const node of cluster().nodes) expect(await client.ping(node.address)).toBeLessThan(1000);
  const topology = await client.topology();
  expect(topology.nodes.map(({ id }) => id as string).sort()).toEqual(["n1", "n2", "n3"]);
  expect(topology.shards).toHaveLength(SHARDS);
  for (const { replicas } of topology.shards) expect(replicas.map(String)).toEqual(["n1", "n2", "n3"]);
  // Who was started a moment later than the others was dead to them until then.
  const status = await eventually("all nodes are alive", 5000, async () => {
    const seen = await cluster().untilServing();
    return seen.nodes.every(({ state, status: own }) => state === "alive" && own !== null) && seen;
  });
  expect(status.shards.filter(({ shard }) => shard >= 0)).toHaveLength(SHARDS);
  expect(status.available).toBe(1);
  const own = await client.status({ scope: "node", address: cluster().nodes[1]!.address });
  expect(own.id as string).toBe("n2");
  expect(own.memory.residentBytes).toBeGreaterThan(10 * 1024 * 1024);
  // A node that started late is handed what it should lead, and not all at once.
  await eventually("every node leads something", 10_000, async () => {
    const { shards } = await cluster().untilServing();
    return new Set(shards.map(({ leader }) => leader)).size === 3;
  });
});

test("explain tells where the leader's engine finds a key", async () => {
  await client.put("explained", "value");
  const { steps, valueBytes } = await client.explain("explained");
  expect(steps.map(({ place, verdict }) => `${place}: ${verdict}`)).toEqual(["memtable: value"]);
  expect(valueBytes).toBe(5);
  await client.delete("explained");
  expect((await client.explain("explained")).steps.at(-1)?.verdict).toBe("deleted");
  expect((await client.explain("never there")).valueBytes).toBeNull();
});

test("a write whose answer is lost is sent again and happens once", async () => {
  await withCluster({ shards: 4, proxies: "front" }, async (lossy) => {
    const random = seededRandom(SEED + 1);
    let cuts = 0;
    let clientReplies = 0;
    lossy.filterReplies((_, greeting) => {
      // The fifth byte of a preamble says who calls: 1 is a client. Peers are left in peace.
      if (greeting[0] !== 0xf1 || greeting[4] !== 1) return "pass";
      // Every connection gets its handshake and a little more through, so that all of them come to their end.
      clientReplies++;
      if (random.below(30) !== 0) return "pass";
      cuts++;
      return "cut";
    });
    const clients = await Promise.all(
      Array.from({ length: 4 }, () => lossy.connect({ requestTimeoutMs: 20_000 })),
    );
    const keys = keyOfEachShard(4, "once");
    const each = 100;
    await Promise.all(
      clients.flatMap((one) =>
        keys.map(async (key) => {
          for (let i = 0; i < each; i++) await one.increment(key);
        }),
      ),
    );
    console.log(`${cuts} of ${clientReplies} replies to clients were lost`);
    expect(cuts).toBeGreaterThan(10);
    lossy.filterReplies(() => "pass");
    for (const key of keys) expect(await clients[0]!.getText(key)).toBe(String(clients.length * each));
  });
}, 60_000);
