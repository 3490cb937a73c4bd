/** What clients ask and nodes answer, decoded. `client.ts` turns these into frame bodies and back. */

import type { ErrorName } from "./errors.ts";
import type { MemberState, NodeLoad } from "./gossip-messages.ts";
import type { KeyspaceId, NodeId, ShardId } from "./ids.ts";

/**
 * `linearizable`: reads the latest acknowledged write (ReadIndex, Raft thesis §6.4). `stale`: whatever this node's
 * replica has applied: a prefix of the history, with an age. `lease`: as linearizable, confirmed by nothing but the leader's
 * clock where the cluster was started with a bound for what clocks drift apart (thesis §6.4.1), and by a majority elsewhere.
 */
export type Consistency = "linearizable" | "stale" | "lease";

/**
 * Makes a write happen once however often it is sent (Raft thesis §6.3). `session` is what `openSession` of the same
 * shard answered, 0 for none; `sequence` numbers the writes of the session from 1; all answers to sequences below
 * `acknowledgedBelow` have reached the client, so their results may be forgotten.
 */
export interface SessionStamp {
  readonly session: number;
  readonly sequence: number;
  readonly acknowledgedBelow: number;
}

export const NO_SESSION: SessionStamp = { session: 0, sequence: 0, acknowledgedBelow: 0 };

/** Requests on keys. */
export interface InKeyspace {
  /** Which keyspace the keys are in; `undefined`: `default`. */
  readonly keyspace?: KeyspaceId | undefined;
}

/** When a put takes effect. */
export type PutCondition = "always" | "ifAbsent" | "ifPresent";

export interface Put extends InKeyspace {
  readonly kind: "put";
  readonly stamp: SessionStamp;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly condition: PutCondition;
}
/**
 * What becomes of a key's deadline, the time from which on it is gone: `clear`: it has none; `keep`: it stays as it was;
 * `after`: so many milliseconds from when the write is done, by the clock of the shard's log; `at`: at that many
 * milliseconds after the Unix epoch. One that is not in the future removes the key.
 */
export type Expiry = "clear" | "keep" | "after" | "at";
/** A put with everything that one can have. A plain one is shorter, and says that the key has no deadline. */
export interface PutWith extends InKeyspace {
  readonly kind: "putWith";
  readonly stamp: SessionStamp;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly condition: PutCondition;
  readonly expiry: Expiry;
  /** With `after` and `at`; else 0. */
  readonly expiryMs: number;
  /** Answer with the value that the key had, whether the put took effect or not. Only without a session. */
  readonly answersOld: boolean;
}
/** Which deadline a key must have for `expire` to take effect; each that is true has to hold. */
export interface DeadlineCondition {
  readonly ifNone: boolean;
  readonly ifSome: boolean;
  /** The new one is later; no deadline counts as later than all. */
  readonly ifLater: boolean;
  readonly ifEarlier: boolean;
}
export const ANY_DEADLINE: DeadlineCondition = {
  ifNone: false,
  ifSome: false,
  ifLater: false,
  ifEarlier: false,
};
/** Sets or clears the deadline of a key that exists, and leaves its value. */
export interface Expire extends InKeyspace {
  readonly kind: "expire";
  readonly stamp: SessionStamp;
  readonly key: Uint8Array;
  readonly expiry: Exclude<Expiry, "keep">;
  readonly expiryMs: number;
  readonly condition: DeadlineCondition;
  /** Answer with the value. Only without a session. */
  readonly answersOld: boolean;
}
export interface Delete extends InKeyspace {
  readonly kind: "delete";
  readonly stamp: SessionStamp;
  readonly key: Uint8Array;
}
/** Adds to a decimal number of 64 bits; a missing key counts as 0. */
export interface Increment extends InKeyspace {
  readonly kind: "increment";
  readonly stamp: SessionStamp;
  readonly key: Uint8Array;
  readonly delta: bigint;
}
/** Sets `value` if the key's value is `expected`; `undefined` stands for "no such key" on either side. */
export interface CompareAndSet extends InKeyspace {
  readonly kind: "compareAndSet";
  readonly stamp: SessionStamp;
  readonly key: Uint8Array;
  readonly expected: Uint8Array | undefined;
  readonly value: Uint8Array | undefined;
}
/** Puts that happen together or not at all. All keys belong to one shard. Not empty. */
export interface Batch extends InKeyspace {
  readonly kind: "batch";
  readonly stamp: SessionStamp;
  readonly entries: readonly KeyValue[];
}
export interface OpenSession {
  readonly kind: "openSession";
  readonly shard: ShardId;
}

