/** Nodes whose disks are really full, in a cluster that is used all the time. */
import { expect, test } from "bun:test";
import { type Client, FlotillaError } from "../../src/client/client.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { keyOfEachShard } from "../support/keys.ts";
import { assertLinearizable } from "../support/linearizability.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { testSeed } from "../support/seed.ts";
import { Ballast, canMount } from "../support/small-disk.ts";
import { startWorkload, type Workload } from "../support/workload.ts";

const SEED = testSeed("disk-full");
const SHARDS = 4;
const CLIENTS = 4;
/** Room for a segment of the log, a spare one, and some tables. */
const DISK_BYTES = 96 * 1024 * 1024;
const LARGE = "v".repeat(256 * 1024);
/** How long a node may take to notice that its disk is full, or is no more, and the cluster to act on it. */
const NOTICED_MS_MAX = 20_000;

function ballastOf(node: NodeProcess): Ballast {
  return new Ballast(node.pid, node.dataDirectory);
}

async function isReadOnly(cluster: TestCluster, node: NodeProcess): Promise<boolean> {
  const { nodes } = await cluster.status();
  return nodes.find(({ id }) => id === node.id)?.status?.readOnly === true;
}

/** Writes much, to each shard, until `isEnough` says so; refused or not. */
async function writeUntil(
  what: string,
  client: Client,
  isEnough: () => boolean | Promise<boolean>,
): Promise<void> {
  const keys = keyOfEachShard(SHARDS, "large");
  await eventually(what, 3 * NOTICED_MS_MAX, async () => {
    await Promise.allSettled(keys.map((key) => client.put(key, LARGE)));
    return await isEnough();
  });
}

async function judge(workload: Workload, reader: Client): Promise<void> {
  await workload.stop();
  await workload.readAll(reader);
  assertLinearizable(workload.history);
}

test.skipIf(!canMount())(
  "a node with a full disk takes nothing more and leads nothing; it comes back by itself once there is room",
  async () => {
    await withCluster({ shards: SHARDS, diskBytes: { n1: DISK_BYTES } }, async (cluster) => {
      const clients = await Promise.all(Array.from({ length: CLIENTS }, () => cluster.connect()));
      const workload = startWorkload(clients, { seed: SEED });
      const client = await cluster.connect();
      const full = cluster.node("n1");
      const ballast = ballastOf(full);
      ballast.fill();
      await writeUntil("n1 has a full disk", client, () => isReadOnly(cluster, full));
      await eventually("n1 leads nothing", NOTICED_MS_MAX, async () => {
        const { shards } = await cluster.status();
        return shards.every(({ leader }) => leader !== null && leader !== full.id);
      });
      const since = performance.now();
      await Promise.all(keyOfEachShard(SHARDS, "meanwhile").map((key) => client.put(key, "written")));
      console.log(`a write in every shard beside a full node: ${(performance.now() - since).toFixed(0)} ms`);
      expect(full.isRunning).toBe(true);

      ballast.remove();
      await eventually(
        "n1 takes writes again",
        NOTICED_MS_MAX,
        async () => !(await isReadOnly(cluster, full)),
      );
      await cluster.untilCaughtUp(full);
      await eventually("n1 leads again", NOTICED_MS_MAX, async () => {
        const { shards } = await cluster.status();
        return shards.some(({ leader }) => leader === full.id);
      });
      await judge(workload, client);
    });
  },
  120_000,
);

test.skipIf(!canMount())(
  "a cluster whose disks are all full refuses writes and answers reads, until there is room",
  async () => {
    const diskBytes = { n1: DISK_BYTES, n2: DISK_BYTES, n3: DISK_BYTES };
    await withCluster({ shards: SHARDS, diskBytes }, async (cluster) => {
      const clients = await Promise.all(Array.from({ length: CLIENTS }, () => cluster.connect()));
      const workload = startWorkload(clients, { seed: SEED + 1 });
      const client = await cluster.connect({ requestTimeoutMs: 2000 });
      const [kept] = keyOfEachShard(SHARDS, "kept") as [string];
      await client.put(kept, "here");
      const ballasts = cluster.nodes.map(ballastOf);
      for (const ballast of ballasts) ballast.fill();
      await writeUntil("all disks are full", client, async () => {
        const full = await Promise.all(cluster.nodes.map((node) => isReadOnly(cluster, node)));
        return full.every(Boolean);
      });
      const refusal = await client.put(kept, LARGE).catch((error: unknown) => error);
      expect(refusal).toBeInstanceOf(FlotillaError);
      expect((refusal as FlotillaError).code).toBe("READ_ONLY");
      expect(await client.getText(kept)).toBe("here");

      for (const ballast of ballasts) ballast.remove();
      await eventually("writes go on", NOTICED_MS_MAX, () => client.put(kept, "there"));
      expect(await client.getText(kept)).toBe("there");
      await judge(workload, client);
    });
  },
  120_000,
);
