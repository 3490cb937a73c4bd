/** Cluster clients of Redis while the nodes under them come, go and die. */
import { expect, test } from "bun:test";
import { Cluster } from "ioredis";
import { type TestCluster, withCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { keyOfEachShard } from "../support/keys.ts";

const SHARDS = 4;
const FLAGS = ["--redirect", "moved"] as const;
const CHANGE_MS_MAX = 30_000;

/** Waits until nothing is on its way to another node, and `nodes` hold everything. */
async function untilHeldBy(cluster: TestCluster, nodes: readonly string[]): Promise<void> {
  await eventually(`the shards lie on ${nodes}`, CHANGE_MS_MAX, async () => {
    const { moves, nodes: rows, available } = await cluster.status();
    const holds = (id: string): boolean =>
      rows.some((row) => row.id === id && (row.status?.shards.some(({ shard }) => shard >= 0) ?? false));
    const others = rows.filter(({ id }) => !nodes.includes(id));
    return moves.length === 0 && available === 1 && nodes.every(holds) && !others.some(({ id }) => holds(id));
  });
}

/** Writes growing numbers to keys, one after the other, and reads each back. */
class Counter {
  readonly #client: Cluster;
  readonly #keys: readonly string[];
  /** By key: the last number that was acknowledged. */
  readonly #acknowledged = new Map<string, number>();
  #running = true;
  readonly #done: Promise<void>;
  rounds = 0;

  constructor(client: Cluster, keys: readonly string[]) {
    this.#client = client;
    this.#keys = keys;
    this.#done = this.#run();
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
    for (const key of this.#keys) await this.#check(key);
  }

  async #run(): Promise<void> {
    while (this.#running) {
      for (const key of this.#keys) {
        const number = (this.#acknowledged.get(key) ?? 0) + 1;
        const answer = await this.#client.set(key, String(number)).catch(() => undefined);
        if (answer !== "OK") continue;
        this.#acknowledged.set(key, number);
        await this.#check(key);
      }
      this.rounds++;
    }
  }

  /** What a write that was not acknowledged has left is one more at most. */
  async #check(key: string): Promise<void> {
    const wanted = this.#acknowledged.get(key) ?? 0;
    const { found } = await eventually(`an answer to GET ${key}`, CHANGE_MS_MAX, async () => ({
      found: Number(await this.#client.get(key)),
    }));
    expect([wanted, wanted + 1]).toContain(found);
  }
}

test("ioredis' Cluster and redis-cli -c work throughout a join, a drain and a killed node", async () => {
  await withCluster({ shards: SHARDS, flags: FLAGS }, async (cluster) => {
    const client = new Cluster(cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port })));
    client.on("error", () => {});
    const counter = new Counter(client, keyOfEachShard(SHARDS, "count"));
    const operator = await cluster.connect();
    const n4 = cluster.joiner("n4", ...FLAGS);
    await n4.start();
    await untilHeldBy(cluster, ["n1", "n2", "n3", "n4"]);
    await expectCli(n4.port, "joined");

    await operator.drainNode("n1");
    await cluster.node("n3").kill("SIGKILL");
    await expectCli(n4.port, "killed");
    await cluster.node("n3").start();
    await untilHeldBy(cluster, ["n2", "n3", "n4"]);
    await expectCli(cluster.node("n1").port, "drained");

    const { rounds } = counter;
    await eventually("the clients go on", CHANGE_MS_MAX, () => counter.rounds >= rounds + 5);
    await counter.stop();
    client.disconnect();
  });
}, 120_000);

/** Sets and reads a key of each shard through one node, where redis-cli is there. */
async function expectCli(port: number, value: string): Promise<void> {
  if (Bun.which("redis-cli") === null) return;
  for (const key of keyOfEachShard(SHARDS, "cli")) {
    await eventually(`redis-cli -c sets ${key}`, CHANGE_MS_MAX, async () => {
      return (await cli(port, "set", key, value)) === "OK\n";
    });
    await eventually(`redis-cli -c reads ${key}`, CHANGE_MS_MAX, async () => {
      return (await cli(port, "get", key)) === `${value}\n`;
    });
  }
}

async function cli(port: number, ...args: string[]): Promise<string> {
  const child = Bun.spawn(["redis-cli", "-c", "-p", String(port), ...args], {
    ...{ stdin: "ignore", stderr: "ignore" },
    timeout: 5000,
  });
  return await new Response(child.stdout).text();
}
