import type { GossipFacts, LeaderHint, LoadFact, MemberFact } from "../../protocol/gossip-messages.ts";
import type { NodeId, ShardId } from "../../protocol/ids.ts";
import type { Knowledge } from "./knowledge.ts";
import { hintBytes, loadBytes, memberBytes } from "./sizes.ts";

/** Everything that this node knows, on its way to another one. */
interface Outgoing {
  readonly to: NodeId;
  /** The other one shall send the same, which the first part says. */
  ask: boolean;
  /** What was not sent yet. */
  readonly nodes: NodeId[];
  readonly shards: ShardId[];
}

export interface SyncPart extends GossipFacts {
  readonly to: NodeId;
  readonly ask: boolean;
}

/**
 * Complete exchanges: what gossip missed, and all of it for who has just come. They leave in parts of a bounded size, one
 * for each receiver at a time. No part needs another one: each is facts like any others.
 */
export class Syncs {
  readonly #knowledge: Knowledge;
  readonly #bytesMax: number;
  readonly #activeMax: number;
  #outgoing: Outgoing[] = [];

  constructor(knowledge: Knowledge, bytesMax: number, activeMax: number) {
    this.#knowledge = knowledge;
    this.#bytesMax = bytesMax;
    this.#activeMax = activeMax;
  }

  /** Begins to send everything. False: it is being sent to that node already, or to too many. */
  begin(to: NodeId, ask: boolean): boolean {
    if (this.#outgoing.length >= this.#activeMax) return false;
    if (this.#outgoing.some((one) => one.to === to)) return false;
    const { nodes, shards } = this.#knowledge;
    this.#outgoing.push({ to, ask, nodes: [...nodes], shards: [...shards] });
    return true;
  }

  forget(node: NodeId): void {
    this.#outgoing = this.#outgoing.filter(({ to }) => to !== node);
  }

  /** The next part of each. */
  parts(): readonly SyncPart[] {
    if (this.#outgoing.length === 0) return [];
    const parts = this.#outgoing.map((outgoing) => this.#part(outgoing));
    this.#outgoing = this.#outgoing.filter(({ nodes, shards }) => nodes.length + shards.length > 0);
    return parts;
  }

  #part(outgoing: Outgoing): SyncPart {
    const { ask, to, nodes, shards } = outgoing;
    outgoing.ask = false;
    const members: MemberFact[] = [];
    const loads: LoadFact[] = [];
    const leaders: LeaderHint[] = [];
    let bytes = 0;
    while (nodes.length > 0 && bytes < this.#bytesMax) {
      const node = nodes.pop()!;
      const fact = this.#knowledge.fact(node);
      const load = this.#knowledge.load(node);
      if (fact !== undefined && isNews(fact)) {
        bytes += memberBytes(fact);
        members.push(fact);
      }
      if (load !== undefined) {
        bytes += loadBytes(load);
        loads.push(load);
      }
    }
    while (shards.length > 0 && bytes < this.#bytesMax) {
      const hint = this.#knowledge.hint(shards.pop()!)!;
      bytes += hintBytes(hint);
      leaders.push(hint);
    }
    return { to, ask, members, loads, leaders };
  }
}

/** Everybody begins with the belief that everybody is alive. */
function isNews({ state, incarnation }: MemberFact): boolean {
  return state !== "alive" || incarnation > 0;
}
