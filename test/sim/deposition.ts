import { type GroupId, groupId, shardId } from "../../protocol/ids.ts";
import type { GroupLogStatus } from "../../protocol/messages.ts";
import type { GroupMessage } from "../../protocol/peer-messages.ts";
import { utf8 } from "../../src/lib/bytes.ts";
import type { Random } from "../../src/lib/prng.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";
import type { SimulatedFaults } from "./faults.ts";
import type { SimulatedMachine } from "./machine.ts";
import type { LinkState, MemoryNetwork } from "./network.ts";
import type { StateChecks } from "./state-checks.ts";

export interface DepositionParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly network: MemoryNetwork;
  /** Three, all of which hold the only shard. */
  readonly machines: readonly SimulatedMachine[];
  /** Everything is healed then. */
  readonly untilMs: number;
  readonly hasLeases: boolean;
  readonly faults: () => Pick<SimulatedFaults, "end" | "bringBack">;
  readonly checks: Pick<StateChecks, "commitOf" | "answeredRead">;
  /** Hears what is done, and what went wrong. */
  readonly tell: (event: string) => void;
  readonly wrong: (problem: string) => void;
}

const SHARD = shardId(0);
const GROUP: GroupId = groupId(SHARD + 1);
const KEY = utf8("k");
/** How often the leader is asked to read, and how often it is looked whether something has come about. */
const READ_MS = 5;
/** Where clocks run apart, by how much: nearly all that they may. */
const DRIFT = 0.098;
/** A leader that hears nobody has noticed by then, by the slowest clock. */
const NOTICED_MS = 750;
/** Longest time after which who hears no leader asks whether it should stand, by a clock that runs as it should. */
const ASKED_MS = 1100;
/** Longest time that one act takes. */
const ACT_MS = 2800;
const REST_MS_MAX = 400;

/** Who is there as an act begins. */
interface Cast {
  readonly leader: SimulatedMachine;
  readonly term: number;
  /** The others: a witness who mostly goes on to hear the leader, and one who does not. */
  readonly witness: SimulatedMachine;
  readonly rival: SimulatedMachine;
}

/**
 * A leader loses its office, or must not lose it, in the most awkward way, again and again. It is cut off while its clock is slow and
 * the others' are fast. It hands over, and hears no more from then on. A follower that can't hear it asks another one that
 * can, and which is restarted in the middle. All the while it is asked for reads by its lease, and none may be stale.
 *
 * Some of it may not happen at all, and little else goes wrong in such a run, so that it can be said: nobody is elected as
 * long as a majority hears its leader, a leader that hears nobody steps down, and who hears no leader asks to be
 * elected in time, whoever else asks in vain.
 */
export class Deposition {
  readonly #parts: DepositionParts;
  /** Who was asked to vote for whom, by who asked: when at last. */
  readonly #asked = new Map<string, number>();
  /** The last term whose leader told somebody to take over. */
  #told = 0;
  #handedOver: (() => void) | undefined;

  constructor(parts: DepositionParts) {
    this.#parts = parts;
  }

  /** A message leaves its sender. */
  sees(group: GroupId, message: GroupMessage): void {
    if (group !== GROUP) return;
    if (message.kind === "vote") this.#asked.set(message.from, this.#parts.clock.nowMs());
    if (message.kind !== "timeoutNow") return;
    this.#told = message.term;
    this.#handedOver?.();
  }

  start(): void {
    this.#run();
  }

  async #run(): Promise<void> {
    const { random, clock, untilMs, machines } = this.#parts;
    const acts = [this.#cutOff, this.#handOver, this.#restart, this.#watch, this.#late];
    for (;;) {
      await this.#sleep(100 + random.float() * REST_MS_MAX);
      if (clock.nowMs() + ACT_MS > untilMs) return;
      const act = acts[random.below(acts.length)]!;
      const log = machines.map((machine) => this.#log(machine));
      const leader = log.findIndex((one) => one?.role === "leader");
      const isCalm = log.every((one) => one !== undefined && one.leader === log[leader]?.node);
      if (leader < 0 || !isCalm) continue;
      const others = machines.filter((_, number) => number !== leader);
      const first = random.below(2);
      const [witness, rival] = [others[first]!, others[1 - first]!];
      // A lease may begin.
      this.#read(machines[leader]!);
      await this.#sleep(60 + random.float() * 60);
      await act({ leader: machines[leader]!, term: log[leader]!.term, witness, rival });
      for (const machine of machines) machine.drift(1);
    }
  }

  /** The leader is cut off from everybody. */
  readonly #cutOff = async ({ leader, witness, rival, term }: Cast): Promise<void> => {
    const { hasLeases, tell } = this.#parts;
    tell(`${leader.name} is cut off as it leads`);
    if (hasLeases) {
      leader.drift(1 - DRIFT);
      for (const other of [witness, rival]) other.drift(1 + DRIFT);
    }
    const { process } = leader;
    this.#links([leader], [witness, rival], "stalled");
    await this.#readFor(leader, NOTICED_MS);
    const log = this.#log(leader);
    if (leader.process === process && log?.role === "leader" && log.term === term)
      this.#parts.wrong(`${leader.name} leads on in term ${term}, and has heard nobody for ${NOTICED_MS} ms`);
    this.#links([leader], [witness, rival], "open");
  };

