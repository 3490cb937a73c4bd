import type { GossipMessage } from "./gossip-messages.ts";
import type { ReplySink } from "./handler.ts";
import type { GroupId, NodeId } from "./ids.ts";
import type { ClientRequest } from "./messages.ts";
import type { ConfigurationReport, GroupMessage } from "./peer-messages.ts";

/** The other nodes, as shards see them. `src/server/peers.ts` is the real one. */
export interface PeerNetwork {
  /** Queues a message of a group for `message.to`. Dropped, as networks do, where there is no connection or too much waits. */
  send(group: GroupId, message: GroupMessage): void;
  /** Sends what is queued: one frame and one system call a peer. Called once a turn of the loop. */
  flush(): void;
  /**
   * Has `node` execute a request; the answer comes to `sink` under `requestId`. TIMEOUT or UNAVAILABLE when the connection
   * breaks or the deadline passes.
   */
  forward(node: NodeId, request: ClientRequest, sink: ReplySink, requestId: number): void;
  /** Tells `node` who the members of shards are. Lost where there is no connection. */
  report(node: NodeId, reports: readonly ConfigurationReport[]): void;
  /**
   * How long nothing was heard from `node`, in milliseconds, since this is asked several times a second: a node that is
   * connected and has nothing to say answers pings, and who is asked about gets more of them.
   */
  silentMs(node: NodeId): number;
}

/** The other nodes, as gossip sees them. */
export interface GossipNetwork {
  /**
   * Sends a message to `message.to` at once, over whichever of the two connections to that node takes it without letting it
   * wait behind much else. Dropped if neither does: it would come too late to say anything.
   */
  gossip(message: GossipMessage): void;
}

/** What the network tells the shards. */
export interface PeerListener {
  /** Messages of one frame arrive in order, in one turn of the loop. */
  received(group: GroupId, message: GroupMessage): void;
  /** A peer leads shards, and tells who their members are. */
  reported(reports: readonly ConfigurationReport[]): void;
  connected(node: NodeId): void;
  disconnected(node: NodeId): void;
}
