/**
 * Moves replicas to where they belong. It runs on the node that leads the system group: whenever the facts change, and
 * once a second, it compares the sets that are wanted with those that should be (`placement/plan.ts`) and proposes changes of
 * what is wanted. The leaders of the shards do the rest.
 *
 * It may die at any moment, and go on elsewhere: everything that counts is in the system group's facts. What it keeps beside
 * them only makes it patient. It does not propose a second time what is not applied yet, it counts the bytes that it has begun
 * to move, and it keeps the list of moves that are needed, which takes longest to work out, for as long as the nodes stay
 * as they are.
 */
import type { NodeId } from "../../protocol/ids.ts";
import { isWanted } from "../placement/conditions.ts";
import { ledBy, preferredLeaders } from "../placement/leaders.ts";
import {
  afterMove,
  isAlive,
  isMoving,
  isOpen,
  type Move,
  type MoveLimits,
  neededMoves,
  nextMoves,
  type PlacementView,
  type PlanShard,
} from "../placement/plan.ts";
import { systemVoters } from "../placement/system-voters.ts";

export interface DrivenShard extends PlanShard {
  /** Of the wanted set: a proposal that was made for another version has no effect. */
  readonly version: number;
}

/** What the cluster has agreed on, as far as placement needs it. */
export interface DrivenFacts extends PlacementView {
  /** Grows with every change of the facts; how the nodes are heard to be is none. */
  readonly version: number;
  readonly shards: readonly DrivenShard[];
  /** Who shall vote in the system group, and who does. */
  readonly systemVoters: readonly NodeId[];
  readonly systemMembers: Pick<PlanShard["actual"], "voters" | "outgoing">;
}

export interface PlacementDriverParts {
  readonly limits: MoveLimits;
  readonly nowMs: () => number;
  /** `undefined` on every node but the one that leads the system group. */
  readonly facts: () => DrivenFacts | undefined;
  /** Proposes these changes of what is wanted; each of them may come to nothing. */
  readonly proposeReplicas: (changes: readonly WantedSet[]) => void;
  readonly proposeSystemVoters: (voters: readonly NodeId[]) => void;
  /** A move that had begun is taken back; it may be an operator's, who does not wait for it any more. */
  readonly tookBack: (move: Pick<Move, "shard" | "add" | "remove">) => void;
}

/** Who should hold a shard, who should lead it first, if its set is still the one of this version. */
export interface WantedSet {
  readonly shard: number;
  readonly version: number;
  readonly wanted: readonly NodeId[];
}

interface Proposal extends WantedSet {
  readonly atMs: number;
}

/** How long a proposal may take before it is made again. */
const PROPOSAL_MS = 5000;
/** Most shards that get another one to lead them in a turn, so that clients meet few redirects at a time. */
const LEADERS_MAX = 16;

export class PlacementDriver {
  readonly #parts: PlacementDriverParts;
  /** What was proposed for a shard's set of some version, and when. */
  readonly #proposed = new Map<number, Proposal>();
  #needed: { readonly nodes: string; readonly moves: readonly Move[] } | undefined;
  /** How everything was when the last turn found nothing to do. */
  #restingState: string | undefined;
  #budgetBytes = 0;
  #turnMs: number | undefined;

  constructor(parts: PlacementDriverParts) {
    this.#parts = parts;
  }

  /** One look at what is, to be taken when the facts have changed, and about once a second. */
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
    // Most of the time nothing has happened since all was well.
    const state = JSON.stringify([facts.version, facts.nodes, facts.systemMembers]);
    if (state === this.#restingState) return;
    const view = this.#foreseen(facts, nowMs);
    const moved = this.#moveReplicas(view);
    const changes = [...moved, ...this.#moveLeaders(view, new Set(moved.map(({ shard }) => shard)))];
    for (const change of changes) this.#proposed.set(change.shard, { ...change, atMs: nowMs });
    if (changes.length > 0) this.#parts.proposeReplicas(changes);
    const isAtRest = changes.length === 0 && this.#proposed.size === 0 && this.#isAtRest(view);
    this.#restingState = !this.#moveVotes(facts) && isAtRest ? state : undefined;
  }

  /** Every replica is where it belongs. */
  #isAtRest({ shards }: DrivenFacts): boolean {
    return this.#needed?.moves.length === 0 && !shards.some(isMoving);
  }

