/**
 * Who should lead which shard: everybody about as many as its weight says, counted among those who can lead at all. Each
 * shard begins with a wish (the leader that it has or was given, else the first of its replicas that can lead), and as few
 * wishes as possible are turned down to even out what is too much or too little. So a shard that changes its replicas, or
 * a node that comes back, moves few other leaders; and everybody who asks with the same facts gets the same answer.
 */
import type { NodeId } from "../../protocol/ids.ts";
import { type Carried, evenOut } from "./even-out.ts";
import { cappedShares, shareOf } from "./shares.ts";

/** A shard as far as leading it is concerned. */
export interface LedShard {
  /** Who has a vote, in the order in which they should lead. */
  readonly voters: readonly NodeId[];
  /** Who leads, or should lead until there is a reason against it. */
  readonly preferred?: NodeId | undefined;
}

export interface LeaderCandidate {
  readonly id: NodeId;
  /** Its capacity beside that of the others, above 0. */
  readonly weight: number;
  /** False for who is draining, suspected or slow: it leads only what nobody else can lead. */
  readonly mayLead: boolean;
}

/** By shard, who should lead it: `undefined` where none of the voters may. */
export function preferredLeaders(
  shards: readonly LedShard[],
  candidates: readonly LeaderCandidate[],
): readonly (NodeId | undefined)[] {
  const able = candidates.filter(({ mayLead }) => mayLead).sort((a, b) => (a.id < b.id ? -1 : 1));
  const placeOf = new Map(able.map(({ id }, at) => [id, at]));
  const electable = shards.map(({ voters }) => voters.flatMap((id) => placeOf.get(id) ?? []));
  const wishes = shards.map(({ preferred, voters }, shard) => {
    const wish = preferred !== undefined && voters.includes(preferred) ? placeOf.get(preferred) : undefined;
    return wish ?? electable[shard]![0];
  });
  const leaders = new Leaders(electable, wishes, able.length);
  const could = new Array<number>(able.length).fill(0);
  for (const nodes of electable) for (const node of nodes) could[node]!++;
  const led = wishes.filter((wish) => wish !== undefined).length;
  const weights = able.map(({ weight }) => weight);
  evenOut(leaders, leaders.loads, [...cappedShares(weights, could, led)].map(shareOf));
  return leaders.leaders.map((leader) => (leader === undefined ? undefined : able[leader]!.id));
}

/** `set` with `leader`, if it is one of them, in the first place, and the others as they were. */
export function ledBy(set: readonly NodeId[], leader: NodeId | undefined): readonly NodeId[] {
  if (leader === undefined || leader === set[0] || !set.includes(leader)) return set;
  return [leader, ...set.filter((id) => id !== leader)];
}

/** Leaderships while they are being evened out. */
class Leaders implements Carried {
  readonly leaders: (number | undefined)[];
  readonly loads: Int32Array;
  readonly #electable: readonly (readonly number[])[];
  /** The shards that each node leads. */
  readonly #led: readonly Set<number>[];

  /** `wishes` are taken over. */
  constructor(electable: readonly (readonly number[])[], wishes: (number | undefined)[], nodes: number) {
    this.#electable = electable;
    this.leaders = wishes;
    this.loads = new Int32Array(nodes);
    this.#led = Array.from({ length: nodes }, () => new Set());
    for (const [shard, wish] of wishes.entries()) {
      if (wish === undefined) continue;
      this.loads[wish]!++;
      this.#led[wish]!.add(shard);
    }
  }

  /** The shard in whose order `to` comes first. */
  bestThing(from: number, to: number): number {
    let best = -1;
    let bestRank = 0;
    for (const shard of this.#led[from]!) {
      const rank = this.#electable[shard]!.indexOf(to);
      if (rank < 0 || (best >= 0 && (rank > bestRank || (rank === bestRank && shard > best)))) continue;
      best = shard;
      bestRank = rank;
    }
    return best;
  }

  move(from: number, to: number, shard: number): boolean {
    if (this.leaders[shard] !== from || !this.#electable[shard]!.includes(to)) return false;
    this.leaders[shard] = to;
    this.#led[from]!.delete(shard);
    this.#led[to]!.add(shard);
    this.loads[from]!--;
    this.loads[to]!++;
    return true;
  }
}
