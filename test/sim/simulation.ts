/**
 * A whole cluster in one process on a virtual clock: the code that ships, on disks that forget, over a network that loses,
 * stalls, breaks and cuts, in processes that pause and end at any disk operation. Clients write and read all the time. Tiny
 * memtables, tables and log segments make flushes, compactions and dropped and reused segments part of every run, and a
 * short log snapshots part of most.
 *
 * The faults come first. Then all is healed but for a minority of the nodes, which stay off or keep their damaged disks,
 * and every shard must serve again within ten election timeouts, through every node. In the end all replicas are equal,
 * every request has been answered once, nothing that was looked at on the way was wrong (`state-checks.ts`), and one order
 * of the operations explains everything that clients were told.
 *
 * The options decide all of it: two runs of the same do the same, to the byte. Each part has randomness of its own, so
 * that with a fault or a client less the others begin alike.
 */
import { groupId, type KeyspaceId, nodeId, shardId } from "../../protocol/ids.ts";
import type { ClientRequest, KeyValue } from "../../protocol/messages.ts";
import { memberAt } from "../../src/config.ts";
import { type Random, seededRandom } from "../../src/lib/prng.ts";
import { DEFAULT_TIMING_OPTIONS, DEFAULT_TIMINGS } from "../../src/timings.ts";
import { type Operation, show } from "../support/history.ts";
import { assertLinearizable } from "../support/linearizability.ts";
import { VirtualClock } from "../support/virtual-clock.ts";
import { BrokenStreams } from "./broken-streams.ts";
import { SimulatedClients } from "./clients.ts";
import { CutOffAsleep } from "./cut-off-asleep.ts";
import { Deposition } from "./deposition.ts";
import { ElectionChecks } from "./election-checks.ts";
import { ExpiryChecks } from "./expiry-checks.ts";
import { FAULT_KINDS } from "./fault-kinds.ts";
import { type PlannedFault, planFaults, SimulatedFaults } from "./faults.ts";
import { allKeys, isOther, nameOf, shardOf } from "./keys.ts";
import { SimulatedKeyspaces } from "./keyspaces.ts";
import { loseFounder } from "./lost-founder.ts";
import { SimulatedMachine } from "./machine.ts";
import { MemberChanges } from "./member-changes.ts";
import { visitMessages, visitReports } from "./message-frames.ts";
import { MemoryNetwork, type Observer } from "./network.ts";
import type { SimulationOptions } from "./options.ts";
import { drawProfile, type Profile } from "./profile.ts";
import { QuietMoves } from "./quiet-moves.ts";
import { StateChecks } from "./state-checks.ts";
import { Succession } from "./succession.ts";
import { TextClient } from "./text-client.ts";
import { Trace } from "./trace.ts";
import { WireClient } from "./wire-client.ts";

/** How long the last requests, and the last replica, may take once all is well. */
const ANSWERS_MS = 40_000;
const EQUAL_MS = 10_000;
/** How long the shards may take until they are where they should be: several moves, one after the other. */
const FOLLOW_MS = 60_000;
/** The same where it is one move and nobody writes: no entry that a leader writes for its log's time comes so soon. */
const QUIET_MS = 40_000;
const ELECTION_TIMEOUT_MS = DEFAULT_TIMINGS.electionTicks * DEFAULT_TIMINGS.tickMs;
/** How often the content of all replicas of a shard is looked at. */
const CONTENT_MS = 150;
const SCAN_LIMIT = 1000;

/** What a run came to. */
export interface RunResult {
  readonly seed: number;
  readonly ok: boolean;
  /** The hash over everything that happened. */
  readonly trace: string;
  readonly events: number;
  /** Simulated seconds. */
  readonly simulatedS: number;
  /** How often there was each kind of fault. */
  readonly faults: Readonly<Record<string, number>>;
  /** What was wrong, for people; and the last events before. */
  readonly problem: string | undefined;
  readonly lastEvents: readonly string[];
  readonly operations: number;
  readonly snapshots: number;
  /** The faults that were planned; those that the options left out, too. */
  readonly planned: number;
  readonly profile: Profile | undefined;
}

/** `show` gets every event as a line. */
export async function simulate(
  options: SimulationOptions,
  show?: (line: string) => void,
): Promise<RunResult> {
  return new Simulation(options, show).run();
}

