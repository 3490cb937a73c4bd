/** Scans through real processes: over moves, kills, and as of one moment. */
import { expect, test } from "bun:test";
import { type Client, FlotillaError } from "../../src/client/client.ts";
import { fromUtf8 } from "../../src/lib/bytes.ts";
import { withCluster } from "../support/cluster.ts";

const SHARDS = 8;
/** More than the first page of each shard. */
const COUNT = 4000;
const keyOf = (i: number): string => `scan:${String(i).padStart(5, "0")}`;
const ALL = Array.from({ length: COUNT }, (_, i) => keyOf(i));

async function fill(client: Client, value: string): Promise<void> {
  await client.putMany(ALL.map((key) => [key, value] as const));
}

test("a scan goes on through moved leaders and a killed node, and leaves nothing out", async () => {
  await withCluster({ shards: SHARDS }, async (cluster) => {
    const client = await cluster.connect();
    await fill(client, "x");
    const keys: string[] = [];
    for await (const { key } of client.scan({ prefix: "scan:" })) {
      keys.push(fromUtf8(key));
      if (keys.length === 500) await client.transferLeader("n2").catch(() => undefined);
      if (keys.length === 1500) void (await cluster.busiestLeader()).kill("SIGKILL");
    }
    expect(keys).toEqual(ALL);
    // What the client has of the way it took: it learned of the leaders, and asked few nodes in vain.
    console.log(`requests: ${JSON.stringify(client.counts)}`);
  });
}, 60_000);

test("with a snapshot it is of the beginning, also when leaders move; when its node is killed it says so", async () => {
  await withCluster({ shards: SHARDS }, async (cluster) => {
    const client = await cluster.connect();
    await fill(client, "before");
    const scan = client.scan({ prefix: "scan:", snapshot: true });
    const values = new Set<string>();
    const keys: string[] = [];
    for (let i = 0; i < 100; i++) {
      const { value } = await scan.next();
      keys.push(fromUtf8(value!.key));
    }
    await fill(client, "after");
    await client.put("scan:new", "after");
    for (const node of ["n1", "n2", "n3"]) await client.transferLeader(node, {}).catch(() => undefined);
    for await (const { key, value } of scan) {
      keys.push(fromUtf8(key));
      values.add(fromUtf8(value));
    }
    expect(keys).toEqual(ALL);
    expect([...values]).toEqual(["before"]);

    const lost = client.scan({ prefix: "scan:", snapshot: true });
    for (let i = 0; i < 100; i++) await lost.next();
    const fallenBack: number[] = [];
    const kept = client.scan({ prefix: "scan:", snapshot: { fallback: (shard) => fallenBack.push(shard) } });
    const seen: string[] = [];
    for (let i = 0; i < 100; i++) seen.push(fromUtf8((await kept.next()).value!.key));
    await (await cluster.busiestLeader()).kill("SIGKILL");
    const failure = await (async () => {
      for await (const _ of lost);
    })().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(FlotillaError);
    expect((failure as FlotillaError).code).toBe("SNAPSHOT_GONE");
    for await (const { key } of kept) seen.push(fromUtf8(key));
    expect(seen).toEqual([...ALL, "scan:new"]);
    expect(fallenBack.length).toBeGreaterThan(0);
  });
}, 60_000);
