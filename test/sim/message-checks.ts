/**
 * What a node says to others, held against what it has on its disk, and against what it and they have said before. A vote
 * leaves only when it is written, whoever asked and whatever happened since, and there is one a term (Raft §5.2, and
 * figure 2: "updated on stable storage before responding"). An entry is acknowledged when it is on the disk, and when it
 * is the leader's (§5.3): the one that the leader of that term has in that place. Who the members of a group are is told
 * once that is committed: who is not among them may destroy what it has.
 */
import { type GroupId, groupOfShard, shardId } from "../../protocol/ids.ts";
import type {
  AppendReply,
  AppendRequest,
  ConfigurationReport,
  GroupMessage,
  Heartbeat,
  VoteReply,
  VoteRequest,
} from "../../protocol/peer-messages.ts";
import type { Ledger } from "./ledger.ts";
import type { SimulatedMachine } from "./machine.ts";

export interface MessageChecksParts {
  readonly machines: readonly SimulatedMachine[];
  readonly ledger: (group: GroupId) => Ledger;
  /** `machine` has told others that its group has committed more than was known. */
  readonly committed: (machine: SimulatedMachine, group: GroupId) => void;
  readonly wrong: (problem: string) => void;
}

export class MessageChecks {
  readonly #parts: MessageChecksParts;

  constructor(parts: MessageChecksParts) {
    this.#parts = parts;
  }

  /** A node sends `message`. */
  sent(group: GroupId, message: GroupMessage): void {
    const machine = this.#parts.machines.find(({ name }) => name === message.from);
    if (machine === undefined) return;
    switch (message.kind) {
      case "vote":
        if (!message.preVote) this.#vote(machine, group, message, message.from);
        break;
      case "voteReply":
        if (!message.preVote && message.granted) this.#vote(machine, group, message, message.to);
        break;
      case "appendReply":
        if (message.accepted) this.#acknowledgement(machine, group, message);
        break;
      case "append":
        this.#append(machine, group, message);
        this.#commit(machine, group, message);
        break;
      case "heartbeat":
        this.#commit(machine, group, message);
        break;
      default:
        break;
    }
  }

  /** The node `from` tells who the members of a group are. */
  reported(from: string, { shard, term, index }: ConfigurationReport): void {
    const { machines, ledger, committed, wrong } = this.#parts;
    const group = groupOfShard(shardId(shard));
    const known = ledger(group);
    const machine = machines.find(({ name }) => name === from);
    if (index > known.commit && machine !== undefined) committed(machine, group);
    if (index > known.commit)
      wrong(
        `${from} tells of the members of ${known.name} by entry ${index} in term ${term}; ${known.commit} are committed`,
      );
  }

  #vote(
    machine: SimulatedMachine,
    group: GroupId,
    { from, term }: VoteRequest | VoteReply,
    candidate: string,
  ): void {
    const { ledger, wrong } = this.#parts;
    const { votes, name } = ledger(group);
    const key = `${term} ${from}`;
    const known = votes.get(key) ?? candidate;
    votes.set(key, known);
    if (known !== candidate)
      wrong(`${from} votes for ${candidate} in term ${term} of ${name}; it voted for ${known}`);
    // What is on a disk that was damaged or lost is not what was written to it.
    if (machine.isExcused) return;
    const disk = machine.durableLog.group(group);
    if (disk.term > term || (disk.term === term && disk.votedFor === candidate)) return;
    wrong(
      `${from} says that it votes for ${candidate} in term ${term} of ${name}, and its disk has ${disk.votedFor} in term ${disk.term}`,
    );
  }

  #acknowledgement(machine: SimulatedMachine, group: GroupId, { from, term, index }: AppendReply): void {
    if (machine.isExcused) return;
    const { ledger, wrong } = this.#parts;
    const known = ledger(group);
    const disk = machine.durableLog.group(group);
    const what = `${from} acknowledges entry ${index} of ${known.name} in term ${term}`;
    if (disk.term < term) wrong(`${what}, and its disk is in term ${disk.term}`);
    // A later leader has written over it since, which it could do only because it is not committed.
    if (disk.term > term) return;
    if (disk.lastIndex < index) wrong(`${what}, and the log on its disk ends at ${disk.lastIndex}`);
    const own = disk.termOf(index);
    const leaders =
      known.told(term, index) ?? (index <= known.commit ? known.committedTerm(index) : undefined);
    if (own === undefined || own === leaders) return;
    wrong(`${what}, where it has one of term ${own}, and the leader has told of ${leaders ?? "none"}`);
  }

  #append(machine: SimulatedMachine, group: GroupId, message: AppendRequest): void {
    const { ledger, wrong } = this.#parts;
    const known = ledger(group);
    const { term, prevIndex, prevTerm, entries } = message;
    if (prevIndex > 0) known.tells(term, prevIndex, prevTerm);
    let before = prevTerm as number;
    for (const entry of entries) {
      known.tells(term, entry.index, entry.term);
      const fault = known.entryFault(
        entry.index,
        entry.term,
        `${entry.kind}, ${entry.data.length} bytes`,
        before,
      );
      if (fault !== undefined) wrong(`${machine.name} sends: ${known.name}: ${fault}`);
      before = entry.term;
    }
  }

  /** The leader may not be there any more when it is looked at the next time. */
  #commit(machine: SimulatedMachine, group: GroupId, { commit }: AppendRequest | Heartbeat): void {
    if (commit > this.#parts.ledger(group).commit) this.#parts.committed(machine, group);
  }
}