class Simulation {
  readonly #options: SimulationOptions;
  readonly #profile: Profile;
  readonly #random: Random;
  readonly #clock = new VirtualClock();
  readonly #trace: Trace;
  readonly #network: MemoryNetwork;
  readonly #machines: readonly SimulatedMachine[];
  readonly #clients: SimulatedClients;
  readonly #keyspaces: SimulatedKeyspaces;
  readonly #members: MemberChanges;
  readonly #plan: readonly PlannedFault[];
  readonly #faults: SimulatedFaults;
  readonly #streams: BrokenStreams;
  readonly #succession: Succession | undefined;
  readonly #deposition: Deposition | undefined;
  readonly #quietMoves: QuietMoves;
  readonly #checks: StateChecks;
  readonly #elections: ElectionChecks;
  readonly #expiry: ExpiryChecks;
  readonly #problems: string[] = [];
  #snapshots = 0;
  #off: readonly SimulatedMachine[] = [];

  constructor(options: SimulationOptions, showLine: ((line: string) => void) | undefined) {
    this.#options = options;
    const { seed } = options;
    const profile = drawProfile(streamOf(seed, "profile"), streamOf(seed, "theme"), options);
    this.#profile = profile;
    this.#random = streamOf(seed, "time");
    this.#trace = new Trace(() => this.#clock.nowMs(), showLine);
    const observe: Observer = (from, to, bytes) => {
      this.#trace.mix(bytes.length ^ (bytes[bytes.length - 1]! << 24));
      this.#trace.detail(() => `${from} to ${to}: ${bytes.length} bytes`);
    };
    this.#network = new MemoryNetwork(this.#clock, streamOf(seed, "network"), observe);
    const founders = Array.from({ length: profile.nodes }, (_, i) => `n${i + 1}`);
    const joiners = Array.from({ length: profile.joiners }, (_, i) => `n${profile.nodes + 1 + i}`);
    const all = [...founders, ...joiners].map((name) => memberAt(nodeId(name), name, 7001));
    this.#machines = all.map(
      (member) =>
        new SimulatedMachine({
          network: this.#network,
          member,
          members: all.slice(0, founders.length),
          joins: joiners.includes(member.host),
          shards: profile.shards,
          replicas: profile.replicas,
          leaseDriftPercent: profile.leaseDriftPercent,
          lostAfterMs: profile.lostAfterMs,
          sizes: profile.sizes,
          random: streamOf(seed, member.host),
          tell: this.#tell,
        }),
    );
    this.#checks = new StateChecks(this.#machines, profile.shards, this.#tell);
    this.#elections = new ElectionChecks({
      clock: this.#clock,
      machines: this.#machines,
      hasLeases: profile.leaseDriftPercent > 0,
      wrong: (problem) => this.#problems.push(problem),
    });
    this.#network.onSend = (from, to, bytes) => this.#sends(from, to, bytes);
    this.#keyspaces = new SimulatedKeyspaces({
      clock: this.#clock,
      random: streamOf(seed, "keyspaces"),
      machines: this.#machines.slice(0, founders.length),
      names: allKeys(profile.keys, profile.rows)
        .filter((key) => !isOther(key))
        .map((key) => nameOf(key)),
      fail: (problem) => this.#problems.push(problem),
    });
    this.#expiry = new ExpiryChecks(!profile.kinds.includes("jump"));
    this.#clients = new SimulatedClients({
      keyspaces: this.#keyspaces,
      clock: this.#clock,
      random: streamOf(seed, "clients"),
      machines: this.#machines.slice(0, founders.length),
      shards: profile.shards,
      keys: profile.keys,
      rows: profile.rows,
      valueBytesMax: profile.valueBytesMax,
      operationsMax: options.operationsMax,
      checks: this.#checks,
      expiry: this.#expiry,
      wireClient: (number) => this.#wireClient(number),
      observe: (operation) => this.#observe(operation),
    });
    this.#members = new MemberChanges({
      clock: this.#clock,
      random: streamOf(seed, "members"),
      machines: this.#machines,
      founders: founders.length,
      shards: profile.shards,
      replicas: profile.replicas,
      // With fewer nodes than replicas there would be shards that can't do without any of theirs.
      atLeast: profile.replicas,
      course: profile.course,
      faults: () => this.#faults,
      tell: this.#tell,
    });
    const planned = planFaults(streamOf(seed, "faults"), profile.kinds, profile.faultsMs);
    const { only } = options;
    this.#plan = planned;
    this.#faults = new SimulatedFaults({
      clock: this.#clock,
      random: streamOf(seed, "restarts"),
      network: this.#network,
      machines: this.#machines,
      founders: founders.length,
      replicas: profile.replicas,
      shards: profile.shards,
      usual: profile.usual,
      lurks: profile.course === "churn" || profile.course === "streaming",
      plan: only === undefined ? planned : planned.filter(({ number }) => only.includes(number)),
      tell: this.#tell,
    });
    this.#streams = new BrokenStreams({
      clock: this.#clock,
      random: streamOf(seed, "streams"),
      network: this.#network,
      machines: this.#machines,
      shards: profile.shards,
      untilMs: profile.faultsMs,
      giveUpMs: profile.sizes.snapshots!.giveUpMs,
      faults: this.#faults,
      tell: this.#tell,
    });
    this.#quietMoves = new QuietMoves({
      clock: this.#clock,
      random: streamOf(seed, "quiet"),
      network: this.#network,
      machines: this.#machines,
      tell: this.#tell,
    });
    if (profile.course === "deposition") {
      this.#deposition = new Deposition({
        clock: this.#clock,
        random: streamOf(seed, "deposition"),
        network: this.#network,
        machines: this.#machines.slice(0, profile.nodes),
        untilMs: profile.faultsMs,
        hasLeases: profile.leaseDriftPercent > 0,
        faults: () => this.#faults,
        checks: this.#checks,
        tell: this.#tell,
        wrong: (problem) => this.#problems.push(problem),
      });
    }
    if (profile.course === "succession") {
      this.#succession = new Succession({
        clock: this.#clock,
        random: streamOf(seed, "succession"),
        machines: this.#machines,
        group: groupId(1),
        faults: () => this.#faults,
      });
    }
  }

  async run(): Promise<RunResult> {
    let problem: string | undefined;
    try {
      await this.#run();
    } catch (error) {
      problem = (error as Error).message;
    }
    const faults: Record<string, number> = { ...this.#faults.counts };
    if (this.#members.changes > 0) faults.members = this.#members.changes;
    const ordered = Object.fromEntries(
      FAULT_KINDS.flatMap((kind) => (faults[kind] === undefined ? [] : [[kind, faults[kind]]])),
    );
    return {
      seed: this.#options.seed,
      ok: problem === undefined,
      trace: this.#trace.hash,
      events: this.#trace.events,
      simulatedS: Math.round(this.#clock.nowMs()) / 1000,
      faults: ordered,
      problem,
      lastEvents: this.#trace.last,
      operations: this.#clients.history.length,
      snapshots: this.#snapshots,
      planned: this.#plan.length,
      profile: this.#profile,
    };
  }

  async #run(): Promise<void> {
    const { faultsMs, clients, kinds, course, nodes } = this.#profile;
    this.#tell(`profile ${JSON.stringify(this.#profile)}`);
    for (const machine of this.#machines) machine.boot();
    if (course === "founding") {
      const random = streamOf(this.#options.seed, "founding");
      const founders = this.#machines.slice(0, nodes);
      loseFounder({ clock: this.#clock, random, founders, faults: this.#faults });
    }
    if (course === "streaming") this.#streams.start();
    this.#deposition?.start();
    this.#clients.start(clients);
    // Who wants no operations wants a cluster at rest.
    if (this.#options.operationsMax > 0) this.#keyspaces.start();
    this.#compareContents();
    if (kinds.includes("members")) this.#members.start();
    await this.#until(() => this.#clock.nowMs() >= faultsMs, 2 * faultsMs, "the faults are over");
    if (!(await this.#liveness())) {
      this.#endUnfounded();
      return;
    }
    this.#clients.stop();
    this.#keyspaces.stop();
    const haveEnded = () => this.#clients.isDone && this.#keyspaces.isDone;
    await this.#until(haveEnded, ANSWERS_MS, "every client has its answers");
    this.#faults.healAll();
    this.#off = [];
    await this.#until(() => this.#areUp(), ANSWERS_MS, "all nodes have come back");
    if (kinds.includes("members") || course === "founding") this.#members.removeLost();
    await this.#until(() => this.#members.isDone, ANSWERS_MS, "nodes that are lost are removed");
    await this.#until(() => this.#members.haveFollowed(), FOLLOW_MS, "every shard is where it should be");
    if (kinds.includes("members")) await this.#moveQuietly();
    // Else who is cut off would be replaced.
    if (this.#profile.lostAfterMs === DEFAULT_TIMING_OPTIONS.lostAfterMs) await this.#cutOffAsleep();
    await this.#becomeEqual();
    // A node that was removed in the middle of its work finds out only by waiting for others.
    const isDone = () => this.#machines.every(({ oldestCall }) => oldestCall === undefined);
    await this.#until(isDone, ANSWERS_MS, "every request was answered");
    this.#problems.push(
      ...this.#expiry.faultsOf(this.#clients.history, (key) => shardOf(key, this.#profile.shards)),
    );
    this.#throwProblems();
    assertLinearizable(this.#clients.history);
  }

  /** Has a node go while nobody writes anything. */
  async #moveQuietly(): Promise<void> {
    if (!this.#members.drainAny()) return;
    this.#quietMoves.begin();
    await this.#until(() => this.#members.isDone, ANSWERS_MS, "a node is drained while nobody writes");
    await this.#until(() => this.#members.haveFollowed(), QUIET_MS, "what it had is elsewhere");
    this.#quietMoves.end();
  }

  /** Has groups fall asleep, and one lose its leader. */
  async #cutOffAsleep(): Promise<void> {
    const asleep = new CutOffAsleep({
      ...{ clock: this.#clock, random: streamOf(this.#options.seed, "asleep"), network: this.#network },
      ...{ machines: this.healthy, everybody: this.#machines },
      ...{ shards: this.#profile.shards, tell: this.#tell },
      serve: (machine, shard) => this.#openUntilServed(machine, shard),
      wrong: (problem) => this.#problems.push(problem),
    });
    asleep.run();
    await this.#until(() => asleep.isDone, ANSWERS_MS, "who was cut off asleep is connected again");
  }

  /** Heals all but a minority, and sees the cluster serve again; false where its founders can't agree on who they are. */
  async #liveness(): Promise<boolean> {
    this.#off = this.#chooseOff();
    this.#faults.heal(this.#off);
    await this.#until(() => this.#areUp(), DEFAULT_TIMINGS.stopMsMax, "nodes that were stopping have ended");
    await this.#until(() => this.#members.isDone, ANSWERS_MS, "the members are changed");
    let served = 0;
    const { healthy } = this;
    const { shards } = this.#profile;
    for (const machine of healthy) {
      for (let shard = 0; shard < shards; shard++) {
        this.#openUntilServed(machine, shard).then(() => served++);
      }
    }
    const isServing = () => served === healthy.length * shards;
    const lateMs = this.#clock.nowMs() + 9 * ELECTION_TIMEOUT_MS;
    await this.#until(
      () => isServing() || (this.#clock.nowMs() >= lateMs && this.#isUnfounded),
      10 * ELECTION_TIMEOUT_MS,
      "every shard serves again, through every node",
    );
    return isServing();
  }

  /**
   * A founder lost its disk when some had met it and some had not: there will be no cluster, and an operator has to begin anew,
   * which is possible as long as nobody was promised anything.
   */
  get #isUnfounded(): boolean {
    const hasBegun = (machine: SimulatedMachine) => (machine.describe(undefined, 0)?.term ?? 0) > 0;
    return this.#profile.course === "founding" && !this.#machines.some(hasBegun);
  }

  #endUnfounded(): void {
    this.#tell("the founders can't agree on who they are: no cluster was founded");
    if (this.#clients.history.some(({ outcome }) => outcome === "done")) {
      this.#problems.push("something was acknowledged before the cluster was founded");
    }
    this.#throwProblems();
  }

  /** A set that is on its way to others may be smaller than those that are wanted. */
  #canDoWithout(off: readonly SimulatedMachine[]): boolean {
    const isOff = (id: string) => off.some(({ name }) => name === id);
    const hasMajority = (set: readonly string[]) => 2 * set.filter((id) => !isOff(id)).length > set.length;
    return this.#machines.every((machine) =>
      Array.from({ length: this.#profile.shards }, (_, shard) => machine.describe(shardId(shard), 0)).every(
        (log) =>
          log === undefined ||
          [log.voters, log.outgoing].every((set) => set.length === 0 || hasMajority(set)),
      ),
    );
  }

  /** So few nodes, or nobody, that no shard can have lost its majority with them, that the cluster will have to do without. */
  #chooseOff(): readonly SimulatedMachine[] {
    const random = streamOf(this.#options.seed, "off");
    const founders = this.#machines.slice(0, this.#profile.nodes);
    // A cluster is founded once all its founders have met.
    if (!founders.every(({ isExcused, takesPart }) => isExcused || takesPart)) return [];
    const lost = founders.filter(({ isExcused }) => isExcused).length;
    const most = Math.floor((Math.min(founders.length, this.#profile.replicas) - 1) / 2) - lost;
    const count = random.below(2) === 0 ? 0 : Math.max(0, most);
    const candidates = founders.filter(({ isExcused }) => !isExcused);
    const first = random.below(candidates.length);
    const off = [...candidates.slice(first), ...candidates.slice(0, first)].slice(0, count);
    return this.#canDoWithout(off) ? off : [];
  }

  /** Members whose disks are as they should be, and who are not left off. */
  get healthy(): readonly SimulatedMachine[] {
    return this.#members.machines.filter((machine) => !machine.isExcused && !this.#off.includes(machine));
  }

  #areUp(): boolean {
    return this.#machines.every(
      (machine) =>
        this.#off.includes(machine) ||
        machine.isExcused ||
        !machine.isInstalled ||
        (machine.isRunning && !machine.isStopping),
    );
  }

  /** Steps the clock, several events a turn now and then, until `condition` holds. */
  async #until(condition: () => boolean, limitMs: number, what: string): Promise<void> {
    const deadlineMs = this.#clock.nowMs() + limitMs;
    const look = () => this.#checks.look();
    while (!condition()) {
      this.#throwProblems();
      if (this.#clock.nowMs() > deadlineMs) throw new Error(`not within ${limitMs} ms: ${what}`);
      await this.#clock.step(look);
      if (this.#random.below(3) === 0) this.#clock.advance(this.#random.float() * 2);
      this.#trace.mix(this.#clock.timersRun);
    }
    this.#throwProblems();
    this.#tell(what);
  }

  readonly #tell = (event: string): void => {
    if (event.endsWith("installed a snapshot")) this.#snapshots++;
    this.#trace.tell(event);
    this.#faults.happened(event);
  };

  /** Every third client has connections of its own; of these every other one speaks the text mode. */
  #wireClient(number: number): WireClient | TextClient | undefined {
    if (number % 3 !== 2) return undefined;
    const host = `c${number}`;
    const parts = {
      network: this.#network,
      random: streamOf(this.#options.seed, host),
      host,
      nodes: this.#machines.slice(0, this.#profile.nodes).map(({ name }) => name),
      port: 7001,
      fail: (problem: string) => void this.#problems.push(problem),
    };
    return number % 2 === 0 ? new WireClient(parts) : new TextClient(parts);
  }

  #observe(operation: Operation): void {
    this.#trace.mix(Bun.hash.xxHash32(show(operation)));
    this.#trace.detail(() => `${operation.key}: ${show(operation)}`);
  }

  /** What a node says is looked at, and may be what a fault has waited for. */
  #sends(from: string, to: string, bytes: Uint8Array): void {
    visitMessages(from, to, bytes, (group, message) => {
      this.#checks.sent(group, message);
      this.#elections.sent(group, message);
      this.#faults.sees(message);
      this.#streams.sees(group, message);
      this.#succession?.sees(group, message);
      this.#deposition?.sees(group, message);
      this.#quietMoves.sees(group, message);
    });
    visitReports(bytes, (report) => this.#checks.reported(from, report));
    this.#faults.strike();
  }

  #throwProblems(): void {
    const found = [this.#problems, this.#clients.failures, this.#checks.problems];
    if (
      found.every(({ length }) => length === 0) &&
      this.#machines.every(({ failures }) => failures.length === 0)
    )
      return;
    throw new Error([...found.flat(), ...this.#machines.flatMap(({ failures }) => failures)].join("\n"));
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#clock.timer(delayMs, resolve));
  }

  /** Compares replicas that have applied as much, now and then, until the clients are done: it would keep groups awake. */
  async #compareContents(): Promise<void> {
    const random = streamOf(this.#options.seed, "contents");
    while (!this.#clients.isDone) {
      await this.#sleep(random.float() * 2 * CONTENT_MS);
      const shard = shardId(random.below(this.#profile.shards));
      for (const machine of this.#machines) {
        const before = machine.describe(shard, 0);
        if (before === undefined || machine.isExcused) continue;
        const content = await this.#contentOf(machine, shard);
        const after = machine.describe(shard, 0);
        if (content === undefined || after?.appliedIndex !== before.appliedIndex) continue;
        this.#checks.sawContent(machine.name, shard, before.appliedIndex, content);
      }
    }
  }

  async #openUntilServed(machine: SimulatedMachine, shard: number): Promise<void> {
    for (;;) {
      const answer = await machine.execute({ kind: "openSession", shard: shardId(shard) }, "forward");
      if (typeof answer !== "string" && answer.kind === "integer") {
        this.#checks.openedSession(shard, Number(answer.value));
        return;
      }
      await this.#sleep(20);
    }
  }

  async #becomeEqual(): Promise<void> {
    let done = 0;
    const { keys } = this.#clients;
    const members = this.healthy;
    for (const [number, key] of keys.entries()) {
      this.#readInTheEnd(members[number % members.length]!, key).then(() => done++);
    }
    await this.#until(() => done === keys.length, EQUAL_MS, "every key is read in the end");
    let areEqual = false;
    const compare = async (): Promise<void> => {
      while (!areEqual) {
        const shards = Array.from({ length: this.#profile.shards }, (_, shard) => shard);
        const equal = await Promise.all(shards.map((shard) => this.#isEqual(shard, members)));
        areEqual = equal.every(Boolean);
        await this.#sleep(100);
      }
    };
    compare();
    await this.#until(() => areEqual, EQUAL_MS, "all replicas are equal");
  }

  async #readInTheEnd(machine: SimulatedMachine, key: string): Promise<void> {
    while (!(await this.#clients.read(machine, key))) await this.#sleep(50);
  }

  /** Whether all nodes that hold a shard have the same of it. */
  async #isEqual(shard: number, members: readonly SimulatedMachine[]): Promise<boolean> {
    const holders = members.filter((machine) => machine.describe(shardId(shard), 0) !== undefined);
    const contents = await Promise.all(holders.map((machine) => this.#contentOf(machine, shard)));
    return (
      contents.length > 0 && contents.every((content) => content !== undefined && content === contents[0])
    );
  }

  /** A digest of everything that a node has of a shard, `undefined` if it can't be read now. */
  async #contentOf(machine: SimulatedMachine, shard: number): Promise<string | undefined> {
    const { other } = this.#keyspaces;
    const first = await this.#keysOf(machine, shard, undefined);
    // Before it is there, there is nothing in it.
    const second = other === undefined ? digestOf([]) : await this.#keysOf(machine, shard, other);
    return first === undefined || second === undefined ? undefined : `${first}; ${second}`;
  }

  async #keysOf(
    machine: SimulatedMachine,
    shard: number,
    keyspace: KeyspaceId | undefined,
  ): Promise<string | undefined> {
    const request: ClientRequest = {
      kind: "scan",
      start: new Uint8Array(0),
      end: undefined,
      limit: SCAN_LIMIT,
      keysOnly: false,
      consistency: "stale",
      shard: shardId(shard),
      keyspace,
    };
    const answer = await machine.execute(request, "redirect");
    if (typeof answer === "string" || answer.kind !== "entries") return undefined;
    return digestOf(answer.entries);
  }
}

function digestOf(entries: readonly KeyValue[]): string {
  let digest = 1n;
  for (const { key, value } of entries) {
    digest = Bun.hash.xxHash64(value, Bun.hash.xxHash64(key, digest));
  }
  return `${entries.length} keys, ${digest.toString(16)}`;
}

/** Randomness of a part's own. */
function streamOf(seed: number, part: string): Random {
  return seededRandom(Bun.hash.xxHash32(`${seed} ${part}`));
}
