import { errorResponse } from "../../protocol/errors.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import type { NodeId, ShardId } from "../../protocol/ids.ts";
import type { ClientResponse, ReadRequest, WriteRequest } from "../../protocol/messages.ts";
import type { Clock } from "../env/env.ts";

export type ShardRequest = WriteRequest | ReadRequest;

const NO_LEADER = errorResponse(
  "UNAVAILABLE",
  "the shard has no leader now: no majority of its replicas can be reached",
);

interface Forwarded {
  readonly shard: ShardId;
  readonly request: ShardRequest;
  readonly sink: ReplySink;
  readonly requestId: number;
  readonly startedMs: number;
}

/** The requests for one shard, which reach it in the order in which they came. */
interface Lane {
  /** Who was asked last. */
  target: NodeId | undefined;
  /** Requests that were sent and not answered. */
  underWay: number;
  /** Requests that wait to be sent, again or for the first time, in the order in which they came. */
  readonly waiting: number[];
}

/** Knows, or guesses, who leads which shard. */
export interface LeaderSource {
  leaderOf(shard: ShardId): NodeId | undefined;
  /** `node` was asked and does not lead the shard; `leader` does, as it says. */
  refused(shard: ShardId, node: NodeId, leader: NodeId | undefined): void;
}

export interface ForwarderLimits {
  /** How long a request may wait for its shard to have a leader. */
  readonly waitMs: number;
  /** How often waiting requests are tried again. */
  readonly retryMs: number;
  /** Most requests of a shard that wait for a leader. */
  readonly waitingMax: number;
}

/**
 * Sends requests on to their shard's leader, for callers that know nothing of shards. What certainly did not happen
 * (no leader yet, or the wrong one) is tried again for a while, so that a failover looks like a slow answer; everything
 * else is the caller's to judge. The requests for a shard never overtake each other: a pipeline's second write of a key
 * must not happen before its first.
 */
export class Forwarder implements ReplySink {
  readonly #clock: Clock;
  readonly #limits: ForwarderLimits;
  /** Has a node execute a request; its answer comes to this forwarder. */
  readonly #execute: (at: NodeId, request: ShardRequest, shard: ShardId, requestId: number) => void;
  readonly #leaders: LeaderSource;
  readonly #requests = new Map<number, Forwarded>();
  readonly #lanes = new Map<ShardId, Lane>();
  #retryScheduled = false;
  #nextId = 1;

  constructor(
    clock: Clock,
    limits: ForwarderLimits,
    leaders: LeaderSource,
    execute: (at: NodeId, request: ShardRequest, shard: ShardId, requestId: number) => void,
  ) {
    this.#clock = clock;
    this.#limits = limits;
    this.#leaders = leaders;
    this.#execute = execute;
  }

  /** Whether requests for the shard have to come through here now, even if this node leads it: earlier ones are on their way. */
  isBusy(shard: ShardId): boolean {
    return this.#lanes.has(shard);
  }

  /** Has the shard's leader execute the request, now or when there is one and it is the request's turn. */
  forward(shard: ShardId, request: ShardRequest, sink: ReplySink, requestId: number): void {
    const id = this.#nextId++;
    this.#requests.set(id, { shard, request, sink, requestId, startedMs: this.#clock.nowMs() });
    let lane = this.#lanes.get(shard);
    if (lane === undefined) {
      lane = { target: undefined, underWay: 0, waiting: [] };
      this.#lanes.set(shard, lane);
    }
    const leader = this.#leaders.leaderOf(shard);
    if (leader === undefined || lane.waiting.length > 0 || (lane.underWay > 0 && lane.target !== leader)) {
      this.#wait(lane, id);
    } else {
      this.#send(lane, leader, id);
    }
  }

  reply(id: number, response: ClientResponse): void {
    const { shard, startedMs } = this.#requests.get(id)!;
    const lane = this.#lanes.get(shard)!;
    lane.underWay--;
    const didNotHappen =
      response.kind === "error" &&
      (response.error === "NOT_LEADER" ||
        response.error === "UNAVAILABLE" ||
        response.error === "SHUTTING_DOWN");
    if (didNotHappen && lane.target !== undefined) {
      this.#leaders.refused(shard, lane.target, response.leader?.node);
    }
    if (didNotHappen && this.#clock.nowMs() < startedMs + this.#limits.waitMs) this.#wait(lane, id);
    else this.#answer(lane, id, response);
  }

  #send(lane: Lane, leader: NodeId, id: number): void {
    const { request, shard } = this.#requests.get(id)!;
    lane.target = leader;
    lane.underWay++;
    this.#execute(leader, request, shard, id);
  }

  /** The caller may forward its next request during this: by then the lane is as if this one had never been. */
  #answer(lane: Lane, id: number, response: ClientResponse): void {
    const { shard, sink, requestId } = this.#requests.get(id)!;
    this.#requests.delete(id);
    if (lane.underWay === 0 && lane.waiting.length === 0) this.#lanes.delete(shard);
    sink.reply(requestId, response);
  }

  #wait(lane: Lane, id: number): void {
    const { waiting } = lane;
    if (waiting.length >= this.#limits.waitingMax) {
      this.#answer(lane, id, NO_LEADER);
      return;
    }
    // Ids grow, and answers to what was sent together come together: the place is almost always the end.
    let place = waiting.length;
    while (place > 0 && waiting[place - 1]! > id) place--;
    waiting.splice(place, 0, id);
    this.#scheduleRetry();
  }

  #scheduleRetry(): void {
    if (this.#retryScheduled) return;
    this.#retryScheduled = true;
    this.#clock.timer(this.#limits.retryMs, () => this.#retry());
  }

  #retry(): void {
    this.#retryScheduled = false;
    for (const [shard, lane] of [...this.#lanes]) {
      this.#expire(lane);
      this.#sendWaiting(lane, this.#leaders.leaderOf(shard));
      if (lane.waiting.length > 0) this.#scheduleRetry();
    }
  }

  /** Gives up on what has waited for too long: the first ones. */
  #expire(lane: Lane): void {
    const startedBeforeMs = this.#clock.nowMs() - this.#limits.waitMs;
    for (let id = lane.waiting[0]; id !== undefined; id = lane.waiting[0]) {
      if (this.#requests.get(id)!.startedMs > startedBeforeMs) return;
      lane.waiting.shift();
      this.#answer(lane, id, NO_LEADER);
    }
  }

  #sendWaiting(lane: Lane, leader: NodeId | undefined): void {
    // What was sent to an old leader and is not answered yet may still happen: nothing may pass it.
    if (leader === undefined || (lane.underWay > 0 && lane.target !== leader)) return;
    // One after the other, so that whoever comes meanwhile finds those that are before it.
    for (let id = lane.waiting[0]; id !== undefined; id = lane.waiting[0]) {
      lane.waiting.shift();
      this.#send(lane, leader, id);
      // A refusal may come at once, and puts its request back.
      if (lane.waiting[0] === id) return;
    }
  }
}
