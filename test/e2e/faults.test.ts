/** Processes that die, freeze and lose each other, while clients write and read all the time. */
import { expect, test } from "bun:test";
import type { Client } from "../../src/client/client.ts";
import { fromUtf8, utf8 } from "../../src/lib/bytes.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { keyOfEachShard } from "../support/keys.ts";
import { assertLinearizable } from "../support/linearizability.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { RawConnection, requestBytes } from "../support/raw-connection.ts";
import { testSeed } from "../support/seed.ts";
import { startWorkload, type Workload } from "../support/workload.ts";

const SEED = testSeed("faults");
const CLIENTS = 8;
const SHARDS = 8;
/** A shard that lost its leader takes writes again within this. */
const FAILOVER_MS_MAX = 2000;
/** `KILLS=20 bun test test/e2e/faults.test.ts -t "again and again"` for a distribution. */
const KILLS = Number(process.env.KILLS ?? 5);
/** How long the acknowledged writes that a test waits for may take. */
const PROGRESS_MS_MAX = 15_000;

/** Half of them number their writes and retry what was lost; the others have to live with unknown outcomes. */
async function startClients(cluster: TestCluster): Promise<Client[]> {
  return await Promise.all(
    Array.from({ length: CLIENTS }, (_, number) => cluster.connect({ sessions: number % 2 === 0 })),
  );
}

async function untilWritten(workload: Workload, count: number): Promise<void> {
  const goal = workload.acknowledged + count;
  await eventually(`${count} more acknowledged writes`, PROGRESS_MS_MAX, () => workload.acknowledged >= goal);
}

/** Ends the workload, reads everything once more, and judges the whole. */
async function judge(workload: Workload, reader: Client): Promise<void> {
  await workload.stop();
  await workload.readAll(reader);
  const { done, failed, unknown } = workload.counts;
  console.log(`history: ${done} operations done, ${failed} failed for certain, ${unknown} unknown`);
  assertLinearizable(workload.history);
}

/** How long after `sinceMs` a write to each of `keys` had been acknowledged. */
async function untilAllWritable(client: Client, keys: readonly string[], sinceMs: number): Promise<number> {
  await Promise.all(keys.map((key) => client.put(key, `since ${sinceMs}`)));
  return performance.now() - sinceMs;
}

test("the leader of most shards is killed again and again: nothing is lost, and writes go on in under 2 s", async () => {
  await withCluster({ shards: SHARDS }, async (cluster) => {
    const workload = startWorkload(await startClients(cluster), { seed: SEED });
    const prober = await cluster.connect();
    const probes = keyOfEachShard(SHARDS, "probe");
    const failovers: number[] = [];
    const gaps: number[] = [];
    for (let round = 0; round < KILLS; round++) {
      await untilWritten(workload, 200);
      const victim = await cluster.busiestLeader();
      const killedAt = performance.now();
      await victim.kill("SIGKILL");
      failovers.push(await untilAllWritable(prober, probes, killedAt));
      await untilWritten(workload, 200);
      gaps.push(workload.longestGapMs(killedAt, performance.now()));
      await victim.start();
      await cluster.untilCaughtUp(victim);
    }
    console.log(`from kill to a write in every shard, ms: ${list(failovers)}`);
    console.log(`longest time without any acknowledged write after each kill, ms: ${list(gaps)}`);
    await judge(workload, prober);
    expect(Math.max(...failovers)).toBeLessThan(FAILOVER_MS_MAX);
  });
}, 300_000);

test("all nodes are killed at once: everything that was acknowledged is there after a restart", async () => {
  await withCluster({ shards: SHARDS }, async (cluster) => {
    const workload = startWorkload(await startClients(cluster), { seed: SEED + 1 });
    await untilWritten(workload, 1000);
    for (let round = 0; round < 2; round++) {
      await Promise.all(cluster.nodes.map((node) => node.kill("SIGKILL")));
      const killedAt = performance.now();
      await Promise.all(cluster.nodes.map((node) => node.start()));
      await cluster.untilServing();
      await untilWritten(workload, 200);
      const gap = workload.longestGapMs(killedAt, performance.now());
      console.log(`longest time without an acknowledged write after all were killed: ${gap.toFixed(0)} ms`);
    }
    await judge(workload, await cluster.connect());
  });
}, 60_000);

