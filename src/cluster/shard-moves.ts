import type { NodeLoad } from "../../protocol/gossip-messages.ts";
import type { ClusterStatus, NodeStatus } from "../../protocol/messages.ts";
import type { HeldSet } from "../placement/plan.ts";

/**
 * The shards that are on their way to other nodes: who shall hold one and has no vote yet, or has one and shall not. How far
 * a newcomer is, its leader knows, if that has answered; how much there is to bring is about the leader's share of its data.
 */
export function movesOf(
  sets: readonly HeldSet[],
  shards: ClusterStatus["shards"],
  answered: readonly NodeStatus[],
): ClusterStatus["moves"] {
  return sets.flatMap(({ wanted, copies, actual }, shard) => {
    const { voters, outgoing, learners } = actual;
    const joining = wanted.filter((node) => !voters.includes(node));
    const present = [...new Set([...voters, ...outgoing, ...learners])];
    const leaving = present.filter((node) => !wanted.includes(node) && !copies.includes(node)).sort();
    if (joining.length === 0 && leaving.length === 0) return [];
    const { leader, lag } = shards[shard]!;
    const behind = lag.filter(({ node }) => joining.includes(node)).map(({ entries }) => entries);
    const known = behind.filter((entries) => entries !== null);
    return [
      {
        ...{ shard, joining, leaving },
        entriesBehind: known.length === 0 || known.length < joining.length ? null : Math.max(...known),
        bytes: joining.length === 0 ? 0 : bytesOfShard(answered.find(({ id }) => id === leader)),
      },
    ];
  });
}

/** What a node has. */
export type Held = Pick<NodeLoad, "shards" | "dataBytes">;

export function heldBy({ shards, storage }: NodeStatus): Held {
  return {
    shards: shards.filter(({ shard }) => shard >= 0).length,
    dataBytes: storage.tableBytes + storage.memtableBytes,
  };
}

/** About how many bytes one of a node's shards has: they are cut by a hash, and so of one size. */
function bytesOfShard(holder: NodeStatus | undefined): number | null {
  if (holder === undefined) return null;
  const { shards, dataBytes } = heldBy(holder);
  return shards === 0 ? null : Math.round(dataBytes / shards);
}