/** What goes through a shard's log. */
export type WriteRequest = Put | PutWith | Expire | Delete | Increment | CompareAndSet | Batch | OpenSession;

export interface Get extends InKeyspace {
  readonly kind: "get";
  readonly key: Uint8Array;
  readonly consistency: Consistency;
}
export interface Exists extends InKeyspace {
  readonly kind: "exists";
  readonly key: Uint8Array;
  readonly consistency: Consistency;
}
/**
 * Keys from `start` (included) up to `end` (excluded; `undefined`: to the last key) in byte order, at most `limit` of
 * them. `shard`: of that shard only (nodes ask each other so); `undefined`: of all shards, merged.
 */
export interface Scan extends InKeyspace {
  readonly kind: "scan";
  readonly start: Uint8Array;
  readonly end: Uint8Array | undefined;
  readonly limit: number;
  readonly keysOnly: boolean;
  readonly consistency: Consistency;
  readonly shard: ShardId | undefined;
  /** As `openSnapshot` of that shard was answered, by the node that is asked: the scan is of that moment. */
  readonly snapshot?: number | undefined;
}
/**
 * Keeps the shard as it is now, in the node that serves this read, for scans: for `leaseMs`, and again from each scan of it
 * on. It outlives changes of leaders, and not the node's process.
 */
export interface OpenSnapshot extends InKeyspace {
  readonly kind: "openSnapshot";
  readonly shard: ShardId;
  /** From 1 to SNAPSHOT_LEASE_MS_MAX. */
  readonly leaseMs: number;
  readonly consistency: Consistency;
}
/** Lets go of a snapshot of the node that is asked, before its lease ends. */
export interface CloseSnapshot {
  readonly kind: "closeSnapshot";
  readonly snapshot: number;
}

/**
 * When a key will be gone: in how many milliseconds by the clock of the node that answers (`left`), or at which time
 * (`at`, since the Unix epoch). Answered with an integer; -1: never, -2: there is no such key.
 */
export interface Ttl extends InKeyspace {
  readonly kind: "ttl";
  readonly key: Uint8Array;
  readonly form: "left" | "at";
  readonly consistency: Consistency;
}

/** Where the engine of the node that serves the read finds a key: `cli explain`. */
export interface Explain extends InKeyspace {
  readonly kind: "explain";
  readonly key: Uint8Array;
  readonly consistency: Consistency;
}

export type ReadRequest = Get | Exists | Scan | Ttl | Explain | OpenSnapshot;

/** `status`: of the `node` asked, or of the whole `cluster`. */
export type AdminRequest =
  | { readonly kind: "ping" }
  | TopologyRequest
  | CloseSnapshot
  | { readonly kind: "status"; readonly scope: "node" | "cluster" }
  | ChangeMember
  | ChangeReplica
  | Join
  | Rebalance
  | TransferLeader
  | GroupLogRequest
  | KeyspaceRequest;

