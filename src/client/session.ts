/**
 * A session makes a write happen once however often it is sent (Raft thesis §6.3). One exists for each shard that the
 * client has written to, opened by the first write. Its writes are numbered from 1; a retry carries the number of
 * the first attempt, and the shard answers it with the result it remembers.
 *
 * The shard remembers every result until the client says that it has it: `acknowledgedBelow` of each write says so for
 * all lower numbers. So that what a shard remembers stays bounded, numbers run at most `window` ahead of it; further
 * writes wait here.
 */
import { assert } from "../lib/assert.ts";
import type { Call } from "./call.ts";

/** What a session needs from its owner. */
export interface SessionOwner {
  /** Asks the shard for a session; `opened` or `failed` of the session says how it went. */
  openSession(session: ShardSession): void;
  /** The call has its stamp and can go. */
  admitted(call: Call): void;
}

export class ShardSession {
  readonly shard: number;
  readonly #owner: SessionOwner;
  readonly #window: number;
  /** 0: there is none yet. */
  #id = 0;
  #opening = false;
  #nextSequence = 1;
  #acknowledgedBelow = 1;
  /** For each number from `acknowledgedBelow` on, at its remainder by the window: whether it is answered. */
  readonly #answered: Uint8Array;
  #waiting: Call[] = [];
  #waitingFrom = 0;

  constructor(shard: number, window: number, owner: SessionOwner) {
    this.shard = shard;
    this.#window = window;
    this.#owner = owner;
    this.#answered = new Uint8Array(window);
  }

  /** Stamps a write. `false`: it has to wait for the session or for room, and the owner hears of it by `admitted`. */
  admit(call: Call): boolean {
    call.session = this;
    if (this.#id !== 0 && this.#waitingFrom === this.#waiting.length && this.#hasRoom()) {
      this.#stamp(call);
      return true;
    }
    this.#waiting.push(call);
    if (this.#id === 0) this.#open();
    return false;
  }

  /** A stamped call is over: its result was delivered, or the client has given it up and will not send it again. */
  finished(call: Call): void {
    if (!("stamp" in call.request)) return;
    const { session, sequence } = call.request.stamp;
    if (session === 0 || session !== this.#id) return;
    this.#answered[sequence % this.#window] = 1;
    while (
      this.#acknowledgedBelow < this.#nextSequence &&
      this.#answered[this.#acknowledgedBelow % this.#window] === 1
    ) {
      this.#answered[this.#acknowledgedBelow % this.#window] = 0;
      this.#acknowledgedBelow++;
    }
    this.#drain();
  }

  opened(id: number): void {
    this.#opening = false;
    this.#id = id;
    this.#nextSequence = 1;
    this.#acknowledgedBelow = 1;
    this.#answered.fill(0);
    this.#drain();
  }

  /** No session could be opened: takes out all that wait for one. */
  failed(): Call[] {
    this.#opening = false;
    const calls = this.#waiting.slice(this.#waitingFrom);
    this.#waiting = [];
    this.#waitingFrom = 0;
    return calls;
  }

  /** The shard no longer knows session `id`; the next write opens another. */
  expired(id: number): void {
    if (this.#id === id) this.#id = 0;
  }

  #open(): void {
    if (this.#opening) return;
    this.#opening = true;
    this.#owner.openSession(this);
  }

  #hasRoom(): boolean {
    return this.#nextSequence - this.#acknowledgedBelow < this.#window;
  }

  #stamp(call: Call): void {
    assert("stamp" in call.request, `a ${call.request.kind} has no stamp`);
    call.request.stamp = {
      session: this.#id,
      sequence: this.#nextSequence++,
      acknowledgedBelow: this.#acknowledgedBelow,
    };
  }

  #drain(): void {
    while (this.#waitingFrom < this.#waiting.length && this.#hasRoom()) {
      if (this.#id === 0) {
        this.#open();
        return;
      }
      const call = this.#waiting[this.#waitingFrom++]!;
      if (call.settled) continue;
      this.#stamp(call);
      this.#owner.admitted(call);
    }
    if (this.#waitingFrom === this.#waiting.length && this.#waitingFrom > 0) {
      this.#waiting = [];
      this.#waitingFrom = 0;
    }
  }
}
