/**
 * Whole nodes that come and go by the handful, under every fault: clusters of one to five founders, which up to two nodes
 * join and from which all but one may go, in any order, while clients write. When the faults are over every shard is on as
 * many nodes as it should be, and serves. `sim.test.ts` looks at what clients are told.
 *
 * `SEED` decides all of it. `RUNS` in the environment makes it that many runs, of the seeds that follow.
 */
import { test } from "bun:test";
import { nodeId, shardId } from "../../protocol/ids.ts";
import { NO_SESSION } from "../../protocol/messages.ts";
import { memberAt } from "../../src/config.ts";
import { utf8 } from "../../src/lib/bytes.ts";
import { type Random, seededRandom } from "../../src/lib/prng.ts";
import { testSeed } from "../support/seed.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { FAULT_KINDS } from "./fault-kinds.ts";
import { planFaults, SimulatedFaults } from "./faults.ts";
import { SimulatedMachine } from "./machine.ts";
import { MemberChanges } from "./member-changes.ts";
import { MemoryNetwork } from "./network.ts";

const RUNS = Number(process.env.RUNS ?? 5);
const TEST_MS_MAX = Math.max(60_000, RUNS * 10_000);
/** Nobody loses a disk here: who does can't be waited for. */
const KINDS = FAULT_KINDS.filter((kind) => !["wipe", "bitflip", "misdirect"].includes(kind));
const USUAL = { syncMs: 4, latencyMs: 2 };
const SHARDS = 4;
const WRITERS = 4;
const KEYS = 200;
const FAULTS_MS = 8_000;
const FOLLOW_MS_MAX = 60_000;
const SERVE_MS_MAX = 5_000;
const EVENTS_SHOWN = 50;

test(
  `groups follow what is asked of them through every fault, ${RUNS} times`,
  async () => {
    const seed = testSeed("members-faults");
    for (let run = 0; run < RUNS; run++) await new Run(seed + run).run();
  },
  TEST_MS_MAX,
);

class Run {
  readonly #seed: number;
  readonly #random: Random;
  readonly #clock = new VirtualClock();
  readonly #machines: readonly SimulatedMachine[];
  readonly #network: MemoryNetwork;
  readonly #founders: number;
  readonly #replicas: number;
  readonly #changes: MemberChanges;
  readonly #events: string[] = [];
  #isOver = false;