  /** The leader hands over, and hears of nothing that comes of it. */
  readonly #handOver = async ({ leader, witness, rival }: Cast): Promise<void> => {
    const { network, tell } = this.#parts;
    const set = (to: LinkState): void => {
      for (const other of [witness, rival]) network.setLink(other.name, leader.name, to);
    };
    this.#handedOver = () => {
      tell(`${leader.name} hands over, and hears nothing`);
      set("stalled");
      this.#handedOver = undefined;
    };
    leader.execute(
      { kind: "transferLeader", to: this.#log(rival)!.node, shard: SHARD, forwarded: false },
      "redirect",
    );
    await this.#readFor(leader, NOTICED_MS);
    this.#handedOver = undefined;
    set("open");
  };

  /** The rival does not hear the leader. The witness does, and has forgotten that when it is asked. */
  readonly #restart = async ({ leader, witness, rival }: Cast): Promise<void> => {
    const { random, faults, tell } = this.#parts;
    this.#links([rival], [leader], "stalled");
    await this.#readFor(leader, 400 + random.float() * 500);
    tell(`${witness.name} begins anew, and ${leader.name} is cut off`);
    this.#links([witness], [leader], "stalled");
    faults().end(witness);
    faults().bringBack(witness);
    await this.#readFor(leader, NOTICED_MS);
    this.#links([witness, rival], [leader], "open");
  };

  /** The rival does not hear the leader, the witness does: nothing comes of that. */
  readonly #watch = async ({ leader, witness, rival, term }: Cast): Promise<void> => {
    const { tell, wrong } = this.#parts;
    tell(`${rival.name} does not hear ${leader.name}, and ${witness.name} does`);
    const processes = [leader, witness].map(({ process }) => process);
    this.#links([rival], [leader], "stalled");
    await this.#readFor(leader, 2 * ASKED_MS);
    const log = this.#log(leader);
    const isSame = [leader, witness].every(({ process }, number) => process === processes[number]);
    if (isSame && this.#told < term && log !== undefined && (log.term !== term || log.role !== "leader"))
      wrong(`${leader.name}, which ${witness.name} heard all the time, lost its office in term ${term}`);
    this.#links([rival], [leader], "open");
  };

  /** The rival comes back as the leader goes, too late to be elected, and asks all the same. */
  readonly #late = async ({ leader, witness, rival }: Cast): Promise<void> => {
    const { clock, random, tell, wrong } = this.#parts;
    this.#links([rival], [leader, witness], "stalled");
    await this.#sleep(400 + random.float() * 600);
    tell(`${rival.name} is late as ${leader.name} is cut off`);
    this.#links([rival], [witness], "open");
    this.#links([leader], [witness, rival], "stalled");
    const fromMs = clock.nowMs();
    const { process } = witness;
    await this.#sleep(ASKED_MS);
    const log = this.#log(witness);
    const hasAsked = (this.#asked.get(witness.name) ?? 0) >= fromMs;
    const follows = log?.leader !== undefined && log.leader !== this.#log(leader)?.node;
    if (witness.process === process && log !== undefined && !hasAsked && !follows)
      wrong(`${witness.name} has heard no leader for ${ASKED_MS} ms, and asks nobody to vote for it`);
    this.#links([leader], [witness, rival], "open");
  };

  /** Reads by the lease of `machine` all the time. */
  async #readFor(machine: SimulatedMachine, durationMs: number): Promise<void> {
    const { clock } = this.#parts;
    const endMs = clock.nowMs() + durationMs;
    while (clock.nowMs() < endMs) {
      this.#read(machine);
      await this.#sleep(READ_MS);
    }
  }

  #read(machine: SimulatedMachine): void {
    const { checks } = this.#parts;
    const committed = checks.commitOf(SHARD);
    machine.execute({ kind: "get", key: KEY, consistency: "lease" }, "redirect").then((answer) => {
      if (typeof answer !== "string" && answer.kind !== "error")
        checks.answeredRead(machine, SHARD, committed);
    });
  }

  #links(some: readonly SimulatedMachine[], others: readonly SimulatedMachine[], state: LinkState): void {
    for (const { name } of some) this.#parts.network.setLinks(name, others, state);
  }

  #log(machine: SimulatedMachine): GroupLogStatus | undefined {
    return machine.describe(SHARD, 0);
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#parts.clock.timer(delayMs, resolve));
  }
}
