/**
 * What an operator asks of the cluster: changes of members and of leaders, and a look into a group's log.
 *
 * Changes are the business of the node that leads the system group. What it has applied may be old when it is asked: a new leader
 * has yet to come to what its predecessor has acknowledged, and one that was deposed never will. So before it says anything
 * about the cluster, that it is so already or that it can't be, it has an empty entry committed in its own term and applied: then it led
 * when it was asked, and knows all that was acknowledged before (as with a read by the log; thesis §6.4 would save the entry, but changes
 * are few).
 */
import { type ErrorName, errorResponse } from "../../protocol/errors.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import { groupOfShard, type NodeId, SYSTEM_GROUP, shardOfGroup } from "../../protocol/ids.ts";
import type {
  ChangeMember,
  ChangeReplica,
  ClientResponse,
  GroupLogRequest,
  Join,
  Rebalance,
  TransferLeader,
} from "../../protocol/messages.ts";
import type { PeerNetwork } from "../../protocol/peer-network.ts";
import type { Clock, Timer } from "../env/env.ts";
import { parseAddress } from "../lib/address.ts";
import { hasComeAbout, isWished, planWish, shardsOf, type Wish } from "../placement/wishes.ts";
import type { Shard } from "../shard/shard.ts";
import type { ShardHost } from "../shard/shard-host.ts";
import { faultOf, type SystemCommand, type WantedChange } from "../shard/system-facts.ts";
import { encodeSystemCommand } from "../shard/system-machine.ts";
import type { Placement } from "./driven-facts.ts";
import type { LeaderHints } from "./leader-hints.ts";
import type { Membership } from "./membership.ts";

/** Most log entries that one answer describes. */
const LOG_ENTRIES_MAX = 1000;
const POLL_MS = 20;
/** A node that is refused so is refused for ever: names and incarnations are bound once. */
const HOPELESS: ReadonlySet<ErrorName> = new Set<ErrorName>(["REMOVED", "WRONG_INCARNATION"]);
const HANDS_OVER = errorResponse("UNAVAILABLE", "the group's leader hands over now; try again");
const NOT_YET = errorResponse("TIMEOUT", "it has not come about yet, and still may");
const LEADS_NO_MORE = errorResponse("UNAVAILABLE", "the system group has another leader now; try again");
const UNCONFIRMED = errorResponse(
  "UNAVAILABLE",
  "no majority of the system group confirmed in time that this node leads it; try again",
);
const YES = { kind: "boolean", value: true } as const;
/** Who does not wait for an answer. */
const NOBODY: ReplySink = { reply: () => {} };

export type AdministrationRequest =
  | ChangeMember
  | ChangeReplica
  | Join
  | Rebalance
  | TransferLeader
  | GroupLogRequest;

export interface AdministrationParts {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly host: ShardHost;
  readonly membership: Membership;
  /** Who leads a shard, as far as this node knows or guesses. */
  readonly leaders: Pick<LeaderHints, "leaderOf">;
  readonly network: Pick<PeerNetwork, "forward">;
  readonly placement: Placement;
  /** How long a request may wait until what it asked for has come about. */
  readonly timeoutMs: number;
}

interface Waiting {
  /** The answer, once there is one. */
  readonly answer: () => ClientResponse | undefined;
  /** The answer, if there is none until the deadline. */
  readonly late: ClientResponse;
  readonly deadlineMs: number;
  readonly sink: ReplySink;
  readonly requestId: number;
}

export class Administration {
  readonly #parts: AdministrationParts;
  #waiting: Waiting[] = [];
  /** Until it is looked again, while somebody waits. */
  #timer: Timer | undefined;

  constructor(parts: AdministrationParts) {
    this.#parts = parts;
  }

  execute(request: AdministrationRequest, sink: ReplySink, requestId: number): void {
    switch (request.kind) {
      case "changeMember":
        this.#changeMember(request, sink, requestId);
        break;
      case "changeReplica":
        this.#changeReplica(request, sink, requestId);
        break;
      case "join":
        this.#join(request, sink, requestId);
        break;
      case "rebalance":
        this.#rebalance(request, sink, requestId);
        break;
      case "transferLeader":
        this.#transferLeader(request, sink, requestId);
        break;
      case "groupLog":
        this.#groupLog(request, sink, requestId);
    }
  }

  #changeMember(request: ChangeMember, sink: ReplySink, requestId: number): void {
    if (this.#isElsewhere(request, sink, requestId)) return;
    this.#whenConfirmed(sink, requestId, () => this.#proposeMember(request, sink, requestId));
  }

  #proposeMember(request: ChangeMember, sink: ReplySink, requestId: number): void {
    const { membership } = this.#parts;
    if (membership.isDone(request)) {
      // It was sent twice, as happens when an answer is lost.
      sink.reply(requestId, YES);
      return;
    }
    const command = membership.change(request);
    if (typeof command === "string") {
      sink.reply(requestId, errorResponse("BAD_REQUEST", command));
      return;
    }
    if (!this.#propose(command, sink, requestId)) return;
    this.#wait(() => (membership.isDone(request) ? YES : undefined), sink, requestId);
  }

