import { nodeId, shardId } from "../../protocol/ids.ts";
import type { ChangeMember, ChangeReplica } from "../../protocol/messages.ts";
import type { Random } from "../../src/lib/prng.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";
import type { Course } from "./courses.ts";
import type { SimulatedFaults } from "./faults.ts";
import type { SimulatedMachine } from "./machine.ts";

export interface MemberChangesParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  /** The founders, and last those that may join them. */
  readonly machines: readonly SimulatedMachine[];
  readonly founders: number;
  readonly shards: number;
  /** On how many nodes each shard is, where there are so many. */
  readonly replicas: number;
  /** So many nodes stay at least that may hold shards. */
  readonly atLeast: number;
  readonly course: Course;
  /** What may be done to nodes while their members change; nothing, if it is not said. */
  readonly faults?: () => Pick<SimulatedFaults, "takeAway" | "bringBack" | "cutOff" | "end">;
  readonly tell: (event: string) => void;
}

/** Longest wait before each of the changes. */
const PAUSE_MS_MAX = 2000;
const RETRY_MS = 50;
/** How long an operator goes on asking for a copy or a vote, which may not be possible just now. */
const PATIENCE_MS = 3000;
/** Most changes of one run. */
const CHANGES_MAX = 6;

/** Most nodes that are drained and come back in one run, and until when it begins another one. */
const CHURNS_MAX = 4;
const CHURN_MS_MAX = 9000;
/** How long it is waited for replicas to go, or to come. */
const HOLDS_MS_MAX = 6000;
/** Long enough for an election without the others. */
const MEETING_MS = 3000;

/** Has nodes join a simulated cluster, drain, come back and leave, in any order. */
export class MemberChanges {
  readonly #parts: MemberChangesParts;
  /** Those that belong to the cluster. */
  readonly #states: Map<string, "member" | "draining">;
  readonly #removed = new Set<string>();
  /** By shard: to whom copies without a vote were given that nobody has taken away since. Their votes may have ended them. */
  readonly #copies: readonly Set<string>[];
  /** By shard: of these, whose wishes can't have ended: one was acknowledged, and nothing was asked since that ends it. */
  readonly #lasting: readonly Set<string>[];
  /** By shard: of whose wishes something was asked that ends them, and nobody knows what became of that: it may be heeded late. */
  readonly #unsureEnds: readonly Set<string>[];
  /** Who was asked to drain, or not to any more, and nobody knows what became of that: it may be heeded late. */
  readonly #unsureStandings = new Set<string>();
  /** Who was to get a copy, and nobody knows what became of that: it may come yet. */
  readonly #unsure = new Set<string>();
  #isDone = true;
  /** How many changes were made. */
  changes = 0;

