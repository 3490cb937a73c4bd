/** What goes into the Raft core and what comes out of it. */
import { INDEX_ZERO, type LogIndex, type NodeId, TERM_ZERO, type Term } from "../../protocol/ids.ts";
import type { Entry, RaftMessage } from "../../protocol/peer-messages.ts";
import type { Members, Membership } from "./configuration.ts";

/** What must survive a crash beside the log (Raft figure 2: currentTerm, votedFor). `commit` saves work, nothing hangs on it. */
export interface HardState {
  readonly term: Term;
  readonly votedFor: NodeId | undefined;
  readonly commit: LogIndex;
}

/** A place in a group's log, by the entry that is there. */
export interface LogFloor {
  readonly index: LogIndex;
  readonly term: Term;
}

export const NO_FLOOR: LogFloor = { index: INDEX_ZERO, term: TERM_ZERO };

/**
 * The part of the log that the core has handed out in an Output. The owner of the core appends an Output's entries
 * (truncating what they overwrite) before it calls the core again, so the core can read them back from here at once;
 * whether they are on disk yet is told separately, by `persisted`.
 */
export interface LogReader {
  /** Index of the first entry that is still there; everything before it was compacted. 1 for a new log. */
  readonly firstIndex: LogIndex;
  /** Index of the last entry; `firstIndex - 1` if there is none. */
  readonly lastIndex: LogIndex;
  /** The term of an entry, also of the one just before `firstIndex` (0 for index 0); `undefined` outside of the log. */
  term(index: LogIndex): Term | undefined;
  /** Entries [low, high), cut off before their data exceeds `bytesMax`; at least one where the range isn't empty. */
  entries(low: LogIndex, high: LogIndex, bytesMax: number): Entry[];
  /** All entries of kind config that are there, in order. Asked once, when a core is built over the log. */
  configurations(): readonly Entry[];
}

/** Times are in ticks of the owner's clock. Relations are asserted when a core is built. */
export interface RaftConfig {
  readonly id: NodeId;
  /**
   * Who the members are as of the entries that count as applied, or of where the log begins: what a snapshot said, the
   * entries of kind config since, or the founders'. What the log has behind that counts by itself.
   */
  readonly membership: Membership;
  readonly heartbeatTicks: number;
  /** A follower that hears nothing for this many ticks, up to twice as many at random, campaigns. */
  readonly electionTicks: number;
  /** Most bytes of entries in one append. */
  readonly appendBytesMax: number;
  /** Most appends, and bytes of them, on their way to one follower. */
  readonly inflightAppendsMax: number;
  readonly inflightBytesMax: number;
  /**
   * For how long a leader may answer reads by itself after a majority has confirmed it, in the unit of the times given to
   * `readIndex`; 0 for never. All members of a group must have the same. `lease.ts` says what it rests on.
   */
  readonly lease: number;
  /**
   * The last entry of the log that an earlier replica of the group had on this node, if there was one and it was dropped.
   * What that one acknowledged is not here any more, and still must not be forgotten: this node helps nobody into office,
   * itself included, whose log does not reach that far.
   */
  readonly floor?: LogFloor;
  /** A whole number from 0 up to and excluding its argument. */
  readonly random: { below(bound: number): number };
}

export type Role = "leader" | "follower" | "preCandidate" | "candidate";

/**
 * Work for the owner, in this order: carry out `install`; append `entries` and `hardState` to the log and begin to make
 * them durable; send `messages` at once, and begin to stream `snapshots`; when this Output's log write is durable call `persisted` and send `messagesAfterSync`; apply
 * `committed`; answer `reads`. An Output without hardState and entries needs no log write: its messagesAfterSync may
 * leave as soon as all earlier writes of the group are durable.
 *
 * `install` is a log write, too: nothing of this Output or a later one may be durable, be sent after a sync or be applied
 * before the snapshot is in the place of all data and all entries that the owner had of the group.
 */
export interface Output {
  readonly install: Install | undefined;
  readonly hardState: HardState | undefined;
  readonly entries: readonly Entry[];
  readonly messages: readonly RaftMessage[];
  readonly messagesAfterSync: readonly RaftMessage[];
  /** Entries to apply, in order, each handed out once; only such as are durable on this node. */
  readonly committed: readonly Entry[];
  /** Read rounds that were confirmed, each by itself: a read of round `round` is linearizable once `index` is applied. */
  readonly reads: readonly ReadGrant[];
  /** Read rounds that will never be confirmed: leadership was lost. All rounds up to `lostReadsUpTo` that were not granted. */
  readonly lostReadsUpTo: number;
  /** Followers that need what the log no longer has. */
  readonly snapshots: readonly SnapshotRequest[];
}

/** The snapshot that was told by `snapshotReceived` takes the place of data and log; the next entry has `index + 1`. */
export interface Install {
  readonly index: LogIndex;
  readonly term: Term;
  readonly membership: Membership;
}

/**
 * `to` has to be sent a snapshot of the data as of `index` or later. The owner may take its time to begin, and answers with
 * `snapshotDone` or `snapshotFailed`; until then the follower gets heartbeats only. A leader that loses its office forgets
 * its requests.
 */
export interface SnapshotRequest {
  readonly to: NodeId;
  readonly index: LogIndex;
}

