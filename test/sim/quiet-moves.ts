import { type GroupId, nodeId, type ShardId, shardOfGroup } from "../../protocol/ids.ts";
import type { GroupMessage } from "../../protocol/peer-messages.ts";
import type { Random } from "../../src/lib/prng.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";
import type { SimulatedMachine } from "./machine.ts";
import type { MemoryNetwork } from "./network.ts";

export interface QuietMovesParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly network: MemoryNetwork;
  readonly machines: readonly SimulatedMachine[];
  readonly tell: (event: string) => void;
}

/** Most of what a connection breaks after a learner has said that it has everything: the leader may have heard it, or not. */
const BREAK_MS_MAX = 60;

/**
 * While nobody writes anything, the connection of a learner with its leader breaks just when it has caught up, once in
 * each group. No entry will come by that could show the leader that the learner is still there, and still it has to get its
 * vote.
 */
export class QuietMoves {
  readonly #parts: QuietMovesParts;
  #isActive = false;
  /** Learners and groups of which it is done. */
  readonly #done = new Set<string>();

  constructor(parts: QuietMovesParts) {
    this.#parts = parts;
  }

  begin(): void {
    this.#isActive = true;
  }

  end(): void {
    this.#isActive = false;
  }

  /** A message leaves its sender. */
  sees(group: GroupId, message: GroupMessage): void {
    if (!this.#isActive || message.kind !== "appendReply" || !message.accepted) return;
    const { clock, random, network, machines, tell } = this.#parts;
    const { from, to } = message;
    const name = `${from} ${group}`;
    if (this.#done.has(name)) return;
    const shard: ShardId | undefined = group === 0 ? undefined : shardOfGroup(group);
    const log = machines.find((machine) => nodeId(machine.name) === to)?.describe(shard, 0);
    if (log?.learners.includes(from) !== true || message.index < log.lastIndex) return;
    this.#done.add(name);
    clock.timer(random.float() * BREAK_MS_MAX, () => {
      tell(`${to} loses its connections with ${from}, which has caught up`);
      network.breakConnections(to, from, "both");
    });
  }
}
