/** What whole nodes know of each other by gossip, over the connections that ship, on a virtual clock. */
import { expect, test } from "bun:test";
import { version } from "../../package.json";
import type { MemberState } from "../../protocol/gossip-messages.ts";
import { nodeId } from "../../protocol/ids.ts";
import type { ClusterStatus } from "../../protocol/messages.ts";
import { seededRandom } from "../../src/lib/prng.ts";
import { testSeed } from "../support/seed.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { bootFounders } from "./founders.ts";
import type { SimulatedMachine } from "./machine.ts";
import { MemoryNetwork } from "./network.ts";

const SHARDS = 4;
const NAMES = ["n1", "n2", "n3", "n4", "n5"];
/** From a death until every node calls it one, and from a return until nobody does. */
const DETECTION_MS_MAX = 3_000;
const RETURN_MS_MAX = 3_000;
/** An orderly stop writes tables and waits for its peers. */
const STOP_MS_MAX = 10_000;
const TEST_MS_MAX = 60_000;

class Cluster {
  readonly clock = new VirtualClock();
  readonly network = new MemoryNetwork(this.clock, seededRandom(testSeed("test/sim/gossip.test.ts")));
  readonly machines: readonly SimulatedMachine[];

  constructor() {
    const { network } = this;
    this.machines = bootFounders(NAMES, { network, random: network.random, shards: SHARDS });
  }

  machine(name: string): SimulatedMachine {
    return this.machines.find((machine) => machine.name === name)!;
  }

  async until(what: string, limitMs: number, condition: () => boolean | Promise<boolean>): Promise<number> {
    const startedMs = this.clock.nowMs();
    for (;;) {
      let holds: boolean | undefined;
      Promise.resolve(condition()).then((answer) => {
        holds = answer;
      });
      while (holds === undefined) await this.clock.step();
      if (holds) return this.clock.nowMs() - startedMs;
      const failures = this.machines.flatMap((machine) => machine.failures);
      if (failures.length > 0) throw new Error(failures.join("\n"));
      if (this.clock.nowMs() - startedMs > limitMs) throw new Error(`not within ${limitMs} ms: ${what}`);
      await this.clock.step();
    }
  }

  async status(name: string): Promise<ClusterStatus | undefined> {
    const answer = await this.machine(name).execute({ kind: "status", scope: "cluster" }, "redirect");
    return typeof answer !== "string" && answer.kind === "clusterStatus" ? answer.status : undefined;
  }

  /** Whether each of `names` says of all nodes what `states` has of them, `alive` where that has nothing. */
  async agree(names: readonly string[], states: Readonly<Record<string, MemberState>>): Promise<boolean> {
    const statuses = await Promise.all(names.map((name) => this.status(name)));
    return statuses.every((status) =>
      status?.nodes.every(({ id, state }) => state === (states[id] ?? "alive")),
    );
  }
}

test(
  "a node without power, one that was stopped and both when they are back, as the status of every node has it",
  async () => {
    const cluster = new Cluster();
    await cluster.until("all serve", 20_000, () =>
      cluster.machines.every((machine) => machine.status() !== undefined),
    );
    const areTold = async () => {
      const status = await cluster.status("n1");
      return status?.nodes.every(({ load }) => load !== null) ?? false;
    };
    await cluster.until("all have told what they carry", 10_000, areTold);

    cluster.machine("n3").end("powerLost");
    const others = NAMES.filter((name) => name !== "n3");
    const foundMs = await cluster.until("n3 is dead to all", DETECTION_MS_MAX, () =>
      cluster.agree(others, { n3: "dead" }),
    );
    expect(foundMs).toBeGreaterThan(500);
    // Who is dead is not asked: the answer does not wait for it.
    const askedMs = cluster.clock.nowMs();
    const rows: ClusterStatus["nodes"][number][] = [];
    await cluster.until("the status has come", 5_000, async () => {
      rows.push(...((await cluster.status("n1"))?.nodes ?? []));
      return rows.length > 0;
    });
    expect(cluster.clock.nowMs() - askedMs).toBeLessThan(100);
    const row = rows.find(({ id }) => id === nodeId("n3"))!;
    expect(row).toMatchObject({ state: "dead", status: null, error: "it answers nobody" });
    expect(row.lastSeenMs).toBeGreaterThan(500);
    expect(row.load?.version).toBe(version);

    cluster.machine("n4").stop();
    const rest = others.filter((name) => name !== "n4");
    await cluster.until("n4 has left", STOP_MS_MAX, () => cluster.agree(rest, { n3: "dead", n4: "left" }));
    await cluster.until("n4 has ended", STOP_MS_MAX, () => !cluster.machine("n4").isRunning);

    cluster.machine("n3").boot();
    cluster.machine("n4").boot();
    await cluster.until("both serve", 20_000, () =>
      cluster.machines.every((machine) => machine.status() !== undefined),
    );
    await cluster.until("all are alive to all", RETURN_MS_MAX, () => cluster.agree(NAMES, {}));
  },
  TEST_MS_MAX,
);
