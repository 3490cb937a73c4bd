import {
  INDEX_ZERO,
  indexPlus,
  type LogIndex,
  logIndex,
  nodeId,
  type Term,
  term,
} from "../../../protocol/ids.ts";
import type { Entry, RaftMessage } from "../../../protocol/peer-messages.ts";
import { type Membership, NO_MEMBERS } from "../../raft/configuration.ts";
import type { Output, RaftCore, RaftStatus, Role } from "../../raft/types.ts";

const NOTHING_TO_DO: Output = {
  install: undefined,
  hardState: undefined,
  entries: [],
  messages: [],
  messagesAfterSync: [],
  committed: [],
  reads: [],
  lostReadsUpTo: 0,
  snapshots: [],
};

/** A Raft core that does what a test says: its Outputs are those that were put there. It counts what it is told. */
export class ScriptedCore implements RaftCore {
  role: Role = "follower";
  term: Term = term(1);
  leader = nodeId("n2");
  commitIndex: LogIndex = INDEX_ZERO;
  lastIndex: LogIndex = INDEX_ZERO;
  readonly outputs: Output[] = [];
  readonly stepped: RaftMessage[] = [];
  readonly proposed: Uint8Array[] = [];
  readonly persistedUpTo: [index: number, term: number][] = [];
  readonly membership: Membership = { index: INDEX_ZERO, configuration: NO_MEMBERS };
  ticks = 0;
  #round = 0;

  /** Adds an Output that has what `parts` say, and nothing else. */
  script(parts: Partial<Output>): void {
    this.outputs.push({ ...NOTHING_TO_DO, ...parts });
  }

  /** Becomes the leader, which takes proposals, but does nothing with them. */
  lead(inTerm: number): void {
    this.role = "leader";
    this.term = term(inTerm);
  }

  mayVote(): boolean {
    return true;
  }
  tick(): void {
    this.ticks++;
  }
  step(message: RaftMessage): void {
    this.stepped.push(message);
  }
  propose(data: Uint8Array): LogIndex | undefined {
    if (this.role !== "leader") return undefined;
    this.proposed.push(data);
    this.lastIndex = indexPlus(this.lastIndex, 1);
    return this.lastIndex;
  }
  readIndex(): number | undefined {
    return this.role === "leader" ? ++this.#round : undefined;
  }
  persisted(index: LogIndex, entryTerm: Term): void {
    this.persistedUpTo.push([index, entryTerm]);
  }
  campaign(): void {}
  transferLeadership(): void {}
  unreachable(): void {}
  changeMembers(): "notLeader" {
    return "notLeader";
  }
  endLease(): void {}
  readonly quiescent = false;
  quiesce(): boolean {
    return false;
  }
  wake(): void {}
  snapshotReceived(): void {}
  snapshotDone(): void {}
  snapshotFailed(): void {}
  get hasOutput(): boolean {
    return this.outputs.length > 0;
  }
  takeOutput(): Output {
    return this.outputs.shift()!;
  }
  status(): RaftStatus {
    const { role, term, leader, lastIndex, commitIndex } = this;
    return { role, term, leader, lastIndex, commitIndex, membership: this.membership, replicas: [] };
  }
}

/** Entries of one term with these data, from `first` on. */
export function entriesFrom(first: number, inTerm: number, data: readonly Uint8Array[]): Entry[] {
  return data.map((bytes, at) => ({
    index: logIndex(first + at),
    term: term(inTerm),
    kind: "commands",
    data: bytes,
  }));
}
