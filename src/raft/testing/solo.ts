import { INDEX_ZERO, logIndex, type NodeId, nodeId, type Term, term } from "../../../protocol/ids.ts";
import type {
  AppendReply,
  AppendRequest,
  Entry,
  HeartbeatReply,
  RaftMessage,
  VoteRequest,
} from "../../../protocol/peer-messages.ts";
import { assert } from "../../lib/assert.ts";
import { founders, type Membership } from "../configuration.ts";
import { createRaft } from "../raft.ts";
import type { HardState, Output, RaftConfig, RaftCore } from "../types.ts";
import { MemoryLog } from "./memory-log.ts";

export const [n1, n2, n3, n4] = ["n1", "n2", "n3", "n4"].map(nodeId) as [NodeId, NodeId, NodeId, NodeId];
/** The data of an entry of which nothing else matters. */
export const BYTES = new Uint8Array(10);
export const at = logIndex;
export const t = term;

export function foundedBy(...voters: NodeId[]): Membership {
  return { index: INDEX_ZERO, configuration: founders(voters) };
}

const CONFIG: RaftConfig = {
  id: n1,
  membership: foundedBy(n1, n2, n3),
  heartbeatTicks: 3,
  electionTicks: 10,
  appendBytesMax: 100,
  inflightAppendsMax: 4,
  inflightBytesMax: 1000,
  lease: 0,
  random: { below: () => 0 },
};

/** One core, of n1, with its owner, and the others played by the test. */
export class Solo {
  readonly core: RaftCore;
  readonly log: MemoryLog;

  constructor(config: Partial<RaftConfig> = {}, terms: readonly number[] = [], hardState?: HardState) {
    this.log = new MemoryLog();
    this.log.append(
      terms.map((of, i): Entry => ({ index: at(i + 1), term: t(of), kind: "commands", data: BYTES })),
    );
    const fresh = { term: t(terms.at(-1) ?? 0), votedFor: undefined, commit: INDEX_ZERO };
    this.core = createRaft({ ...CONFIG, ...config }, this.log, hardState ?? fresh);
  }

  /** Takes an Output, and does with its entries what an owner does. */
  take(): Output {
    const output = this.core.takeOutput();
    this.log.append(output.entries);
    return output;
  }

  /** As `take`, with a disk that is done at once. */
  takeDurable(): Output {
    const output = this.take();
    const last = output.entries.at(-1);
    if (last !== undefined) this.core.persisted(last.index, last.term);
    return output;
  }

  tick(count: number): void {
    for (let i = 0; i < count; i++) this.core.tick();
  }

  /** Wins the next election with n2's votes; its first entry is durable here, and n2 and n3 were sent it. */
  lead(): void {
    this.core.campaign();
    const next = t(this.core.term + 1);
    this.take();
    this.vote(n2, next, true);
    this.take();
    this.vote(n2, next, false);
    this.takeDurable();
    assert(this.core.role === "leader", "solo: not elected");
  }

  vote(from: NodeId, inTerm: Term, preVote: boolean, granted = true): void {
    this.core.step({ kind: "voteReply", from, to: n1, term: inTerm, preVote, granted });
  }

  ack(from: NodeId, index: number): void {
    this.core.step(reply(from, this.core.term, { index: at(index) }));
  }

  heard(from: NodeId, readRound = 0): void {
    const beat: HeartbeatReply = { kind: "heartbeatReply", from, to: n1, term: this.core.term, readRound };
    this.core.step(beat);
  }

  hearFrom(leader: NodeId, inTerm: number, commit = 0): void {
    const envelope = { from: leader, to: n1, term: t(inTerm) };
    this.core.step({ kind: "heartbeat", ...envelope, commit: at(commit), readRound: 0, quiesce: false });
  }
}

export function reply(from: NodeId, inTerm: Term, rest: Partial<AppendReply>): AppendReply {
  const none = { accepted: true, index: INDEX_ZERO, hintIndex: INDEX_ZERO, hintTerm: t(0) };
  return { kind: "appendReply", from, to: n1, term: inTerm, ...none, ...rest };
}

export function voteRequest(from: NodeId, inTerm: number, rest: Partial<VoteRequest> = {}): VoteRequest {
  const log = { lastIndex: at(9), lastTerm: t(9) };
  return { kind: "vote", from, to: n1, term: t(inTerm), preVote: false, transfer: false, ...log, ...rest };
}

export function appendsTo(node: NodeId, output: Output): AppendRequest[] {
  return output.messages.filter(
    (message): message is AppendRequest => message.kind === "append" && message.to === node,
  );
}

export function kinds(messages: readonly RaftMessage[]): string[] {
  return messages.map(({ kind, to }) => `${kind} ${to}`);
}
