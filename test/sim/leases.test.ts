/** Reads by a lease: three whole nodes on a virtual clock, of which the one that leads loses the others. */
import { expect, test } from "bun:test";
import { nodeId, shardId } from "../../protocol/ids.ts";
import type { ClientRequest, Consistency } from "../../protocol/messages.ts";
import { NO_SESSION } from "../../protocol/messages.ts";
import { memberAt } from "../../src/config.ts";
import { fromUtf8, utf8 } from "../../src/lib/bytes.ts";
import { seededRandom } from "../../src/lib/prng.ts";
import { testSeed } from "../support/seed.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { bootFounders } from "./founders.ts";
import { type Answer, SimulatedMachine } from "./machine.ts";
import { MemoryNetwork } from "./network.ts";

const KEY = utf8("k");
/** With the default times, and a drift of 10 percent. */
const LEASE_MS = 352;
const PROMISE_MS = 441;

class Cluster {
  readonly clock = new VirtualClock();
  readonly network: MemoryNetwork;
  readonly machines: readonly SimulatedMachine[];
  leader!: SimulatedMachine;

  constructor(nodes: number, leaseDriftPercent: number) {
    const random = seededRandom(testSeed("leases"));
    this.network = new MemoryNetwork(this.clock, random);
    const names = Array.from({ length: nodes }, (_, i) => `n${i + 1}`);
    this.machines = bootFounders(names, { network: this.network, random, shards: 1, leaseDriftPercent });
  }

  /** Has a leader that has written `v` and was confirmed just now. */
  static async serving(leaseDriftPercent: number): Promise<Cluster> {
    const cluster = new Cluster(3, leaseDriftPercent);
    const leads = (machine: SimulatedMachine) => machine.describe(shardId(0), 0)?.role === "leader";
    await cluster.clock.until(() => cluster.machines.some(leads));
    cluster.leader = cluster.machines.find(leads)!;
    const value = utf8("v");
    await cluster.answer({ kind: "put", stamp: NO_SESSION, key: KEY, value, condition: "always" });
    expect(await cluster.read("linearizable")).toBe("v");
    return cluster;
  }

  /** What the leader answers within 100 ms; `undefined` if nothing. */
  async answer(request: ClientRequest): Promise<Answer | undefined> {
    let answer: Answer | undefined;
    this.leader.execute(request, "redirect").then((given) => {
      answer = given;
    });
    const untilMs = this.clock.nowMs() + 100;
    await this.clock.until(() => answer !== undefined || this.clock.nowMs() >= untilMs);
    return answer;
  }

  async read(consistency: Consistency): Promise<string | undefined> {
    const answer = await this.answer({ kind: "get", key: KEY, consistency });
    if (typeof answer !== "object" || answer.kind !== "value") return undefined;
    return fromUtf8(answer.value!);
  }

  cutOff(): void {
    this.network.setLinks(this.leader.name, this.machines, "stalled");
  }

  pass(ms: number): Promise<void> {
    const untilMs = this.clock.nowMs() + ms;
    return this.clock.until(() => this.clock.nowMs() >= untilMs);
  }
}

test("a leader answers by its lease until that ends, and other reads not at all", async () => {
  const cluster = await Cluster.serving(10);
  cluster.cutOff();
  expect(await cluster.read("lease")).toBe("v");
  expect(await cluster.read("linearizable")).toBeUndefined();
  expect(await cluster.read("lease")).toBe("v");
  await cluster.pass(LEASE_MS);
  expect(await cluster.read("lease")).toBeUndefined();
});

test("a pause that the monotonic clock does not see ends it", async () => {
  const cluster = await Cluster.serving(10);
  cluster.cutOff();
  // The node has had a look at its clocks, and had none set.
  await cluster.pass(60);
  expect(await cluster.read("lease")).toBe("v");
  cluster.leader.suspend();
  await cluster.pass(100);
  cluster.leader.resume();
  expect(await cluster.read("lease")).toBeUndefined();
});

test("without a bound for clocks there is none, and the read asks a majority", async () => {
  const cluster = await Cluster.serving(0);
  expect(await cluster.read("lease")).toBe("v");
  cluster.cutOff();
  expect(await cluster.read("lease")).toBeUndefined();
});

test("a node that is started without leases keeps what it promised before", async () => {
  const clock = new VirtualClock();
  const random = seededRandom(testSeed("promise"));
  const member = memberAt(nodeId("n1"), "n1", 7001);
  const parts = {
    ...{ network: new MemoryNetwork(clock, random), member, members: [member], joins: false, shards: 1 },
    ...{ random, sizes: {}, tell: () => {}, leaseDriftPercent: 10 },
  };
  const machine = new SimulatedMachine(parts);
  const startMs = async () => {
    machine.boot();
    const fromMs = clock.nowMs();
    await clock.until(() => machine.status() !== undefined);
    machine.end("killed");
    return clock.nowMs() - fromMs;
  };
  expect(await startMs()).toBeLessThan(PROMISE_MS);
  parts.leaseDriftPercent = 0;
  expect(await startMs()).toBeGreaterThanOrEqual(2 * PROMISE_MS);
  expect(await startMs()).toBeLessThan(PROMISE_MS);
});
