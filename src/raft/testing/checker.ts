import { decodeConfiguration } from "../../../protocol/configuration.ts";
import { type LogIndex, logIndex, type NodeId, type Term } from "../../../protocol/ids.ts";
import type { Configuration, Entry, RaftMessage } from "../../../protocol/peer-messages.ts";
import { assert } from "../../lib/assert.ts";
import { isVoter, sameNodes } from "../configuration.ts";
import { majority } from "../quorum.ts";
import type { Install, RaftCore } from "../types.ts";
import type { MemoryDisk } from "./memory-disk.ts";

/** One member as the checker sees it. `core` is undefined while the node is down. */
export interface Member {
  readonly id: NodeId;
  readonly core: RaftCore | undefined;
  readonly disk: MemoryDisk;
}

/** What was first seen committed at an index, and in which term at the latest. */
interface Committed {
  readonly entry: Entry;
  readonly inTerm: Term;
}

/**
 * The safety properties of Raft (figure 3) over a whole group, checked from outside after every step. It remembers what
 * was ever true: one leader a term, which entry an (index, term) names, what was committed.
 */
export class Checker {
  readonly #leaders = new Map<Term, NodeId>();
  readonly #entries = new Map<string, { readonly entry: Entry; readonly prevTerm: Term }>();
  readonly #committed: Committed[] = [];
  readonly #commitOf = new Map<NodeId, LogIndex>();
  readonly #appliedOf = new Map<NodeId, LogIndex>();
  readonly #seenOf = new Map<NodeId, Configuration>();
  /** How many changes of members were committed, and snapshots installed. */
  changes = 0;
  installs = 0;
  #configuration: Configuration;

  constructor(founders: Configuration) {
    this.#configuration = founders;
  }

  /** The latest configuration that was committed. */
  get configuration(): Configuration {
    return this.#configuration;
  }

