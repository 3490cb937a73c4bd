/** What goes into the Raft core and what comes out of it. */
import type { LogIndex, NodeId, Term } from "../../protocol/ids.ts";
import type { Entry, RaftMessage } from "../../protocol/peer-messages.ts";

/** What must survive a crash beside the log (Raft figure 2: currentTerm, votedFor). `commit` saves work, nothing hangs on it. */
export interface HardState {
  readonly term: Term;
  readonly votedFor: NodeId | undefined;
  readonly commit: LogIndex;
}

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
}

/** Times are in ticks of the owner's clock. Relations are asserted when a core is built. */
export interface RaftConfig {
  readonly id: NodeId;
  /** All members, this one included. */
  readonly voters: readonly NodeId[];
  readonly heartbeatTicks: number;
  /** A follower that hears nothing for this many ticks, up to twice as many at random, campaigns. */
  readonly electionTicks: number;
  /** Most bytes of entries in one append. */
  readonly appendBytesMax: number;
  /** Most appends, and bytes of them, on their way to one follower. */
  readonly inflightAppendsMax: number;
  readonly inflightBytesMax: number;
  /** A whole number from 0 up to and excluding its argument. */
  readonly random: { below(bound: number): number };
}

export type Role = "leader" | "follower" | "preCandidate" | "candidate";

/**
 * Work for the owner, in this order: append `entries` and `hardState` to the log and begin to make them durable; send
 * `messages` at once; when this Output's log write is durable call `persisted` and send `messagesAfterSync`; apply
 * `committed`; answer `reads`. An Output without hardState and entries needs no log write: its messagesAfterSync may
 * leave as soon as all earlier writes of the group are durable.
 */
export interface Output {
  readonly hardState: HardState | undefined;
  readonly entries: readonly Entry[];
  readonly messages: readonly RaftMessage[];
  readonly messagesAfterSync: readonly RaftMessage[];
  /** Entries to apply, in order, each handed out once; only such as are durable on this node. */
  readonly committed: readonly Entry[];
  /** Read rounds that were confirmed: a read of round `round` is linearizable once `index` is applied. */
  readonly reads: readonly ReadGrant[];
  /** Read rounds that will never be confirmed: leadership was lost. All rounds up to `lostReadsUpTo` that were not granted. */
  readonly lostReadsUpTo: number;
}

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
  /** On the leader: each other voter. */
  readonly replicas: readonly {
    readonly node: NodeId;
    readonly matchIndex: LogIndex;
    readonly active: boolean;
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

  /** One tick of time passed. */
  tick(): void;
  /** A message arrived from a member. Messages of strangers and of old terms are ignored or answered, never obeyed. */
  step(message: RaftMessage): void;
  /** Appends one entry of commands; its index, or `undefined` when this node is not the leader or is handing leadership over. `data` is owned by the log from now on. */
  propose(data: Uint8Array): LogIndex | undefined;
  /**
   * Opens a read round, or joins the one that was opened since the last takeOutput: its number, to be found in a later
   * Output's `reads`. `undefined` when this node is not the leader. The round waits for the leader's own term's first commit.
   */
  readIndex(): number | undefined;
  /** Everything up to `index`, written in term `entryTerm`, is durable here. */
  persisted(index: LogIndex, entryTerm: Term): void;
  /** Campaign now (at bootstrap, by the node that is preferred). */
  campaign(): void;
  /** Starts to hand leadership to `to` (thesis §3.10); proposals are refused until that worked or an election timeout passed. */
  transferLeadership(to: NodeId): void;
  /** The connection to `node` broke: appends in flight to it are lost. */
  unreachable(node: NodeId): void;

  /** Whether takeOutput would have anything. */
  readonly hasOutput: boolean;
  takeOutput(): Output;
  status(): RaftStatus;
}
