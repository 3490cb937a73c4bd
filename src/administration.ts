/** What an operator asks of the cluster: changes of members and of leaders, and a look into a group's log. */
import { errorResponse } from "../protocol/errors.ts";
import type { ReplySink } from "../protocol/handler.ts";
import { groupOfShard, type NodeId, SYSTEM_GROUP, shardOfGroup } from "../protocol/ids.ts";
import type { ChangeMember, GroupLogRequest, TransferLeader } from "../protocol/messages.ts";
import type { PeerNetwork } from "../protocol/peer-network.ts";
import type { Clock } from "./env/env.ts";
import { parseAddress } from "./lib/address.ts";
import type { Membership } from "./membership.ts";
import type { Shard } from "./shard/shard.ts";
import type { ShardHost } from "./shard/shard-host.ts";
import { encodeSystemCommand } from "./shard/system-machine.ts";

/** Most log entries that one answer describes. */
const LOG_ENTRIES_MAX = 1000;
const POLL_MS = 20;
/** Who does not wait for an answer. */
const NOBODY: ReplySink = { reply: () => {} };

export type AdministrationRequest = ChangeMember | TransferLeader | GroupLogRequest;

export interface AdministrationParts {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly host: ShardHost;
  readonly membership: Membership;
  readonly network: Pick<PeerNetwork, "forward">;
  /** How long a request may wait until what it asked for has come about. */
  readonly timeoutMs: number;
}

interface Waiting {
  readonly isDone: () => boolean;
  readonly deadlineMs: number;
  readonly sink: ReplySink;
  readonly requestId: number;
}

export class Administration {
  readonly #parts: AdministrationParts;
  #waiting: Waiting[] = [];

  constructor(parts: AdministrationParts) {
    this.#parts = parts;
  }

  execute(request: AdministrationRequest, sink: ReplySink, requestId: number): void {
    switch (request.kind) {
      case "changeMember":
        this.#changeMember(request, sink, requestId);
        break;
      case "transferLeader":
        this.#transferLeader(request, sink, requestId);
        break;
      case "groupLog":
        this.#groupLog(request, sink, requestId);
    }
  }

  #changeMember(request: ChangeMember, sink: ReplySink, requestId: number): void {
    const { host, membership } = this.#parts;
    if (!host.systemShard.isLeader) {
      this.#passOn(host.systemShard.leader, request, sink, requestId);
      return;
    }
    const address = request.action === "add" ? parseAddress(request.address) : undefined;
    if (request.action === "add" && address === undefined) {
      sink.reply(requestId, errorResponse("BAD_REQUEST", `"${request.address}" is no host:port`));
      return;
    }
    if (membership.facts.clusterId === "") {
      sink.reply(requestId, errorResponse("UNAVAILABLE", "the cluster is being founded; try again"));
      return;
    }
    if (membership.isDone(request)) {
      // It was sent twice, as happens when an answer is lost.
      sink.reply(requestId, { kind: "boolean", value: true });
      return;
    }
    const command = membership.change(request);
    if (typeof command === "string") {
      sink.reply(requestId, errorResponse("BAD_REQUEST", command));
      return;
    }
    host.systemShard.proposeRaw(encodeSystemCommand(command));
    this.#wait(() => membership.isDone(request), sink, requestId);
  }

  #transferLeader(request: TransferLeader, sink: ReplySink, requestId: number): void {
    const { host, membership, self } = this.#parts;
    const { shard, to } = request;
    if (shard !== undefined && groupOfShard(shard) >= host.shards.length) {
      sink.reply(requestId, errorResponse("BAD_REQUEST", `there is no shard ${shard}`));
      return;
    }
    if (membership.nodes.find(({ id }) => id === to)?.role !== "voter") {
      sink.reply(requestId, errorResponse("BAD_REQUEST", `${to} has no vote: it can't lead`));
      return;
    }
    const all = shard === undefined ? host.shards.slice(1) : [host.shard(shard)];
    if (shard !== undefined && !all[0]!.isLeader && all[0]!.leader !== to) {
      this.#passOn(all[0]!.leader, request, sink, requestId);
      return;
    }
    if (to === self) for (const replica of all) if (replica.isLeader) host.hold(replica);
    const given = all.filter((replica) => replica.isLeader && to !== self);
    for (const replica of given) replica.transferLeadership(to);
    const isDone = () => given.every((replica) => replica.leader === to);
    this.#wait(isDone, this.#thenHold(to, given, sink), requestId);
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
    const { host, self } = this.#parts;
    const replica = host.shards[shard === undefined ? SYSTEM_GROUP : groupOfShard(shard)];
    if (replica === undefined)
      sink.reply(requestId, errorResponse("BAD_REQUEST", `there is no shard ${shard}`));
    else {
      const log = { ...replica.describeLog(Math.min(limit, LOG_ENTRIES_MAX)), node: self };
      sink.reply(requestId, { kind: "groupLog", log });
    }
  }

  /** Has the node that leads do it, once. */
  #passOn(
    leader: NodeId | undefined,
    request: ChangeMember | TransferLeader,
    sink: ReplySink,
    requestId: number,
  ): void {
    const { network, self } = this.#parts;
    if (leader === undefined || leader === self || request.forwarded) {
      sink.reply(requestId, errorResponse("UNAVAILABLE", "the group has no leader now; try again"));
    } else network.forward(leader, { ...request, forwarded: true }, sink, requestId);
  }

  #wait(isDone: () => boolean, sink: ReplySink, requestId: number): void {
    const deadlineMs = this.#parts.clock.nowMs() + this.#parts.timeoutMs;
    this.#waiting.push({ isDone, deadlineMs, sink, requestId });
    if (this.#waiting.length === 1) this.#poll();
  }

  #poll(): void {
    const nowMs = this.#parts.clock.nowMs();
    this.#waiting = this.#waiting.filter(({ isDone, deadlineMs, sink, requestId }) => {
      if (isDone()) sink.reply(requestId, { kind: "boolean", value: true });
      else if (nowMs < deadlineMs) return true;
      else sink.reply(requestId, errorResponse("TIMEOUT", "it has not come about yet, and still may"));
      return false;
    });
    if (this.#waiting.length > 0) this.#parts.clock.timer(POLL_MS, () => this.#poll());
  }
}
