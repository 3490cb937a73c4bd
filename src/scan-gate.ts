import { errorResponse } from "../protocol/errors.ts";
import type { ReplySink, Routing } from "../protocol/handler.ts";
import type { ClientResponse, Scan } from "../protocol/messages.ts";

export interface ScanGateLimits {
  /** Scans that run at one time: each may hold some megabytes of answers. */
  readonly activeMax: number;
  /** Scans that wait for their turn; one more is refused. */
  readonly waitingMax: number;
}

interface Waiting {
  readonly scan: Scan;
  readonly sink: ReplySink;
  readonly requestId: number;
  readonly routing: Routing;
}

/**
 * Lets few scans run at one time. A get's answer is small, but a scan's may be megabytes, and a pipeline of scans would
 * have all of them in memory at once.
 */
export class ScanGate implements ReplySink {
  readonly #limits: ScanGateLimits;
  readonly #execute: (scan: Scan, sink: ReplySink, requestId: number, routing: Routing) => void;
  readonly #active = new Map<number, Waiting>();
  #waiting: Waiting[] = [];
  #nextId = 1;

  constructor(
    limits: ScanGateLimits,
    execute: (scan: Scan, sink: ReplySink, requestId: number, routing: Routing) => void,
  ) {
    this.#limits = limits;
    this.#execute = execute;
  }

  run(scan: Scan, sink: ReplySink, requestId: number, routing: Routing): void {
    const waiting: Waiting = { scan, sink, requestId, routing };
    if (this.#active.size < this.#limits.activeMax) {
      this.#start(waiting);
    } else if (this.#waiting.length < this.#limits.waitingMax) {
      this.#waiting.push(waiting);
    } else {
      sink.reply(requestId, errorResponse("OVERLOADED", "too many scans are waiting; try again later"));
    }
  }

  reply(id: number, response: ClientResponse): void {
    const { sink, requestId } = this.#active.get(id)!;
    this.#active.delete(id);
    sink.reply(requestId, response);
    if (this.#active.size >= this.#limits.activeMax) return;
    const next = this.#waiting.shift();
    if (next !== undefined) this.#start(next);
  }

  #start(waiting: Waiting): void {
    const id = this.#nextId++;
    this.#active.set(id, waiting);
    this.#execute(waiting.scan, this, id, waiting.routing);
  }
}
