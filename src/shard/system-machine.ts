import type { NodeId } from "../../protocol/ids.ts";
import { decodePlain, encodePlain } from "../../protocol/plain.ts";
import type { CommandBatchReader } from "./command-batch.ts";
import { afterCommand } from "./keyspaces.ts";
import type { AnswerReceiver, StateMachine } from "./state-machine.ts";
import {
  factsShape,
  faultOf,
  NO_FACTS,
  type ReplicaSet,
  type Report,
  type SystemCommand,
  type SystemFacts,
  type WantedChange,
} from "./system-facts.ts";

/** The system group's state (`system-facts.ts`), as the commands in its log make it. */
export class SystemMachine implements StateMachine {
  /** Nothing in here expires. */
  readonly horizonMs = 0;
  #facts: SystemFacts = NO_FACTS;
  readonly #changed: (facts: SystemFacts) => void;

  /** `changed` is called after each change, also by `restore`. */
  constructor(changed: (facts: SystemFacts) => void) {
    this.#changed = changed;
  }

  get facts(): SystemFacts {
    return this.#facts;
  }

  apply(commands: CommandBatchReader, _receiver: AnswerReceiver | undefined): void {
    const bytes = commands.rest();
    if (bytes.length === 0) return;
    const next = applied(this.#facts, decodePlain(bytes) as SystemCommand);
    if (next !== this.#facts) this.#set({ ...next, version: this.#facts.version + 1 });
  }

  dump(): unknown {
    return this.#facts;
  }

  checkDump(dump: unknown): void {
    factsShape(dump, "facts");
  }

  restore(dump: unknown): void {
    this.#set(dump as SystemFacts);
  }

  #set(facts: SystemFacts): void {
    this.#facts = facts;
    this.#changed(facts);
  }
}

/** What the facts are after `command`: themselves, where it changes nothing. Their version is left as it is. */
export function applied(facts: SystemFacts, command: SystemCommand): SystemFacts {
  if (faultOf(facts, command) !== undefined) return facts;
  const { nodes, incarnations } = facts;
  switch (command.kind) {
    case "found": {
      const { clusterId, settings, systemVoters } = command;
      const shards = command.sets.map((set) => firstSet(set, facts.version + 1));
      return {
        ...{ ...facts, clusterId, settings, systemVoters, shards },
        ...{ nodes: command.nodes, incarnations: command.incarnations },
      };
    }
    case "admit": {
      const { node, incarnation, address, labels } = command;
      const known = nodes[node];
      const isBound = incarnations[node] !== undefined;
      if (known !== undefined && isBound && known.address === address && sameLabels(known.labels, labels)) {
        return facts;
      }
      const fact = { ...(known ?? { state: "member" as const, successor: "" as const }), address, labels };
      return {
        ...facts,
        nodes: { ...nodes, [node]: fact },
        incarnations: { ...incarnations, [node]: incarnation },
      };
    }
    case "state": {
      const { node, state, successor } = command;
      const after = { ...facts, nodes: { ...nodes, [node]: { ...nodes[node]!, state, successor } } };
      return state === "member" ? after : withoutCopies(after, node, successor);
    }
    case "wanted":
      return withShards(facts, command.changes, (set, change, version) =>
        wantedOf(set, membersOnly(facts, change), version),
      );
    case "systemVoters":
      return sameList(facts.systemVoters, command.voters)
        ? facts
        : { ...facts, systemVoters: command.voters };
    case "actual":
      return withShards(facts, command.reports, actualOf);
    case "createKeyspace":
    case "dropKeyspace": {
      const keyspaces = afterCommand(facts.keyspaces, command);
      return keyspaces === facts.keyspaces ? facts : { ...facts, keyspaces };
    }
  }
}

/** What `SystemMachine` applies. Borrowed until the next call. */
export function encodeSystemCommand(command: SystemCommand): Uint8Array {
  return encodePlain(command);
}

function firstSet(nodes: readonly NodeId[], version: number): ReplicaSet {
  const voters = [...nodes].sort();
  const actual = { term: 0, index: 0, voters, outgoing: [], learners: [] };
  return { first: voters, wanted: nodes, copies: [], promoted: [], version, actual };
}

function withShards<Change extends { readonly shard: number }>(
  facts: SystemFacts,
  changes: readonly Change[],
  change: (set: ReplicaSet, change: Change, version: number) => ReplicaSet,
): SystemFacts {
  const shards = [...facts.shards];
  let isNews = false;
  for (const each of changes) {
    const set = shards[each.shard]!;
    const next = change(set, each, facts.version + 1);
    if (next === set) continue;
    shards[each.shard] = next;
    isNews = true;
  }
  return isNews ? { ...facts, shards } : facts;
}

function wantedOf(
  set: ReplicaSet,
  { version, wanted, copies = set.copies, promoted = [] }: WantedChange,
  nextVersion: number,
): ReplicaSet {
  if (version !== set.version) return set;
  const all = [...new Set([...set.promoted, ...promoted])];
  const next = withoutPromoted({ ...set, wanted, copies, promoted: all, version: nextVersion });
  const isSame =
    sameList(next.wanted, set.wanted) &&
    sameList(next.copies, set.copies) &&
    sameList(next.promoted, set.promoted);
  return isSame ? set : next;
}

/** Who drains or was removed since the change was proposed gets no copy. */
function membersOnly({ nodes }: SystemFacts, change: WantedChange): WantedChange {
  const { copies } = change;
  if (copies === undefined) return change;
  return { ...change, copies: copies.filter((node) => nodes[node]?.state === "member") };
}

/**
 * Who has the vote that it was promoted to has no copy without one any more. A vote that nobody has asked for ends no wish; nor
 * does a promotion that was taken back.
 */
function withoutPromoted(set: ReplicaSet): ReplicaSet {
  const { wanted, copies, actual } = set;
  const promoted = set.promoted.filter((node) => wanted.includes(node) && copies.includes(node));
  const isOver = (node: NodeId) => promoted.includes(node) && actual.voters.includes(node);
  if (promoted.length === set.promoted.length && !promoted.some(isOver)) return set;
  return {
    ...set,
    copies: copies.filter((node) => !isOver(node)),
    promoted: promoted.filter((node) => !isOver(node)),
  };
}

/** A node that goes keeps no copies; who takes its place gets them, where it has none. */
function withoutCopies(facts: SystemFacts, node: NodeId, successor: NodeId | ""): SystemFacts {
  const version = facts.version + 1;
  const shards = facts.shards.map((set) => {
    if (!set.copies.includes(node)) return set;
    const { wanted, copies } = set;
    const isNew = successor !== "" && !copies.includes(successor) && !wanted.includes(successor);
    const next = copies.flatMap((id) => (id !== node ? [id] : isNew ? [successor] : []));
    return withoutPromoted({ ...set, copies: next, version });
  });
  return shards.every((set, at) => set === facts.shards[at]) ? facts : { ...facts, shards };
}

/** A later entry counts, or the same one told by a later leader. */
function actualOf(set: ReplicaSet, report: Report, nextVersion: number): ReplicaSet {
  const { actual } = set;
  if (report.index < actual.index || (report.index === actual.index && report.term <= actual.term))
    return set;
  const { term, index, voters, outgoing, learners } = report;
  const next = withoutPromoted({ ...set, actual: { term, index, voters, outgoing, learners } });
  // What was looked at before is out of date where a copy has ended.
  return next.copies.length === set.copies.length ? next : { ...next, version: nextVersion };
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, at) => item === b[at]);
}

function sameLabels(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
