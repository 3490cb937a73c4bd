/**
 * How leaders come to lead, by what nodes say to each other. Who stands was told before by a majority that it should (PreVote,
 * thesis §9.6), or by the leader that it has to (§3.10). Who leads has the votes of a majority, of both sets of voters where
 * there are two (§4.3). It changes the members only when it has committed something of its own term (§4.1, with its
 * correction). And where there are leases, who has confirmed a read round helps nobody else into office as long as a lease
 * may rest on that (§6.4.1), whatever became of its process.
 *
 * These are rules, and a broken one does harm only once several things come together: that is too rare to wait for.
 */
import { type GroupId, type ShardId, shardOfGroup } from "../../protocol/ids.ts";
import type { GroupLogStatus } from "../../protocol/messages.ts";
import type {
  AppendRequest,
  GroupMessage,
  HeartbeatReply,
  VoteRequest,
} from "../../protocol/peer-messages.ts";
import { majority } from "../../src/raft/quorum.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";
import type { SimulatedMachine } from "./machine.ts";

export interface ElectionChecksParts {
  readonly clock: Pick<VirtualClock, "nowMs">;
  readonly machines: readonly Pick<SimulatedMachine, "name" | "isExcused" | "describe">[];
  readonly hasLeases: boolean;
  readonly wrong: (problem: string) => void;
}

/** What a promise is worth by the clock of the node that makes it, 441 ms with the default times, if that is as fast as may be. */
const PROMISE_MS = 400;

export class ElectionChecks {
  readonly #parts: ElectionChecksParts;
  /** By group, term and candidate: who has said that it would vote for it, and who has said that it does. */
  readonly #questions = new Map<string, Set<string>>();
  readonly #votes = new Map<string, Set<string>>();
  /** Of these, those that the leader told to stand. */
  readonly #told = new Set<string>();
  /** By group and term: the entry that the leader began with. */
  readonly #begins = new Map<string, number>();
  /** By group, term and number: when a read round was closed. */
  readonly #rounds = new Map<string, number>();
  /** By group and node: until when it helps nobody into a later term. */
  readonly #promises = new Map<string, { readonly term: number; readonly untilMs: number }>();

  constructor(parts: ElectionChecksParts) {
    this.#parts = parts;
  }

  /** A node sends `message`. */
  sent(group: GroupId, message: GroupMessage): void {
    const { clock, hasLeases } = this.#parts;
    switch (message.kind) {
      case "vote":
        if (!message.preVote) this.#stands(group, message);
        break;
      case "voteReply":
        if (!message.granted) break;
        noteIn(
          message.preVote ? this.#questions : this.#votes,
          `${group} ${message.term} ${message.to}`,
          message.from,
        );
        if (!message.preVote) this.#helps(group, message.from, message.to, message.term);
        break;
      case "append":
        if (message.entries.length > 0) this.#leads(group, message);
        break;
      case "heartbeat": {
        const round = `${group} ${message.term} ${message.readRound}`;
        if (hasLeases && message.readRound > 0 && !this.#rounds.has(round))
          this.#rounds.set(round, clock.nowMs());
        break;
      }
      case "heartbeatReply":
        if (hasLeases && message.readRound > 0) this.#promise(group, message);
        break;
      default:
        break;
    }
  }

  #stands(group: GroupId, { from, term, transfer }: VoteRequest): void {
    const name = `${group} ${term} ${from}`;
    if (transfer) this.#told.add(name);
    else {
      const log = this.#describe(from, group);
      if (log?.role === "candidate" && log.term === term)
        this.#count(log, this.#questions.get(name), `stands in term ${term}, and was not told by`);
    }
    this.#helps(group, from, from, term);
  }

  #leads(group: GroupId, { from, term, commit, entries }: AppendRequest): void {
    const name = `${group} ${term}`;
    const first = entries.find((entry) => entry.kind === "noop" && entry.term === term);
    if (first !== undefined && !this.#begins.has(name)) {
      this.#begins.set(name, first.index);
      const log = this.#describe(from, group);
      if (log?.role === "leader" && log.term === term && log.membersIndex < first.index)
        this.#count(
          log,
          this.#votes.get(`${group} ${term} ${from}`),
          `leads in term ${term} without the votes of`,
        );
    }
    const begin = this.#begins.get(name);
    if (begin === undefined || commit >= begin) return;
    const change = entries.find((entry) => entry.kind === "config" && entry.term === term);
    if (change !== undefined)
      this.#parts.wrong(
        `${from} changes the members of group ${group} in term ${term} with entry ${change.index}, and has committed only ${commit}, nothing of its term`,
      );
  }

  /** Whether a majority of all sets, the node itself among it, has said something. */
  #count(log: GroupLogStatus, voices: ReadonlySet<string> | undefined, what: string): void {
    const hasSaid = (node: string) => node === log.node || voices?.has(node) === true;
    for (const set of [log.voters, log.outgoing]) {
      if (set.length === 0 || set.filter(hasSaid).length >= majority(set.length)) continue;
      this.#parts.wrong(
        `${log.node} ${what} a majority of ${set}, only by ${[...(voices ?? [])]} and itself`,
      );
    }
  }

  #promise(group: GroupId, { from, term, readRound }: HeartbeatReply): void {
    const closedAt = this.#rounds.get(`${group} ${term} ${readRound}`);
    if (closedAt === undefined) return;
    const name = `${group} ${from}`;
    const untilMs = closedAt + PROMISE_MS;
    if ((this.#promises.get(name)?.untilMs ?? 0) < untilMs) this.#promises.set(name, { term, untilMs });
  }

  /** `voter` helps `candidate`, itself perhaps, into `term`. */
  #helps(group: GroupId, voter: string, candidate: string, term: number): void {
    const promise = this.#promises.get(`${group} ${voter}`);
    const nowMs = this.#parts.clock.nowMs();
    if (promise === undefined || promise.term >= term || nowMs >= promise.untilMs) return;
    if (this.#told.has(`${group} ${term} ${candidate}`)) return;
    // What it promised was on a disk that is gone.
    if (this.#machine(voter)?.isExcused !== false) return;
    this.#parts.wrong(
      `${voter} helps ${candidate} into term ${term} of group ${group}, ${Math.ceil(promise.untilMs - nowMs)} ms before what it promised to the leader of term ${promise.term} has ended`,
    );
  }

  #describe(node: string, group: GroupId): GroupLogStatus | undefined {
    const shard: ShardId | undefined = group === 0 ? undefined : shardOfGroup(group);
    return this.#machine(node)?.describe(shard, 0);
  }

  #machine(node: string): ElectionChecksParts["machines"][number] | undefined {
    return this.#parts.machines.find(({ name }) => name === node);
  }
}

function noteIn(voices: Map<string, Set<string>>, name: string, voice: string): void {
  const known = voices.get(name);
  if (known === undefined) voices.set(name, new Set([voice]));
  else known.add(voice);
}