  #changeReplica(request: ChangeReplica, sink: ReplySink, requestId: number): void {
    if (this.#isElsewhere(request, sink, requestId)) return;
    this.#whenConfirmed(sink, requestId, () => this.#proposeReplica(request, sink, requestId));
  }

  #proposeReplica(request: ChangeReplica, sink: ReplySink, requestId: number): void {
    const { membership, placement } = this.#parts;
    const plan = planWish(placement.view(), request);
    if (plan.kind !== "changes") {
      const error = plan.kind === "refused" ? "BAD_REQUEST" : "UNAVAILABLE";
      sink.reply(requestId, errorResponse(error, plan.message));
      return;
    }
    const { facts } = membership;
    const changes = plan.changes.map((change) => ({
      ...change,
      version: facts.shards[change.shard]!.version,
    }));
    const command: SystemCommand = { kind: "wanted", changes };
    const fault = faultOf(facts, command);
    if (fault !== undefined) {
      sink.reply(requestId, errorResponse("BAD_REQUEST", fault));
      return;
    }
    if (changes.length > 0 && !this.#propose(command, sink, requestId)) return;
    // What has come about once counts: placement may change one shard again before the last one has followed.
    const open = new Set(shardsOf(request, facts.shards));
    this.#wait(() => this.#outcomeOf(request, open, changes), sink, requestId);
  }

