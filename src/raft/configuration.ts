/**
 * Who is a member of a group, and how that changes: by joint consensus (thesis §4.3). A change is one entry that adds the
 * new set of voters beside the old one, and, once that entry is committed, a second one that drops the old set. So any
 * number of voters can come and go in one step, and at no time can two majorities decide without sharing a member. A
 * change that leaves the voters as they are needs no joint entry.
 *
 * Every entry takes effect when it is appended, committed or not, and loses it when it is cut off again (§4.1): that is
 * what `ConfigurationHistory` keeps track of.
 */
import { CONFIGURATION_NODES_MAX, decodeConfiguration } from "../../protocol/configuration.ts";
import type { LogIndex, NodeId } from "../../protocol/ids.ts";
import type { Configuration, Entry } from "../../protocol/peer-messages.ts";
import { assert } from "../lib/assert.ts";

/** A configuration, and the index of the entry that brought it; 0 for the one that a group was founded with. */
export interface Membership {
  readonly index: LogIndex;
  readonly configuration: Configuration;
}

/** What a change of members is to lead to. */
export type Members = Pick<Configuration, "voters" | "learners">;

/** Nobody is a member: what a node that is to be taken in begins with. */
export const NO_MEMBERS: Configuration = { voters: [], outgoing: [], learners: [] };

/** The configuration that a group of `voters` is founded with. */
export function founders(voters: readonly NodeId[]): Configuration {
  return { voters: [...voters].sort(), outgoing: [], learners: [] };
}

/** Whether two sets of voters decide together. */
export function isJoint(configuration: Configuration): boolean {
  return configuration.outgoing.length > 0;
}

export function isVoter(configuration: Configuration, node: NodeId): boolean {
  return configuration.voters.includes(node) || configuration.outgoing.includes(node);
}

export function isMember(configuration: Configuration, node: NodeId): boolean {
  return isVoter(configuration, node) || configuration.learners.includes(node);
}

/** All members, sorted, each once. */
export function membersOf({ voters, outgoing, learners }: Configuration): readonly NodeId[] {
  return [...new Set([...voters, ...outgoing, ...learners])].sort();
}

/** All voters of either set, sorted, each once. */
export function votersOf({ voters, outgoing }: Configuration): readonly NodeId[] {
  return outgoing.length === 0 ? voters : [...new Set([...voters, ...outgoing])].sort();
}

/** The first configuration on the way from `now`, which is not joint, to `members`. */
export function towards(now: Configuration, members: Members): Configuration {
  assert(!isJoint(now), "raft: a second change of members before the first has ended");
  const voters = [...members.voters].sort();
  const learners = [...members.learners].sort();
  return { voters, outgoing: sameNodes(voters, now.voters) ? [] : now.voters, learners };
}

/**
 * What to change `now` to on the way to `desired`: new members come as learners first, and learners that are wanted no more go;
 * then all the rest that is possible happens at once. Who is to vote has to have caught up (`mayVote`). Nobody waits for one
 * that has not, and perhaps never will: it stays a learner, and in its place stays one of those who were to give up their
 * votes, of which the ones that are alive are the better ones, so that there are as many voters as there should be.
 * `undefined`: there is nothing to do, or nothing possible now.
 */
export function stepTowards(
  now: Configuration,
  desired: Members,
  mayVote: (node: NodeId) => boolean,
): Members | undefined {
  const wanted = [...desired.voters, ...desired.learners];
  const newcomers = wanted.filter((node) => !isMember(now, node));
  if (newcomers.length > 0) {
    const stay = now.learners.filter((node) => wanted.includes(node));
    return { voters: now.voters, learners: [...stay, ...newcomers].sort() };
  }
  const isLate = (node: NodeId) => !now.voters.includes(node) && !mayVote(node);
  const late = desired.voters.filter(isLate);
  const leaving = now.voters.filter((node) => !desired.voters.includes(node));
  const isAlive = (node: NodeId) => (mayVote(node) ? 0 : 1);
  const standIns = leaving.sort((a, b) => isAlive(a) - isAlive(b)).slice(0, late.length);
  const voters = [...desired.voters.filter((node) => !isLate(node)), ...standIns].sort();
  const learners = [...desired.learners.filter((node) => !standIns.includes(node)), ...late].sort();
  const isSame = sameNodes(voters, now.voters) && sameNodes(learners, now.learners);
  return isSame || voters.length === 0 ? undefined : { voters, learners };
}

/** What follows on a joint configuration: the new voters alone. */
export function settled({ voters, learners }: Configuration): Configuration {
  return { voters, outgoing: [], learners };
}

/** Why `members` can't be the members of a group, or `undefined`. */
export function faultOf({ voters, learners }: Members): string | undefined {
  if (voters.length === 0) return "there would be no voter left";
  if (Math.max(voters.length, learners.length) > CONFIGURATION_NODES_MAX) {
    return `there would be more than ${CONFIGURATION_NODES_MAX} of one kind`;
  }
  const all = [...voters, ...learners];
  const twice = all.find((node, at) => all.indexOf(node) !== at);
  return twice === undefined ? undefined : `${twice} is named twice`;
}

/** Whether two sorted lists are the same. */
export function sameNodes(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && a.every((node, at) => node === b[at]);
}

/** The configurations that a log's entries bring, as far as they can still be rolled back. The last one holds. */
export class ConfigurationHistory {
  #memberships: Membership[];

  /** `base`: what holds at the beginning. `entries`: those of kind config that the log has behind it. */
  constructor(base: Membership, entries: readonly Entry[]) {
    this.#memberships = [base];
    for (const entry of entries) if (entry.index > base.index) this.appended(entry);
  }

  get current(): Membership {
    return this.#memberships[this.#memberships.length - 1]!;
  }

  /** Whether `node` votes in one of the configurations that are kept. */
  isVoterOfAny(node: NodeId): boolean {
    for (const { configuration } of this.#memberships) if (isVoter(configuration, node)) return true;
    return false;
  }

  /** An entry of kind config is in the log: it holds from now on. */
  appended({ index, data }: Entry): void {
    assert(index > this.current.index, `raft: configuration ${index} after ${this.current.index}`);
    this.#memberships.push({ index, configuration: decodeConfiguration(data) });
  }

  /** The log was cut: entries from `index` on are gone, and what was before them holds again. */
  cut(index: LogIndex): void {
    while (this.current.index >= index) {
      assert(this.#memberships.length > 1, `raft: the configuration of ${this.current.index} is cut off`);
      this.#memberships.pop();
    }
  }

  /** Nothing up to `commit` will be rolled back: what was replaced by then is forgotten. */
  committed(commit: LogIndex): void {
    while (this.#memberships.length > 1 && this.#memberships[1]!.index <= commit) this.#memberships.shift();
  }

  /** A snapshot replaced the log. */
  reset(base: Membership): void {
    this.#memberships = [base];
  }
}
