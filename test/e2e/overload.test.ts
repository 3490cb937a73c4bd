/** Far more is asked of a cluster of real processes than it can do, while others want little of it. */
import { expect, test } from "bun:test";
import { fileURLToPath } from "node:url";
import { withCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { keyOfEachShard } from "../support/keys.ts";
import { assertLinearizable } from "../support/linearizability.ts";
import { testSeed } from "../support/seed.ts";
import { startWorkload } from "../support/workload.ts";

const SEED = testSeed("overload");
const LOAD = fileURLToPath(new URL("../../bench/load.ts", import.meta.url));
const SHARDS = 8;
/** Each with a write of 8 KiB under way at any time: 64 MiB, of which a cluster on two cores does about a tenth a second. */
const CLIENTS = 8192;
const VALUE_BYTES = 8192;
const SECONDS = 4;
const GAP_MS_MAX = 5_000;
const RESIDENT_BYTES_MAX = 2 ** 31;
/** A write may wait for what is still under way, and no longer. */
const WELL_MS_MAX = 1_000;

test("a cluster that is asked for far too much goes on serving, and is well soon after", async () => {
  await withCluster({ shards: SHARDS }, async (cluster) => {
    const others = await Promise.all(Array.from({ length: 4 }, () => cluster.connect()));
    const workload = startWorkload(others, { seed: SEED });
    const startedMs = performance.now();
    const flags = ["--clients", CLIENTS, "--value-bytes", VALUE_BYTES, "--seconds", SECONDS, "--warmup", 0];
    const load = Bun.spawn(
      [process.execPath, LOAD, "--addr", cluster.addresses().join(), "--json", ...flags.map(String)],
      { stdout: "pipe", stderr: "ignore" },
    );
    const printed = new Response(load.stdout).text();
    let resident = 0;
    while (load.exitCode === null) {
      resident = Math.max(resident, ...cluster.nodes.map((node) => node.residentBytes()));
      await Promise.race([load.exited, cluster.status().catch(() => undefined)]);
    }
    const { ops_s: perSecond, errors } = JSON.parse((await printed).trim().split("\n").at(-1)!);
    const gapMs = workload.longestGapMs(startedMs, performance.now());
    console.log(
      `${perSecond} writes a second, ${errors} refused; others waited ${gapMs.toFixed(0)} ms at most for a write; ` +
        `${(resident / 2 ** 20).toFixed(0)} MiB resident at most`,
    );
    expect(perSecond).toBeGreaterThan(0);
    expect(gapMs).toBeLessThan(GAP_MS_MAX);
    expect(resident).toBeLessThan(RESIDENT_BYTES_MAX);
    expect(cluster.nodes.every(({ isRunning }) => isRunning)).toBe(true);

    const client = await cluster.connect();
    await eventually("a write in every shard is quick again", 20_000, async () => {
      const sinceMs = performance.now();
      await Promise.all(keyOfEachShard(SHARDS, "after").map((key) => client.put(key, "load")));
      return performance.now() - sinceMs < WELL_MS_MAX;
    });
    await workload.stop();
    await workload.readAll(client);
    assertLinearizable(workload.history);
  });
}, 120_000);
