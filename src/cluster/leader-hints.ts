import type { NodeId, ShardId } from "../../protocol/ids.ts";
import type { ShardHost } from "../shard/shard-host.ts";

export interface Hint {
  readonly term: number;
  readonly leader: NodeId;
}

export interface LeaderSources {
  readonly self: NodeId;
  readonly host: Pick<ShardHost, "shard">;
  /** Who holds a shard, as far as the cluster was told; nobody if there is no such shard. */
  readonly holdersOf: (shard: ShardId) => readonly NodeId[];
  readonly isConnected: (node: NodeId) => boolean;
  /** Who led the shard in the latest term that gossip tells of. */
  readonly heardOf: (shard: ShardId) => Hint | undefined;
}

/**
 * Who leads which shard, as far as this node knows. Where it has a replica, that one knows; of other shards it has been told
 * by who led them or was asked in vain, or it has heard by gossip. Before that it asks those who hold them one after the
 * other: any of them knows.
 */
export class LeaderHints {
  readonly #sources: LeaderSources;
  readonly #hints = new Map<ShardId, Hint>();
  /** By shard: how many guesses were wrong. */
  readonly #misses = new Map<ShardId, number>();
  /** By shard: what gossip told of, and was asked in vain. */
  readonly #wrong = new Map<ShardId, Hint>();

  constructor(sources: LeaderSources) {
    this.#sources = sources;
  }

  /** Who is known to lead, or was told of lately, and in which term (0: not known); guesses aside. */
  claimOf(shard: ShardId): Hint | undefined {
    const { host, self } = this.#sources;
    const replica = host.shard(shard);
    if (replica?.leader !== undefined) return { leader: replica.leader, term: replica.term };
    // One that votes, and knows of no leader, knows as much as the others.
    if (replica?.members.voters.includes(self) === true) return undefined;
    const hint = this.#latestHint(shard);
    return hint === undefined || hint.leader === self ? undefined : hint;
  }

  #latestHint(shard: ShardId): Hint | undefined {
    const told = this.#hints.get(shard);
    const heard = this.#sources.heardOf(shard);
    const wrong = this.#wrong.get(shard);
    if (heard === undefined || (heard.leader === wrong?.leader && heard.term <= wrong.term)) return told;
    return told === undefined || heard.term > told.term ? heard : told;
  }

  /** Whom to ask for what only the shard's leader may do; `undefined`: nobody is known who might be it. */
  leaderOf(shard: ShardId): NodeId | undefined {
    const { host, self, holdersOf, isConnected } = this.#sources;
    const replica = host.shard(shard);
    // Asked for each request that is forwarded, and this is the answer nearly always.
    if (replica?.leader !== undefined) return replica.leader;
    const claim = this.claimOf(shard);
    if (claim !== undefined) return claim.leader;
    if (replica?.members.voters.includes(self) === true) return undefined;
    const others = holdersOf(shard).filter((node) => node !== self && isConnected(node));
    return others[(shard + (this.#misses.get(shard) ?? 0)) % others.length];
  }

  /** `leader` leads the shard in `term`; 0: in a term that is not known, and later than that of any hint. */
  hear(shard: ShardId, term: number, leader: NodeId): void {
    const known = this.#hints.get(shard);
    if (known !== undefined && term !== 0 && term < known.term) return;
    this.#hints.set(shard, { term: Math.max(term, known?.term ?? 0), leader });
  }

  /** `node` was asked and does not lead the shard; `leader` does, as it says. */
  refused(shard: ShardId, node: NodeId, leader: NodeId | undefined): void {
    const heard = this.#sources.heardOf(shard);
    if (heard?.leader === node) this.#wrong.set(shard, heard);
    if (leader !== undefined && leader !== node) this.hear(shard, 0, leader);
    else if (this.leaderOf(shard) === node) this.#missed(shard, node);
  }

  #missed(shard: ShardId, node: NodeId): void {
    if (this.#hints.get(shard)?.leader === node) this.#hints.delete(shard);
    this.#misses.set(shard, (this.#misses.get(shard) ?? 0) + 1);
  }
}
