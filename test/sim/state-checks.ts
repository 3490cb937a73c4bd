/**
 * What must hold of the replicas at every instant, whatever clients see: one leader a term (Raft §5.2); two logs that have
 * an entry of one term at one index are equal there (log matching, §5.3), and terms never go back along a log; what one replica has committed, all have, at the
 * same index and for ever (state machine safety, §5.4.3); a replica never applies beyond what is committed, and commits
 * nothing back. It is looked at from outside, through what `cli log` shows.
 */
import { type ShardId, shardId } from "../../protocol/ids.ts";
import type { GroupLogStatus } from "../../protocol/messages.ts";
import type { SimulatedMachine } from "./machine.ts";

/** How many entries of a log are looked at each time. */
const ENTRIES_SEEN = 48;

/** What is known of a group, whoever was asked. */
interface Group {
  /** By term: who was seen leading. */
  readonly leaders: Map<number, string>;
  /** By index: the term, kind and length of the committed entry. */
  readonly committed: Map<number, string>;
  /** By index and term: kind and length of the entry. */
  readonly entries: Map<string, string>;
  /** By index: a replica's content when it had applied so far. */
  readonly contents: Map<number, { readonly machine: string; readonly digest: string }>;
}

export class StateChecks {
  readonly #machines: readonly SimulatedMachine[];
  readonly #groups = new Map<number, Group>();
  readonly #shards: readonly (ShardId | undefined)[];
  readonly #ledBy: (event: string) => void;
  /** What should not have been. */
  readonly problems: string[] = [];

  /** `led` hears of each new leader. */
  constructor(machines: readonly SimulatedMachine[], shards: number, led: (event: string) => void) {
    this.#machines = machines;
    this.#shards = [undefined, ...Array.from({ length: shards }, (_, shard) => shardId(shard))];
    this.#ledBy = led;
  }

  /** Looks at all replicas. */
  look(): void {
    for (const machine of this.#machines) {
      for (const shard of this.#shards) {
        const log = machine.describe(shard, ENTRIES_SEEN);
        if (log !== undefined) this.#look(machine.name, this.#group(log.shard), log);
      }
    }
  }

  /** A replica's content when it had applied everything up to `appliedIndex`, and nothing more. */
  sawContent(machine: string, shard: number, appliedIndex: number, digest: string): void {
    const { contents } = this.#group(shard);
    const known = contents.get(appliedIndex);
    if (known === undefined) contents.set(appliedIndex, { machine, digest });
    else if (known.digest !== digest) {
      this.problems.push(
        `shard ${shard} is not the same on ${machine} and ${known.machine}, which both had applied ${appliedIndex} entries`,
      );
    }
  }

  #group(shard: number): Group {
    let group = this.#groups.get(shard);
    if (group === undefined) {
      group = { leaders: new Map(), committed: new Map(), entries: new Map(), contents: new Map() };
      this.#groups.set(shard, group);
    }
    return group;
  }

  #look(machine: string, group: Group, log: GroupLogStatus): void {
    const where = `shard ${log.shard}`;
    if (log.role === "leader") {
      const known = group.leaders.get(log.term);
      if (known === undefined) {
        group.leaders.set(log.term, machine);
        this.#ledBy(`${machine} leads ${where} in term ${log.term}`);
      } else if (known !== machine) {
        this.problems.push(`${machine} leads ${where} in term ${log.term}, and ${known} did`);
      }
    }
    if (log.appliedIndex > log.commitIndex) {
      this.problems.push(
        `${machine} has applied entry ${log.appliedIndex} of ${where}, and only ${log.commitIndex} is committed`,
      );
    }
    let lastTerm = 0;
    for (const { index, term, kind, bytes } of log.entries) {
      if (term < lastTerm)
        this.problems.push(
          `${machine}: ${where}: entry ${index} is of term ${term}, behind one of ${lastTerm}`,
        );
      lastTerm = term;
      this.#agree(
        group.entries,
        `${index} of term ${term}`,
        `${kind}, ${bytes} bytes`,
        `${machine}: ${where}`,
      );
      // What is committed and not applied yet may be on its way into the log, which still has something else there.
      if (index > log.appliedIndex) continue;
      this.#agree(
        group.committed,
        index,
        `term ${term}, ${kind}, ${bytes} bytes`,
        `${machine}: ${where}, committed`,
      );
    }
  }

  #agree<Key>(known: Map<Key, string>, key: Key, found: string, where: string): void {
    const before = known.get(key);
    if (before === undefined) known.set(key, found);
    else if (before !== found) this.problems.push(`${where}: entry ${key} is ${found}; it was ${before}`);
  }
}
