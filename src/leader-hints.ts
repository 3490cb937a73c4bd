import type { NodeId, ShardId } from "../protocol/ids.ts";
import type { ShardHost } from "./shard/shard-host.ts";

interface Hint {
  readonly term: number;
  readonly leader: NodeId;
}

export interface LeaderSources {
  readonly self: NodeId;
  readonly host: Pick<ShardHost, "shard">;
  /** Who holds a shard, as far as the cluster was told; nobody if there is no such shard. */
  readonly holdersOf: (shard: ShardId) => readonly NodeId[];
  readonly isConnected: (node: NodeId) => boolean;
}

/**
 * Who leads which shard, as far as this node knows. Where it has a replica, that one knows; of other shards it has been told
 * by who led them or was asked in vain, and before that it asks those who hold them one after the other: any of them knows.
 */
export class LeaderHints {
  readonly #sources: LeaderSources;
  readonly #hints = new Map<ShardId, Hint>();
  /** By shard: how many guesses were wrong. */
  readonly #misses = new Map<ShardId, number>();

  constructor(sources: LeaderSources) {
    this.#sources = sources;
  }

  /** Whom to ask for what only the shard's leader may do; `undefined`: nobody is known who might be it. */
  leaderOf(shard: ShardId): NodeId | undefined {
    const { host, self, holdersOf, isConnected } = this.#sources;
    const replica = host.shard(shard);
    if (replica?.leader !== undefined) return replica.leader;
    // One that votes, and knows of no leader, knows as much as the others.
    if (replica?.members.voters.includes(self) === true) return undefined;
    const hint = this.#hints.get(shard);
    if (hint !== undefined && hint.leader !== self) return hint.leader;
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
    if (leader !== undefined && leader !== node) this.hear(shard, 0, leader);
    else if (this.leaderOf(shard) === node) this.#missed(shard, node);
  }

  #missed(shard: ShardId, node: NodeId): void {
    if (this.#hints.get(shard)?.leader === node) this.#hints.delete(shard);
    this.#misses.set(shard, (this.#misses.get(shard) ?? 0) + 1);
  }
}
