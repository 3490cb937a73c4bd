/**
 * Moves replicas to where they belong. It runs on the node that leads the system group: once a second it compares the sets
 * that are wanted with those that should be (`placement/plan.ts`) and proposes changes of what is wanted. The leaders of the
 * shards do the rest.
 *
 * It may die at any moment, and go on elsewhere: everything that counts is in the system group's facts. What it keeps beside
 * them only makes it patient. It counts a node as lost when it has been silent for long enough while this driver was
 * looking; it does not propose a second time what is not applied yet; and it keeps the list of moves that are needed, which
 * takes longest to work out, for as long as the nodes stay as they are.
 */
import type { NodeId } from "../protocol/ids.ts";
import { isWanted } from "./placement/conditions.ts";
import { ledBy, preferredLeaders } from "./placement/leaders.ts";
import {
  afterMove,
  estimateOf,
  isMoving,
  isOpen,
  type Move,
  type MoveLimits,
  neededMoves,
  newcomersOf,
  nextMoves,
  type PlacementView,
  type PlanEstimate,
  type PlanNode,
  type PlanShard,
} from "./placement/plan.ts";
import type { RingOptions } from "./placement/ring.ts";
import { systemVoters } from "./placement/system-voters.ts";

/** A node of the facts, and whether it answers. */
export interface DrivenNode extends Omit<PlanNode, "health"> {
  readonly isUp: boolean;
}

export interface DrivenShard extends PlanShard {
  /** Of the wanted set: a proposal that was made for another version has no effect. */
  readonly version: number;
}

/** What the cluster has agreed on, as far as placement needs it. */
export interface DrivenFacts {
  readonly nodes: readonly DrivenNode[];
  readonly shards: readonly DrivenShard[];
  readonly ring: RingOptions;
  /** Who should vote in the system group, and whether its members are these already. */
  readonly systemVoters: readonly NodeId[];
  readonly areSystemVotersSettled: boolean;
}

export interface PlacementDriverParts {
  readonly limits: MoveLimits;
  /** After how long a silence a node's replicas are made elsewhere. */
  readonly lostAfterMs: number;
  readonly nowMs: () => number;
  /** `undefined` on every node but the one that leads the system group and has applied all that was committed before. */
  readonly facts: () => DrivenFacts | undefined;
  /** Proposes that the shard's set of this version be followed by `wanted`, who should lead first. It may come to nothing. */
  readonly proposeReplicas: (shard: number, version: number, wanted: readonly NodeId[]) => void;
  readonly proposeSystemVoters: (voters: readonly NodeId[]) => void;
}

/** A move under way. */
export interface MoveInProgress {
  readonly shard: number;
  readonly add: NodeId | undefined;
  readonly remove: NodeId | undefined;
  readonly bytes: number;
}

/** What is under way and what is still to come. */
export interface PlacementReport {
  readonly underWay: readonly MoveInProgress[];
  readonly toCome: readonly Move[];
  /** Of both together. */
  readonly estimate: PlanEstimate;
}

interface Proposal {
  readonly version: number;
  readonly wanted: readonly NodeId[];
  readonly atMs: number;
}

/** How long a proposal may take before it is made again. */
const PROPOSAL_MS = 5000;
/** Most shards that get another one to lead them in a turn, so that clients meet few redirects at a time. */
const LEADERS_MAX = 16;

export class PlacementDriver {
  readonly #parts: PlacementDriverParts;
  /** Since when the nodes that do not answer have been silent, as far as this driver looked. */
  readonly #silentSinceMs = new Map<NodeId, number>();
  /** What was proposed for a shard's set of some version, and when. */
  readonly #proposed = new Map<number, Proposal>();
  #needed: { readonly nodes: string; readonly moves: readonly Move[] } | undefined;
  #budgetBytes = 0;
  #turnMs: number | undefined;

  constructor(parts: PlacementDriverParts) {
    this.#parts = parts;
  }

  /** One look at what is, to be taken about once a second. */
  turn(): void {
    const nowMs = this.#parts.nowMs();
    const facts = this.#parts.facts();
    if (facts === undefined) {
      this.#forget();
      return;
    }
    const { limits } = this.#parts;
    // What a pause would have allowed is not made up for.
    const seconds = this.#turnMs === undefined ? 0 : Math.min(1, (nowMs - this.#turnMs) / 1000);
    this.#budgetBytes = Math.min(limits.bytesPerSecond, this.#budgetBytes + seconds * limits.bytesPerSecond);
    this.#turnMs = nowMs;
    const view = this.#viewOf(facts, nowMs);
    this.#moveReplicas(facts, view, nowMs);
    this.#moveLeaders(facts, view, nowMs);
    this.#moveVotes(facts, view);
  }

