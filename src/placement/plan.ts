/**
 * What the placement driver does next: a pure function of the facts, so that whoever leads the system group can go on where
 * the one before it ended, and nothing has to be remembered.
 *
 * A shard has a set that is _wanted_ and one that is _actual_. The driver changes the wanted one by a move: one node more, one
 * less, or one for another. The shard's leader follows by itself: the newcomer gets a copy as a learner, and when it has
 * everything the newcomer and the one who goes change places in one change of voters. While the two sets differ the move is
 * under way, and the shard gets no other one.
 *
 * What moves are needed follows from the sets that `placeShards` would have, which keeps what is there. They are made
 * in this order: from nodes that leave, from nodes that are lost, then whatever makes the cluster better. Three things
 * hold one back: the limits; a newcomer that is not up; and that either set, the one before or the one after, has no living
 * majority. A move is given up when its newcomer falls silent before it has its vote, or too many others do.
 *
 * Copies without a vote are an operator's wish, and no part of this: they are neither moved nor evened out. Only, who has one
 * gets a vote in that shard if nobody else can, and gives it to the first who can.
 */
import type { NodeId } from "../../protocol/ids.ts";
import { byId, type ConditionedNode, isWanted } from "./conditions.ts";
import { placeShards, type RingOptions } from "./ring.ts";

export interface PlanNode extends ConditionedNode {
  /** For one that leaves: who should get its replicas, as far as it can hold them. */
  readonly replacement?: NodeId | undefined;
}

/** Who shall hold a shard, and who holds it. */
export interface HeldSet {
  readonly wanted: readonly NodeId[];
  /** Who shall have a copy without a vote. */
  readonly copies: readonly NodeId[];
  /** As the shard's leader last said. */
  readonly actual: {
    readonly voters: readonly NodeId[];
    /** The voters before, while they are being changed. */
    readonly outgoing: readonly NodeId[];
    readonly learners: readonly NodeId[];
  };
}

export interface PlanShard extends HeldSet {
  /** What a copy of it takes. */
  readonly bytes: number;
}

export interface PlacementView {
  readonly nodes: readonly PlanNode[];
  /** By shard. */
  readonly shards: readonly PlanShard[];
  readonly ring: RingOptions;
}

export interface MoveLimits {
  /** Most copies that a node receives at a time. */
  readonly movesPerNode: number;
  /** A node receives a second copy at the same time only if all of them together are at most this long. */
  readonly bytesPerNode: number;
  /** Most copies that are made in the whole cluster at a time. */
  readonly moves: number;
  /** Bytes that copies may take each second, in the whole cluster. */
  readonly bytesPerSecond: number;
  /** How long a move takes however little is copied: it is noticed, caught up and confirmed. */
  readonly moveSeconds: number;
}

export const MOVE_LIMITS: MoveLimits = {
  movesPerNode: 8,
  bytesPerNode: 32 * 1024 * 1024,
  moves: 64,
  bytesPerSecond: 64 * 1024 * 1024,
  moveSeconds: 0.5,
};

/** Why a move is made, the most urgent first. */
export const REASONS = ["stop", "drain", "repair", "balance"] as const;
export type MoveReason = (typeof REASONS)[number];

export interface Move {
  /** Which shard, by its place. */
  readonly shard: number;
  readonly add: NodeId | undefined;
  readonly remove: NodeId | undefined;
  /** What has to be copied. */
  readonly bytes: number;
  readonly reason: MoveReason;
}

/** The set that a move makes of `wanted`: the newcomer stands where the one who goes stood. */
export function afterMove(
  wanted: readonly NodeId[],
  { add, remove }: Pick<Move, "add" | "remove">,
): NodeId[] {
  if (add === undefined) return wanted.filter((id) => id !== remove);
  if (remove === undefined) return [...wanted, add];
  return wanted.map((id) => (id === remove ? add : id));
}

