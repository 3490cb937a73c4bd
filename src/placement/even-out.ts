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
  /** The thing that should rather go from `from` to `to` than any other, -1 if none can as things are now. */
  bestThing(from: number, to: number): number;
  /** False, and without effect, if the thing can't go there any more. */
  move(from: number, to: number, thing: number): boolean;
}

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
  const emptiest = sortedBy(loads.length, hasRoom, (node) => loads[node]! / shares[node]!.share);
  if (emptiest.some((to) => carried.move(from, to, carried.bestThing(from, to)))) return true;
  // If nobody has room, two that both carry too much can still be brought nearer to each other.
  const over = (2 * loads[from]! - 1) / shares[from]!.share;
  const isBetter = (node: number) => (2 * loads[node]! + 1) / shares[node]!.share < over;
  const isFrom = (node: number) => node === from;
  return moveByOthers(carried, loads.length, isFrom, (node) => hasRoom(node) || isBetter(node));
}

function takeOne(carried: Carried, loads: Int32Array, shares: readonly Share[], to: number): boolean {
  const canSpare = (node: number) => loads[node]! > shares[node]!.low;
  const fullest = sortedBy(loads.length, canSpare, (node) => -loads[node]! / shares[node]!.share);
  if (fullest.some((from) => carried.move(from, to, carried.bestThing(from, to)))) return true;
  const under = (2 * loads[to]! + 1) / shares[to]!.share;
  const isBetter = (node: number) => (2 * loads[node]! - 1) / shares[node]!.share > under;
  const isTo = (node: number) => node === to;
  return moveByOthers(carried, loads.length, (node) => canSpare(node) || isBetter(node), isTo);
}

/** Those of the nodes that are `wanted`, the lowest `order` first. */
function sortedBy(
  nodes: number,
  wanted: (node: number) => boolean,
  order: (node: number) => number,
): number[] {
  const found: number[] = [];
  for (let node = 0; node < nodes; node++) if (wanted(node)) found.push(node);
  return found.sort((a, b) => order(a) - order(b) || a - b);
}

/** The shortest row of moves from a node in `sources` to one in `targets`: all nodes between carry as much as before. */
function moveByOthers(
  carried: Carried,
  nodes: number,
  sources: (node: number) => boolean,
  targets: (node: number) => boolean,
): boolean {
  const reachedBy = new Array<Step | undefined>(nodes).fill(undefined);
  const seen = new Uint8Array(nodes);
  const queue: number[] = [];
  for (let node = 0; node < nodes; node++) {
    if (!sources(node)) continue;
    seen[node] = 1;
    queue.push(node);
  }
  for (const from of queue) {
    for (let to = 0; to < nodes; to++) {
      if (seen[to] === 1) continue;
      const thing = carried.bestThing(from, to);
      if (thing < 0) continue;
      seen[to] = 1;
      reachedBy[to] = { from, to, thing };
      if (targets(to)) return walkBack(carried, reachedBy, to);
      queue.push(to);
    }
  }
  return false;
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
