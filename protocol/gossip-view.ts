import type { LeaderHint, MemberState, NodeLoad } from "./gossip-messages.ts";
import type { NodeId, ShardId } from "./ids.ts";

/**
 * What a node has heard of the others by gossip: never the truth, but what was true somewhere a moment ago. Nothing that
 * must not be wrong may hang on it: members, votes and leaders are what Raft's groups say they are.
 */
export interface GossipView {
  /** How the node is, or `undefined` for who is no member. A member of which nothing was heard yet counts as alive. */
  stateOf(node: NodeId): MemberState | undefined;
  /**
   * Since when, by the clock that drives this node's gossip, the node has been dead or left as far as this one knows;
   * `undefined` where it is neither. A node that was started a moment ago begins to count anew, and the time in which its
   * process stood still does not count.
   */
  deadSinceMs(node: NodeId): number | undefined;
  /** When this node itself last heard the node, by the same clock; `undefined`: never. */
  heardMs(node: NodeId): number | undefined;
  /** The newest load of the node that has come here. */
  loadOf(node: NodeId): NodeLoad | undefined;
  /** Who led the shard in the highest term that was heard of, if that is a member. */
  leaderHintOf(shard: ShardId): LeaderHint | undefined;
}
