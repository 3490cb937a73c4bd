import { errorResponse } from "../protocol/errors.ts";
import type { ReplySink, Routing } from "../protocol/handler.ts";
import type { ClientResponse, QueueStatus, Scan } from "../protocol/messages.ts";
import type { Clock } from "./env/env.ts";

export interface ScanGateLimits {
  /** Scans that run at one time: each may hold some megabytes of answers. */
  readonly activeMax: number;
  /** Scans that wait for their turn; one more is refused. */
  readonly waitingMax: number;
  /** A scan that has waited for longer is refused when its turn comes. */
  readonly waitMsMax: number;
}

interface Waiting {
  readonly scan: Scan;
  readonly sink: ReplySink;
  readonly requestId: number;
  readonly routing: Routing;
  readonly sinceMs: number;
}

/**
 * Lets few scans run at one time. A get's answer is small, but a scan's may be megabytes, and a pipeline of scans would
 * have all of them in memory at once.
 */
export class ScanGate implements ReplySink {
  readonly #limits: ScanGateLimits;
  readonly #clock: Pick<Clock, "nowMs">;
  readonly #execute: (scan: Scan, sink: ReplySink, requestId: number, routing: Routing) => void;
  readonly #active = new Map<number, Waiting>();
  /** In the order in which they came; a set, so that the first one is taken out cheaply. */
  readonly #waiting = new Set<Waiting>();
  #nextId = 1;
  #starting = false;

  constructor(
    limits: ScanGateLimits,
    clock: Pick<Clock, "nowMs">,
    execute: (scan: Scan, sink: ReplySink, requestId: number, routing: Routing) => void,
  ) {
    this.#limits = limits;
    this.#clock = clock;
    this.#execute = execute;
  }

  /** As `name`: the scans that wait for their turn, and how many may. */
  queue(name: string): QueueStatus {
    return { name, unit: "requests", used: this.#waiting.size, max: this.#limits.waitingMax };
  }

  run(scan: Scan, sink: ReplySink, requestId: number, routing: Routing): void {
    if (this.#waiting.size >= this.#limits.waitingMax + this.#limits.activeMax - this.#active.size) {
      sink.reply(requestId, errorResponse("OVERLOADED", "too many scans are waiting; try again later"));
      return;
    }
    this.#waiting.add({ scan, sink, requestId, routing, sinceMs: this.#clock.nowMs() });
    this.#startWaiting();
  }

  reply(id: number, response: ClientResponse): void {
    const { sink, requestId } = this.#active.get(id)!;
    this.#active.delete(id);
    sink.reply(requestId, response);
    this.#startWaiting();
  }

  #startWaiting(): void {
    // A scan that is answered at once comes back here: the loop that started it goes on, instead of one in another.
    if (this.#starting) return;
    this.#starting = true;
    for (const waiting of this.#waiting) {
      if (this.#active.size >= this.#limits.activeMax) break;
      this.#waiting.delete(waiting);
      this.#start(waiting);
    }
    this.#starting = false;
  }

  #start(waiting: Waiting): void {
    if (this.#clock.nowMs() > waiting.sinceMs + this.#limits.waitMsMax) {
      const message = "this scan waited too long for others to end; try again later";
      waiting.sink.reply(waiting.requestId, errorResponse("OVERLOADED", message));
      return;
    }
    const id = this.#nextId++;
    this.#active.set(id, waiting);
    this.#execute(waiting.scan, this, id, waiting.routing);
  }
}