/** The nodes that wait for a copy of the shard, or for their vote. */
export function newcomersOf({ wanted, actual }: Pick<HeldSet, "wanted" | "actual">): readonly NodeId[] {
  return wanted.filter((id) => !actual.voters.includes(id));
}

/** Whether a shard is on its way from one set to another. Who shall have a copy without a vote may get it meanwhile. */
export function isMoving({ wanted, copies, actual }: HeldSet): boolean {
  return (
    actual.outgoing.length > 0 ||
    actual.learners.some((id) => !copies.includes(id)) ||
    actual.voters.length !== wanted.length ||
    wanted.some((id) => !actual.voters.includes(id))
  );
}

/**
 * The moves to begin now, most urgent first. `budgetBytes` is what may be copied at the moment: while it is above 0 a move is
 * begun and takes its bytes off it, so that a copy that is longer than what a second allows is made as well. `needed` may be
 * what was needed a while ago: what has been done since is left out. It has to be worked out anew when a node is another one.
 */
export function nextMoves(
  view: PlacementView,
  limits: MoveLimits,
  budgetBytes = Number.POSITIVE_INFINITY,
  needed = neededMoves(view),
): readonly Move[] {
  const nodes = new Map(view.nodes.map((node) => [node.id, node]));
  const moves: Move[] = stops(view, nodes);
  const load = new Receivers(limits);
  for (const [at, shard] of view.shards.entries()) {
    if (moves.some((move) => move.shard === at)) continue;
    const newcomers = newcomersOf(shard);
    if (newcomers.length > 0) load.begin(newcomers, shard.bytes);
  }
  const resting = needed.filter((move) => !isMoving(view.shards[move.shard]!) && isOpen(view, move));
  let budget = budgetBytes;
  const begun = new Set<number>();
  const waiting = new Set<number>();
  for (const move of resting) {
    // A shard that needs several moves gets one after the other.
    if (begun.has(move.shard) || !isSafe(view.shards[move.shard]!, move, nodes)) continue;
    if (move.add === undefined) {
      // While a newcomer waits to be let in, nobody goes without one.
      if (waiting.has(move.shard)) continue;
    } else if (budget <= 0 || !load.hasRoom(move.add, move.bytes)) {
      waiting.add(move.shard);
      continue;
    } else {
      load.begin([move.add], move.bytes);
      budget -= move.bytes;
    }
    begun.add(move.shard);
    moves.push(move);
  }
  return moves;
}

/** Whether a move that was needed still is one. */
export function isOpen({ shards }: PlacementView, { shard, add, remove }: Move): boolean {
  const { wanted } = shards[shard]!;
  return (add === undefined || !wanted.includes(add)) && (remove === undefined || wanted.includes(remove));
}

/** Every move that the cluster as it is needs, most urgent first; what is under way is not counted. */
export function neededMoves(view: PlacementView): readonly Move[] {
  const nodes = new Map(view.nodes.map((node) => [node.id, node]));
  const moves: Move[] = [];
  for (const [shard, target] of targets(view, nodes).entries()) {
    const { wanted, bytes } = view.shards[shard]!;
    const added = target.filter((id) => !wanted.includes(id));
    // Who has nothing to lose by it goes first: what follows is only begun when this is done.
    const removed = wanted
      .filter((id) => !target.includes(id))
      .sort((a, b) => urgency(nodes.get(a)) - urgency(nodes.get(b)));
    for (let i = 0; i < Math.max(added.length, removed.length); i++) {
      const [add, remove] = [added[i], removed[i]];
      const reason = reasonFor(remove, add, nodes, wanted, view);
      moves.push({ shard, add, remove, bytes: add === undefined ? 0 : bytes, reason });
    }
  }
  return moves.sort((a, b) => REASONS.indexOf(a.reason) - REASONS.indexOf(b.reason) || a.shard - b.shard);
}

/** A move under way. */
export type MoveUnderWay = Pick<Move, "shard" | "add" | "remove" | "bytes">;

