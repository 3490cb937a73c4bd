import type { ReplySink } from "../../protocol/handler.ts";
import type { NodeId } from "../../protocol/ids.ts";
import type { ClientRequest, ClientResponse } from "../../protocol/messages.ts";
import type { ServerLimits } from "./limits.ts";

interface Forwarded {
  readonly sink: ReplySink;
  readonly requestId: number;
  /** Whether it changes data: then nobody knows what became of it when no answer comes. */
  readonly write: boolean;
  readonly startedMs: number;
}

const U32_RANGE = 0x1_0000_0000;

/** Requests that one peer executes for this node, and who waits for their answers. */
export class ForwardTable {
  readonly #node: NodeId;
  readonly #limits: ServerLimits;
  /** By id on the wire, in the order in which they were sent. */
  readonly #waiting = new Map<number, Forwarded>();
  #lastId = 0;

  constructor(node: NodeId, limits: ServerLimits) {
    this.#node = node;
    this.#limits = limits;
  }

  /** Requests that were sent and are not answered yet. */
  get size(): number {
    return this.#waiting.size;
  }

  get full(): boolean {
    return this.size >= this.#limits.peerForwardsMax;
  }

  /** An id that no waiting request has. Never 0, which stands for the connection itself. */
  nextId(): number {
    do {
      this.#lastId = (this.#lastId + 1) % U32_RANGE;
    } while (this.#lastId === 0 || this.#waiting.has(this.#lastId));
    return this.#lastId;
  }

  add(id: number, request: ClientRequest, sink: ReplySink, requestId: number, nowMs: number): void {
    this.#waiting.set(id, { sink, requestId, write: isWrite(request), startedMs: nowMs });
  }

  /** Hands an answer on. One that comes after its deadline finds nobody. */
  answer(id: number, response: ClientResponse): void {
    const forwarded = this.#waiting.get(id);
    if (forwarded === undefined) return;
    this.#waiting.delete(id);
    forwarded.sink.reply(forwarded.requestId, response);
  }

  /** Answers what has waited for too long. */
  expire(nowMs: number): void {
    for (const [id, forwarded] of this.#waiting) {
      if (nowMs - forwarded.startedMs < this.#limits.forwardMsMax) return;
      this.#waiting.delete(id);
      this.#fail(forwarded, `no answer within ${this.#limits.forwardMsMax} ms`);
    }
  }

  /** Nobody will answer any more, and what was done is not known. */
  failAll(reason: string): void {
    for (const forwarded of this.#takeAll()) this.#fail(forwarded, reason);
  }

  /** The peer has done nothing of what it has not answered. */
  refuseAll(message: string): void {
    for (const { sink, requestId } of this.#takeAll()) {
      sink.reply(requestId, { kind: "error", error: "UNAVAILABLE", message, leader: undefined });
    }
  }

  #takeAll(): Forwarded[] {
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    return all;
  }

  #fail(forwarded: Forwarded, reason: string): void {
    const message = forwarded.write
      ? `the write was forwarded to ${this.#node}, and its outcome is unknown: ${reason}`
      : `the read was forwarded to ${this.#node}: ${reason}`;
    const error = forwarded.write ? "TIMEOUT" : "UNAVAILABLE";
    forwarded.sink.reply(forwarded.requestId, { kind: "error", error, message, leader: undefined });
  }
}

function isWrite(request: ClientRequest): boolean {
  switch (request.kind) {
    case "put":
    case "putWith":
    case "expire":
    case "delete":
    case "increment":
    case "compareAndSet":
    case "batch":
    case "openSession":
      return true;
    default:
      return false;
  }
}
