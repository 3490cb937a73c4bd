/**
 * Once nobody wants anything any more and the groups have fallen asleep, the leader of one of them is cut off from all
 * others. The others are asked for something, and it is not: that its connections break is all that can tell it. It must not
 * believe that it leads for longer than it takes to notice that, and an election timeout; and then it must tell how old its data are.
 *
 * While clients want something no group sleeps for long enough: this has to come when they are done.
 */
import { type GroupId, groupId, type ShardId, shardId, shardOfGroup } from "../../protocol/ids.ts";
import type { GroupLogStatus } from "../../protocol/messages.ts";
import { utf8 } from "../../src/lib/bytes.ts";
import type { Random } from "../../src/lib/prng.ts";
import { DEFAULT_SERVER_LIMITS } from "../../src/server/limits.ts";
import { DEFAULT_TIMINGS } from "../../src/timings.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";
import { shardOf } from "./keys.ts";
import type { SimulatedMachine } from "./machine.ts";
import type { MemoryNetwork } from "./network.ts";

export interface CutOffAsleepParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly network: Pick<MemoryNetwork, "setLinks">;
  /** Whom the cluster can count on. */
  readonly machines: readonly SimulatedMachine[];
  /** They, and those whose disks were damaged, who may be there as well. */
  readonly everybody: readonly SimulatedMachine[];
  readonly shards: number;
  /** Resolves when something that `machine` was asked for is committed in the shard. */
  readonly serve: (machine: SimulatedMachine, shard: number) => Promise<void>;
  readonly tell: (event: string) => void;
  readonly wrong: (problem: string) => void;
}

/** Clocks may be so much too fast, or too slow. */
const DRIFT = 0.1;
/** All groups are asleep after so long without a request. */
const ASLEEP_MS = (1.5 * DEFAULT_TIMINGS.quiesceTicks * DEFAULT_TIMINGS.tickMs) / (1 - DRIFT);
/** A node that is cut off knows that it leads no more: when its connections are given up, and an election timeout is over. */
const KNOWS_MS =
  (DEFAULT_SERVER_LIMITS.peerSilentMsMax +
    2 * DEFAULT_SERVER_LIMITS.sweepMs +
    (DEFAULT_TIMINGS.electionTicks + 2) * DEFAULT_TIMINGS.tickMs) /
  (1 - DRIFT);

export class CutOffAsleep {
  readonly #parts: CutOffAsleepParts;
  #isDone = false;

  constructor(parts: CutOffAsleepParts) {
    this.#parts = parts;
  }

  /** Whether what was begun is over, with all connected again. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** To be called once; nothing else may be under way. */
  async run(): Promise<void> {
    const { random, shards } = this.#parts;
    await this.#sleep(ASLEEP_MS);
    const first = random.below(shards);
    for (let number = 0; number < shards; number++) {
      const shard = shardId((first + number) % shards);
      const leader = this.#leaderOf(shard);
      if (leader === undefined) continue;
      await this.#cutOff(leader, shard);
      break;
    }
    this.#isDone = true;
  }

  async #cutOff(leader: SimulatedMachine, shard: ShardId): Promise<void> {
    const { clock, random, network, machines, everybody, serve, tell } = this.#parts;
    const state = random.below(3) === 0 ? "refused" : "stalled";
    const others = machines.filter((machine) => machine !== leader);
    const sinceMs = clock.nowMs();
    tell(`${leader.name}, which leads shard ${shard}, is cut off asleep: ${state}`);
    network.setLinks(leader.name, everybody, state);
    const voters = leader.describe(shard, 0)!.voters as readonly string[];
    const able = others.filter(({ name }) => voters.includes(name));
    await serve(able[random.below(able.length)]!, shard);
    await this.#sleep(Math.max(0, sinceMs + KNOWS_MS - clock.nowMs()));
    for (let number = 0; number <= this.#parts.shards; number++) this.#check(leader, groupId(number));
    await this.#checkAge(leader, shard, sinceMs);
    network.setLinks(leader.name, everybody, "open");
  }

  #check(machine: SimulatedMachine, group: GroupId): void {
    const log = this.#logOf(machine, group);
    if (log?.role !== "leader" || (log.voters.length === 1 && log.outgoing.length === 0)) return;
    const what = group === 0 ? "the system group" : `shard ${shardOfGroup(group)}`;
    this.#parts.wrong(
      `${machine.name} still leads ${what} in term ${log.term}, and was cut off from all others for ${KNOWS_MS.toFixed(0)} ms`,
    );
  }

  /** The others have written something since the cut, so nothing here can be newer than that. */
  async #checkAge(machine: SimulatedMachine, shard: ShardId, sinceMs: number): Promise<void> {
    const { clock, shards, wrong } = this.#parts;
    let number = 0;
    while (shardOf(`key${number}`, shards) !== shard) number++;
    const key = utf8(`key${number}`);
    const answer = await machine.execute({ kind: "get", key, consistency: "stale" }, "redirect");
    const least = (clock.nowMs() - sinceMs) * (1 - DRIFT) - 1;
    if (typeof answer === "string" || answer.kind !== "value") {
      wrong(`${machine.name} does not answer a stale read: ${JSON.stringify(answer)}`);
    } else if (answer.ageMs < least) {
      wrong(
        `${machine.name} says that what it has is ${answer.ageMs} ms old, and heard nothing for ${least}`,
      );
    }
  }

  /** The leader of a shard, if the others can do without it and all of them are there. */
  #leaderOf(shard: ShardId): SimulatedMachine | undefined {
    const { machines } = this.#parts;
    const terms = machines.map((machine) => machine.describe(shard, 0)?.term ?? 0);
    return machines.find((machine) => {
      const log = machine.describe(shard, 0);
      if (log?.role !== "leader" || log.term < Math.max(...terms) || log.outgoing.length > 0) return false;
      const isThere = (voter: string) => machines.find(({ name }) => name === voter)?.isRunning === true;
      return log.voters.length > 2 && log.voters.every(isThere);
    });
  }

  #logOf(machine: SimulatedMachine, group: GroupId): GroupLogStatus | undefined {
    return machine.describe(group === 0 ? undefined : shardOfGroup(group), 0);
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#parts.clock.timer(delayMs, resolve));
  }
}