/** What is under way, what is still to come, and what both together cost. */
export interface PlanReport {
  readonly underWay: readonly MoveUnderWay[];
  readonly toCome: readonly Move[];
  readonly estimate: PlanEstimate;
}

/** What the cluster is about to do, for who wants to know. */
export function reportOf(view: PlacementView, limits: MoveLimits): PlanReport {
  const underWay = view.shards.flatMap((row, shard) => {
    if (!isMoving(row)) return [];
    const add = newcomersOf(row)[0];
    const remove = row.actual.voters.find((id) => !row.wanted.includes(id));
    return [{ shard, add, remove, bytes: add === undefined ? 0 : row.bytes }];
  });
  const toCome = neededMoves(view);
  return { underWay, toCome, estimate: estimateOf([...underWay, ...toCome], limits) };
}

export interface PlanEstimate {
  readonly moves: number;
  readonly bytes: number;
  /** How long it takes at the limits if nothing else happens. */
  readonly seconds: number;
}

/** What moves cost. */
export function estimateOf(moves: readonly Pick<Move, "add" | "bytes">[], limits: MoveLimits): PlanEstimate {
  let bytes = 0;
  const rounds = new Map<NodeId, { moves: number; bytes: number }>();
  for (const { add, bytes: copied } of moves) {
    bytes += copied;
    if (add === undefined) continue;
    const node = rounds.get(add) ?? { moves: 0, bytes: 0 };
    rounds.set(add, { moves: node.moves + 1, bytes: node.bytes + copied });
  }
  let rows = Math.ceil(moves.length / limits.moves);
  for (const node of rounds.values()) {
    rows = Math.max(
      rows,
      Math.ceil(node.moves / limits.movesPerNode),
      Math.ceil(node.bytes / limits.bytesPerNode),
    );
  }
  const seconds = bytes / limits.bytesPerSecond + Math.min(rows, moves.length) * limits.moveSeconds;
  return { moves: moves.length, bytes, seconds };
}

/** The sets that the shards should end up with. */
function targets(view: PlacementView, nodes: ReadonlyMap<NodeId, PlanNode>): readonly (readonly NodeId[])[] {
  const useful = byId(view.nodes).filter(isWanted);
  if (useful.length === 0) return view.shards.map(({ wanted }) => wanted);
  const open = useful.map((node) => ({ ...node, isClosed: node.health !== "up" }));
  const able = open.filter(({ isClosed }) => !isClosed).map(({ id }) => id);
  const current = view.shards.map(({ wanted, copies }) => {
    const set = wanted.map((id) => replacementOf(id, wanted, nodes));
    return copies.length === 0 ? set : withoutSpared(set, copies, able);
  });
  const spared = view.shards.map(({ copies }) => copies);
  const placed = placeShards(view.shards.length, open, view.ring, current, spared);
  const { replicas } = view.ring;
  return placed.map((set, shard) => {
    if (set.length === replicas) return set;
    // Who could be in its place is silent, or there is nobody: a set is not made smaller because of that. Who is lost may
    // even come back; only who leaves, and is not replaced because there are no nodes for it, goes nevertheless.
    const others = view.shards[shard]!.wanted.filter((id) => !set.includes(id));
    const waiting = others.slice(0, Math.max(0, Math.min(replicas, useful.length) - set.length));
    const lost = others.slice(waiting.length).filter((id) => isLost(nodes.get(id)));
    return [...set, ...waiting, ...lost].slice(0, replicas);
  });
}

function isLost(node: PlanNode | undefined): boolean {
  return node !== undefined && !node.isLeaving && node.health === "lost";
}

/** Who should stand where `id` stands. */
function replacementOf(id: NodeId, wanted: readonly NodeId[], nodes: ReadonlyMap<NodeId, PlanNode>): NodeId {
  const replacement = nodes.get(id)?.replacement;
  return replacement === undefined || wanted.includes(replacement) ? id : replacement;
}

