/**
 * A leader is parted from others, in all the ways that there are, and a majority that can talk serves within two election
 * timeouts, of the longest there are: one until everybody knows, and one until there is another leader. The minority refuses.
 */
import { expect, test } from "bun:test";
import { shardId } from "../../protocol/ids.ts";
import { NO_SESSION } from "../../protocol/messages.ts";
import { utf8 } from "../../src/lib/bytes.ts";
import { seededRandom } from "../../src/lib/prng.ts";
import { DEFAULT_TIMINGS } from "../../src/timings.ts";
import { testSeed } from "../support/seed.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { bootFounders } from "./founders.ts";
import type { Answer, SimulatedMachine } from "./machine.ts";
import { type LinkState, MemoryNetwork } from "./network.ts";

const SEED = testSeed("partition");
const ROUNDS = Number(process.env.ROUNDS ?? 8);
const SHARD = shardId(0);
const { electionTicks, tickMs, requestTimeoutMs } = DEFAULT_TIMINGS;
const LONGEST_TIMEOUT_MS = 2 * electionTicks * tickMs;
/** What an election and a write take on top, on the network and the disks of this test. */
const REST_MS = 200;

class Cluster {
  readonly clock = new VirtualClock();
  readonly network: MemoryNetwork;
  readonly machines: readonly SimulatedMachine[];

  constructor(seed: number) {
    const random = seededRandom(seed);
    this.network = new MemoryNetwork(this.clock, random);
    this.machines = bootFounders(["n1", "n2", "n3"], { network: this.network, random, shards: 1 });
  }

  get leader(): SimulatedMachine | undefined {
    return this.machines.find((machine) => machine.describe(SHARD, 0)?.role === "leader");
  }

  others(machine: SimulatedMachine): SimulatedMachine[] {
    return this.machines.filter((other) => other !== machine);
  }

  link(from: SimulatedMachine, to: SimulatedMachine, state: LinkState): void {
    this.network.setLink(from.name, to.name, state);
  }

  /** Has `machine` put something until it is acknowledged; how long that took. */
  async put(machine: SimulatedMachine): Promise<number> {
    const fromMs = this.clock.nowMs();
    for (;;) {
      const answer = await this.#answer(machine);
      if (typeof answer !== "string" && answer.kind === "boolean") return this.clock.nowMs() - fromMs;
      if (this.clock.nowMs() > fromMs + 60_000) throw new Error("no write went through in a minute");
    }
  }

  async #answer(machine: SimulatedMachine): Promise<Answer> {
    const [key, value] = [utf8("k"), utf8("v")];
    const put = { kind: "put", stamp: NO_SESSION, key, value, condition: "always" } as const;
    let answer: Answer | undefined;
    machine.execute(put, "forward").then((given) => {
      answer = given;
    });
    await this.clock.until(() => answer !== undefined);
    return answer!;
  }

  /** What a client that asks `machine`, and nobody else, is told in the end. */
  async refusal(machine: SimulatedMachine): Promise<string> {
    const fromMs = this.clock.nowMs();
    const answer = await this.#answer(machine);
    expect(this.clock.nowMs() - fromMs).toBeLessThan(2 * requestTimeoutMs);
    return typeof answer !== "string" && answer.kind === "error" ? answer.error : JSON.stringify(answer);
  }
}

const WAYS: Readonly<Record<string, (cluster: Cluster, leader: SimulatedMachine) => void>> = {
  "both ways": (cluster, leader) => {
    cluster.network.setLinks(leader.name, cluster.machines, "stalled");
  },
  refused: (cluster, leader) => {
    cluster.network.setLinks(leader.name, cluster.machines, "refused");
  },
  "so that it hears nobody": (cluster, leader) => {
    for (const other of cluster.others(leader)) cluster.link(other, leader, "stalled");
  },
  "so that nobody hears it": (cluster, leader) => {
    for (const other of cluster.others(leader)) cluster.link(leader, other, "stalled");
  },
};

for (const [way, part] of Object.entries(WAYS)) {
  test(`a leader is parted from all others, ${way}: the others serve within two election timeouts, and it refuses`, async () => {
    let longest = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const cluster = new Cluster(SEED + round);
      await cluster.clock.until(() => cluster.leader !== undefined);
      const leader = cluster.leader!;
      await cluster.put(leader);
      part(cluster, leader);
      const [first] = cluster.others(leader) as [SimulatedMachine];
      longest = Math.max(longest, await cluster.put(first));
      expect(["UNAVAILABLE", "TIMEOUT"]).toContain(await cluster.refusal(leader));
    }
    console.log(`${way}: ${Math.round(longest)} ms at most, of ${ROUNDS}`);
    expect(longest).toBeLessThan(2 * LONGEST_TIMEOUT_MS + REST_MS);
  }, 60_000);
}

test("a leader that can't talk with one of two others goes on leading, and nobody is in its way", async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const cluster = new Cluster(SEED + round);
    await cluster.clock.until(() => cluster.leader !== undefined);
    const leader = cluster.leader!;
    await cluster.put(leader);
    const [cut, bridge] = cluster.others(leader) as [SimulatedMachine, SimulatedMachine];
    const { term } = leader.describe(SHARD, 0)!;
    cluster.link(leader, cut, "stalled");
    cluster.link(cut, leader, "stalled");
    const untilMs = cluster.clock.nowMs() + 20 * LONGEST_TIMEOUT_MS;
    while (cluster.clock.nowMs() < untilMs) expect(await cluster.put(bridge)).toBeLessThan(REST_MS);
    expect(leader.describe(SHARD, 0)).toMatchObject({ role: "leader", term });
  }
}, 60_000);
