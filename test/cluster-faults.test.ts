/**
 * A whole cluster of three nodes, and of a fourth that is added in most runs, in one process, on a virtual clock: the code that ships, on disks that forget, over a
 * network that stalls, breaks and cuts, in processes that pause and end at any disk operation. Clients write and read all
 * the time. Tiny memtables, tables and log segments make flushes, compactions and dropped and reused segments part of
 * every run, and a short log snapshots part of most.
 *
 * After the faults everything is healed. Then every shard serves again within ten election timeouts, all replicas become
 * equal, every request has been answered once, no two nodes were seen to lead one shard in one term, and one order of the
 * operations explains everything that clients were told.
 *
 * `SEED` decides all of it: two runs of one seed do the same, to the byte. `RUNS` in the environment makes it that many
 * runs, of the seeds that follow.
 */
import { expect, test } from "bun:test";
import { type NodeId, nodeId, shardId } from "../protocol/ids.ts";
import type { ClientRequest } from "../protocol/messages.ts";
import { DEFAULT_TIMINGS, memberAt } from "../src/config.ts";
import { fromUtf8 } from "../src/lib/bytes.ts";
import { type Random, seededRandom } from "../src/lib/prng.ts";
import { assertLinearizable } from "./support/linearizability.ts";
import { MemoryNetwork } from "./support/memory-network.ts";
import { testSeed } from "./support/seed.ts";
import { SimulatedClients } from "./support/simulated-clients.ts";
import { SimulatedFaults } from "./support/simulated-faults.ts";
import { SimulatedMachine } from "./support/simulated-machine.ts";
import { VirtualClock } from "./support/virtual-clock.ts";

const RUNS = Number(process.env.RUNS ?? 24);
const TEST_MS_MAX = Math.max(180_000, RUNS * 10_000);
const SHARDS = 2;
const CLIENTS = 8;
const KEYS = 15;
const FAULTS_MS = 10_000;
/** How long the last requests, and the last replica, may take once all is well. */
const ANSWERS_MS = 40_000;
const EQUAL_MS = 10_000;
const EVENTS_SHOWN = 60;
const ELECTION_TIMEOUT_MS = DEFAULT_TIMINGS.electionTicks * DEFAULT_TIMINGS.tickMs;

let snapshotsInstalled = 0;
let membersChanged = 0;

test(
  `a cluster keeps its word through every fault, ${RUNS} times`,
  async () => {
    const seed = testSeed("cluster-faults");
    for (let run = 0; run < RUNS; run++) await new Run(seed + run).run();
    console.log(
      `cluster-faults: ${snapshotsInstalled} snapshots were installed, members changed ${membersChanged} times`,
    );
    expect(snapshotsInstalled).toBeGreaterThan(RUNS / 4);
  },
  TEST_MS_MAX,
);

