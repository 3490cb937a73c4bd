/**
 * Which nodes hold which shard. The hash ring proposes (`ring-points.ts`): each shard would like the nodes that follow it on
 * the circle. Three things come before its wish, in this order:
 *
 * 1. a set's members are on as many hosts, and then in as many zones, as there can be (`failure-domains.ts`);
 * 2. no node holds more or less than its share (`shares.ts`), rounded to whole replicas;
 * 3. what is there already stays where it is.
 *
 * The second is consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2016) with the bound as low as
 * it can be. There it makes the choice depend on the order in which shards are placed, and a node more or less moves others
 * about: the paper expects in the order of 1/e^2 replicas for each one that has to move, where a node may hold 1 + e times
 * its share. Here the sets as they are now are an input, and only what breaks one of the first two rules is moved: nodes
 * that are alike and hold their shares give a newcomer what its share is, and nothing else moves. The price is that two clusters
 * with the same nodes may have different sets, depending on how they came there; everybody reads them from the system
 * group's facts anyway.
 */
import type { NodeId } from "../../protocol/ids.ts";
import { assert } from "../lib/assert.ts";
import type { RingNode } from "./failure-domains.ts";
import { ledBy, preferredLeaders } from "./leaders.ts";
import { Placement } from "./placement.ts";
import { RingPoints } from "./ring-points.ts";

export interface RingOptions {
  /** Points on the ring of a node with weight 1. */
  readonly virtualNodes: number;
  /** Members of each set; all nodes, while there are fewer. */
  readonly replicas: number;
}

export const VIRTUAL_NODES = 150;

/**
 * The replica sets of `shards` shards, by shard. With `previous` (sets as they are, which may name nodes that are no more)
 * as little as can be is changed about them; asked again about its own answer it changes nothing. The same input gives the
 * same output everywhere, in whatever order the nodes come. The first of a set is who should lead the shard: these are as even as the
 * sets are, where they are new, and who is exchanged is followed in its place. Who is `spared` a shard gets it only where it
 * would have too few members otherwise.
 */
export function placeShards(
  shards: number,
  nodes: readonly RingNode[],
  options: RingOptions,
  previous: readonly (readonly NodeId[])[] = [],
  spared: readonly (readonly NodeId[])[] = [],
): readonly (readonly NodeId[])[] {
  const { virtualNodes, replicas } = options;
  assert(replicas >= 1 && virtualNodes >= 1, "there is at least one replica and one virtual node");
  const sorted = [...nodes].sort((a, b) => (a.id < b.id ? -1 : 1));
  const placeOf = new Map(sorted.map(({ id }, at) => [id, at]));
  assert(placeOf.size === nodes.length, "no node is named twice");
  assert(
    nodes.every(({ weight }) => weight > 0),
    "every node has a weight above 0",
  );
  const sets = Array.from({ length: shards }, (_, shard) => placesIn(previous[shard] ?? [], placeOf));
  if (nodes.length === 0) return sets.map(() => []);
  const isNew = sets.map((set) => set.length === 0);
  const size = Math.min(replicas, nodes.length);
  const without = spared.map((set) => placesIn(set, placeOf));
  const placement = new Placement(sets, sorted, size, virtualNodes, without);
  placement.fill();
  placement.spread();
  placement.balance();
  const named = placement.sets.map((set) => set.map((node) => sorted[node]!.id));
  return named.some((_, shard) => isNew[shard]) ? withLeaders(named, sorted, isNew) : named;
}

/**
 * `sets` with as many members as they should have, and nothing else about them changed. `spared`, by shard, who gets it only if
 * nobody else can; and who stays wherever it is.
 */
export function resizedSets(
  sets: readonly (readonly NodeId[])[],
  nodes: readonly RingNode[],
  { virtualNodes, replicas }: RingOptions,
  { spared, stays }: { readonly spared: readonly (readonly NodeId[])[]; readonly stays: NodeId },
): readonly (readonly NodeId[])[] {
  const sorted = [...nodes].sort((a, b) => (a.id < b.id ? -1 : 1));
  const placeOf = new Map(sorted.map(({ id }, at) => [id, at]));
  const size = Math.min(replicas, nodes.length);
  const places = sets.map((set) => placesIn(set, placeOf));
  const without = spared.map((set) => placesIn(set, placeOf));
  const placement = new Placement(places, sorted, size, virtualNodes, without);
  placement.fill(placeOf.get(stays));
  return placement.sets.map((set) => set.map((node) => sorted[node]!.id));
}

/** Each of `ids` once, as its place; without those that have none. */
function placesIn(ids: readonly NodeId[], placeOf: ReadonlyMap<NodeId, number>): number[] {
  return [...new Set(ids.flatMap((id) => placeOf.get(id) ?? []))];
}

/** Sets that are new begin with who should lead. */
function withLeaders(
  sets: readonly (readonly NodeId[])[],
  nodes: readonly RingNode[],
  isNew: readonly boolean[],
): readonly (readonly NodeId[])[] {
  const shards = sets.map((voters, shard) => ({ voters, preferred: isNew[shard] ? undefined : voters[0] }));
  const leaders = preferredLeaders(
    shards,
    nodes.map((node) => ({ ...node, mayLead: true })),
  );
  return sets.map((set, shard) => (isNew[shard] ? ledBy(set, leaders[shard]) : set));
}

/** Which part of the ring's circle each node owns, from 0 to 1: all together 1. */
export function ringOwnership(nodes: readonly RingNode[], virtualNodes: number): ReadonlyMap<NodeId, number> {
  const sorted = [...nodes].sort((a, b) => (a.id < b.id ? -1 : 1));
  if (sorted.length === 0) return new Map();
  const owned = new RingPoints(sorted, virtualNodes).ownership();
  return new Map(sorted.map(({ id }, at) => [id, owned[at]!]));
}
