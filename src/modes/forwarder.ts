import { errorResponse } from "../../protocol/errors.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import type { NodeId, ShardId } from "../../protocol/ids.ts";
import type { ClientResponse, ReadRequest, WriteRequest } from "../../protocol/messages.ts";
import type { Clock } from "../env/env.ts";
import { equalBytes } from "../lib/bytes.ts";
import { bytesOfRequest, unpinned } from "./request-bytes.ts";

export type ShardRequest = WriteRequest | ReadRequest;

const NO_LEADER = errorResponse(
  "UNAVAILABLE",
  "the shard has no leader now: no majority of its replicas can be reached",
);
const TOO_MUCH = errorResponse(
  "OVERLOADED",
  "too many bytes of requests wait for the answers of leaders at this node; try again later",
);
const PASSED = errorResponse(
  "UNAVAILABLE",
  "the shard's leader refused this write and then took a later one of the same key; nothing was done",
);

/** A request and who waits for its answer. Used again for another one, so that nothing is allocated for each. */
interface Slot {
  readonly id: number;
  lane: Lane | undefined;
  request: ShardRequest | undefined;
  /** What the request takes in memory until it is answered. */
  bytes: number;
  sink: ReplySink | undefined;
  requestId: number;
  startedMs: number;
  /** Grows from request to request: who came first has the lower one. */
  order: number;
}

/** The requests for one shard, which reach it in the order in which they came. */
interface Lane {
  readonly shard: ShardId;
  /** Who was asked last. */
  target: NodeId | undefined;
  /** Requests that were sent and not answered. */
  underWay: number;
  /** Requests that wait to be sent, again or for the first time, in the order in which they came. */
  readonly waiting: Slot[];
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
  /** Most bytes of requests that are not answered yet, of all shards: one more is refused, unless it is the only one. */
  readonly bytesMax: number;
}

/**
 * Has requests carried out by their shard's leader, which may be this node, for callers that know nothing of shards. What
 * certainly did not happen (no leader yet, the wrong one, one that hands over) is tried again for a while, so that a
 * failover or a transfer looks like a slow answer; everything else is the caller's to judge.
 *
 * The requests for a shard never overtake each other: a pipeline's second write of a key must not happen before its first.
 * So nothing is sent again before all that was sent is answered, and then in the order in which it came. One hole is left:
 * a leader that refuses a request and then, without an answer having reached this node in between, accepts one that it was
 * sent later (it gave up handing over, or was elected anew). If both write one key, the first one's turn is over: it is
 * answered with an error, and never happens.
 */
export class Forwarder implements ReplySink {
  readonly #clock: Clock;
  readonly #limits: ForwarderLimits;
  /** Has a node execute a request; its answer comes to this forwarder. */
  readonly #execute: (at: NodeId, request: ShardRequest, shard: ShardId, requestId: number) => void;
  readonly #leaders: LeaderSource;
  /** By the id that a request is sent with. */
  readonly #slots: Slot[] = [];
  readonly #freeSlots: Slot[] = [];
  /** By shard. */
  readonly #lanes: (Lane | undefined)[] = [];
  #retryScheduled = false;
  #nextOrder = 0;
  #heldBytes = 0;

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

  /** About how many bytes the requests take that are not answered yet: they may have to be sent again. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Has the shard's leader execute the request, now or when there is one and it is the request's turn. */
  forward(shard: ShardId, request: ShardRequest, sink: ReplySink, requestId: number): void {
    const bytes = bytesOfRequest(request);
    // One that is too large for the limit by itself would be told to try again for ever.
    if (this.#heldBytes > 0 && this.#heldBytes + bytes > this.#limits.bytesMax) {
      sink.reply(requestId, TOO_MUCH);
      return;
    }
    this.#heldBytes += bytes;
    const lane = this.#laneOf(shard);
    const slot = this.#takeSlot();
    slot.lane = lane;
    slot.request = request;
    slot.bytes = bytes;
    slot.sink = sink;
    slot.requestId = requestId;
    slot.startedMs = this.#clock.nowMs();
    slot.order = this.#nextOrder++;
    const leader = this.#leaders.leaderOf(shard);
    if (leader === undefined || lane.waiting.length > 0 || (lane.underWay > 0 && lane.target !== leader)) {
      this.#wait(lane, slot);
    } else {
      this.#send(lane, leader, slot);
    }
  }