class Run {
  readonly #random: Random;
  readonly #clock = new VirtualClock();
  readonly #network: MemoryNetwork;
  readonly #machines: readonly SimulatedMachine[];
  readonly #clients: SimulatedClients;
  /** By shard and term: who was seen leading. */
  readonly #leaders = new Map<string, NodeId>();
  readonly #problems: string[] = [];
  readonly #roles = new Map<string, "voter" | "learner">(["n1", "n2", "n3"].map((name) => [name, "voter"]));
  readonly #events: string[] = [];
  readonly #seed: number;
  readonly #faults: SimulatedFaults;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = seededRandom(seed);
    const random = this.#random;
    this.#network = new MemoryNetwork(this.#clock, random);
    const founders = ["n1", "n2", "n3"].map((name) => memberAt(nodeId(name), name, 7001));
    const all = [...founders, memberAt(nodeId("n4"), "n4", 7001)];
    const sizes = {
      engine: {
        memtableBytes: 1024 << random.below(3),
        blockBytes: 256,
        tableBytes: 2048,
        level0Tables: 2,
        level1Bytes: 8192,
        manifestBytes: 2048,
      },
      log: { segmentBytes: 2048 << random.below(3), cacheBytes: 1024 },
      // In two runs of three, who was away needs a snapshot.
      logBytesMax: random.below(3) === 0 ? 1 << 30 : 4096 << random.below(3),
      // Small appends, so that what a follower misses comes in several, and some of them late.
      replication: {
        appendBytesMax: 64 << random.below(8),
        inflightAppendsMax: 1 + random.below(16),
        inflightBytesMax: 1 << 20,
      },
    };
    this.#machines = all.map(
      (member) =>
        new SimulatedMachine({
          network: this.#network,
          member,
          members: founders.includes(member) ? founders : all,
          joins: !founders.includes(member),
          shards: SHARDS,
          sizes,
          random,
          tell: this.#tell,
        }),
    );
    this.#clients = new SimulatedClients({
      clock: this.#clock,
      random,
      machines: this.#machines.slice(0, founders.length),
      shards: SHARDS,
      keys: KEYS,
    });
    this.#faults = new SimulatedFaults({
      clock: this.#clock,
      random,
      network: this.#network,
      machines: this.#machines,
      tell: this.#tell,
    });
  }

  /** Throws with the seed and what happened to the cluster where a promise is not kept. */
  async run(): Promise<void> {
    try {
      await this.#run();
    } catch (error) {
      const events = this.#events.slice(-EVENTS_SHOWN).join("\n");
      throw new Error(`SEED=${this.#seed}: ${(error as Error).message}\n${events}`, { cause: error });
    }
  }

  async #run(): Promise<void> {
    for (const machine of this.#machines) machine.boot();
    this.#clients.start(CLIENTS);
    this.#watch();
    let areChangesOver = false;
    this.#changeMembers().then(() => {
      areChangesOver = true;
    });
    let areFaultsOver = false;
    this.#faults.makeFor(FAULTS_MS).then(() => {
      areFaultsOver = true;
    });
    await this.#until(() => areFaultsOver, FAULTS_MS * 2, "the faults are over");
    this.#faults.heal();
    const haveStopped = () => this.#machines.every((machine) => machine.isRunning && !machine.isStopping);
    await this.#until(haveStopped, DEFAULT_TIMINGS.stopMsMax, "nodes that were stopping have ended");
    await this.#until(() => areChangesOver, ANSWERS_MS, "the members are changed");
    await this.#until(() => this.#followed(), ANSWERS_MS, "all groups have followed");
    await this.#serveAgain();
    this.#clients.stop();
    await this.#until(() => this.#clients.isDone, ANSWERS_MS, "every client has its answers");
    await this.#becomeEqual();
    // A node that was removed in the middle of its work finds out only by waiting for others.
    const former = this.#machines.filter((machine) => !this.#members.includes(machine));
    const isDone = () => former.every(({ oldestCall }) => oldestCall === undefined);
    await this.#until(isDone, ANSWERS_MS, "nodes that were removed have answered");
    this.#check();
  }

  /** Steps the clock, several events a turn now and then, until `condition` holds. */
  async #until(condition: () => boolean, limitMs: number, what: string): Promise<void> {
    const deadlineMs = this.#clock.nowMs() + limitMs;
    while (!condition()) {
      this.#throwProblems();
      if (this.#clock.nowMs() > deadlineMs) throw new Error(`not within ${limitMs} ms: ${what}`);
      await this.#clock.step();
      if (this.#random.below(3) === 0) this.#clock.advance(this.#random.float() * 2);
    }
  }

  readonly #tell = (event: string): void => {
    if (event.endsWith("installed a snapshot")) snapshotsInstalled++;
    this.#events.push(`${this.#clock.nowMs().toFixed(2)} ${event}`);
  };

  #throwProblems(): void {
    const problems = [
      ...this.#problems,
      ...this.#clients.failures,
      ...this.#machines.flatMap(({ failures }) => failures),
    ];
    if (problems.length > 0) throw new Error(`at ${this.#clock.nowMs()} ms: ${problems.join("\n")}`);
  }

  /** Adds the fourth node, gives it a vote, and removes one of the others, or does less than that. */
  async #changeMembers(): Promise<void> {
    const random = seededRandom(this.#random.below(2 ** 31));
    const pause = () => this.#sleep(random.float() * 3000);
    const steps = random.below(4);
    await pause();
    if (steps >= 1) await this.#change("add", "n4");
    await pause();
    if (steps >= 2) await this.#change("promote", "n4");
    await pause();
    if (steps >= 3) await this.#change("remove", `n${1 + random.below(3)}`);
  }

  /** Asks one node after the other for a change, until one says that the cluster has noted it. */
  async #change(action: "add" | "promote" | "remove", name: string): Promise<void> {
    const address = action === "add" ? `${name}:7001` : "";
    const request = { kind: "changeMember", action, node: nodeId(name), address, forwarded: false } as const;
    for (let attempt = 0; ; attempt++) {
      const answer = await this.#machines[attempt % 3]!.execute(request, "redirect");
      if (typeof answer !== "string" && answer.kind === "boolean") break;
      await this.#sleep(50);
    }
    this.#tell(`${name}: ${action}`);
    membersChanged++;
    if (action === "add") this.#roles.set(name, "learner");
    else if (action === "promote") this.#roles.set(name, "voter");
    else this.#roles.delete(name);
  }

  /** Those who are members, with a vote or without one. */
  get #members(): readonly SimulatedMachine[] {
    return this.#machines.filter(({ name }) => this.#roles.has(name));
  }

  /** Every group's leader says that its members are those that there should be. */
  #followed(): boolean {
    const named = (role: string) =>
      [...this.#roles.keys()].filter((name) => this.#roles.get(name) === role).sort();
    const views = this.#machines.flatMap((machine) => machine.status()?.shards ?? []);
    const led = views.filter(({ role, learners, voters, outgoing }) => {
      const asTheyShould =
        String(voters) === String(named("voter")) && String(learners) === String(named("learner"));
      return role === "leader" && asTheyShould && outgoing.length === 0;
    });
    return new Set(led.map(({ shard }) => shard)).size === SHARDS + 1;
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#clock.timer(delayMs, resolve));
  }

  /** Looks from time to time who leads. */
  #watch(): void {
    this.#clock.timer(100, () => {
      for (const machine of this.#machines) {
        for (const shard of machine.status()?.shards ?? []) {
          if (shard.role !== "leader") continue;
          const key = `shard ${shard.shard} in term ${shard.term}`;
          const known = this.#leaders.get(key) ?? nodeId(machine.name);
          this.#leaders.set(key, known);
          if (known !== machine.name) this.#problems.push(`${machine.name} leads ${key}, and ${known} did`);
        }
      }
      this.#watch();
    });
  }

  /** Every key can be read through every node. */
  async #serveAgain(): Promise<void> {
    let served = 0;
    const members = this.#members;
    const wanted = members.length * SHARDS;
    for (const machine of members) {
      for (let shard = 0; shard < SHARDS; shard++) {
        this.#writeUntilServed(machine, shard).then(() => served++);
      }
    }
    await this.#until(
      () => served === wanted,
      10 * ELECTION_TIMEOUT_MS,
      "every shard serves again, through every node",
    );
  }

  async #writeUntilServed(machine: SimulatedMachine, shard: number): Promise<void> {
    for (;;) {
      const answer = await machine.execute({ kind: "openSession", shard: shardId(shard) }, "forward");
      if (typeof answer !== "string" && answer.kind === "integer") return;
      await this.#sleep(20);
    }
  }

  async #becomeEqual(): Promise<void> {
    let done = 0;
    const keys = this.#clients.keys;
    for (const [number, key] of keys.entries()) {
      const machine = this.#members[number % this.#members.length]!;
      this.#clients.read(machine, key).then((isRead) => {
        if (!isRead) this.#problems.push(`${key} could not be read in the end`);
        done++;
      });
    }
    await this.#until(() => done === keys.length, EQUAL_MS, "every key is read in the end");
    let areEqual = false;
    const compare = async (): Promise<void> => {
      while (!areEqual) {
        const contents = await Promise.all(this.#members.map((machine) => this.#contentOf(machine)));
        areEqual = contents.every((content) => content === contents[0]);
        await this.#sleep(100);
      }
    };
    compare();
    await this.#until(() => areEqual, EQUAL_MS, "all replicas are equal");
  }

  /** Everything that a node has, shard by shard. */
  async #contentOf(machine: SimulatedMachine): Promise<string> {
    const start = new Uint8Array(0);
    let content = "";
    for (let shard = 0; shard < SHARDS; shard++) {
      const scan: ClientRequest = {
        kind: "scan",
        start,
        end: undefined,
        limit: 1000,
        keysOnly: false,
        consistency: "stale",
        shard: shardId(shard),
      };
      const answer = await machine.execute(scan, "redirect");
      if (typeof answer === "string" || answer.kind !== "entries") return `${machine.name} can't be read`;
      for (const { key, value } of answer.entries) content += `${fromUtf8(key)}=${fromUtf8(value)}\n`;
    }
    return content;
  }

  #check(): void {
    this.#throwProblems();
    for (const machine of this.#machines) {
      expect(machine.oldestCall, `${machine.name}: the oldest request without an answer`).toBeUndefined();
    }
    assertLinearizable(this.#clients.history);
  }
}
