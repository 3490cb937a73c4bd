/**
 * Cluster clients of Redis on real nodes: they ask CLUSTER SLOTS or NODES, route by themselves, and follow MOVED. A node is
 * killed while they work.
 */
import { describe, expect, test } from "bun:test";
import { RedisClient } from "bun";
import { Cluster } from "ioredis";
import { createCluster } from "redis";
import { type TestCluster, withCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { keyOfEachShard } from "../support/keys.ts";

const SHARDS = 8;
/** Five nodes, so that each holds some shards only. */
const MOVED = { nodes: 5, shards: SHARDS, flags: ["--redirect", "moved"] } as const;

/** What a cluster client of some library can do, in one shape for all of them. */
interface AnyClient {
  readonly name: string;
  set(key: string, value: string): Promise<unknown>;
  get(key: string): Promise<string | null>;
  close(): unknown;
}

async function ioredis(cluster: TestCluster): Promise<AnyClient> {
  const client = new Cluster(cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port })));
  // An error without a listener would be printed; each request tells its own.
  client.on("error", () => {});
  return {
    name: "ioredis",
    set: (key, value) => client.set(key, value),
    get: (key) => client.get(key),
    close: () => client.disconnect(),
  };
}

async function nodeRedis(cluster: TestCluster): Promise<AnyClient> {
  const client = createCluster({
    rootNodes: cluster.nodes.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` })),
  });
  client.on("error", () => {});
  client.on("node-error", () => {});
  await client.connect();
  return {
    name: "node-redis",
    set: (key, value) => client.set(key, value),
    get: (key) => client.get(key),
    close: () => client.destroy(),
  };
}

/** Asks until there is an answer: what an application does while nodes are dying. */
async function again<T>(work: () => Promise<T>): Promise<T> {
  const { answer } = await eventually("the cluster answers", 20_000, async () => ({ answer: await work() }));
  return answer;
}

describe("cluster clients", () => {
  for (const open of [ioredis, nodeRedis]) {
    test(`${open.name}: goes on when the node that leads most is killed`, async () => {
      await withCluster(MOVED, async (cluster) => {
        const client = await open(cluster);
        try {
          const keys = keyOfEachShard(SHARDS, "k");
          const written = new Map<string, string>();
          const round = async (number: number): Promise<void> => {
            await Promise.all(
              keys.map(async (key) => {
                await again(() => client.set(key, `${key}/${number}`));
                written.set(key, `${key}/${number}`);
                expect(await again(() => client.get(key))).toBe(written.get(key)!);
              }),
            );
          };
          for (let number = 0; number < 10; number++) await round(number);
          const victim = await cluster.busiestLeader();
          const killed = victim.kill("SIGKILL");
          for (let number = 10; number < 30; number++) await round(number);
          await killed;
          for (const key of keys) expect(await again(() => client.get(key))).toBe(written.get(key)!);
          await victim.start();
          await cluster.untilServing();
          for (let number = 30; number < 40; number++) await round(number);
        } finally {
          await client.close();
        }
      });
    }, 90_000);
  }
});

describe("one cluster", () => {
  test("redis-cli -c, redis-benchmark --cluster and CLUSTER's own truth", async () => {
    await withCluster(MOVED, async (cluster) => {
      const [first] = cluster.nodes;
      const keys = keyOfEachShard(SHARDS, "cli");
      if (Bun.which("redis-cli") !== null) {
        for (const key of keys) {
          expect(await cli(first!.port, "-c", "set", key, `v${key}`)).toBe("OK\n");
          expect(await cli(first!.port, "-c", "get", key)).toBe(`v${key}\n`);
        }
        const moved = (await Promise.all(keys.map((key) => cli(first!.port, "get", key)))).filter((reply) =>
          reply.startsWith("MOVED "),
        );
        expect(moved.length).toBeGreaterThan(0);
        expect(moved.length).toBeLessThan(SHARDS);
        expect(await cli(first!.port, "--cluster", "check", first!.address)).toContain(
          "All 16384 slots covered.",
        );
      }
      if (Bun.which("redis-benchmark") !== null) {
        const run = Bun.spawn(
          [
            "redis-benchmark",
            "-p",
            String(first!.port),
            "--cluster",
            "-t",
            "set,get",
            "-n",
            "3000",
            "-q",
            "-r",
            "100",
          ],
          { stderr: "pipe" },
        );
        const text = await new Response(run.stdout).text();
        expect(text).toMatch(/SET: \d+/);
        expect(text).toMatch(/GET: \d+/);
        expect(await run.exited).toBe(0);
      }
      // Each node tells the same slots under the same ids.
      const told = await eventually("all nodes know the same leaders", 20_000, async () => {
        const all = await Promise.all(cluster.nodes.map(({ address }) => slotsAndId(address)));
        return new Set(all.map(({ slots }) => slots)).size === 1 ? all : undefined;
      });
      expect(new Set(told.map(({ own }) => own)).size).toBe(cluster.nodes.length);
      for (const { own } of told) expect(told[0]!.slots).toContain(own);
    });
  }, 60_000);
});

async function slotsAndId(address: string): Promise<{ slots: string; own: string }> {
  const client = new RedisClient(`redis://${address}`);
  const slots = JSON.stringify(await client.send("CLUSTER", ["SLOTS"]));
  const own = String(await client.send("CLUSTER", ["MYID"]));
  client.close();
  return { slots, own };
}

async function cli(port: number, ...args: string[]): Promise<string> {
  const child = Bun.spawn(["redis-cli", "-p", String(port), ...args], { stdin: "ignore" });
  return await new Response(child.stdout).text();
}
