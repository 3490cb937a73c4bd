import { expect, test } from "bun:test";
import { fromUtf8 } from "../lib/bytes.ts";
import { Client } from "./cluster-client.ts";
import { FlotillaError } from "./errors.ts";
import { errorResponse, FakeCluster } from "./fake-cluster.ts";
import { FakeWorld } from "./fake-world.ts";
import type { ScanOptions } from "./scan.ts";

async function filled(count: number, nodes = 2, shards = 2) {
  const world = new FakeWorld();
  const cluster = new FakeCluster(world, nodes, shards);
  const client = await world.until(Client.open({ addresses: cluster.addresses }, world));
  for (let i = 0; i < count; i++) cluster.set(keyOf(i), `v${i}`);
  cluster.set("other", "x");
  const scans = () => cluster.nodes.flatMap((node) => node.received.filter(({ kind }) => kind === "scan"));
  return { world, cluster, client, scans };
}

const keyOf = (i: number): string => `k${String(i).padStart(4, "0")}`;
const firstKeys = (count: number): string[] => Array.from({ length: count }, (_, i) => keyOf(i));

async function keysOf(client: Client, options: ScanOptions): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of client.scan(options)) keys.push(fromUtf8(key));
  return keys;
}

test("all entries of all shards come, each once, in order", async () => {
  const { world, cluster, client } = await filled(500, 3, 16);
  cluster.scanEntriesMax = 10;
  expect(await world.until(keysOf(client, { prefix: "k" }))).toEqual(firstKeys(500));
  const values: string[] = [];
  for (const iterator = client.scan(); ; ) {
    const { value, done } = await world.until(iterator.next());
    if (done) break;
    values.push(fromUtf8(value.value));
  }
  expect(values).toHaveLength(501);
});

test("a scan stops at the limit, and at the end of the range", async () => {
  const { world, cluster, client } = await filled(95);
  cluster.scanEntriesMax = 10;
  expect(await world.until(keysOf(client, { limit: 25 }))).toEqual(firstKeys(25));
  const range = { start: "k0003", end: "k0006" };
  expect(await world.until(keysOf(client, range))).toEqual(["k0003", "k0004", "k0005"]);
  expect(await world.until(keysOf(client, { start: "k0006", end: "k0003" }))).toEqual([]);
  expect(await world.until(keysOf(client, { limit: 0 }))).toEqual([]);
  const failure = await world.until(keysOf(client, { limit: 1.5 }).catch((error) => error));
  expect((failure as FlotillaError).code).toBe("BAD_REQUEST");
});

test("a scan goes on after a key, whether that is there or not, and within its range", async () => {
  const { world, client } = await filled(20);
  expect(await world.until(keysOf(client, { after: "k0017", prefix: "k" }))).toEqual(["k0018", "k0019"]);
  expect(await world.until(keysOf(client, { after: "k00175" }))).toEqual(["k0018", "k0019", "other"]);
  expect(await world.until(keysOf(client, { after: "a", prefix: "k", limit: 1 }))).toEqual(["k0000"]);
  expect(await world.until(keysOf(client, { after: "z", prefix: "k" }))).toEqual([]);
});

test("a scan goes on after the longest of keys", async () => {
  const { world, cluster, client } = await filled(0);
  const longest = "k".repeat(65_535);
  for (const key of ["a", longest, "l"]) cluster.set(key, "");
  cluster.scanEntriesMax = 1;
  expect(await world.until(keysOf(client, {}))).toEqual(["a", longest, "l", "other"]);
});

test("a scan fetches a page of each shard, and no more until half of it is taken", async () => {
  const { world, cluster, client, scans } = await filled(400, 2, 4);
  cluster.scanEntriesMax = 20;
  const entries = client.scan({ prefix: "k" });
  await world.until(entries.next());
  await world.pass(1000);
  expect(scans()).toHaveLength(4);
  for (let i = 0; i < 60; i++) await world.until(entries.next());
  await world.pass(1000);
  // Each shard's second page is there or on its way, and no third one.
  expect(scans().length).toBeLessThanOrEqual(12);
  await world.until(entries.return());
  await world.pass(1000);
  expect(scans().length).toBeLessThanOrEqual(12);
});

test("no page is fetched twice: what is read is what was asked for", async () => {
  const { world, client, scans } = await filled(10_000, 3, 8);
  expect(await world.until(keysOf(client, {}))).toHaveLength(10_001);
  // 1250 keys a shard in pages that double from 125 on.
  expect(scans().length).toBeLessThanOrEqual(8 * 5);
});

