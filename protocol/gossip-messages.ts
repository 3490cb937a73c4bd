/**
 * What nodes tell each other about who is there, decoded. `gossip.ts` turns these into frame bodies and back; `src/gossip`
 * decides what to say and what to believe.
 *
 * There are three kinds of facts, and of each the newer one wins, whatever the order in which they come: any two nodes that
 * have heard the same facts believe the same.
 */
import type { NodeId, ShardId, Term } from "./ids.ts";

/** In the order of their weight: of two facts with one incarnation the later state of this list counts. */
export const MEMBER_STATES = ["alive", "suspect", "dead", "left"] as const;
/**
 * `alive`: it answers; `suspect`: it did not answer somebody and has a moment to contradict; `dead`: it did not contradict;
 * `left`: it said that it stops.
 */
export type MemberState = (typeof MEMBER_STATES)[number];

/** What is said about a node. Only the node itself raises its incarnation, and that is how it contradicts. */
export interface MemberFact {
  readonly node: NodeId;
  readonly state: MemberState;
  readonly incarnation: number;
  /** Who has found a suspect silent, each by itself; empty in the other states. */
  readonly suspectedBy: readonly NodeId[];
}

export const DISK_STATES = ["ok", "full"] as const;

/** What a node does and has. */
export interface NodeLoad {
  /** Replicas that it holds, and how many of them lead, the system group's aside. */
  readonly shards: number;
  readonly leaders: number;
  /** Bytes of its tables and memtables. */
  readonly dataBytes: number;
  readonly requestsPerSecond: number;
  /** `full`: it takes no writes. */
  readonly disk: (typeof DISK_STATES)[number];
  /** When its process started: milliseconds since the Unix epoch, by its own clock. */
  readonly startedAtMs: number;
  /** Of the software; at most 64 characters. */
  readonly version: string;
}

/** A node's load, by the node itself. The newer one has the higher incarnation or, of one incarnation, the higher version. */
export interface LoadFact {
  readonly node: NodeId;
  readonly incarnation: number;
  readonly version: number;
  readonly load: NodeLoad;
}

/** Who leads a shard's group, by the leader itself. Raft allows one leader a term, so the higher term is the newer one. */
export interface LeaderHint {
  readonly shard: ShardId;
  readonly term: Term;
  readonly leader: NodeId;
}

export interface GossipFacts {
  readonly members: readonly MemberFact[];
  readonly loads: readonly LoadFact[];
  readonly leaders: readonly LeaderHint[];
}

/** `from` and `to` are implied by the connection on the wire. */
interface Envelope extends GossipFacts {
  readonly from: NodeId;
  readonly to: NodeId;
  /** The sender's own. */
  readonly incarnation: number;
}

/** Are you there? Answered by an `ack` of the same sequence number. */
export interface GossipPing extends Envelope {
  readonly kind: "ping";
  readonly sequence: number;
}
/** The sender of a ping is there; or, to who asked by a `pingRequest`, the target is. */
export interface GossipAck extends Envelope {
  readonly kind: "ack";
  readonly sequence: number;
}
/** To who asked by a `pingRequest`: the target has not answered, and it is the target's doing, since I am here. */
export interface GossipNack extends Envelope {
  readonly kind: "nack";
  readonly sequence: number;
}
/** Ping `target` for me, and pass on its ack. */
export interface GossipPingRequest extends Envelope {
  readonly kind: "pingRequest";
  readonly sequence: number;
  readonly target: NodeId;
}
/** A part of all that the sender knows. `ask`: it wants the same from the receiver. */
export interface GossipSync extends Envelope {
  readonly kind: "sync";
  readonly ask: boolean;
}

export type GossipMessage = GossipPing | GossipAck | GossipNack | GossipPingRequest | GossipSync;