  /** The plan is worked out anew in the next turn, also if nothing seems to have changed. */
  reconsider(): void {
    this.#needed = undefined;
    this.#restingState = undefined;
  }

  #moveReplicas(view: DrivenFacts): readonly WantedSet[] {
    const moves = nextMoves(view, this.#parts.limits, this.#budgetBytes, this.#neededMoves(view));
    return moves.map((move) => {
      const { shard } = move;
      const { version, wanted } = view.shards[shard]!;
      this.#budgetBytes -= move.bytes;
      if (move.reason === "stop") this.#parts.tookBack(move);
      return { shard, version, wanted: afterMove(wanted, move) };
    });
  }

  /**
   * Who should lead is the first of the set that is wanted. Leaders are evened out once all replicas are where they belong;
   * but who leaves or is lost should lead nothing at any time.
   */
  #moveLeaders(view: DrivenFacts, moved: ReadonlySet<number>): readonly WantedSet[] {
    const { nodes, shards } = view;
    const leaders = preferredLeaders(
      shards.map(({ wanted }) => ({ voters: wanted, preferred: wanted[0] })),
      nodes.map((node) => ({ ...node, mayLead: isWanted(node) })),
    );
    const isAtRest = this.#isAtRest(view);
    const able = new Set(nodes.filter(isWanted).map(({ id }) => id));
    const changes: WantedSet[] = [];
    for (const [shard, row] of shards.entries()) {
      const wanted = ledBy(row.wanted, leaders[shard]);
      if (wanted === row.wanted || isMoving(row) || moved.has(shard) || this.#proposed.has(shard)) continue;
      if (!isAtRest && able.has(row.wanted[0]!)) continue;
      changes.push({ shard, version: row.version, wanted });
      if (changes.length === LEADERS_MAX) break;
    }
    return changes;
  }

  /**
   * One change of votes at a time; one that waits for a node which is not there is given up, be it a newcomer or one of those who
   * would be left to decide. Whether one is under way.
   */
  #moveVotes({ systemVoters: wanted, systemMembers, nodes }: DrivenFacts): boolean {
    const { voters, outgoing } = systemMembers;
    if (outgoing.length > 0) return true;
    const newcomers = wanted.filter((id) => !voters.includes(id));
    const isSettled = newcomers.length === 0 && voters.length === wanted.length;
    const canCome = (id: NodeId) =>
      nodes.some((node) => node.id === id && isWanted(node) && node.health === "up");
    const canDecide = isAlive(wanted, new Map(nodes.map((node) => [node.id, node])));
    if (!isSettled && canDecide && newcomers.every(canCome)) return true;
    const next = systemVoters(voters, nodes);
    if (next.length === wanted.length && next.every((id) => wanted.includes(id))) return !isSettled;
    this.#parts.proposeSystemVoters(next);
    return true;
  }

  /** The moves that are needed, from the last time that this was worked out if it still holds. */
  #neededMoves(view: PlacementView): readonly Move[] {
    const copies = view.shards.flatMap((row, shard) =>
      row.copies.length === 0 ? [] : [[shard, row.copies]],
    );
    const nodes = JSON.stringify([view.nodes, copies]);
    const known = this.#needed;
    if (known?.nodes === nodes && known.moves.some((move) => isOpen(view, move))) return known.moves;
    const moves = neededMoves(view);
    this.#needed = { nodes, moves };
    return moves;
  }

  /** The facts as they will be when what was proposed is applied. */
  #foreseen(facts: DrivenFacts, nowMs: number): DrivenFacts {
    const shards = facts.shards.map((row, shard) => {
      const proposed = this.#proposed.get(shard);
      if (proposed === undefined) return row;
      if (proposed.version === row.version && nowMs < proposed.atMs + PROPOSAL_MS) {
        return { ...row, wanted: proposed.wanted };
      }
      this.#proposed.delete(shard);
      return row;
    });
    return { ...facts, shards };
  }

  #forget(): void {
    this.#proposed.clear();
    this.#needed = undefined;
    this.#restingState = undefined;
    this.#turnMs = undefined;
    this.#budgetBytes = 0;
  }
}
