/** Keyspaces on three nodes: apart from each other, and gone when they are dropped, whoever is killed meanwhile. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { fromUtf8, utf8 } from "../../src/lib/bytes.ts";
import { ENGINE_LIMITS } from "../../src/shard/engine-keys.ts";
import { open } from "../../src/storage/open.ts";
import { withCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { keyOfEachShard } from "../support/keys.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { codeOf } from "../support/outcome.ts";
import { RawConnection } from "../support/raw-connection.ts";

const SHARDS = 4;

test("the same keys in several keyspaces, through every door", async () => {
  await withCluster({ shards: SHARDS }, async (cluster) => {
    const client = await cluster.connect();
    expect(await client.listKeyspaces()).toEqual([]);
    await client.createKeyspace("orders");
    await client.createKeyspace("3");
    expect(await codeOf(client.createKeyspace("orders"))).toBe("BAD_REQUEST notDone");
    expect(await codeOf(client.createKeyspace("default"))).toBe("BAD_REQUEST notDone");
    expect(await codeOf(client.createKeyspace("q", { mode: "quorum" }))).toBe("BAD_REQUEST notDone");
    expect((await client.listKeyspaces()).map(({ id, name }) => `${id} ${name}`)).toEqual([
      "1 orders",
      "2 3",
    ]);
    const others = [client, await client.keyspace("orders"), await client.keyspace("3")];
    const keys = keyOfEachShard(SHARDS, "same");
    for (const [number, one] of others.entries()) {
      await one.putMany(keys.map((key) => [key, `value ${number}`]));
      await one.put("{tag}a", `a of ${number}`, { ttlMs: 60_000 });
    }
    for (const [number, one] of others.entries()) {
      const values = await one.getMany(keys);
      expect(values.map((value) => fromUtf8(value!))).toEqual(keys.map(() => `value ${number}`));
      const found: string[] = [];
      for await (const { key, value } of one.scan()) found.push(`${fromUtf8(key)}=${fromUtf8(value)}`);
      expect(found).toEqual([...keys.map((key) => `${key}=value ${number}`), `{tag}a=a of ${number}`].sort());
    }
    await others[1]!.deleteMany(keys);
    expect(await others[2]!.exists(keys[0]!)).toBe(true);
    expect(await client.exists(keys[0]!)).toBe(true);
    // Every node knows the keyspaces, for clients of Redis as well.
    for (const { port } of cluster.nodes) {
      const connection = await RawConnection.open(port);
      const expected = "+OK\r\n:5\r\n+OK\r\n:1\r\n-ERR DB index is out of range\r\n+OK\r\n:5\r\n";
      connection.send(
        utf8("SELECT 3\r\nDBSIZE\r\nSELECT orders\r\nDBSIZE\r\nSELECT 4\r\nSELECT 0\r\nDBSIZE\r\n"),
      );
      expect(fromUtf8(await connection.untilReceived(expected.length))).toBe(expected);
      connection.close();
    }
    await client.dropKeyspace("orders");
    // The other nodes hear of it by and by.
    const isGone = async () => (await codeOf(others[1]!.get("{tag}a"))) === "NO_KEYSPACE notDone";
    await eventually("the keyspace is gone", 5000, isGone);
    await client.createKeyspace("orders");
    expect(await (await client.keyspace("orders")).get("{tag}a")).toBeUndefined();
    expect(await others[2]!.getText("{tag}a")).toBe("a of 2");
  });
}, 60_000);

test("what a keyspace had goes from every disk, though all nodes die when it is dropped", async () => {
  await withCluster({ shards: SHARDS }, async (cluster) => {
    const client = await cluster.connect();
    const { id } = await client.createKeyspace("gone");
    await client.createKeyspace("stays");
    const [gone, stays] = [await client.keyspace("gone"), await client.keyspace("stays")];
    const keys = keyOfEachShard(SHARDS, "drop");
    await Promise.all(keys.flatMap((key) => [gone.put(key, "1"), stays.put(key, "2"), client.put(key, "3")]));
    await client.dropKeyspace("gone");
    await Promise.all(cluster.nodes.map((node) => node.kill("SIGKILL")));
    for (let round = 0; ; round++) {
      await Promise.all(cluster.nodes.map((node) => node.start()));
      await cluster.untilServing();
      // What is missing is told once a second.
      await stays.put("wait", "", { ttlMs: 1000 });
      await eventually("a second has passed", 10_000, async () => !(await stays.exists("wait")));
      await Promise.all(cluster.nodes.map((node) => node.kill("SIGTERM")));
      const counts = await Promise.all(cluster.nodes.map(countKeys));
      for (const count of counts) expect([count[0], count[id + 1]]).toEqual([SHARDS, SHARDS]);
      if (round < 10 && counts.some((count) => count[id] !== 0)) continue;
      for (const count of counts) expect(count[id]).toBe(0);
      console.log(`all of it was gone after ${round + 1} lives of the nodes`);
      break;
    }
  });
}, 120_000);

/** How many keys a stopped node has of each keyspace. */
async function countKeys(node: NodeProcess): Promise<Record<number, number>> {
  const counts: Record<number, number> = { 0: 0, 1: 0, 2: 0 };
  await using store = await open(join(node.dataDirectory, "engine"), { ...ENGINE_LIMITS });
  for (const [key] of store.scanSync({ now: Date.now() })) {
    if (key[0] !== 1) continue;
    counts[key[4]!] = (counts[key[4]!] ?? 0) + 1;
  }
  return counts;
}
