import { nodeId, shardId } from "../../protocol/ids.ts";
import type { Random } from "../../src/lib/prng.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";
import type { SimulatedMachine } from "./machine.ts";

export interface MemberChangesParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  /** The founders, and last the one that may join them. */
  readonly machines: readonly SimulatedMachine[];
  readonly founders: number;
  readonly shards: number;
  readonly tell: (event: string) => void;
}

type Change = "add" | "promote" | "remove";

/** Longest wait before each of the changes. */
const PAUSE_MS_MAX = 3000;
const RETRY_MS = 50;

/** Has a node added to a simulated cluster, given a vote, and one of the others removed; or less than that. */
export class MemberChanges {
  readonly #parts: MemberChangesParts;
  readonly #roles: Map<string, "voter" | "learner">;
  #isDone = true;
  /** How many changes were made. */
  changes = 0;

  constructor(parts: MemberChangesParts) {
    this.#parts = parts;
    this.#roles = new Map(parts.machines.slice(0, parts.founders).map(({ name }) => [name, "voter"]));
  }

  /** Begins. */
  start(): void {
    this.#isDone = false;
    this.#run().then(() => {
      this.#isDone = true;
    });
  }

  /** Whether no change is under way, or still to come. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** Those who are members, with a vote or without one. */
  get machines(): readonly SimulatedMachine[] {
    return this.#parts.machines.filter(({ name }) => this.#roles.has(name));
  }

  /** Every group's leader says that its members are those that there should be. */
  haveFollowed(): boolean {
    const { machines, shards } = this.#parts;
    const named = (role: string) =>
      [...this.#roles.keys()].filter((name) => this.#roles.get(name) === role).sort();
    const voters = named("voter").join();
    const learners = named("learner").join();
    for (let shard = -1; shard < shards; shard++) {
      const hasFollowed = machines.some((machine) => {
        const log = machine.describe(shard < 0 ? undefined : shardId(shard), 0);
        if (log?.role !== "leader" || log.outgoing.length > 0 || !this.#roles.has(machine.name)) return false;
        return log.voters.join() === voters && log.learners.join() === learners;
      });
      if (!hasFollowed) return false;
    }
    return true;
  }

  async #run(): Promise<void> {
    const { random, machines, founders } = this.#parts;
    const pause = () => this.#sleep(random.float() * PAUSE_MS_MAX);
    const newcomer = machines.at(-1)!.name;
    const steps = 1 + random.below(3);
    await pause();
    await this.#change("add", newcomer);
    await pause();
    if (steps >= 2) await this.#change("promote", newcomer);
    await pause();
    if (steps < 3) return;
    // An operator removes the node that has lost its disk.
    const removed = machines.find(({ isExcused }) => isExcused) ?? machines[random.below(founders)]!;
    await this.#change("remove", removed.name);
  }

  /** Asks one node after the other for a change, until one says that the cluster has noted it. */
  async #change(action: Change, name: string): Promise<void> {
    const { machines, founders, tell } = this.#parts;
    const address = action === "add" ? `${name}:7001` : "";
    const request = { kind: "changeMember", action, node: nodeId(name), address, forwarded: false } as const;
    for (let attempt = 0; ; attempt++) {
      const answer = await machines[attempt % founders]!.execute(request, "redirect");
      if (typeof answer !== "string" && answer.kind === "boolean") break;
      await this.#sleep(RETRY_MS);
    }
    tell(`${name}: ${action}`);
    this.changes++;
    if (action === "add") this.#roles.set(name, "learner");
    else if (action === "promote") this.#roles.set(name, "voter");
    else this.#roles.delete(name);
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#parts.clock.timer(delayMs, resolve));
  }
}