export type KeyspaceRequest = CreateKeyspace | DropKeyspace | ListKeyspaces;
/** How the keys of a keyspace are replicated: by their shards' Raft groups, or without leaders (not offered yet). */
export type KeyspaceMode = "raft" | "quorum";
/** Answered with its id, once the node that leads the system group knows it. */
export interface CreateKeyspace {
  readonly kind: "createKeyspace";
  readonly name: string;
  readonly mode: KeyspaceMode;
  /** Drawn by who asks: the same name with the same token is created once, however often it is sent. */
  readonly token: number;
  readonly forwarded: boolean;
}
/** Removes a keyspace and all of its keys, for good; the name may be used again. Answered with its id as soon as it is decided. */
export interface DropKeyspace {
  readonly kind: "dropKeyspace";
  readonly id: KeyspaceId;
  readonly forwarded: boolean;
}
export interface ListKeyspaces {
  readonly kind: "listKeyspaces";
  /** `stale`: what the node that is asked knows; else what the system group's leader does. */
  readonly consistency: Consistency;
  readonly forwarded: boolean;
}
/** A keyspace that somebody created: `default`, which is always there, is in no list. */
export interface Keyspace {
  readonly id: KeyspaceId;
  readonly name: string;
  readonly mode: KeyspaceMode;
}

/** Who the nodes are, which of them hold which shard, and who leads it. */
export interface TopologyRequest {
  readonly kind: "topology";
  /** The `view` of the topology that the client has: it is answered `unchanged` if that is still the node's. */
  readonly known: number | undefined;
  /** Send the topology again, under this request's id, whenever it has changed, until the connection ends. */
  readonly subscribe: boolean;
}
/** A topology, now and once. */
export const ASK_TOPOLOGY: TopologyRequest = { kind: "topology", known: undefined, subscribe: false };

/**
 * `drain`: `node` gives all its replicas to others, and stays a node of the cluster; `undrain`: it may have some again;
 * `remove`: it gives them away and leaves for good; `replace`: likewise, and `successor` ("" for the others) gets them.
 * Answered when the cluster has noted it; the shards follow by themselves.
 */
export interface ChangeMember {
  readonly kind: "changeMember";
  readonly action: "drain" | "undrain" | "remove" | "replace";
  readonly node: NodeId;
  readonly successor: NodeId | "";
  /** A node has passed it on: it is not passed on again. */
  readonly forwarded: boolean;
}
/**
 * Changes what `node` has of `shard`, or of every shard (`undefined`). `add`: a copy without a vote, which it keeps; `promote`:
 * its copy gets a vote, in the place of another node's where there are enough; `demote`: another node gets its vote, and it
 * keeps a copy; `remove`: its copy goes, or, of one shard, its vote to another node. Answered when it has come about. Votes are
 * the cluster's to even out afterwards.
 */
export interface ChangeReplica {
  readonly kind: "changeReplica";
  readonly action: "add" | "promote" | "demote" | "remove";
  readonly node: NodeId;
  readonly shard: ShardId | undefined;
  readonly forwarded: boolean;
}
/**
 * What replicas are being moved, and which are to be. With `dryRun` the node that is asked answers, as far as it knows; else the
 * one that moves them, having looked at once what there is to do.
 */
export interface Rebalance {
  readonly kind: "rebalance";
  readonly dryRun: boolean;
  readonly forwarded: boolean;
}
/**
 * What a node asks that wants to belong to the cluster, or is somewhere else than it was. Answered with `joined` when the
 * cluster has noted it.
 */
export interface Join {
  readonly kind: "join";
  readonly node: NodeId;
  /** Of its data directory: a name belongs to one for ever. */
  readonly incarnation: string;
  /** `host:port` where others reach it. */
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly forwarded: boolean;
}
/** Hands the leadership of `shard` to `to`; without a shard, of all shards that the node asked leads. */
export interface TransferLeader {
  readonly kind: "transferLeader";
  readonly to: NodeId;
  readonly shard: ShardId | undefined;
  readonly forwarded: boolean;
}
/** The state of the node's replica of a group, `undefined` for the system group, with its last `limit` log entries. */
export interface GroupLogRequest {
  readonly kind: "groupLog";
  readonly shard: ShardId | undefined;
  readonly limit: number;
}

