import type { Clock } from "../env/env.ts";

export interface StreamLimits {
  /** Most snapshots at a time. */
  readonly streams: number;
  /** Most bytes of them in a second, over a while. */
  readonly bytesPerSecond: number;
  /** What was not sent for so long may be sent later at once: longer than the pauses between two tries to send. */
  readonly burstMs: number;
}

/**
 * What the snapshots may take that a node sends, of all its groups together: each pins memory, and all take from the disk and the
 * network that clients need. Bytes are a token bucket: one part may overdraw it, and the next waits until that is paid back.
 */
export class StreamBudget {
  readonly #limits: StreamLimits;
  readonly #clock: Pick<Clock, "nowMs">;
  #active = 0;
  #bytes: number;
  #atMs: number;

  constructor(limits: StreamLimits, clock: Pick<Clock, "nowMs">) {
    this.#limits = limits;
    this.#clock = clock;
    this.#bytes = this.#burst;
    this.#atMs = clock.nowMs();
  }

  /** How many snapshots are being sent. */
  get active(): number {
    return this.#active;
  }

  /** Whether one more may begin. */
  get hasRoom(): boolean {
    return this.#active < this.#limits.streams;
  }

  /** One more begins; false if that would be too many. */
  begin(): boolean {
    if (!this.hasRoom) return false;
    this.#active++;
    return true;
  }

  end(): void {
    this.#active--;
  }

  /** Whether a part may be sent now. */
  get maySend(): boolean {
    const nowMs = this.#clock.nowMs();
    const earned = ((nowMs - this.#atMs) / 1000) * this.#limits.bytesPerSecond;
    this.#bytes = Math.min(this.#burst, this.#bytes + earned);
    this.#atMs = nowMs;
    return this.#bytes > 0;
  }

  /** So many bytes were sent. */
  sent(bytes: number): void {
    this.#bytes -= bytes;
  }

  get #burst(): number {
    const { bytesPerSecond, burstMs } = this.#limits;
    return (bytesPerSecond * burstMs) / 1000;
  }
}
