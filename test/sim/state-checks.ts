/**
 * What must hold of the replicas at every instant, whatever clients see: one leader a term (Raft §5.2), who has all that
 * was committed in earlier ones (leader completeness, §5.4); two logs that have an entry of one term at one index are equal up to there
 * (log matching, §5.3), and terms never go back along a log; what one replica has committed, all have, at the same index
 * and for ever (state machine safety, §5.4.3), and no replica commits what no leader has; a replica never applies beyond
 * what is committed, and commits nothing back; the members are those of the last entry that says who they are (thesis
 * §4.1), and who leads is among them once they are committed (§4.2.2). It is looked at from outside, through what `cli
 * log` shows, whenever something has happened to a node.
 *
 * When a leader commits something, the disks of all voters are looked at: nobody who lacks it there may be able to win
 * an election with the votes of those who would vote for it. That is what a commit is for, and it is more than being on a
 * majority's disks (figure 8 of the paper). The entry that sets new voters beside the old ones has to be on the disks of a
 * majority of both: who has not heard of it counts by the old ones alone (thesis §4.3).
 */
import { type GroupId, groupId, type ShardId, shardOfGroup } from "../../protocol/ids.ts";
import type { GroupLogStatus } from "../../protocol/messages.ts";
import type { ConfigurationReport, GroupMessage } from "../../protocol/peer-messages.ts";
import { majority } from "../../src/raft/quorum.ts";
import type { DurableGroup } from "./durable-log.ts";
import { Ledger } from "./ledger.ts";
import type { SimulatedMachine } from "./machine.ts";
import { MessageChecks } from "./message-checks.ts";
import type { SimulatedProcess } from "./process.ts";

/** What was last seen of a replica. */
interface Seen {
  status: GroupLogStatus;
  /** Up to here its entries are those that were committed. */
  checked: number;
}

/** What was last seen of a node. */
interface Look {
  process: SimulatedProcess | undefined;
  turns: number;
  groups: (Seen | undefined)[];
}

export class StateChecks {
  readonly #machines: readonly SimulatedMachine[];
  readonly #ledgers: readonly Ledger[];
  readonly #looks: readonly Look[];
  readonly #tell: (event: string) => void;
  readonly #messages: MessageChecks;
  /** By shard and applied index: a replica's content when it had applied so far. */
  readonly #contents = new Map<string, { readonly machine: string; readonly digest: string }>();
  /** Shards and numbers of all sessions that were opened. */
  readonly #sessions = new Set<string>();
  /** What should not have been. */
  readonly problems: string[] = [];