/** `set` without those who shall have but a copy, as far as others of `able` can vote in their places. */
function withoutSpared(
  set: readonly NodeId[],
  copies: readonly NodeId[],
  able: readonly NodeId[],
): readonly NodeId[] {
  let left = able.filter((id) => !set.includes(id) && !copies.includes(id)).length;
  return set.filter((id) => !copies.includes(id) || left-- <= 0);
}

/** Who should go first: of those who leave the ones that are silent, for the others still count for a majority. */
function urgency(node: PlanNode | undefined): number {
  if (node === undefined) return 0;
  return (node.isLeaving ? 0 : 2) + (node.health === "up" ? 1 : 0);
}

function reasonFor(
  remove: NodeId | undefined,
  add: NodeId | undefined,
  nodes: ReadonlyMap<NodeId, PlanNode>,
  wanted: readonly NodeId[],
  { ring }: PlacementView,
): MoveReason {
  if (remove === undefined) return add !== undefined && wanted.length < ring.replicas ? "repair" : "balance";
  const node = nodes.get(remove);
  if (node === undefined || node.isLeaving) return "drain";
  if (node.health === "lost") return "repair";
  return "balance";
}

/** Takes back what can't go on: the newcomer is silent or should have nothing, or the set would have no living majority. */
function stops(view: PlacementView, nodes: ReadonlyMap<NodeId, PlanNode>): Move[] {
  const moves: Move[] = [];
  for (const [shard, { wanted, actual }] of view.shards.entries()) {
    if (actual.outgoing.length > 0 || actual.voters.length === 0) continue;
    const add = actual.voters.find((id) => !wanted.includes(id));
    const remove = wanted.find((id) => !actual.voters.includes(id));
    const newcomer = remove === undefined ? undefined : nodes.get(remove);
    const isStuck =
      remove !== undefined && (newcomer === undefined || newcomer.isLeaving || newcomer.health !== "up");
    if (add === undefined && remove === undefined) continue;
    // Whoever is to hold a shard alone may do so already, and nobody has heard of it: removed, it would be left with all there is.
    const mayHoldAll = wanted.length === 1 && newcomer?.isLeaving === true && newcomer.health !== "lost";
    if (mayHoldAll) continue;
    if (!isStuck && (isAlive(wanted, nodes) || !isAlive(actual.voters, nodes))) continue;
    moves.push({ shard, add, remove, bytes: 0, reason: "stop" });
  }
  return moves;
}

/** Whether the set before can decide on the move, and the one after can go on without waiting for anybody. */
function isSafe({ wanted, actual }: PlanShard, move: Move, nodes: ReadonlyMap<NodeId, PlanNode>): boolean {
  if (move.add !== undefined && nodes.get(move.add)?.health !== "up") return false;
  return isAlive(actual.voters, nodes) && isAlive(afterMove(wanted, move), nodes);
}

/** Whether a majority of the set is up. */
export function isAlive(set: readonly NodeId[], nodes: ReadonlyMap<NodeId, PlanNode>): boolean {
  return 2 * set.filter((id) => nodes.get(id)?.health === "up").length > set.length;
}

/** What each node receives. */
class Receivers {
  readonly #limits: MoveLimits;
  readonly #nodes = new Map<NodeId, { moves: number; bytes: number }>();
  #moves = 0;

  constructor(limits: MoveLimits) {
    this.#limits = limits;
  }

  hasRoom(node: NodeId, bytes: number): boolean {
    const { moves, bytesPerNode, movesPerNode } = this.#limits;
    if (this.#moves >= moves) return false;
    const has = this.#nodes.get(node);
    if (has === undefined || has.moves === 0) return true;
    return has.moves < movesPerNode && has.bytes + bytes <= bytesPerNode;
  }

  begin(nodes: readonly NodeId[], bytes: number): void {
    this.#moves++;
    for (const node of nodes) {
      const has = this.#nodes.get(node) ?? { moves: 0, bytes: 0 };
      this.#nodes.set(node, { moves: has.moves + 1, bytes: has.bytes + bytes });
    }
  }
}