  constructor(seed: number) {
    this.#seed = seed;
    const random = seededRandom(seed);
    this.#random = random;
    const network = new MemoryNetwork(this.#clock, random);
    this.#network = network;
    const members = (letter: string, count: number) =>
      Array.from({ length: count }, (_, i) => `${letter}${i + 1}`).map((id) =>
        memberAt(nodeId(id), id, 7001),
      );
    const founders = members("n", 1 + random.below(5));
    const joiners = members("m", founders.length === 1 ? 1 + random.below(2) : random.below(3));
    this.#founders = founders.length;
    const replicas = 1 + random.below(5);
    this.#replicas = replicas;
    const engine = { memtableBytes: 1024 << random.below(3), blockBytes: 256, tableBytes: 2048 };
    const sizes = {
      engine: { ...engine, level0Tables: 2, level1Bytes: 8192, manifestBytes: 2048 },
      log: { segmentBytes: 2048 << random.below(3), cacheBytes: 1024 },
      logBytesMax: random.below(3) === 0 ? 1 << 30 : 4096 << random.below(3),
    };
    const tell = this.#tell;
    this.#machines = [...founders, ...joiners].map((member) => {
      const joins = joiners.includes(member);
      return new SimulatedMachine({
        ...{ network, member, members: founders, joins, shards: SHARDS, replicas, sizes, random, tell },
      });
    });
    this.#changes = new MemberChanges({
      ...{ clock: this.#clock, random, machines: this.#machines, founders: founders.length },
      ...{ shards: SHARDS, replicas, atLeast: 1, course: "any", tell },
    });
  }

  readonly #tell = (event: string): void => {
    this.#events.push(`${this.#clock.nowMs().toFixed(0)} ${event}`);
  };

  /** Throws with the seed and what happened to the cluster where it does not come to what was asked for. */
  async run(): Promise<void> {
    try {
      await this.#run();
    } catch (error) {
      const views = this.#machines.map(
        (machine) => `${machine.name} ${JSON.stringify(machine.status()?.shards)}`,
      );
      const shown = [...this.#events.slice(-EVENTS_SHOWN), ...views].join("\n");
      throw new Error(`SEED=${this.#seed}: ${(error as Error).message}\n${shown}`, { cause: error });
    }
  }

  async #run(): Promise<void> {
    for (const machine of this.#machines) machine.boot();
    await this.#until(() => this.#changes.haveFollowed(), FOLLOW_MS_MAX, "the cluster is founded");
    for (let number = 0; number < WRITERS; number++) this.#write();
    const faultsMs = this.#random.below(4) === 0 ? 0 : FAULTS_MS;
    const faults = new SimulatedFaults({
      clock: this.#clock,
      random: this.#random,
      network: this.#network,
      machines: this.#machines,
      founders: this.#founders,
      replicas: this.#replicas,
      shards: SHARDS,
      usual: USUAL,
      plan: planFaults(this.#random, KINDS, faultsMs),
      tell: this.#tell,
    });
    const endMs = this.#clock.nowMs() + faultsMs;
    this.#changes.start();
    await this.#until(() => this.#clock.nowMs() >= endMs, FAULTS_MS * 2, "the faults are over");
    faults.heal([]);
    const haveStopped = () =>
      this.#machines.every((machine) => !machine.isInstalled || (machine.isRunning && !machine.isStopping));
    await this.#until(haveStopped, FOLLOW_MS_MAX, "nodes that were stopping have ended");
    await this.#until(() => this.#changes.isDone, FOLLOW_MS_MAX, "the changes are noted");
    await this.#until(() => this.#changes.haveFollowed(), FOLLOW_MS_MAX, "all groups have followed");
    const { machines } = this.#changes;
    let served = 0;
    for (const machine of machines) {
      for (let shard = 0; shard < SHARDS; shard++) this.#untilServed(machine, shard).then(() => served++);
    }
    await this.#until(() => served === machines.length * SHARDS, SERVE_MS_MAX, "every shard serves");
    this.#isOver = true;
  }

  /** Steps the clock, several events a turn now and then, until `condition` holds. */
  async #until(condition: () => boolean, limitMs: number, what: string): Promise<void> {
    const deadlineMs = this.#clock.nowMs() + limitMs;
    while (!condition()) {
      const failures = this.#machines.flatMap((machine) => machine.failures);
      if (failures.length > 0) throw new Error(failures.join("\n"));
      if (this.#clock.nowMs() > deadlineMs) throw new Error(`not within ${limitMs} ms: ${what}`);
      await this.#clock.step();
      if (this.#random.below(3) === 0) this.#clock.advance(this.#random.float() * 2);
    }
  }

  async #write(): Promise<void> {
    const random = this.#random;
    while (!this.#isOver) {
      const members = this.#changes.machines;
      const key = utf8(`key${random.below(KEYS)}`);
      const put = { kind: "put", stamp: NO_SESSION, key, condition: "always" } as const;
      const machine = members[random.below(members.length)]!;
      await machine.execute({ ...put, value: new Uint8Array(random.below(100)) }, "forward");
      await this.#sleep(5 + random.float() * 40);
    }
  }

  async #untilServed(machine: SimulatedMachine, shard: number): Promise<void> {
    for (;;) {
      const answer = await machine.execute({ kind: "openSession", shard: shardId(shard) }, "forward");
      if (typeof answer !== "string" && answer.kind === "integer") return;
      await this.#sleep(20);
    }
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#clock.timer(delayMs, resolve));
  }
}