export type ClientRequest = WriteRequest | ReadRequest | AdminRequest;

export interface KeyValue {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export type ClientResponse =
  | { readonly kind: "pong" }
  /** To get, and to writes that answer with what was there. `ageMs`: how long ago the replica last knew itself to be current; 0 for linearizable reads. */
  | { readonly kind: "value"; readonly value: Uint8Array | undefined; readonly ageMs: number }
  /** To put and putWith (written?), expire (set?), delete (did it exist?), exists, compareAndSet (swapped?), batch (always true). */
  | { readonly kind: "boolean"; readonly value: boolean }
  /** To increment: the new value. To openSession: the session. To ttl: a time. To createKeyspace and dropKeyspace: its id. */
  | { readonly kind: "integer"; readonly value: bigint }
  /** To scan. `more`: the limit of entries or bytes was reached; go on after the last key. With `keysOnly`, values are empty. */
  | { readonly kind: "entries"; readonly entries: readonly KeyValue[]; readonly more: boolean }
  /** To topology: now, and again whenever it changed, to who subscribed. */
  | { readonly kind: "topology"; readonly topology: Topology }
  /** To topology: the client has the latest one. */
  | { readonly kind: "unchanged" }
  | { readonly kind: "nodeStatus"; readonly status: NodeStatus }
  | { readonly kind: "clusterStatus"; readonly status: ClusterStatus }
  | { readonly kind: "groupLog"; readonly log: GroupLogStatus }
  /** By id. */
  | { readonly kind: "keyspaces"; readonly keyspaces: readonly Keyspace[] }
  /** To openSnapshot: its number, and the node to scan it at. */
  | { readonly kind: "snapshot"; readonly snapshot: number; readonly node: NodeId; readonly address: string }
  | { readonly kind: "explanation"; readonly explanation: KeyExplanation }
  | { readonly kind: "joined"; readonly cluster: JoinedCluster }
  /** To rebalance. */
  | { readonly kind: "placement"; readonly placement: PlacementStatus }
  | ErrorResponse;

export interface ErrorResponse {
  readonly kind: "error";
  readonly error: ErrorName;
  readonly message: string;
  /** With NOT_LEADER: who leads, as far as this node knows. */
  readonly leader: LeaderHint | undefined;
}

export interface LeaderHint {
  readonly node: NodeId;
  /** `host:port`. */
  readonly address: string;
}

export interface Topology {
  /** Of what the cluster has agreed on (nodes and replica sets): grows with each change of it. Leaders change without it. */
  readonly version: number;
  /** A digest of all the rest, leaders included: the same number stands for the same topology, whichever node says it. */
  readonly view: number;
  readonly clusterId: string;
  readonly nodes: readonly TopologyNode[];
  /** By shard, of which there are never more or fewer. Shard `s` of `n` holds slots [s·16384/n, (s+1)·16384/n). */
  readonly shards: readonly ShardPlace[];
}
/** What the cluster has decided about a node: `draining`, its shards go to others; `removed`, for good. */
export type NodeStanding = "member" | "draining" | "removed";

export interface TopologyNode {
  readonly id: NodeId;
  readonly address: string;
  /** What it shares and fails with other nodes: `host`, `zone`. */
  readonly labels: Readonly<Record<string, string>>;
  /** What the cluster has decided about it. */
  readonly standing: NodeStanding;
  /** Whether it is there, as far as the node asked has heard; who is only suspected is. */
  readonly isUp: boolean;
}
export interface ShardPlace {
  /** Who leads it, as far as the node asked knows. */
  readonly leader: NodeId | null;
  /** The term in which it was so: of two claims, the one of the higher term is the newer one. */
  readonly term: number;
  /** Who holds its data, the leader included; sorted. */
  readonly replicas: readonly NodeId[];
  /** Who shall have a copy without a vote: of those among `replicas` stale reads may be had, and they never lead. Sorted. */
  readonly copies: readonly NodeId[];
}

/** What a node has to know of a cluster that it belongs to from now on. */
export interface JoinedCluster {
  readonly clusterId: string;
  readonly shards: number;
  readonly replicas: number;
  readonly virtualNodes: number;
  readonly nodes: readonly { readonly id: NodeId; readonly address: string }[];
}

/** Which replicas are on their way to other nodes, or will be, and what that costs. For people to look at. */
export interface PlacementStatus {
  readonly nodes: readonly {
    readonly id: NodeId;
    /** `draining` and `removed`: what it holds goes to others. */
    readonly state: NodeStanding;
    /** Which part of the hash ring is its own, from 0 to 1. */
    readonly ring: number;
  }[];
  readonly underWay: readonly MoveStatus[];
  readonly toCome: readonly MoveStatus[];
  /** To be copied for both, estimated. */
  readonly bytes: number;
  /** How long it takes at the limits if nothing else happens, estimated. */
  readonly seconds: number;
}
export interface MoveStatus {
  readonly shard: number;
  /** Who gets a replica, and who gives one up; `null`: nobody. */
  readonly add: NodeId | null;
  readonly remove: NodeId | null;
  readonly bytes: number;
  /** Of one that is to come: `drain`, `repair`, `balance` or `stop`; of one that is under way `null`. */
  readonly reason: string | null;
}

/** What one node knows of itself, measured, never assumed. Plain data: it travels as a CBOR map. */
export interface NodeStatus {
  readonly id: NodeId;
  readonly address: string;
  readonly version: string;
  readonly clusterId: string;
  readonly uptimeMs: number;
  readonly readOnly: boolean;
  readonly peers: readonly PeerStatus[];
  /** One for each group that the node holds a replica of, the system group (`shard` -1) first. */
  readonly shards: readonly ShardStatus[];
  readonly requests: RequestStatus;
  readonly storage: StorageStatus;
  readonly memory: { readonly residentBytes: number; readonly heapBytes: number };
  /** Everything in which something can pile up, and how much may. */
  readonly queues: readonly QueueStatus[];
}
/** One kind of queue: where there are many of a kind, the fullest one. What does not fit is refused, dropped or cut off. */
export interface QueueStatus {
  readonly name: string;
  readonly unit: "bytes" | "requests";
  readonly used: number;
  readonly max: number;
}
/** Another node: how the connection to it is, and how it is itself, as this node has heard by gossip. */
export interface PeerStatus {
  readonly id: NodeId;
  readonly address: string;
  readonly state: MemberState;
  readonly connected: boolean;
  /** Milliseconds since anything was heard from it; `null`: never since this node started. */
  readonly lastHeardMs: number | null;
}
export interface ShardStatus {
  readonly shard: number;
  readonly role: "leader" | "follower" | "candidate" | "preCandidate";
  readonly leader: NodeId | null;
  readonly term: number;
  readonly lastIndex: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  /** The members, as the replica's log has them. `outgoing`: the voters that are being replaced. */
  readonly voters: readonly NodeId[];
  readonly outgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
  /** On the leader: how far each other replica is known to be; on others empty. */
  readonly replicas: readonly {
    readonly node: NodeId;
    readonly matchIndex: number;
    readonly active: boolean;
  }[];
}
/** What a read of a key did in the engine. */
export interface KeyExplanation {
  /** The places in the order in which they were asked, up to the one that settled it. */
  readonly steps: readonly {
    /** `memtable`, `sealed memtable` or `table`. */
    readonly place: string;
    /** Of a table: its level, and the number of its file. */
    readonly level: number | null;
    readonly table: number | null;
    /** `value`, `deleted`, `range deleted`, `expired`; `nothing`, or `filtered` if the bloom filter said so. */
    readonly verdict: string;
  }[];
  /** How long the value is; `null`: there is none. */
  readonly valueBytes: number | null;
  /** When it will be gone, in milliseconds since the Unix epoch; `null`: never. */
  readonly expiresAtMs: number | null;
}
/** What `cli log` shows: a replica of a group for a person who debugs. */
export interface GroupLogStatus extends ShardStatus {
  readonly node: NodeId;
  readonly firstIndex: number;
  /** The entry that made the members what they are. */
  readonly membersIndex: number;
  readonly entries: readonly {
    readonly index: number;
    readonly term: number;
    readonly kind: string;
    readonly bytes: number;
  }[];
}
export interface RequestStatus {
  readonly reads: number;
  readonly writes: number;
  readonly errors: number;
  readonly connections: number;
  /** Requests that another node leads the shard of, and whose sender was told so. */
  readonly redirected: number;
  /** Requests a second over the last full second. */
  readonly perSecond: number;
  /** From decoding to reply, over the last minute or so; `null` where there were none. */
  readonly readMs: LatencyStatus | null;
  readonly writeMs: LatencyStatus | null;
}
export interface LatencyStatus {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}
export interface StorageStatus {
  readonly memtableBytes: number;
  readonly tables: number;
  readonly tableBytes: number;
  readonly cacheHitRate: number | null;
  readonly logBytes: number;
  readonly compactions: number;
  /** How long syncs of the log took; whether that is too long to lead, and how often it was since the start. */
  readonly syncMs: LatencyStatus | null;
  readonly slowDisk: boolean;
  readonly slowDiskSpells: number;
}
export interface ClusterStatus {
  readonly clusterId: string;
  /**
   * All members. How each is and what it carries is what the asked node has heard by gossip. Those that are neither dead nor
   * left were asked for the rest; `status` is absent for who was not, or did not answer in time, and `error` says why.
   */
  readonly nodes: readonly {
    readonly id: NodeId;
    readonly address: string;
    readonly state: MemberState;
    /** What the cluster has decided about it: `draining`, its shards go to others; `removed`, for good. */
    readonly standing: NodeStanding;
    /** Milliseconds since any answering node heard of it; `null`: never. */
    readonly lastSeenMs: number | null;
    /** As it was told last, up to a minute ago; `null` where it was not heard of. */
    readonly load: NodeLoad | null;
    readonly status: NodeStatus | null;
    readonly error: string | null;
  }[];
  readonly shards: readonly {
    readonly shard: number;
    readonly leader: NodeId | null;
    readonly term: number;
    readonly commitIndex: number;
    readonly appliedIndex: number;
    /** Entries that each replica is behind the leader; `null` where it is not known. */
    readonly lag: readonly { readonly node: NodeId; readonly entries: number | null }[];
    /** Who shall have a copy of it without a vote, and keep it. */
    readonly copies: readonly NodeId[];
  }[];
  /** Shards that are on their way to other nodes. */
  readonly moves: readonly {
    readonly shard: number;
    /** Who shall hold it and has no vote yet, and who has one, or a copy, and shall not. */
    readonly joining: readonly NodeId[];
    readonly leaving: readonly NodeId[];
    /** How many entries the last of those who join is behind the leader; `null`: not known. */
    readonly entriesBehind: number | null;
    /** About how much each of those who join is to get; `null`: not known. */
    readonly bytes: number | null;
  }[];
  readonly outlook: MoveOutlook;
  /** The fraction of the key space (0 to 1) whose shard has a leader that can reach a majority. */
  readonly available: number;
}

/** What there is left to move, all together, as far as the node asked knows. */
export interface MoveOutlook {
  /** How many moves of replicas have begun, and how many will be made after them. */
  readonly underWay: number;
  readonly toCome: number;
  /** To be copied for both, estimated. */
  readonly bytes: number;
  /** How long it takes at the limits if nothing else happens, estimated. */
  readonly seconds: number;
}
