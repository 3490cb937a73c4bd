/**
 * Evens out who carries how many things (replicas, leaderships), with few moves. Whoever carries more than its share allows
 * gives things away, then whoever carries too little is given some; who is within its bounds neither gives nor takes
 * without need. If nobody can take a thing directly it goes by way of others: the shortest such way is looked for, as in the
 * assignment problem (Kuhn, "The Hungarian Method", 1955, without costs).
 *
 * Every step takes away from what is too much or too little, or (if nobody has room) brings the two nodes nearer to each
 * other, so there is an end to it; and what it leaves is left as it is when it is asked again.
 */
import type { Share } from "./shares.ts";

/** Things that nodes carry. Nodes and things are known by their numbers. */
export interface Carried {
  /**
   * Tells of every thing that can go from one node to another as things are now; only of those from `from` or to `to` where
   * these are given. The lower its `rank`, the rather a thing should go; below 0 it goes before any other.
   */
  forEachMove(
    from: number | undefined,
    to: number | undefined,
    visit: (from: number, to: number, thing: number, rank: number) => void,
  ): void;
  /** False, and without effect, if the thing can't go there any more. */
  move(from: number, to: number, thing: number): boolean;
}

/** More than any node's fullness. */
const FIRST = 1e9;

interface Step {
  readonly from: number;
  readonly to: number;
  readonly thing: number;
}

/** Moves things until `loads`, which `carried` keeps up to date, are within `shares`, or as near to it as can be. */
export function evenOut(carried: Carried, loads: Int32Array, shares: readonly Share[]): void {
  // Those for which nothing could be done since the last move.
  const given = new Set<number>();
  while (true) {
    const over = farthest(loads.length, given, (node) => loads[node]! - shares[node]!.high);
    const node = over ?? farthest(loads.length, given, (other) => shares[other]!.low - loads[other]!);
    if (node === undefined) return;
    const hasMoved =
      over === undefined ? takeOne(carried, loads, shares, node) : giveOne(carried, loads, shares, node);
    if (hasMoved) given.clear();
    else given.add(node);
  }
}

/** The node for which `excess` is greatest and above 0. */
function farthest(
  nodes: number,
  except: ReadonlySet<number>,
  excess: (node: number) => number,
): number | undefined {
  let best: number | undefined;
  for (let node = 0; node < nodes; node++) {
    if (excess(node) <= 0 || except.has(node)) continue;
    if (best === undefined || excess(node) > excess(best)) best = node;
  }
  return best;
}

function giveOne(carried: Carried, loads: Int32Array, shares: readonly Share[], from: number): boolean {
  const hasRoom = (node: number) => loads[node]! < shares[node]!.high;
  if (moveDirectly(carried, loads, shares, from, undefined, hasRoom)) return true;
  // If nobody has room, two that both carry too much can still be brought nearer to each other.
  const over = (2 * loads[from]! - 1) / shares[from]!.share;
  const isBetter = (node: number) => (2 * loads[node]! + 1) / shares[node]!.share < over;
  const isFrom = (node: number) => node === from;
  return moveByOthers(carried, loads.length, isFrom, (node) => hasRoom(node) || isBetter(node));
}

function takeOne(carried: Carried, loads: Int32Array, shares: readonly Share[], to: number): boolean {
  const canSpare = (node: number) => loads[node]! > shares[node]!.low;
  if (moveDirectly(carried, loads, shares, undefined, to, canSpare)) return true;
  const under = (2 * loads[to]! + 1) / shares[to]!.share;
  const isBetter = (node: number) => (2 * loads[node]! - 1) / shares[node]!.share > under;
  const isTo = (node: number) => node === to;
  return moveByOthers(carried, loads.length, (node) => canSpare(node) || isBetter(node), isTo);
}

/** One move between `from` or `to` and the node in `others` that most needs it. */
function moveDirectly(
  carried: Carried,
  loads: Int32Array,
  shares: readonly Share[],
  from: number | undefined,
  to: number | undefined,
  others: (node: number) => boolean,
): boolean {
  let best: Step | undefined;
  let bestNeed = 0;
  let bestRank = 0;
  carried.forEachMove(from, to, (source, target, thing, rank) => {
    const other = from === undefined ? source : target;
    if (!others(other)) return;
    const fullness = loads[other]! / shares[other]!.share;
    const need = (rank < 0 ? FIRST : 0) + (from === undefined ? fullness : -fullness);
    if (best !== undefined && (need < bestNeed || (need === bestNeed && rank >= bestRank))) return;
    best = { from: source, to: target, thing };
    bestNeed = need;
    bestRank = rank;
  });
  return best !== undefined && carried.move(best.from, best.to, best.thing);
}

/** The shortest row of moves from a node in `sources` to one in `targets`: all nodes between carry as much as before. */
function moveByOthers(
  carried: Carried,
  nodes: number,
  sources: (node: number) => boolean,
  targets: (node: number) => boolean,
): boolean {
  const steps = bestSteps(carried, nodes);
  const reachedBy = new Array<Step | undefined>(nodes).fill(undefined);
  const seen = new Uint8Array(nodes);
  const queue: number[] = [];
  for (let node = 0; node < nodes; node++) {
    if (!sources(node)) continue;
    seen[node] = 1;
    queue.push(node);
  }
  const startsIn = queue.length;
  for (let at = 0; at < queue.length; at++) {
    const node = queue[at]!;
    if (at >= startsIn && targets(node)) return walkBack(carried, reachedBy, node);
    for (let to = 0; to < nodes; to++) {
      const step = steps[node * nodes + to];
      if (step === undefined || seen[to] === 1) continue;
      seen[to] = 1;
      reachedBy[to] = step;
      queue.push(to);
    }
  }
  return false;
}

/** For each pair of nodes the thing that should go from the one to the other, if any can: at `from * nodes + to`. */
function bestSteps(carried: Carried, nodes: number): readonly (Step | undefined)[] {
  const steps = new Array<Step | undefined>(nodes * nodes).fill(undefined);
  const ranks = new Float64Array(nodes * nodes);
  carried.forEachMove(undefined, undefined, (from, to, thing, rank) => {
    const at = from * nodes + to;
    if (steps[at] !== undefined && rank >= ranks[at]!) return;
    steps[at] = { from, to, thing };
    ranks[at] = rank;
  });
  return steps;
}

/** Carries out the moves that lead to `target`, the last one first; takes them back if one has been made impossible. */
function walkBack(carried: Carried, reachedBy: readonly (Step | undefined)[], target: number): boolean {
  const done: Step[] = [];
  for (let step = reachedBy[target]; step !== undefined; step = reachedBy[step.from]) {
    if (!carried.move(step.from, step.to, step.thing)) {
      for (const { from, to, thing } of done.reverse()) carried.move(to, from, thing);
      return false;
    }
    done.push(step);
  }
  return true;
}
