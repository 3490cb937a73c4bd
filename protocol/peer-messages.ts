/** What the Raft groups of two nodes say to each other, decoded. `peer.ts` turns these into frame bodies and back. */
import type { LogIndex, NodeId, Term } from "./ids.ts";

/**
 * One place in a Raft log. `noop`: what a leader appends at the start of its term (Raft §8); `commands`: a batch of
 * client commands (`shard/command-batch.ts`); `config`: who the members are from here on (`configuration.ts`). `data` is
 * immutable once the entry exists.
 */
export interface Entry {
  readonly index: LogIndex;
  readonly term: Term;
  readonly kind: "noop" | "commands" | "config";
  readonly data: Uint8Array;
}

/**
 * The members of a group, each list sorted. Learners get the log and have no say. While one set of voters replaces
 * another, `outgoing` is the old one and decisions need a majority of each (joint consensus, thesis §4.3); it is empty at
 * all other times. A node of `outgoing` may be a voter or a learner of the new set as well; no voter is a learner.
 */
export interface Configuration {
  readonly voters: readonly NodeId[];
  readonly outgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
}

/** `from` and `to` are implied by the connection on the wire; `term` is the sender's current term unless it says else. */
interface Envelope {
  readonly from: NodeId;
  readonly to: NodeId;
  readonly term: Term;
}

/** RequestVote (Raft §5.2). With `preVote`, a question only: `term` is the one the sender would campaign in (thesis §9.6). */
export interface VoteRequest extends Envelope {
  readonly kind: "vote";
  readonly preVote: boolean;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  /** The leader itself asked for this election: voters do not protect its lease (thesis §3.10). */
  readonly transfer: boolean;
}
export interface VoteReply extends Envelope {
  readonly kind: "voteReply";
  readonly preVote: boolean;
  readonly granted: boolean;
}
/** AppendEntries (Raft §5.3). `commit`: the leader's commit index. */
export interface AppendRequest extends Envelope {
  readonly kind: "append";
  readonly prevIndex: LogIndex;
  readonly prevTerm: Term;
  readonly commit: LogIndex;
  readonly entries: readonly Entry[];
}
/**
 * `accepted`: everything up to `index` equals the leader's log and is on the sender's disk. Otherwise `index` is the
 * `prevIndex` that did not match, and `hintIndex`/`hintTerm` the last place where the logs may still agree (§5.3, end).
 */
export interface AppendReply extends Envelope {
  readonly kind: "appendReply";
  readonly accepted: boolean;
  readonly index: LogIndex;
  readonly hintIndex: LogIndex;
  readonly hintTerm: Term;
}
/** Keeps authority, carries the commit index (never above what the receiver is known to have), and asks for a read's quorum. */
export interface Heartbeat extends Envelope {
  readonly kind: "heartbeat";
  readonly commit: LogIndex;
  /** The newest read round that waits for a quorum (thesis §6.4); 0 for none. Grows within a term. */
  readonly readRound: number;
  /** No more heartbeats follow until something happens: a receiver that has everything stops to wait for them, and does not answer. */
  readonly quiesce: boolean;
}
export interface HeartbeatReply extends Envelope {
  readonly kind: "heartbeatReply";
  readonly readRound: number;
}
/** Start an election now (thesis §3.10). */
export interface TimeoutNow extends Envelope {
  readonly kind: "timeoutNow";
}

export type RaftMessage =
  | VoteRequest
  | VoteReply
  | AppendRequest
  | AppendReply
  | Heartbeat
  | HeartbeatReply
  | TimeoutNow;

/**
 * A piece of a snapshot, from a leader's node to one that needs what the leader's log no longer has. `term` is the leader's.
 * `part` counts from 0 within a `stream`, a number that the sender never uses twice in a term. `digest` is XXH32 of `data`, seeded
 * with the digest of the part before (0 for the first), so it vouches for all that came until here.
 *
 * The data of all parts are CBOR arrays that begin with a number: 0, then a slice of the head; 1, then keys and values by
 * turns. `shard/snapshot-head.ts` says what the head is.
 */
export interface SnapshotPart extends Envelope {
  readonly kind: "snapshotPart";
  readonly stream: number;
  readonly part: number;
  readonly last: boolean;
  readonly digest: number;
  readonly data: Uint8Array;
}
/** All parts below `next` have been taken. `refused`: the stream is of no use to the receiver. */
export interface SnapshotAck extends Envelope {
  readonly kind: "snapshotAck";
  readonly stream: number;
  readonly next: number;
  readonly refused: boolean;
}

/** Everything that the replicas of a group say to each other; Raft's cores see the part of it that is theirs. */
export type GroupMessage = RaftMessage | SnapshotPart | SnapshotAck;

/** The first frame of a peer connection, both ways: who speaks, and for which cluster. Travels as a CBOR map. */
export interface PeerHello {
  readonly node: NodeId;
  /** Hexadecimal; empty while the node does not know its cluster's id yet. */
  readonly clusterId: string;
  /** Chosen at random when the data directory was made: a wiped node has another one. */
  readonly incarnation: string;
  /**
   * Sorted ids of the founders, none from a node that joined later; and what the cluster is founded with, or was. Founders who
   * differ here are not of one cluster.
   */
  readonly members: readonly NodeId[];
  readonly settings: { readonly shards: number; readonly replicas: number; readonly virtualNodes: number };
  /**
   * For how many milliseconds a leader reads by a lease, and a follower keeps the promise behind it; 0 without leases. One node
   * that promises less could make all leases of the others worthless.
   */
  readonly leaseMs: number;
  readonly promiseMs: number;
  /** `host:port` where others reach the node, and its labels. */
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** What a shard's leader tells the system group's: who the members are, by an entry that is committed and the last of its kind. */
export interface ConfigurationReport extends Configuration {
  readonly shard: number;
  /** The leader's. */
  readonly term: number;
  /** Of the entry; 0 for what the group was founded with. */
  readonly index: number;
}
