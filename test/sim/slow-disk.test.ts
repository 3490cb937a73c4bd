/** Whole nodes on a virtual clock, one of which has a disk that takes its time: the others serve on. */
import { expect, test } from "bun:test";
import { shardId } from "../../protocol/ids.ts";
import { NO_SESSION } from "../../protocol/messages.ts";
import { utf8 } from "../../src/lib/bytes.ts";
import { seededRandom } from "../../src/lib/prng.ts";
import { testSeed } from "../support/seed.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { bootFounders } from "./founders.ts";
import type { SimulatedMachine } from "./machine.ts";
import { MemoryNetwork } from "./network.ts";

const SHARD = shardId(0);

class Cluster {
  readonly clock = new VirtualClock();
  readonly machines: readonly SimulatedMachine[];

  constructor() {
    const random = seededRandom(testSeed("slow disk"));
    const network = new MemoryNetwork(this.clock, random);
    this.machines = bootFounders(["n1", "n2", "n3"], { network, random, shards: 1 });
  }

  get leader(): SimulatedMachine | undefined {
    return this.machines.find((machine) => machine.describe(SHARD, 0)?.role === "leader");
  }

  /** Puts by turns through all nodes but `avoided`; how long each took until it was acknowledged. */
  async puts(count: number, avoided?: SimulatedMachine): Promise<number[]> {
    const asked = this.machines.filter((machine) => machine !== avoided);
    const took: number[] = [];
    for (let i = 0; i < count; i++) {
      const fromMs = this.clock.nowMs();
      let kind = "";
      const put = {
        kind: "put",
        stamp: NO_SESSION,
        key: utf8("k"),
        value: utf8("v"),
        condition: "always",
      } as const;
      // What waits at a leader while it hands over is refused, and may be asked for again.
      while (kind !== "boolean") {
        kind = "";
        asked[i % asked.length]!.execute(put, "forward").then((answer) => {
          kind =
            typeof answer !== "string" && answer.kind === "error"
              ? answer.error
              : String(Object(answer).kind);
        });
        await this.clock.until(() => kind !== "");
        expect(["boolean", "NOT_LEADER"]).toContain(kind);
      }
      took.push(this.clock.nowMs() - fromMs);
    }
    return took;
  }
}

const isSlow = (machine: SimulatedMachine) => machine.status()?.storage.slowDisk;

test("a leader whose disk is slow hands over, and gets its leadership back once the disk is well", async () => {
  const cluster = new Cluster();
  await cluster.clock.until(() => cluster.leader !== undefined);
  await cluster.puts(10);
  const slow = cluster.leader!;
  slow.syncMsMax = 3_000;
  // Somebody has to write, or nobody notices; and a sync may be quick by chance.
  for (let i = 0; i < 20 && cluster.leader === slow; i++) await cluster.puts(1);
  await cluster.clock.until(() => cluster.leader !== undefined);
  for (const ms of await cluster.puts(100, slow)) expect(ms).toBeLessThan(100);
  expect(cluster.machines.map(isSlow)).toEqual(cluster.machines.map((machine) => machine === slow));
  expect(cluster.leader).not.toBe(slow);
  slow.syncMsMax = 4;
  await cluster.clock.until(() => cluster.leader === slow);
  expect(cluster.machines.map(isSlow)).toEqual([false, false, false]);
  expect(slow.status()?.storage.slowDiskSpells).toBe(1);
});

test("a follower whose disk is slow keeps nobody waiting", async () => {
  const cluster = new Cluster();
  await cluster.clock.until(() => cluster.leader !== undefined);
  await cluster.puts(10);
  const slow = cluster.machines.find((machine) => machine !== cluster.leader)!;
  slow.syncMsMax = 5_000;
  for (const ms of await cluster.puts(200, slow)) expect(ms).toBeLessThan(100);
});
