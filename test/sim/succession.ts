import { type GroupId, nodeId } from "../../protocol/ids.ts";
import type { GroupMessage } from "../../protocol/peer-messages.ts";
import type { Random } from "../../src/lib/prng.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";
import type { SimulatedFaults } from "./faults.ts";
import type { SimulatedMachine } from "./machine.ts";

export interface SuccessionParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly machines: readonly SimulatedMachine[];
  readonly group: GroupId;
  readonly faults: () => Pick<SimulatedFaults, "cutOff" | "end">;
}

/** Who is cut off comes back at the latest after so long, or there may be nobody left to be elected. */
const ALONE_MS_MAX = 3000;
/** Longest time until its last leader comes back to a group that has another one. */
const LATE_MS_MAX = 600;
/** Longest time after that for which a leader that was not cut off when it began is left alone. */
const REIGN_MS_MAX = 800;
/** By then a leader has its own entries on its disk, and nobody else has. */
const DURABLE_MS = 120;

/**
 * Leaders that follow each other faster than their entries get anywhere (figure 8 of the Raft paper). Whoever begins to lead
 * a group is cut off, mostly before anybody has its first entry, and goes on to write for itself; it comes back when the
 * next one is elected, who may be cut off in its turn. So there are entries of earlier terms in the logs of some that others
 * have never heard of, which a later leader may bring to a majority, or which are cut away. The same happens to leaders
 * that change the members.
 */
export class Succession {
  readonly #parts: SuccessionParts;
  /** Of four leaders, how many are cut off. */
  readonly #quarters: number;
  #term = 0;
  #configIndex = 0;
  #letBack: (() => void) | undefined;

  constructor(parts: SuccessionParts) {
    this.#parts = parts;
    this.#quarters = 2 + parts.random.below(2);
  }

  /** A message leaves its sender. What is on its way when its sender is cut off waits until that is over. */
  sees(group: GroupId, message: GroupMessage): void {
    if (group !== this.#parts.group || message.kind !== "append") return;
    const { from, term, entries } = message;
    const begins = term > this.#term && entries.some((entry) => entry.kind === "noop" && entry.term === term);
    if (begins) this.#begins(from, term);
    const change = entries.find(
      (entry) => entry.kind === "config" && entry.term === term && entry.index > this.#configIndex,
    );
    if (change === undefined || term < this.#term) return;
    this.#configIndex = change.index;
    if (!begins && this.#parts.random.below(2) === 0) this.#cutOff(from);
  }

  #begins(leader: string, term: number): void {
    const { clock, random } = this.#parts;
    this.#term = term;
    const isLeft = random.below(4) >= this.#quarters;
    if (!isLeft) {
      this.#cutOff(leader);
      return;
    }
    const letBack = this.#letBack;
    this.#letBack = undefined;
    if (letBack !== undefined) clock.timer(random.float() * LATE_MS_MAX, letBack);
    // What it is asked to write then, it has for itself.
    clock.timer(LATE_MS_MAX + random.float() * REIGN_MS_MAX, () => {
      if (this.#term === term) this.#cutOff(leader);
    });
  }

  #cutOff(leader: string): void {
    const { clock, random, machines, faults } = this.#parts;
    const machine = machines.find(({ name }) => nodeId(name) === leader);
    if (machine === undefined) return;
    // First, since the two were cut off from each other by either.
    this.#letBack?.();
    this.#letBack = faults().cutOff([machine], ALONE_MS_MAX);
    if (random.below(4) > 0) return;
    const { process } = machine;
    clock.timer(DURABLE_MS, () => {
      if (machine.process === process) faults().end(machine);
    });
  }
}