test.each([
  ["linearizable", []],
  ["lease", ["--lease-drift-percent", "10"]],
] as const)(
  "a leader that freezes and wakes up serves nothing stale: %s",
  async (consistency, flags) => {
    await withCluster({ shards: SHARDS, flags }, async (cluster) => {
      const workload = startWorkload(await startClients(cluster), { seed: SEED + 2 });
      const client = await cluster.connect();
      const keys = keyOfEachShard(SHARDS, "frozen");
      for (let round = 0; round < 3; round++) {
        await Promise.all(keys.map((key) => client.put(key, `old ${round}`)));
        const frozen = await cluster.busiestLeader();
        const connections = await Promise.all(keys.map(() => RawConnection.open(frozen.port)));
        for (const connection of connections) await connection.handshake();
        // Where there are leases, it has some now.
        for (const key of keys) await client.get(key, { consistency });
        frozen.pause();
        const frozenAt = performance.now();
        await Promise.all(keys.map((key) => client.put(key, `new ${round}`)));
        console.log(
          `from a freeze to a write in every shard: ${(performance.now() - frozenAt).toFixed(0)} ms`,
        );
        // These wait in the sockets: they are the first thing that the node sees, still believing that it leads.
        for (const [index, key] of keys.entries()) {
          connections[index]!.send(requestBytes({ kind: "get", key: utf8(key), consistency }));
        }
        frozen.resume();
        const answers = await Promise.all(connections.map((connection) => connection.response()));
        for (const answer of answers) {
          if (answer.kind !== "error") {
            expect(answer.kind === "value" && fromUtf8(answer.value!)).toBe(`new ${round}`);
          }
        }
        for (const connection of connections) connection.close();
        await cluster.untilCaughtUp(frozen);
        await untilWritten(workload, 100);
      }
      await judge(workload, client);
    });
  },
  60_000,
);

test("a leader that is parted from the others, by lost packets or broken connections, serves nothing stale", async () => {
  await withCluster({ shards: SHARDS, proxies: "links" }, async (cluster) => {
    const workload = startWorkload(await startClients(cluster), { seed: SEED + 3 });
    const client = await cluster.connect();
    for (const how of ["stall", "cut"] as const) {
      await untilWritten(workload, 200);
      const parted = await cluster.busiestLeader();
      cluster.isolate(parted, how);
      const others = await connectPast(cluster, parted);
      const isolatedAt = performance.now();
      const keys = keyOfEachShard(SHARDS, `parted-${how}`);
      const failoverMs = await untilAllWritable(others, keys, isolatedAt);
      console.log(`from a partition (${how}) to a write in every shard: ${failoverMs.toFixed(0)} ms`);
      expect(failoverMs).toBeLessThan(FAILOVER_MS_MAX);
      // It finds no way around the partition, and says so to who asks nobody else.
      const redis = await RawConnection.open(parted.port);
      redis.send(utf8(`SET parted ${how}\r\n`));
      expect(await redis.line()).toStartWith("-");
      redis.close();
      cluster.rejoin(parted);
      await cluster.untilCaughtUp(parted);
    }
    await judge(workload, client);
  });
}, 60_000);

/** A client that first asks the nodes other than `node`. */
async function connectPast(cluster: TestCluster, node: NodeProcess): Promise<Client> {
  return await cluster.connect({
    addresses: cluster.addresses(cluster.others(node)),
    requestTimeoutMs: 10_000,
  });
}

function list(milliseconds: readonly number[]): string {
  return milliseconds.map((ms) => ms.toFixed(0)).join(", ");
}
