import { errorResponse } from "../../protocol/errors.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import type { NodeId, ShardId } from "../../protocol/ids.ts";
import type { ClientResponse } from "../../protocol/messages.ts";
import type { PeerNetwork } from "../../protocol/peer-network.ts";
import type { Clock } from "../env/env.ts";
import type { ShardRequest } from "./linearizable.ts";

interface Forwarded {
  readonly shard: ShardId;
  readonly request: ShardRequest;
  readonly sink: ReplySink;
  readonly requestId: number;
  readonly startedMs: number;
}

export interface ForwarderLimits {
  /** How long a request may wait for its shard to have a leader. */
  readonly waitMs: number;
  /** How often waiting requests are tried again. */
  readonly retryMs: number;
  /** Most requests that wait for a leader. */
  readonly waitingMax: number;
}

/**
 * Sends requests on to their shard's leader, for callers that know nothing of shards. What certainly did not happen
 * (no leader yet, or the wrong one) is tried again for a while, so that a failover looks like a slow answer; everything
 * else is the caller's to judge.
 */
export class Forwarder implements ReplySink {
  readonly #network: Pick<PeerNetwork, "forward">;
  readonly #clock: Clock;
  readonly #limits: ForwarderLimits;
  /** Executes a request again from the start. */
  readonly #again: (forwarded: ShardRequest, shard: ShardId, sink: ReplySink, requestId: number) => void;
  readonly #underWay = new Map<number, Forwarded>();
  #waiting: number[] = [];
  #retryScheduled = false;
  #nextId = 1;

  constructor(
    network: Pick<PeerNetwork, "forward">,
    clock: Clock,
    limits: ForwarderLimits,
    again: (request: ShardRequest, shard: ShardId, sink: ReplySink, requestId: number) => void,
  ) {
    this.#network = network;
    this.#clock = clock;
    this.#limits = limits;
    this.#again = again;
  }

  /** Has `leader` execute the request, or waits for there to be one. */
  forward(
    shard: ShardId,
    leader: NodeId | undefined,
    request: ShardRequest,
    sink: ReplySink,
    requestId: number,
  ): void {
    if (sink === this) {
      // A request that waited and still can't be served here.
      if (leader === undefined) this.#wait(requestId);
      else this.#network.forward(leader, request, this, requestId);
      return;
    }
    const id = this.#nextId++;
    this.#underWay.set(id, { shard, request, sink, requestId, startedMs: this.#clock.nowMs() });
    if (leader === undefined) this.#wait(id);
    else this.#network.forward(leader, request, this, id);
  }

  reply(id: number, response: ClientResponse): void {
    const forwarded = this.#underWay.get(id)!;
    const mayRetry =
      response.kind === "error" &&
      (response.error === "NOT_LEADER" ||
        response.error === "UNAVAILABLE" ||
        response.error === "SHUTTING_DOWN") &&
      this.#clock.nowMs() < forwarded.startedMs + this.#limits.waitMs;
    if (mayRetry) {
      this.#wait(id);
      return;
    }
    this.#underWay.delete(id);
    forwarded.sink.reply(forwarded.requestId, response);
  }

  #wait(id: number): void {
    const { waitMs, waitingMax, retryMs } = this.#limits;
    const forwarded = this.#underWay.get(id)!;
    if (this.#clock.nowMs() >= forwarded.startedMs + waitMs || this.#waiting.length >= waitingMax) {
      this.#underWay.delete(id);
      forwarded.sink.reply(
        forwarded.requestId,
        errorResponse(
          "UNAVAILABLE",
          "the shard has no leader now: no majority of its replicas can be reached",
        ),
      );
      return;
    }
    this.#waiting.push(id);
    if (this.#retryScheduled) return;
    this.#retryScheduled = true;
    this.#clock.timer(retryMs, () => this.#retry());
  }

  #retry(): void {
    this.#retryScheduled = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const id of waiting) {
      const { request, shard } = this.#underWay.get(id)!;
      this.#again(request, shard, this, id);
    }
  }
}
