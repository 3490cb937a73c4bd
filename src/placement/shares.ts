/**
 * How many replicas each node should hold. Alike nodes hold alike many; a node with twice the weight twice as many. But a
 * set holds a node only once, and its members are spread over hosts and zones before anything else: where one zone of three
 * has a single node, that node is in every set of three. So the shares are the most even ones that sets which are spread
 * as well as can be allow: water that is poured into vessels within vessels, each of which holds between so much and so much.
 */
import type { Domain, FailureDomains } from "./failure-domains.ts";

/** What a node should hold: `share` is exact, and in whole replicas it is anything from `low` to `high`. */
export interface Share {
  readonly share: number;
  readonly low: number;
  readonly high: number;
}

/** Sums of fractions miss a whole number by less than this. */
const ROUNDING = 1e-6;

/** A share and the whole numbers next to it. */
export function shareOf(share: number): Share {
  return { share, low: Math.floor(share + ROUNDING), high: Math.ceil(share - ROUNDING) };
}

/** A domain with what it may hold, in replicas. */
interface Vessel {
  readonly node: number | undefined;
  readonly weight: number;
  readonly parts: readonly Vessel[];
  readonly low: number;
  readonly high: number;
}

/** The share of each node, by its place, of `shards` sets of `size` nodes each (at most as many as there are). */
export function replicaShares(domains: FailureDomains, shards: number, size: number): Float64Array {
  const shares = new Float64Array(domains.nodes.length);
  const vesselOf = (domain: Domain): Vessel => {
    const { node } = domain;
    const weight = node === undefined ? 0 : domains.nodes[node]!.weight;
    if (node !== undefined) return { node, weight, parts: [], low: 0, high: shards };
    const within = new Set(domain.nodes);
    const most = domains.bestSet(size, (other) => within.has(other)).filter((other) => within.has(other));
    const least = domains.bestSet(size, (other) => !within.has(other)).filter((other) => within.has(other));
    const parts = domain.parts.map(vesselOf);
    return { node, weight, parts, low: least.length * shards, high: most.length * shards };
  };
  pour(vesselOf(domains.root), shards * size, shares);
  return shares;
}

/** Shares `amount` out by weight, to nobody more than `most` says; all of it, if that is possible. */
export function cappedShares(
  weights: readonly number[],
  most: readonly number[],
  amount: number,
): Float64Array {
  const shares = new Float64Array(weights.length);
  const parts = weights.map((weight, node) => ({ node, weight, parts: [], low: 0, high: most[node]! }));
  pour({ node: undefined, weight: 0, parts, low: 0, high: amount }, amount, shares);
  return shares;
}

/** Shares `amount` out to the nodes of `vessel`. */
function pour(vessel: Vessel, amount: number, shares: Float64Array): void {
  if (vessel.node !== undefined) {
    shares[vessel.node] = amount;
    return;
  }
  const level = levelFor(vessel.parts, amount);
  for (const part of vessel.parts) pour(part, held(part, level), shares);
}

/** What a vessel holds when each node may hold `level` for each unit of its weight. */
function held(vessel: Vessel, level: number): number {
  let sum = vessel.weight * level;
  for (const part of vessel.parts) sum += held(part, level);
  return Math.min(vessel.high, Math.max(vessel.low, sum));
}

/** The level at which `parts` hold `amount`, found by halving: what they hold only grows with it. */
function levelFor(parts: readonly Vessel[], amount: number): number {
  const sumAt = (level: number): number => parts.reduce((sum, part) => sum + held(part, level), 0);
  let low = 0;
  let high = 1;
  while (sumAt(high) < amount - ROUNDING && high < 1e15) high *= 2;
  for (let i = 0; i < 100 && high - low > high * 1e-15; i++) {
    const middle = (low + high) / 2;
    if (sumAt(middle) < amount) low = middle;
    else high = middle;
  }
  return high;
}
