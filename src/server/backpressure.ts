import type { Clock, Connection } from "../env/env.ts";
import type { ServerLimits } from "./limits.ts";

/**
 * Watches what a connection's other side does not take. TCP pushes back on us; this decides when we push back on the
 * client (stop reading its requests), and when it has to go, so that nobody's replies fill the node's memory.
 */
export class Backpressure {
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #limits: ServerLimits;
  #sentBytes = 0;
  #takenBytes = 0;
  /** When the other side was last seen to take something, or had nothing to take. */
  #progressMs: number;

  constructor(connection: Connection, clock: Clock, limits: ServerLimits) {
    this.#connection = connection;
    this.#clock = clock;
    this.#limits = limits;
    this.#progressMs = clock.nowMs();
  }

  /** Sends `bytes` (borrowed) and counts them. */
  send(bytes: Uint8Array): void {
    this.#sentBytes += bytes.length;
    this.#connection.send(bytes);
  }

  /** Whether so much waits for the other side that none of its requests should be worked on now. */
  get choked(): boolean {
    return this.#connection.queuedBytes > this.#limits.replyBytesPause;
  }

  /** Why the connection has to be cut, if it has to. */
  verdict(): string | undefined {
    const queued = this.#connection.queuedBytes;
    if (queued > this.#limits.replyBytesMax) {
      return `${queued} bytes of replies wait to be read, at most ${this.#limits.replyBytesMax} may`;
    }
    const nowMs = this.#clock.nowMs();
    const taken = this.#sentBytes - queued;
    if (queued === 0 || taken !== this.#takenBytes) {
      this.#takenBytes = taken;
      this.#progressMs = nowMs;
      return undefined;
    }
    const waitedMs = nowMs - this.#progressMs;
    if (waitedMs <= this.#limits.unreadReplyMsMax) return undefined;
    return `${queued} bytes of replies were not read for ${Math.round(waitedMs)} ms`;
  }
}