/** A whole snapshot that a leader sent is there, and could be installed. */
export interface ReceivedSnapshot {
  readonly from: NodeId;
  /** The leader's term. */
  readonly term: Term;
  /** The last entry whose effects it has, the term of that entry, and the members as of it. */
  readonly index: LogIndex;
  readonly lastTerm: Term;
  readonly membership: Membership;
}

/**
 * Why a change of members was not begun. `notLeader`: this node does not lead, or is handing over. `busy`: a change is
 * under way. `newTerm`: nothing of the leader's own term is committed yet (thesis §4.1 with its correction). `notCaughtUp`:
 * a node that is to vote is no learner yet, or one that is behind. `notHeard`: of those who are to vote too few are heard to
 * ever agree. `unchanged`: it is so already. `invalid`: no such
 * members are possible.
 */
export type MembershipRefusal =
  | "notLeader"
  | "busy"
  | "newTerm"
  | "notCaughtUp"
  | "notHeard"
  | "unchanged"
  | "invalid";

export interface ReadGrant {
  readonly round: number;
  readonly index: LogIndex;
}

/** A view of the core's volatile state, for status and routing. */
export interface RaftStatus {
  readonly role: Role;
  readonly term: Term;
  readonly leader: NodeId | undefined;
  readonly lastIndex: LogIndex;
  readonly commitIndex: LogIndex;
  readonly membership: Membership;
  /** On the leader: each other member. */
  readonly replicas: readonly {
    readonly node: NodeId;
    readonly matchIndex: LogIndex;
    /** Heard within an election timeout. */
    readonly active: boolean;
    readonly state: "probe" | "replicate" | "snapshot";
    /** It has a vote, in the new set of voters where there are two. */
    readonly votes: boolean;
  }[];
}

/**
 * One member of one Raft group. Pure: no clock, no I/O, no promise. Calls only change the inner state and gather work;
 * `takeOutput` hands the work over and forgets it.
 */
export interface RaftCore {
  readonly role: Role;
  readonly term: Term;
  readonly leader: NodeId | undefined;
  readonly commitIndex: LogIndex;
  readonly lastIndex: LogIndex;

  /** The latest configuration in the log: it holds, committed or not. */
  readonly membership: Membership;

  /** One tick of time passed. Nothing to a quiescent core: its owner may stop to tick it. */
  tick(): void;
  /**
   * Nothing happens in this group, and its leader sends no heartbeats until something does: a call that is no tick wakes
   * it. A follower doesn't notice by itself that its leader is dead then. So whoever stops to tick must watch the node of
   * the leader instead, and call `unreachable` or `wake` within an election timeout after it was last heard.
   */
  readonly quiescent: boolean;
  /** On a leader: falls asleep, and tells the others to, if nothing is under way and all have everything. Whether it did. */
  quiesce(): boolean;
  /** Wakes this core, and if it follows, its leader. */
  wake(): void;
  /**
   * A message arrived. Those of old terms are answered, never obeyed. Requests count whoever sends them, since this node
   * may not have heard of the newest members (thesis §4.1); answers count from members only.
   */
  step(message: RaftMessage): void;
  /** Appends one entry of commands; its index, or `undefined` when this node is not the leader or is handing leadership over. `data` is owned by the log from now on. */
  propose(data: Uint8Array): LogIndex | undefined;
  /**
   * Begins to make `members` the members: the index of the entry that does so, or why not. A joint configuration is left
   * by itself. A leader that is no voter any more steps down when that is committed, and has another one stand.
   */
  changeMembers(members: Members): LogIndex | MembershipRefusal;
  /** On a leader: whether `node` may be given a vote: it is this node, or a member that is heard and has caught up. */
  mayVote(node: NodeId): boolean;
  /**
   * Opens a read round, or joins the one that was opened since the last takeOutput: its number, to be found in a later
   * Output's `reads`. `undefined` when this node is not the leader. The round waits for the leader's own term's first
   * commit. `now` is the time of a clock that never stands still, asked after the read arrived; only leases need it.
   * `byLease`: the read is content with a lease: where one holds, its round is granted at once, before older ones perhaps.
   */
  readIndex(now?: number, byLease?: boolean): number | undefined;
  /** Time may have passed that the clock did not show: leases that began before are over. */
  endLease(): void;
  /** Everything up to `index`, written in term `entryTerm`, is durable here. */
  persisted(index: LogIndex, entryTerm: Term): void;
  /** Campaign now (at bootstrap, by the node that is preferred). */
  campaign(): void;
  /** Starts to hand leadership to `to`, a voter (thesis §3.10); proposals are refused until that worked or an election timeout passed. */
  transferLeadership(to: NodeId): void;
  /**
   * The connection to `node` broke. Appends in flight to it are lost; and if it leads, it is probably dead: the voters
   * ask each other in turn whether they should stand, rather than wait for an election timeout. Who still hears that
   * leader says no (PreVote, thesis §9.6), so a link that broke alone unseats nobody.
   */
  unreachable(node: NodeId): void;

  /** A leader's snapshot has arrived whole. The next Output says whether to install it; if it doesn't, it is not needed. */
  snapshotReceived(snapshot: ReceivedSnapshot): void;
  /** The snapshot that `to` was to be sent is installed there, and has everything up to `index`. */
  snapshotDone(to: NodeId, index: LogIndex): void;
  /** It could not be made or sent: asked for again once the follower is heard. */
  snapshotFailed(to: NodeId): void;

  /** Whether takeOutput would have anything. */
  readonly hasOutput: boolean;
  takeOutput(): Output;
  status(): RaftStatus;
}