test("leaders that move, and a node that dies, are not noticed", async () => {
  const { world, cluster, client } = await filled(300, 3, 8);
  cluster.scanEntriesMax = 7;
  const keys: string[] = [];
  const entries = client.scan({ prefix: "k" });
  for (let i = 0; ; i++) {
    if (i % 25 === 24) {
      cluster.term++;
      for (const shard of cluster.leaders.keys())
        cluster.leaders[shard] = i > 150 ? 1 + (shard % 2) : (i + shard) % 3;
    }
    if (i === 175) cluster.nodes[0]!.stop();
    const { value, done } = await world.until(entries.next());
    if (done) break;
    keys.push(fromUtf8(value.key));
  }
  expect(keys).toEqual(firstKeys(300));
});

test("a shard that answers with an error ends the scan, which can go on after its last key", async () => {
  const { world, cluster, client } = await filled(100, 2, 2);
  cluster.scanEntriesMax = 10;
  const keys: string[] = [];
  const failure = await world.until(
    (async () => {
      for await (const { key } of client.scan({ prefix: "k" })) {
        keys.push(fromUtf8(key));
        if (keys.length === 50) {
          cluster.nodes[0]!.behave((r) => (r.kind === "scan" ? errorResponse("INTERNAL") : "serve"));
        }
      }
    })().catch((error: unknown) => error),
  );
  expect(failure).toBeInstanceOf(FlotillaError);
  cluster.nodes[0]!.behave(() => "serve");
  const rest = await world.until(keysOf(client, { prefix: "k", after: keys.at(-1)! }));
  expect([...keys, ...rest]).toEqual(firstKeys(100));
});

/** Scans everything; `midway` happens after 20 entries. The keys with their values, and the error at the end. */
async function scanned(
  { world, client }: Awaited<ReturnType<typeof filled>>,
  snapshot: ScanOptions["snapshot"],
  midway: () => void,
): Promise<{ entries: Map<string, string>; error: FlotillaError | undefined }> {
  const entries = new Map<string, string>();
  const scan = client.scan({ prefix: "k", ...(snapshot === undefined ? {} : { snapshot }) });
  try {
    for (let i = 0; ; i++) {
      if (i === 20) midway();
      const { value, done } = await world.until(scan.next());
      if (done) return { entries, error: undefined };
      entries.set(fromUtf8(value.key), fromUtf8(value.value));
    }
  } catch (error) {
    return { entries, error: error as FlotillaError };
  }
}

test("with a snapshot every shard is what it was at the beginning, and it is let go of at the end", async () => {
  const set = await filled(200, 3, 4);
  set.cluster.scanEntriesMax = 10;
  const { entries, error } = await scanned(set, true, () => {
    for (let i = 0; i < 200; i++) set.cluster.set(keyOf(i), "changed");
    set.cluster.set("k0999", "new");
    // Who leads does not matter any more.
    set.cluster.leaders.reverse();
  });
  expect(error).toBeUndefined();
  expect([...entries.keys()]).toEqual(firstKeys(200));
  expect(new Set(entries.values()).has("changed")).toBe(false);
  await set.world.pass(100);
  expect(set.cluster.snapshots.size).toBe(0);
  // Without one, what is read late is what it is by then.
  const late = await scanned(set, undefined, () => set.cluster.set(keyOf(199), "late"));
  expect(late.entries.get(keyOf(199))).toBe("late");
});

test("a scan that the caller leaves lets go of its snapshots, too", async () => {
  const { world, cluster, client } = await filled(50, 2, 4);
  const scan = client.scan({ snapshot: true });
  await world.until(scan.next());
  expect(cluster.snapshots.size).toBe(4);
  await world.until(scan.return());
  await world.pass(100);
  expect(cluster.snapshots.size).toBe(0);
});

test("when the node of a snapshot dies the scan says that the snapshot is gone", async () => {
  const set = await filled(200, 3, 4);
  set.cluster.scanEntriesMax = 10;
  const { entries, error } = await scanned(set, true, () => set.cluster.nodes[0]!.stop());
  expect(error?.code).toBe("SNAPSHOT_GONE");
  expect(error?.message).toContain("the snapshot of shard");
  expect([...entries.keys()]).toEqual(firstKeys(entries.size));
});

test("or goes on without it, if the caller wants that, and is told which shard it is", async () => {
  const set = await filled(200, 3, 4);
  set.cluster.scanEntriesMax = 10;
  const lost: number[] = [];
  const { entries, error } = await scanned(set, { fallback: (shard) => lost.push(shard) }, () => {
    set.cluster.nodes[0]!.stop();
    set.cluster.term++;
    for (const shard of set.cluster.leaders.keys()) set.cluster.leaders[shard] = 1 + (shard % 2);
  });
  expect(error).toBeUndefined();
  expect([...entries.keys()]).toEqual(firstKeys(200));
  // Those that the first node led.
  expect(lost.sort()).toEqual([0, 3]);
});

test("a lease that has ended is a snapshot that is gone", async () => {
  const set = await filled(200, 2, 2);
  set.cluster.scanEntriesMax = 10;
  const { error } = await scanned(set, { leaseMs: 5 }, () => set.cluster.snapshots.clear());
  expect(error?.code).toBe("SNAPSHOT_GONE");
});