  /**
   * What has become of a wish: an answer once it has come about in each shard, or another change of one came before it. Takes the
   * shards in which it has from `open`.
   */
  #outcomeOf(wish: Wish, open: Set<number>, changes: readonly WantedChange[]): ClientResponse | undefined {
    const { shards } = this.#parts.membership.facts;
    for (const shard of open) if (hasComeAbout(wish, shards[shard]!)) open.delete(shard);
    if (open.size === 0) return YES;
    const overtaken = changes.find(({ shard, version }) => {
      return open.has(shard) && shards[shard]!.version > version && !isWished(wish, shards[shard]!);
    });
    if (overtaken === undefined) return undefined;
    return errorResponse(
      "UNAVAILABLE",
      `the replicas of shard ${overtaken.shard} were changed otherwise meanwhile; try again`,
    );
  }

  #join(request: Join, sink: ReplySink, requestId: number): void {
    const command = this.#parts.membership.admission(request);
    if ("error" in command && HOPELESS.has(command.error)) {
      // What stays so whatever comes can be said without a majority.
      sink.reply(requestId, errorResponse(command.error, command.message));
    } else if (!this.#isElsewhere(request, sink, requestId)) {
      this.#whenConfirmed(sink, requestId, () => this.#proposeJoin(request, sink, requestId));
    }
  }

  #proposeJoin(request: Join, sink: ReplySink, requestId: number): void {
    const { membership } = this.#parts;
    const command = membership.admission(request);
    const answer = (): ClientResponse | undefined => {
      const cluster = membership.joined(request);
      return cluster === undefined ? undefined : { kind: "joined", cluster };
    };
    const known = answer();
    if (known !== undefined) {
      sink.reply(requestId, known);
      return;
    }
    if (parseAddress(request.address) === undefined) {
      sink.reply(requestId, errorResponse("BAD_REQUEST", `"${request.address}" is no host:port`));
      return;
    }
    if ("error" in command) {
      sink.reply(requestId, errorResponse(command.error, command.message));
      return;
    }
    if (this.#propose(command, sink, requestId)) this.#wait(answer, sink, requestId);
  }

  /** Whether the system group's log has taken the command; a leader that hands over takes none, and says so. */
  #propose(command: SystemCommand, sink: ReplySink, requestId: number): boolean {
    const index = this.#parts.host.systemShard.proposeRaw(encodeSystemCommand(command));
    if (index === undefined) sink.reply(requestId, HANDS_OVER);
    return index !== undefined;
  }

  /** Goes on once it is certain that this node leads the system group, and knows what was acknowledged before it was asked. */
  #whenConfirmed(sink: ReplySink, requestId: number, then: () => void): void {
    const { systemShard } = this.#parts.host;
    const { term } = systemShard;
    const index = systemShard.proposeRaw(undefined);
    if (index === undefined) {
      sink.reply(requestId, HANDS_OVER);
      return;
    }
    const answer = () => {
      // In another term it may be another's entry that has this index.
      if (!systemShard.isLeader || systemShard.term !== term) return LEADS_NO_MORE;
      return systemShard.appliedIndex >= index ? YES : undefined;
    };
    const gate: ReplySink = {
      reply: (_, response) => (response === YES ? then() : sink.reply(requestId, response)),
    };
    this.#wait(answer, gate, requestId, UNCONFIRMED);
  }

  #rebalance(request: Rebalance, sink: ReplySink, requestId: number): void {
    const { membership, placement } = this.#parts;
    if (!request.dryRun) {
      if (this.#isElsewhere(request, sink, requestId)) return;
      placement.driver.reconsider();
      placement.driver.turn();
    } else if (membership.facts.clusterId === "") {
      sink.reply(requestId, errorResponse("UNAVAILABLE", "the cluster is being founded; try again"));
      return;
    }
    sink.reply(requestId, { kind: "placement", placement: placement.status() });
  }

  /** Whether the system group is led by another node, which is asked, or can't be asked for anything yet. */
  #isElsewhere(
    request: ChangeMember | ChangeReplica | Join | Rebalance,
    sink: ReplySink,
    requestId: number,
  ): boolean {
    const { host, membership } = this.#parts;
    if (!host.systemShard.isLeader) this.#passOn(host.systemShard.leader, request, sink, requestId);
    else if (membership.facts.clusterId !== "") return false;
    else sink.reply(requestId, errorResponse("UNAVAILABLE", "the cluster is being founded; try again"));
    return true;
  }

  #transferLeader(request: TransferLeader, sink: ReplySink, requestId: number): void {
    const { host, membership, leaders, self } = this.#parts;
    const { shard, to } = request;
    if (shard !== undefined && shard >= membership.facts.settings.shards) {
      sink.reply(requestId, errorResponse("BAD_REQUEST", `there is no shard ${shard}`));
      return;
    }
    if (!membership.nodes.some(({ id }) => id === to)) {
      sink.reply(requestId, errorResponse("BAD_REQUEST", `there is no node ${to}`));
      return;
    }
    const one = shard === undefined ? undefined : host.shard(shard);
    if (shard !== undefined && (one === undefined || (!one.isLeader && one.leader !== to))) {
      this.#passOn(leaders.leaderOf(shard), request, sink, requestId);
      return;
    }
    if (one !== undefined && to !== one.leader && !one.members.voters.includes(to)) {
      sink.reply(
        requestId,
        errorResponse("BAD_REQUEST", `${to} has no vote in shard ${shard}: it can't lead`),
      );
      return;
    }
    const all = one === undefined ? host.shards.slice(1) : [one];
    if (to === self) for (const replica of all) if (replica.isLeader) host.hold(replica);
    const given = all.filter(
      (replica) => replica.isLeader && to !== self && replica.members.voters.includes(to),
    );
    for (const replica of given) replica.transferLeadership(to);
    const isDone = () => given.every((replica) => replica.leader === to);
    const answer = () => (isDone() ? ({ kind: "boolean", value: true } as const) : undefined);
    this.#wait(answer, this.#thenHold(to, given, sink), requestId);
  }

  /** Tells `to`, once it leads `given`, that this was wanted: it would hand back what prefers another node. */
  #thenHold(to: NodeId, given: readonly Shard[], sink: ReplySink): ReplySink {
    const { network } = this.#parts;
    return {
      reply: (requestId, response) => {
        sink.reply(requestId, response);
        if (response.kind !== "boolean") return;
        for (const { group } of given) {
          const request = {
            kind: "transferLeader",
            to,
            shard: shardOfGroup(group),
            forwarded: true,
          } as const;
          network.forward(to, request, NOBODY, 0);
        }
      },
    };
  }

  #groupLog({ shard, limit }: GroupLogRequest, sink: ReplySink, requestId: number): void {
    const { host, membership, self } = this.#parts;
    const replica = host.group(shard === undefined ? SYSTEM_GROUP : groupOfShard(shard));
    if (replica === undefined) {
      const isShard = shard !== undefined && shard < membership.facts.settings.shards;
      const message = isShard ? `${self} has no replica of shard ${shard}` : `there is no shard ${shard}`;
      sink.reply(requestId, errorResponse("BAD_REQUEST", message));
    } else {
      const log = { ...replica.describeLog(Math.min(limit, LOG_ENTRIES_MAX)), node: self };
      sink.reply(requestId, { kind: "groupLog", log });
    }
  }

  /** Has the node that leads do it, once. */
  #passOn(
    leader: NodeId | undefined,
    request: ChangeMember | ChangeReplica | Join | Rebalance | TransferLeader,
    sink: ReplySink,
    requestId: number,
  ): void {
    const { network, self } = this.#parts;
    if (leader === undefined || leader === self || request.forwarded) {
      sink.reply(requestId, errorResponse("UNAVAILABLE", "the group has no leader now; try again"));
    } else network.forward(leader, { ...request, forwarded: true }, sink, requestId);
  }

  #wait(answer: Waiting["answer"], sink: ReplySink, requestId: number, late: ClientResponse = NOT_YET): void {
    const deadlineMs = this.#parts.clock.nowMs() + this.#parts.timeoutMs;
    this.#waiting.push({ answer, late, deadlineMs, sink, requestId });
    this.look();
  }

  /**
   * Answers who waits for what has come about. To be called when the facts have changed, for a moment later it may be different
   * again; all else that is waited for is looked at by itself.
   */
  look(): void {
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    const nowMs = this.#parts.clock.nowMs();
    for (const one of waiting) {
      const response = one.answer();
      if (response === undefined && nowMs < one.deadlineMs) this.#waiting.push(one);
      else one.sink.reply(one.requestId, response ?? one.late);
    }
    if (this.#timer !== undefined || this.#waiting.length === 0) return;
    this.#timer = this.#parts.clock.timer(POLL_MS, () => {
      this.#timer = undefined;
      this.look();
    });
  }
}