  /** `tell` hears of each new leader. */
  constructor(machines: readonly SimulatedMachine[], shards: number, tell: (event: string) => void) {
    this.#machines = machines;
    this.#ledgers = Array.from(
      { length: shards + 1 },
      (_, group) => new Ledger(group === 0 ? "the system group" : `shard ${group - 1}`),
    );
    this.#looks = machines.map(() => ({ process: undefined, turns: 0, groups: [] }));
    this.#tell = tell;
    this.#messages = new MessageChecks({
      machines,
      ledger: (group) => this.#ledgers[group]!,
      committed: (machine, group) => this.#lookAt(this.#machines.indexOf(machine), group, false),
      wrong: (problem) => this.problems.push(problem),
    });
  }

  /** A node sends `message`. */
  sent(group: GroupId, message: GroupMessage): void {
    this.#messages.sent(group, message);
  }

  /** The node `from` tells the system group who the members of a shard are. */
  reported(from: string, report: ConfigurationReport): void {
    this.#messages.reported(from, report);
  }

  /** Looks at the nodes to which something has happened. Their turns must have ended. */
  look(): void {
    for (const [number, machine] of this.#machines.entries()) {
      const look = this.#lookOf(number);
      const { process } = machine;
      if (process === undefined || process.isPaused || look.turns === process.turns) continue;
      look.turns = process.turns;
      for (let group = 0; group < this.#ledgers.length; group++) this.#lookAt(number, groupId(group), true);
    }
  }

  /** How far a shard is known to have committed. */
  commitOf(shard: ShardId): number {
    return this.#ledgers[shard + 1]!.commit;
  }

  /**
   * `machine` has answered a linearizable read by itself, which was asked when `commit` entries of the shard were
   * committed: it must have applied them (thesis §6.4).
   */
  answeredRead(machine: SimulatedMachine, shard: ShardId, commit: number): void {
    const applied = machine.describe(shard, 0)?.appliedIndex;
    if (applied === undefined || applied >= commit) return;
    this.problems.push(
      `${machine.name} answered a read of shard ${shard} with ${applied} entries applied, when ${commit} had been committed before it came`,
    );
  }

  /** A session was opened: no other one of its shard may ever have its number. */
  openedSession(shard: number, number: number): void {
    const name = `${shard} ${number}`;
    if (this.#sessions.has(name)) this.problems.push(`two sessions of shard ${shard} have number ${number}`);
    this.#sessions.add(name);
  }

  /** A replica's content when it had applied everything up to `appliedIndex`, and nothing more. */
  sawContent(machine: string, shard: number, appliedIndex: number, digest: string): void {
    const key = `${shard} ${appliedIndex}`;
    const known = this.#contents.get(key);
    if (known === undefined) this.#contents.set(key, { machine, digest });
    else if (known.digest !== digest) {
      this.problems.push(
        `shard ${shard} is not the same on ${machine} and ${known.machine}, which both had applied ${appliedIndex} entries`,
      );
    }
  }

  /** What was last seen of a node in the life that it has now. */
  #lookOf(number: number): Look {
    const look = this.#looks[number]!;
    const { process } = this.#machines[number]!;
    if (look.process !== process) {
      look.process = process;
      look.turns = 0;
      look.groups = [];
    }
    return look;
  }

  #lookAt(number: number, group: GroupId, isSettled: boolean): void {
    const machine = this.#machines[number]!;
    const { groups } = this.#lookOf(number);
    const shard = group === 0 ? undefined : shardOfGroup(group);
    const before = groups[group];
    let log = machine.describe(shard, 0);
    if (log === undefined) {
      // It has no replica, or had one that is gone: the next one has a life of its own.
      if (machine.process?.isPaused === false) groups[group] = undefined;
      return;
    }
    if (before !== undefined && isSame(before.status, log)) return;
    // A leader that nobody else votes for leads for itself until its disk has its vote: what it does may not have been.
    const { voters, outgoing, role, term } = log;
    const isAlone = role === "leader" && voters.length === 1 && outgoing.length === 0;
    if (isAlone && machine.durableLog.group(group).term < term) return;
    const ledger = this.#ledgers[group]!;
    const seen = { status: log, checked: before?.checked ?? log.firstIndex - 1 };
    const known = Math.min(seen.checked, ledger.commit);
    const entries = log.lastIndex - Math.max(known, log.firstIndex) + 1;
    if (entries > 0) log = machine.describe(shard, entries)!;
    groups[group] = seen;
    const wrong = (problem: string) => this.problems.push(`${machine.name}: ${ledger.name}: ${problem}`);
    // Also where this is the first replica after one that is gone: a node's promises outlive its replicas.
    const promised = before === undefined && !machine.isExcused ? machine.durableLog.group(group).term : 0;
    if (log.term < promised) wrong(`begins in term ${log.term}, and its disk knows of term ${promised}`);
    this.#checkStatus(before?.status, log, wrong);
    // In the end what cores have to say is not carried out any more.
    if (!machine.isStopping) this.#checkEntries(ledger, log, isSettled, wrong);
    if (log.role === "leader") this.#checkLeader(machine, ledger, log, wrong);
    // The leader may have done it since it was looked at, too.
    if (isSettled && log.commitIndex > ledger.commit && log.role !== "leader") {
      for (let other = 0; other < this.#machines.length; other++)
        if (other !== number) this.#lookAt(other, group, true);
    }
    if (log.commitIndex > ledger.commit) this.#commits(machine, ledger, before?.status, log, wrong);
    for (const { index, term } of log.entries) {
      if (index > log.commitIndex) break;
      seen.checked = Math.max(seen.checked, index);
      const committed = ledger.committedTerm(index);
      if (committed !== term)
        wrong(`entry ${index} is of term ${term}, and one of ${committed} was committed`);
    }
  }

  /** What a replica says of itself, beside what it said before in the same life. */
  #checkStatus(
    before: GroupLogStatus | undefined,
    log: GroupLogStatus,
    wrong: (problem: string) => void,
  ): void {
    const { term, commitIndex, appliedIndex, lastIndex } = log;
    if (appliedIndex > commitIndex) wrong(`${appliedIndex} is applied, and only ${commitIndex} is committed`);
    if (commitIndex > lastIndex) wrong(`${commitIndex} is committed, and the log ends at ${lastIndex}`);
    if (before === undefined) return;
    if (term < before.term) wrong(`goes back from term ${before.term} to ${term}`);
    if (commitIndex < before.commitIndex)
      wrong(`takes back what is committed, from ${before.commitIndex} to ${commitIndex}`);
    if (appliedIndex < before.appliedIndex)
      wrong(`takes back what is applied, from ${before.appliedIndex} to ${appliedIndex}`);
  }

  #checkEntries(
    ledger: Ledger,
    log: GroupLogStatus,
    isSettled: boolean,
    wrong: (problem: string) => void,
  ): void {
    const { entries, lastIndex, membersIndex, voters, outgoing, learners } = log;
    let before: number | undefined;
    for (const { index, term, kind, bytes } of entries) {
      if (before !== undefined && term < before)
        wrong(`entry ${index} is of term ${term}, behind one of ${before}`);
      const fault = ledger.entryFault(index, term, `${kind}, ${bytes} bytes`, before);
      if (fault !== undefined) wrong(fault);
      before = term;
      if (kind === "config" && index > membersIndex)
        wrong(`entry ${index} changes the members, and they are those of ${membersIndex}`);
      if (index !== membersIndex) continue;
      if (kind !== "config") wrong(`the members are those of entry ${index}, which is ${kind}`);
      const members = `${voters.join()} ${outgoing.join()} ${learners.join()}`;
      const other = ledger.membersFault(index, term, members);
      if (other !== undefined) wrong(other);
      if (outgoing.length > 0) ledger.joint.set(`${index} ${term}`, [voters, outgoing]);
    }
    if (membersIndex > lastIndex)
      wrong(`the members are those of entry ${membersIndex}, and the log ends at ${lastIndex}`);
    const end = entries.at(-1)?.index;
    // Within a turn the core may be ahead.
    if (isSettled && end !== undefined && end !== lastIndex)
      wrong(`the log ends at ${end}, and its core takes ${lastIndex} for the end`);
  }

  #checkLeader(
    machine: SimulatedMachine,
    ledger: Ledger,
    log: GroupLogStatus,
    wrong: (problem: string) => void,
  ): void {
    const { term, membersIndex, commitIndex, voters, outgoing, lastIndex, entries } = log;
    const isVoter = [...voters, ...outgoing].some((node) => node === machine.name);
    if (!isVoter && membersIndex <= commitIndex)
      wrong(`leads in term ${term}, and is no voter of the members that are committed`);
    const known = ledger.leaders.get(term);
    if (known === machine.name) return;
    if (known !== undefined) wrong(`leads in term ${term}, and ${known} did`);
    ledger.leaders.set(term, machine.name);
    this.#tell(`${machine.name} leads ${ledger.name} in term ${term}`);
    const needed = ledger.commitBefore(term);
    if (lastIndex < needed)
      wrong(`leads in term ${term} with ${lastIndex} entries, and ${needed} were committed before`);
    for (const { index, term: entryTerm } of entries) {
      if (index > needed) break;
      const committed = ledger.committedTerm(index);
      if (committed !== entryTerm)
        wrong(
          `leads in term ${term} with an entry ${index} of term ${entryTerm}; one of ${committed} was committed before`,
        );
    }
  }

  /** A leader has committed more than was known. */
  #commits(
    machine: SimulatedMachine,
    ledger: Ledger,
    before: GroupLogStatus | undefined,
    log: GroupLogStatus,
    wrong: (problem: string) => void,
  ): void {
    const { commitIndex, term } = log;
    const leads =
      log.role === "leader" || before?.role === "leader" || ledger.leaders.get(term) === machine.name;
    if (!leads) wrong(`has committed ${commitIndex} entries, and no leader more than ${ledger.commit}`);
    for (const entry of log.entries) {
      if (entry.index !== ledger.commit + 1 || entry.index > commitIndex) continue;
      ledger.commits(entry.term, term);
      const sets = ledger.joint.get(`${entry.index} ${entry.term}`) ?? [];
      for (const set of sets) {
        const lacking = this.#lacking(set, log.shard + 1, entry.index, entry.term);
        if (set.length - lacking.length < majority(set.length))
          wrong(
            `commits the joint configuration ${entry.index} of term ${entry.term}, and of ${set} it is not on the disks of ${lacking}`,
          );
      }
    }
    const committedTerm = ledger.committedTerm(commitIndex);
    if (committedTerm === undefined || !leads) return;
    // A change of members may have begun since: then what held before it counted.
    const usurpers = [log, ...(before === undefined ? [] : [before])].map((members) =>
      this.#usurper(members, log.shard + 1, commitIndex, committedTerm),
    );
    if (usurpers.every((usurper) => usurper !== undefined))
      wrong(
        `commits entry ${commitIndex} of term ${committedTerm} in term ${term}, and ${usurpers[0]} could be elected without it`,
      );
  }

  /** Those of `set` whose disks are as they should be, and lack an entry. */
  #lacking(set: readonly string[], group: number, index: number, term: number): readonly string[] {
    return this.#machines
      .filter(({ isExcused, name }) => !isExcused && set.includes(name))
      .filter((machine) => {
        const log = machine.durableLog.group(group);
        return log.compacted < index && log.termOf(index) !== term;
      })
      .map(({ name }) => name);
  }

  /** A voter whose disk lacks an entry and who could still win an election, with what there is on the disks. */
  #usurper(
    { voters, outgoing }: GroupLogStatus,
    group: number,
    index: number,
    term: number,
  ): string | undefined {
    const sets: readonly (readonly string[])[] = outgoing.length > 0 ? [voters, outgoing] : [voters];
    const logs = this.#machines
      .filter(({ isExcused }) => !isExcused)
      .map((machine) => ({ name: machine.name, log: machine.durableLog.group(group) }));
    for (const { name, log } of logs) {
      if (!sets.some((set) => set.includes(name))) continue;
      if (log.compacted >= index || log.termOf(index) === term) continue;
      const own = log.lastTerm ?? 0;
      const reaches = (lastTerm: number, lastIndex: number) =>
        own > lastTerm || (own === lastTerm && log.lastIndex >= lastIndex);
      // What replicas had that are gone from a disk binds the node all the same.
      const isBelow = ({ floor }: DurableGroup) => !reaches(floor.term, floor.index);
      if (isBelow(log)) continue;
      const friends = logs.filter(
        (other) => reaches(other.log.lastTerm ?? 0, other.log.lastIndex) && !isBelow(other.log),
      );
      const wins = (set: readonly string[]) =>
        friends.filter((friend) => set.includes(friend.name)).length >= majority(set.length);
      if (sets.every(wins)) return name;
    }
    return undefined;
  }
}

/** Whether nothing has happened to a replica that could be wrong. */
function isSame(one: GroupLogStatus, other: GroupLogStatus): boolean {
  return (
    one.term === other.term &&
    one.role === other.role &&
    one.lastIndex === other.lastIndex &&
    one.commitIndex === other.commitIndex &&
    one.appliedIndex === other.appliedIndex &&
    one.membersIndex === other.membersIndex
  );
}