  /** The greatest index that any node ever knew to be committed. */
  get commit(): LogIndex {
    return logIndex(this.#committed.length);
  }

  committedTerm(index: LogIndex): Term | undefined {
    return this.#committed[index - 1]?.entry.term;
  }

  applied(id: NodeId): LogIndex {
    return this.#appliedOf.get(id) ?? logIndex(0);
  }

  /** A node came back: its commit index may be behind, and it applies again from its log's first entry. */
  restarted(member: Member): void {
    this.#commitOf.delete(member.id);
    this.#appliedOf.set(member.id, logIndex(member.disk.log.firstIndex - 1));
  }

  /**
   * A node that voted alone died. It may have led a term of which its disk knows nothing, and lead that term again with
   * other entries, or leave it to somebody else, if the members it came back with are more: nobody saw the first ones.
   */
  forgotten(lost: Term): void {
    this.#leaders.delete(lost);
    for (const [name, { entry }] of this.#entries) {
      if (entry.term === lost) this.#entries.delete(name);
    }
  }

  /** A node is told to install a snapshot: it is of what was committed. */
  installed(member: Member, { index, term, membership }: Install): void {
    assert(index <= this.commit, `install: ${member.id} gets a snapshot of ${index}, which is not committed`);
    assert(this.committedTerm(index) === term, `install: ${index} was not of term ${term}`);
    assert(membership.index <= index, `install: members of ${membership.index} in a snapshot of ${index}`);
    const before = this.#commitOf.get(member.id) ?? logIndex(0);
    assert(index > before, `install: ${member.id} goes back from ${before} to ${index}`);
    this.#commitOf.set(member.id, index);
    this.#appliedOf.set(member.id, index);
    this.installs++;
  }

  /** Entries that a node appends: log matching. */
  appended(member: Member, entries: readonly Entry[]): void {
    let termBefore = entries.length === 0 ? undefined : member.disk.log.term(logIndex(entries[0]!.index - 1));
    for (const entry of entries) {
      const name = `${entry.index}/${entry.term}`;
      const prevTerm = termBefore!;
      termBefore = entry.term;
      const known = this.#entries.get(name);
      if (known === undefined) {
        this.#entries.set(name, { entry, prevTerm });
        continue;
      }
      assert(
        known.prevTerm === prevTerm,
        `log matching: ${name} follows on ${known.prevTerm} and ${prevTerm}`,
      );
      assert(known.entry.data === entry.data, `log matching: ${name} has two contents`);
    }
  }

  /** A message leaves: what it promises has to be durable at its sender. */
  sent(member: Member, message: RaftMessage): void {
    const { durableState, durableLog } = member.disk;
    const isVote = message.kind === "voteReply" && message.granted && !message.preVote;
    const isCandidacy = message.kind === "vote" && !message.preVote;
    if (isVote || isCandidacy) {
      const votedFor = isVote ? message.to : message.from;
      assert(
        durableState.term > message.term ||
          (durableState.term === message.term && durableState.votedFor === votedFor),
        `durability: ${member.id} says it voted for ${votedFor} in ${message.term}, its disk doesn't`,
      );
    }
    if (message.kind === "appendReply" && message.accepted) {
      assert(durableState.term >= message.term, `durability: ${member.id} answers in an unwritten term`);
      assert(
        durableLog.lastIndex >= message.index,
        `durability: ${member.id} acknowledges unwritten entries`,
      );
    }
  }

  /** Entries that a node is told to apply: in order, durable there, and the same everywhere. */
  delivered(member: Member, entries: readonly Entry[]): void {
    for (const entry of entries) {
      assert(
        entry.index === this.applied(member.id) + 1,
        `apply: ${member.id} gets ${entry.index} out of order`,
      );
      assert(
        member.disk.durableLog.term(entry.index) === entry.term,
        `apply: ${member.id} gets ${entry.index}, which its disk does not have`,
      );
      this.#commits(member, entry);
      this.#appliedOf.set(member.id, entry.index);
    }
  }

  /** The state of a node between two steps, with no Output waiting. */
  check(member: Member, all: readonly Member[]): void {
    const core = member.core;
    if (core === undefined) return;
    this.#checkCommit(member, core, all);
    this.#seenOf.set(member.id, core.membership.configuration);
    if (core.role === "leader") this.#checkLeader(member, core);
  }

  #checkCommit(member: Member, core: RaftCore, all: readonly Member[]): void {
    const before = this.#commitOf.get(member.id) ?? logIndex(0);
    const commit = core.commitIndex;
    assert(commit >= before, `commit: ${member.id} went back from ${before} to ${commit}`);
    if (commit === before) return;
    const { log } = member.disk;
    assert(commit <= log.lastIndex, `commit: ${member.id} is at ${commit}, its log ends at ${log.lastIndex}`);
    if (core.role === "leader" && commit > this.commit) {
      const term = log.term(commit);
      const holders = all.filter(
        ({ disk: { durableLog } }) => durableLog.firstIndex > commit || durableLog.term(commit) === term,
      );
      // A change of members may have begun since the last look: then what held before it counted.
      const configurations = [core.membership.configuration, this.#seenOf.get(member.id)];
      assert(
        configurations.some((one) => one !== undefined && holdQuorum(one, holders)),
        `durability: ${member.id} commits ${commit}, which only ${holders.map(({ id }) => id)} have on disk`,
      );
    }
    const low = Math.max(before + 1, log.firstIndex);
    for (const entry of log.entries(logIndex(low), logIndex(commit + 1), Number.POSITIVE_INFINITY)) {
      this.#commits(member, entry);
    }
    this.#commitOf.set(member.id, commit);
  }

  #commits(member: Member, entry: Entry): void {
    const known = this.#committed[entry.index - 1];
    if (known === undefined) {
      assert(entry.index === this.#committed.length + 1, `commit: ${entry.index} leaves a gap`);
      this.#committed.push({ entry, inTerm: member.core!.term });
      if (entry.kind === "config") this.#reconfigured(entry);
      return;
    }
    assert(
      known.entry.term === entry.term && known.entry.data === entry.data,
      `commit: ${member.id} has ${entry.index} of term ${entry.term}, committed was term ${known.entry.term}`,
    );
  }

  /** A change of members is committed: it shares its quorums with the one before. */
  #reconfigured(entry: Entry): void {
    const before = this.#configuration;
    const { voters, outgoing, learners } = decodeConfiguration(entry.data);
    const sameVoters = sameNodes(voters, before.voters);
    const entersJoint = before.outgoing.length === 0 && sameNodes(outgoing, before.voters);
    const leavesJoint = before.outgoing.length > 0 && outgoing.length === 0 && sameVoters;
    assert(
      leavesJoint || entersJoint || (sameVoters && before.outgoing.length === 0 && outgoing.length === 0),
      `quorums: ${entry.index} leads from ${JSON.stringify(before)} to ${voters} and ${outgoing}`,
    );
    assert(voters.length > 0 && !learners.some((node) => voters.includes(node)), "members: no sound set");
    this.#configuration = { voters, outgoing, learners };
    this.changes++;
  }

  /** What holds of every leader, all the time. */
  #checkOffice(member: Member, core: RaftCore): void {
    const { index, configuration } = core.membership;
    assert(
      index > core.commitIndex || isVoter(configuration, member.id),
      `members: ${member.id} leads a group that it does not belong to`,
    );
    const { log } = member.disk;
    const open = log.configurations().filter((entry) => entry.index > this.commit).length;
    assert(open <= 1, `members: ${member.id} has ${open} changes under way`);
  }

  #checkLeader(member: Member, core: RaftCore): void {
    this.#checkOffice(member, core);
    const known = this.#leaders.get(core.term);
    if (known === member.id) return;
    assert(known === undefined, `election: ${known} and ${member.id} both lead term ${core.term}`);
    this.#leaders.set(core.term, member.id);
    const { log } = member.disk;
    for (let i = log.firstIndex - 1; i < this.#committed.length; i++) {
      const { entry, inTerm } = this.#committed[i]!;
      if (inTerm >= core.term) continue;
      assert(
        log.term(entry.index) === entry.term,
        `leader completeness: ${member.id} leads term ${core.term} without entry ${entry.index}`,
      );
    }
  }
}

function holdQuorum({ voters, outgoing }: Configuration, holders: readonly Member[]): boolean {
  const sets = outgoing.length > 0 ? [voters, outgoing] : [voters];
  return sets.every((set) => holders.filter(({ id }) => set.includes(id)).length >= majority(set.length));
}