  /** `undefined` where this node is not the one that drives. */
  report(): PlacementReport | undefined {
    const facts = this.#parts.facts();
    if (facts === undefined) return undefined;
    const view = this.#viewOf(facts, this.#parts.nowMs());
    const underWay = view.shards.flatMap((row, shard) => {
      if (!isMoving(row)) return [];
      const add = newcomersOf(row)[0];
      const remove = row.actual.voters.find((id) => !row.wanted.includes(id));
      return [{ shard, add, remove, bytes: add === undefined ? 0 : row.bytes }];
    });
    const toCome = neededMoves(view);
    return { underWay, toCome, estimate: estimateOf([...underWay, ...toCome], this.#parts.limits) };
  }

  #moveReplicas(facts: DrivenFacts, view: PlacementView, nowMs: number): void {
    for (const move of nextMoves(view, this.#parts.limits, this.#budgetBytes, this.#neededMoves(view))) {
      this.#budgetBytes -= move.bytes;
      this.#propose(facts, move.shard, afterMove(view.shards[move.shard]!.wanted, move), nowMs);
    }
  }

  /**
   * Who should lead is the first of the set that is wanted. Leaders are evened out once all replicas are where they belong;
   * but who leaves or is lost should lead nothing at any time.
   */
  #moveLeaders(facts: DrivenFacts, { nodes, shards }: PlacementView, nowMs: number): void {
    const leaders = preferredLeaders(
      shards.map(({ wanted }) => ({ voters: wanted, preferred: wanted[0] })),
      nodes.map((node) => ({ ...node, mayLead: isWanted(node) })),
    );
    const isAtRest = this.#needed?.moves.length === 0 && !shards.some(isMoving);
    const able = new Set(nodes.filter(isWanted).map(({ id }) => id));
    let left = LEADERS_MAX;
    for (const [shard, row] of shards.entries()) {
      const wanted = ledBy(row.wanted, leaders[shard]);
      if (wanted === row.wanted || isMoving(row) || this.#proposed.has(shard)) continue;
      if (!isAtRest && able.has(row.wanted[0]!)) continue;
      if (left-- === 0) return;
      this.#propose(facts, shard, wanted, nowMs);
    }
  }

  #propose(facts: DrivenFacts, shard: number, wanted: readonly NodeId[], nowMs: number): void {
    const { version } = facts.shards[shard]!;
    this.#proposed.set(shard, { version, wanted, atMs: nowMs });
    this.#parts.proposeReplicas(shard, version, wanted);
  }

  #moveVotes({ systemVoters: current, areSystemVotersSettled }: DrivenFacts, { nodes }: PlacementView): void {
    if (!areSystemVotersSettled) return;
    const next = systemVoters(current, nodes);
    if (next.length === current.length && next.every((id) => current.includes(id))) return;
    this.#parts.proposeSystemVoters(next);
  }

  /** The moves that are needed, from the last time that this was worked out if it still holds. */
  #neededMoves(view: PlacementView): readonly Move[] {
    const nodes = JSON.stringify(view.nodes);
    const known = this.#needed;
    if (known?.nodes === nodes && known.moves.some((move) => isOpen(view, move))) return known.moves;
    const moves = neededMoves(view);
    this.#needed = { nodes, moves };
    return moves;
  }

  /** The facts as they will be when what was proposed is applied. */
  #viewOf({ nodes, shards, ring }: DrivenFacts, nowMs: number): PlacementView {
    const conditioned = nodes.map((node) => ({ ...node, health: this.#healthOf(node, nowMs) }));
    const foreseen = shards.map((row, shard) => {
      const proposed = this.#proposed.get(shard);
      if (proposed === undefined) return row;
      if (proposed.version === row.version && nowMs < proposed.atMs + PROPOSAL_MS) {
        return { ...row, wanted: proposed.wanted };
      }
      this.#proposed.delete(shard);
      return row;
    });
    return { nodes: conditioned, shards: foreseen, ring };
  }

  #healthOf({ id, isUp }: DrivenNode, nowMs: number): PlanNode["health"] {
    if (isUp) {
      this.#silentSinceMs.delete(id);
      return "up";
    }
    const sinceMs = this.#silentSinceMs.get(id);
    if (sinceMs === undefined) this.#silentSinceMs.set(id, nowMs);
    return nowMs - (sinceMs ?? nowMs) < this.#parts.lostAfterMs ? "down" : "lost";
  }

  #forget(): void {
    this.#silentSinceMs.clear();
    this.#proposed.clear();
    this.#needed = undefined;
    this.#turnMs = undefined;
    this.#budgetBytes = 0;
  }
}