  reply(id: number, response: ClientResponse): void {
    const slot = this.#slots[id]!;
    const lane = slot.lane!;
    lane.underWay--;
    const didNotHappen =
      response.kind === "error" &&
      (response.error === "NOT_LEADER" ||
        response.error === "UNAVAILABLE" ||
        response.error === "SHUTTING_DOWN");
    if (!didNotHappen) {
      const mayHavePassed = lane.waiting.length > 0 && lane.waiting[0]!.order < slot.order;
      if (mayHavePassed && !isRefusal(response)) this.#endPassed(lane, slot);
      this.#answer(slot, response);
      return;
    }
    if (lane.target !== undefined) {
      this.#leaders.refused(lane.shard, lane.target, response.leader?.node);
    }
    if (this.#clock.nowMs() < slot.startedMs + this.#limits.waitMs) this.#wait(lane, slot);
    else this.#answer(slot, response);
  }

  #laneOf(shard: ShardId): Lane {
    const known = this.#lanes[shard];
    if (known !== undefined) return known;
    while (this.#lanes.length < shard) this.#lanes.push(undefined);
    const lane: Lane = { shard, target: undefined, underWay: 0, waiting: [] };
    this.#lanes[shard] = lane;
    return lane;
  }

  #takeSlot(): Slot {
    const free = this.#freeSlots.pop();
    if (free !== undefined) return free;
    const slot: Slot = {
      id: this.#slots.length,
      ...{ lane: undefined, request: undefined, bytes: 0, sink: undefined },
      ...{ requestId: 0, startedMs: 0, order: 0 },
    };
    this.#slots.push(slot);
    return slot;
  }

  #send(lane: Lane, leader: NodeId, slot: Slot): void {
    lane.target = leader;
    lane.underWay++;
    this.#execute(leader, slot.request!, lane.shard, slot.id);
  }

  /** The caller may forward its next request during this: by then it is as if this one had never been. */
  #answer(slot: Slot, response: ClientResponse): void {
    const { sink, requestId } = slot;
    this.#heldBytes -= slot.bytes;
    slot.lane = undefined;
    slot.request = undefined;
    slot.sink = undefined;
    this.#freeSlots.push(slot);
    sink!.reply(requestId, response);
  }

  #wait(lane: Lane, slot: Slot): void {
    const { waiting } = lane;
    if (waiting.length >= this.#limits.waitingMax) {
      this.#answer(slot, NO_LEADER);
      return;
    }
    // What arrived with it may have been answered long before this is.
    slot.request = unpinned(slot.request!);
    // Answers to what was sent together come together: the place is almost always the end.
    let place = waiting.length;
    while (place > 0 && waiting[place - 1]!.order > slot.order) place--;
    if (place === waiting.length) waiting.push(slot);
    else waiting.splice(place, 0, slot);
    this.#scheduleRetry();
  }

  /**
   * `done` was carried out, perhaps, before earlier requests that wait: those of them that write a key of it can't be any more.
   */
  #endPassed(lane: Lane, done: Slot): void {
    const passed = lane.waiting.filter(
      (slot) => slot.order < done.order && writeOneKey(slot.request!, done.request!),
    );
    for (const slot of passed) {
      lane.waiting.splice(lane.waiting.indexOf(slot), 1);
      this.#answer(slot, PASSED);
    }
  }

  #scheduleRetry(): void {
    if (this.#retryScheduled) return;
    this.#retryScheduled = true;
    this.#clock.timer(this.#limits.retryMs, () => this.#retry());
  }

  #retry(): void {
    this.#retryScheduled = false;
    for (const lane of [...this.#lanes]) {
      if (lane === undefined || lane.waiting.length === 0) continue;
      this.#expire(lane);
      this.#sendWaiting(lane, this.#leaders.leaderOf(lane.shard));
      if (lane.waiting.length > 0) this.#scheduleRetry();
    }
  }

  /** Gives up on what has waited for too long: the first ones. */
  #expire(lane: Lane): void {
    const startedBeforeMs = this.#clock.nowMs() - this.#limits.waitMs;
    for (let slot = lane.waiting[0]; slot !== undefined; slot = lane.waiting[0]) {
      if (slot.startedMs > startedBeforeMs) return;
      lane.waiting.shift();
      this.#answer(slot, NO_LEADER);
    }
  }

  #sendWaiting(lane: Lane, leader: NodeId | undefined): void {
    // What was sent and is not answered yet may still happen, or may have to be sent again: nothing may pass it.
    if (leader === undefined || lane.underWay > 0) return;
    // One after the other, so that whoever comes meanwhile finds those that are before it.
    for (let slot = lane.waiting[0]; slot !== undefined; slot = lane.waiting[0]) {
      lane.waiting.shift();
      this.#send(lane, leader, slot);
      // A refusal may come at once, of this one or of all that were sent by now, and puts them back.
      if (lane.waiting.length > 0 && lane.waiting[0]!.order <= slot.order) return;
    }
  }
}

/** Whether nothing was done, though it is for the caller to try again. */
function isRefusal(response: ClientResponse): boolean {
  return response.kind === "error" && (response.error === "OVERLOADED" || response.error === "READ_ONLY");
}

/** Whether both requests write a key that is the same. */
function writeOneKey(a: ShardRequest, b: ShardRequest): boolean {
  const others = keysWritten(b);
  return keysWritten(a).some((key) => others.some((other) => equalBytes(key, other)));
}

function keysWritten(request: ShardRequest): readonly Uint8Array[] {
  if ("consistency" in request || request.kind === "openSession") return [];
  return request.kind === "batch" ? request.entries.map(({ key }) => key) : [request.key];
}