  constructor(parts: MemberChangesParts) {
    this.#parts = parts;
    this.#states = new Map(parts.machines.slice(0, parts.founders).map(({ name }) => [name, "member"]));
    const perShard = () => Array.from({ length: parts.shards }, () => new Set<string>());
    [this.#copies, this.#lasting, this.#unsureEnds] = [perShard(), perShard(), perShard()];
  }

  /** Begins. */
  start(): void {
    this.#isDone = false;
    this.#run().then(() => {
      this.#isDone = true;
    });
  }

  /** An operator removes nodes whose disks are lost: what was to go to them could never get there. */
  removeLost(): void {
    this.#isDone = false;
    this.#removeLost().then(() => {
      this.#isDone = true;
    });
  }

  async #removeLost(): Promise<void> {
    for (const { isExcused, name } of this.#parts.machines) {
      if (isExcused && this.#states.has(name)) await this.#change("remove", name);
    }
  }

  /** A node is drained that others can stand in for, one perhaps that was drained before; false if there is none. */
  drainAny(): boolean {
    const { random, atLeast } = this.#parts;
    const names = [...this.#states.keys()];
    const able = names.filter((name) => this.#states.get(name) === "member");
    const back = names.find((name) => this.#states.get(name) === "draining");
    const isEnough = able.length > atLeast;
    if (!isEnough && back === undefined) return false;
    this.#isDone = false;
    const drain = async (): Promise<void> => {
      if (!isEnough) await this.#change("undrain", back!);
      await this.#change("drain", able[random.below(able.length)]!);
      this.#isDone = true;
    };
    drain();
    return true;
  }

  /** Whether no change is under way, or still to come. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** Those who belong to the cluster. */
  get machines(): readonly SimulatedMachine[] {
    return this.#parts.machines.filter(({ name }) => this.#states.has(name));
  }

  /** Every shard is where it should be, on as many nodes as it should be, and everybody else has let it go. */
  haveFollowed(): boolean {
    const { machines, shards, replicas } = this.#parts;
    const able = [...this.#states.keys()].filter((name) => this.#standingOf(name) === "member");
    const size = Math.min(replicas, able.length);
    for (let shard = 0; shard < shards; shard++) {
      const logs = machines.map((machine) => machine.describe(shardId(shard), 0));
      const leader = logs.find((log) => log?.role === "leader");
      if (leader === undefined || leader.outgoing.length > 0) return false;
      const voters: readonly string[] = leader.voters;
      if (!this.#areCopies(shard, leader.node, leader.learners)) return false;
      if (!this.#haveLasted(shard, leader, able)) return false;
      if (voters.length !== size || !voters.every((name) => able.includes(name))) return false;
      const holders = machines.filter((_, number) => logs[number] !== undefined);
      const learners: readonly string[] = leader.learners;
      const isHolder = ({ name }: SimulatedMachine) =>
        voters.includes(name) || learners.includes(name) || this.#removed.has(name);
      if (!holders.every(isHolder)) return false;
    }
    return this.#hasSystemGroupFollowed(able);
  }

  /** Whether these learners of a shard are those whom its leader knows to be wished, and whom somebody has wished. */
  #areCopies(shard: number, leader: string, learners: readonly string[]): boolean {
    const machine = this.#parts.machines.find(({ name }) => name === leader);
    const wished = machine?.topology()?.shards[shard]?.copies.map(String);
    const isAsked = (name: string) => this.#copies[shard]!.has(name) && this.#standingOf(name) === "member";
    return wished?.sort().join() === [...learners].sort().join() && learners.every(isAsked);
  }

  /**
   * Whether nobody has lost a copy that it was given for good. Who has one may have to vote instead, but only while everybody
   * votes who could do so in its place.
   */
  #haveLasted(
    shard: number,
    { voters, learners }: { readonly voters: readonly string[]; readonly learners: readonly string[] },
    able: readonly string[],
  ): boolean {
    const isScarce = able.every((name) => voters.includes(name) || learners.includes(name));
    const hasLasted = (name: string) => learners.includes(name) || (voters.includes(name) && isScarce);
    return [...this.#lasting[shard]!].every((name) => hasLasted(name) || this.#standingOf(name) !== "member");
  }

  /** As it was said last, or, where something that was said before may have come after it, as the nodes know it. */
  #standingOf(name: string): string | undefined {
    const said = this.#states.get(name);
    if (said === undefined || !this.#unsureStandings.has(name)) return said;
    const { machines } = this.#parts;
    const leader = machines.find((machine) => machine.describe(undefined, 0)?.role === "leader");
    return leader?.topology()?.nodes.find(({ id }) => id === name)?.standing;
  }

  #hasSystemGroupFollowed(able: readonly string[]): boolean {
    const { machines } = this.#parts;
    const leader = machines
      .map((machine) => machine.describe(undefined, 0))
      .find((log) => log?.role === "leader");
    if (leader === undefined || leader.outgoing.length > 0) return false;
    const { voters, learners } = leader;
    const known = [...voters, ...learners].map(String).sort();
    return (
      known.join() === [...this.#states.keys()].sort().join() && voters.every((name) => able.includes(name))
    );
  }

  async #run(): Promise<void> {
    const { random, machines, founders, course } = this.#parts;
    if (course === "homecoming") {
      await this.#homecoming();
      return;
    }
    if (course === "churn") await this.#churn();
    const joiners = machines.slice(founders);
    if (joiners.length > 1 && random.below(3) === 0 && (await this.#exchange(joiners))) return;
    for (let left = 1 + random.below(CHANGES_MAX); left > 0; left--) {
      await this.#sleep(random.float() * PAUSE_MS_MAX);
      const joiner = joiners[0];
      if (joiner !== undefined && random.below(2) === 0) {
        joiners.shift();
        await this.#join(joiner);
      } else await this.#changeAny();
    }
  }

  /**
   * While one of the founders is away others come, and take over from the rest of them: when it comes back, nobody whom it
   * knows leads anything any more. False if none could be away.
   */
  async #exchange(joiners: readonly SimulatedMachine[]): Promise<boolean> {
    const { random, machines, founders, faults } = this.#parts;
    await this.#sleep(1000 + random.float() * PAUSE_MS_MAX);
    const away = machines[random.below(founders)]!;
    if (faults?.().takeAway(away) !== true) return false;
    for (const joiner of joiners) await this.#join(joiner);
    for (const { name } of machines.slice(0, founders))
      if (name !== away.name) await this.#change("drain", name);
    return true;
  }

  /**
   * One founder after the other is drained, and a member again soon after it has nothing any more, or before. When it has its
   * votes again it is restarted every other time: what it knows of who holds what may be of the time when it held nothing.
   */
  async #churn(): Promise<void> {
    const { random, machines, founders, faults, clock } = this.#parts;
    await this.#sleep(1500 + random.float() * 500);
    // Who has a copy of a shard and no vote may have to vote in it while another one is drained.
    const reader = random.below(2) === 0 ? machines[random.below(founders)] : undefined;
    if (reader !== undefined) {
      for (let shard = 0; shard < this.#parts.shards; shard++) await this.#wish("add", reader.name, shard);
    }
    for (let left = CHURNS_MAX; left > 0 && clock.nowMs() < CHURN_MS_MAX; left--) {
      const machine = machines[random.below(founders)]!;
      if (machine.isExcused || machine === reader) continue;
      const { name } = machine;
      await this.#change("drain", name);
      const isPatient = random.below(4) > 0;
      if (isPatient) await this.#until(HOLDS_MS_MAX, () => this.#held(machine)?.length === 0);
      else await this.#sleep(random.float() * PAUSE_MS_MAX);
      await this.#change("undrain", name);
      if (random.below(4) === 0) continue;
      await this.#until(HOLDS_MS_MAX, () => this.#votes(machine));
      await this.#sleep(random.float() * 200);
      if (random.below(2) === 0) faults?.().end(machine);
    }
  }

  /**
   * While one founder is away another one is drained and comes back, to take the place of the first. As it gets the log again,
   * it comes to a place where both are members. There these two are left to themselves, and they are a majority of those whom
   * they know. Nobody may be elected: what they had before binds them.
   */
  async #homecoming(): Promise<void> {
    const { random, machines, founders, faults } = this.#parts;
    await this.#sleep(1500 + random.float() * 1000);
    const first = random.below(founders);
    const away = machines[first]!;
    const back = machines[(first + 1 + random.below(founders - 1)) % founders]!;
    const inCommon = () => this.#held(back)?.filter((shard) => this.#held(away)?.includes(shard));
    await this.#until(HOLDS_MS_MAX, () => (inCommon()?.length ?? 0) > 0);
    const common = inCommon() ?? [];
    if (faults?.().takeAway(away) !== true) return;
    await this.#sleep(200);
    await this.#change("drain", back.name);
    const gone = () => common.filter((shard) => this.#held(back)?.includes(shard) === false);
    await this.#until(HOLDS_MS_MAX, () => gone().length > 0);
    const left = gone();
    await this.#change("undrain", back.name);
    await this.#change("drain", away.name);
    const isBetween = (shard: number): boolean => {
      const log = back.describe(shardId(shard), 0);
      const isVoter = ({ name }: SimulatedMachine) => log?.voters.some((voter) => voter === name) === true;
      return isVoter(back) && isVoter(away) && log?.outgoing.length === 0;
    };
    await this.#until(HOLDS_MS_MAX, () => left.some(isBetween), 1);
    await this.#sleep(random.float() * 20);
    faults().bringBack(away);
    faults().cutOff([away, back], MEETING_MS);
    await this.#sleep(MEETING_MS);
  }

  /** The shards of which a node has a replica; `undefined` where it can't be asked. */
  #held(machine: SimulatedMachine): readonly number[] | undefined {
    if (machine.status() === undefined) return undefined;
    const shards = Array.from({ length: this.#parts.shards }, (_, shard) => shard);
    return shards.filter((shard) => machine.describe(shardId(shard), 0) !== undefined);
  }

  /** Whether a node votes in some shard, as far as it knows. */
  #votes(machine: SimulatedMachine): boolean {
    const isVoter = (shard: number) =>
      machine.describe(shardId(shard), 0)?.voters.some((voter) => voter === machine.name) === true;
    return this.#held(machine)?.some(isVoter) === true;
  }

  /** Waits until `condition` holds, for so long at most. */
  async #until(limitMs: number, condition: () => boolean, everyMs = RETRY_MS): Promise<void> {
    const { clock } = this.#parts;
    const deadlineMs = clock.nowMs() + limitMs;
    while (clock.nowMs() < deadlineMs && !condition()) await this.#sleep(everyMs);
  }

  async #join(machine: SimulatedMachine): Promise<void> {
    machine.install();
    this.#parts.tell(`${machine.name}: join`);
    this.changes++;
    this.#states.set(machine.name, "member");
    // It is one when the others say so; until then nothing can be asked of it.
    while (
      !this.#parts.machines.some((other) => other.status()?.peers.some(({ id }) => id === machine.name))
    ) {
      await this.#sleep(RETRY_MS);
    }
  }

  async #changeAny(): Promise<void> {
    const { random, machines, atLeast } = this.#parts;
    const names = [...this.#states.keys()];
    const able = names.filter((name) => this.#states.get(name) === "member");
    if (random.below(3) === 0) {
      await this.#changeReplica(able);
      return;
    }
    // An operator replaces the node that has lost its disk.
    const lost = machines.find(({ isExcused, name }) => isExcused && this.#states.has(name))?.name;
    const name = lost ?? names[random.below(names.length)]!;
    if (lost === undefined && able.length <= atLeast && this.#states.get(name) === "member") return;
    const successor = able.find((other) => other !== name && other !== lost);
    const action = lost === undefined ? random.below(4) : 2 + random.below(2);
    if (this.#states.get(name) === "draining" && action < 2) await this.#change("undrain", name);
    else if (action < 2) await this.#change("drain", name);
    else if (action === 2 || successor === undefined) await this.#change("remove", name);
    else await this.#change("replace", name, successor);
  }

  /** Gives a copy or a vote to one of `able`, or takes it, in one shard or in all. */
  async #changeReplica(able: readonly string[]): Promise<void> {
    const { random, shards } = this.#parts;
    const kinds = ["add", "add", "promote", "demote", "remove"] as const;
    const action: ChangeReplica["action"] = kinds[random.below(kinds.length)]!;
    const which = random.below(4) === 0 ? undefined : random.below(shards);
    // Whoever has a copy is the likelier to be meant.
    const having = able.filter((name) => which !== undefined && this.#copies[which]!.has(name));
    const names = action === "promote" && having.length > 0 ? having : able;
    await this.#wish(action, names[random.below(names.length)]!, which);
  }

  /** Asks one node after the other for a change of what `name` has, until one says that it is so, or can't be; for a while. */
  async #wish(action: ChangeReplica["action"], name: string, which: number | undefined): Promise<void> {
    const { machines, tell, clock } = this.#parts;
    const request = {
      ...({ kind: "changeReplica", action, node: nodeId(name), forwarded: false } as const),
      shard: which === undefined ? undefined : shardId(which),
    };
    const concerned = which === undefined ? this.#copies : [this.#copies[which]!];
    if (action === "add" || action === "demote") for (const copies of concerned) copies.add(name);
    const meant = which === undefined ? [...this.#copies.keys()] : [which];
    const ends = action === "promote" || action === "remove";
    if (ends) for (const shard of meant) this.#lasting[shard]!.delete(name);
    const deadlineMs = clock.nowMs() + PATIENCE_MS;
    for (let attempt = 0; clock.nowMs() < deadlineMs; attempt++) {
      const answer = await machines[attempt % machines.length]!.execute(request, "redirect");
      const isDone = typeof answer !== "string" && answer.kind === "boolean";
      const isRefused =
        typeof answer !== "string" && answer.kind === "error" && answer.error === "BAD_REQUEST";
      if (isDone || isRefused) {
        tell(`${name}: ${action} ${which ?? "everywhere"}${isDone ? "" : " refused"}`);
        if (isDone) this.changes++;
        if (isDone && action === "remove") this.#end(name, concerned);
        // Of which shards one that is of all leaves no copies behind, since the node votes there, nobody says.
        if (isDone && !ends && which !== undefined) this.#last(name, which);
        return;
      }
      if (ends) for (const shard of meant) this.#unsureEnds[shard]!.add(name);
      if (action === "add" || action === "demote") this.#unsure.add(name);
      await this.#sleep(RETRY_MS);
    }
    tell(`${name}: ${action} ${which ?? "everywhere"} given up`);
  }

  /** A node has been given a copy. What was asked before that, and may end it, may yet come. */
  #last(name: string, shard: number): void {
    const isUnsure = this.#unsureEnds[shard]!.has(name) || this.#unsureStandings.has(name);
    if (!isUnsure) this.#lasting[shard]!.add(name);
  }

  /** What was wished of a node's copies is over, as far as anybody can know. */
  #end(name: string, copies: readonly Set<string>[]): void {
    if (!this.#unsure.has(name)) for (const each of copies) each.delete(name);
  }

  /** Asks one node after the other for a change, until one says that the cluster has noted it. */
  async #change(action: ChangeMember["action"], name: string, successor?: string): Promise<void> {
    const { machines, tell } = this.#parts;
    if (action === "remove" || action === "replace")
      machines.find((machine) => machine.name === name)?.remove();
    const request = {
      ...({ kind: "changeMember", action, node: nodeId(name), forwarded: false } as const),
      successor: successor === undefined ? ("" as const) : nodeId(successor),
    };
    if (action !== "undrain") for (const lasting of this.#lasting) lasting.delete(name);
    for (let attempt = 0; ; attempt++) {
      const answer = await machines[attempt % machines.length]!.execute(request, "redirect");
      if (typeof answer !== "string" && answer.kind === "boolean") break;
      const isKnown = typeof answer !== "string" && answer.kind === "error" && answer.error !== "TIMEOUT";
      if (!isKnown) this.#unsureStandings.add(name);
      await this.#sleep(RETRY_MS);
    }
    tell(`${name}: ${action} ${successor ?? ""}`);
    this.changes++;
    if (action !== "undrain") {
      if (successor !== undefined)
        for (const copies of this.#copies) if (copies.has(name)) copies.add(successor);
      this.#end(name, this.#copies);
    }
    if (action === "drain") this.#states.set(name, "draining");
    else if (action === "undrain") this.#states.set(name, "member");
    else {
      this.#states.delete(name);
      this.#removed.add(name);
    }
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#parts.clock.timer(delayMs, resolve));
  }
}
