/**
 * The `raft` mode: a request is served by its shard's leader. As the caller's protocol wants it, a node finds the leader for
 * the request, or says who that is.
 */
import { errorResponse } from "../../protocol/errors.ts";
import type { ReplySink, Routing } from "../../protocol/handler.ts";
import type { NodeId, ShardId } from "../../protocol/ids.ts";
import type {
  ClientResponse,
  QueueStatus,
  ReadRequest,
  SessionStamp,
  WriteRequest,
} from "../../protocol/messages.ts";
import type { PeerNetwork } from "../../protocol/peer-network.ts";
import type { Clock } from "../env/env.ts";
import { SESSION_WINDOW_MAX } from "../shard/sessions.ts";
import type { Shard } from "../shard/shard.ts";
import type { ShardHost } from "../shard/shard-host.ts";
import { Forwarder, type ForwarderLimits, type LeaderSource, type ShardRequest } from "./forwarder.ts";

export interface LinearizableParts {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly host: ShardHost;
  readonly leaders: LeaderSource;
  readonly network: Pick<PeerNetwork, "forward">;
  readonly forwarding: ForwarderLimits;
  /** Counts what is redirected. */
  readonly stats: { redirected: number };
  /** `host:port` of a member. */
  readonly addressOf: (node: NodeId) => string | undefined;
}

const VALUES_NOT_REMEMBERED =
  "a write that answers with a value can't have a session: a shard remembers no values";

export class LinearizableMode {
  readonly #parts: LinearizableParts;
  readonly #forwarder: Forwarder;

  constructor(parts: LinearizableParts) {
    this.#parts = parts;
    const { self, network, clock } = parts;
    this.#forwarder = new Forwarder(
      clock,
      parts.forwarding,
      parts.leaders,
      (at, request, shard, requestId) => {
        if (at === self) this.execute(shard, request, this.#forwarder, requestId, "redirect");
        else network.forward(at, request, this.#forwarder, requestId);
      },
    );
  }

  /** What was forwarded to leaders, this node included, and is not answered yet. */
  get queue(): QueueStatus {
    const { bytesMax } = this.#parts.forwarding;
    return { name: "forwardedRequests", unit: "bytes", used: this.#forwarder.heldBytes, max: bytesMax };
  }

  execute(
    shardId: ShardId,
    request: ShardRequest,
    sink: ReplySink,
    requestId: number,
    routing: Routing,
  ): void {
    const { host, clock, leaders } = this.#parts;
    const shard = host.shard(shardId);
    const isRead = isReadRequest(request);
    // From a copy that is still on its way nobody learns what there is.
    if (shard?.isIntroduced === true && isRead && request.consistency === "stale") {
      shard.readStale(request, sink, requestId, clock.nowMs());
    } else if (routing === "forward") {
      // Even if this node leads: it may be about to hand over, and then somebody else has to be asked.
      this.#forwarder.forward(shardId, request, sink, requestId);
    } else if (shard === undefined || !shard.isLeader) {
      sink.reply(requestId, this.#redirect(leaders.leaderOf(shardId)));
    } else if (isRead) {
      shard.read(request, sink, requestId, clock.nowMs());
    } else {
      this.#write(shard, request, sink, requestId);
    }
  }

  #write(shard: Shard, request: WriteRequest, sink: ReplySink, requestId: number): void {
    const { host, clock } = this.#parts;
    const readOnly = host.readOnlyReason;
    if (readOnly !== undefined) {
      sink.reply(requestId, errorResponse("READ_ONLY", readOnly));
    } else if (host.isOverwhelmed) {
      sink.reply(
        requestId,
        errorResponse("OVERLOADED", "this node's disk is behind with its work; try again later"),
      );
    } else if (request.kind !== "openSession" && !isSoundStamp(request.stamp)) {
      sink.reply(
        requestId,
        errorResponse(
          "BAD_REQUEST",
          `a session may have at most ${SESSION_WINDOW_MAX} unacknowledged writes, numbered from 1`,
        ),
      );
    } else if ("answersOld" in request && request.answersOld && request.stamp.session !== 0) {
      sink.reply(requestId, errorResponse("BAD_REQUEST", VALUES_NOT_REMEMBERED));
    } else {
      shard.write(request, sink, requestId, clock.nowMs());
    }
  }

  #redirect(leader: NodeId | undefined): ClientResponse {
    if (leader === undefined || leader === this.#parts.self) {
      return errorResponse(
        "UNAVAILABLE",
        "the shard has no leader now: no majority of its replicas can be reached",
      );
    }
    this.#parts.stats.redirected++;
    const address = this.#parts.addressOf(leader);
    const hint = address === undefined ? undefined : { node: leader, address };
    return errorResponse("NOT_LEADER", `${leader} leads the shard`, hint);
  }
}

export function isReadRequest(request: ShardRequest): request is ReadRequest {
  return "consistency" in request;
}

function isSoundStamp(stamp: SessionStamp): boolean {
  if (stamp.session === 0) return true;
  const { sequence, acknowledgedBelow } = stamp;
  return sequence >= 1 && acknowledgedBelow <= sequence && sequence - acknowledgedBelow < SESSION_WINDOW_MAX;
}
