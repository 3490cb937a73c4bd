import type { RaftMessage } from "../../protocol/peer-messages.ts";

/** What an Output has where it has nothing. */
export const NOTHING: readonly never[] = Object.freeze([]);

/**
 * Messages that wait for the next Output, apart by whether they may overtake the Output's log write.
 *
 * May leave at once: appends and heartbeats (a leader writes its own log while its followers do, thesis §10.2.1; its
 * vote for itself was durable before anybody answered it), answers to heartbeats, pre-votes and hand-overs, which promise
 * nothing that a crash could make untrue. Must wait: a vote, also the candidate's own, and every answer to an append
 * (Raft figure 2, "updated on stable storage before responding").
 */
export class Outbox {
  #now: RaftMessage[] = [];
  #afterSync: RaftMessage[] = [];

  now(message: RaftMessage): void {
    this.#now.push(message);
  }

  afterSync(message: RaftMessage): void {
    this.#afterSync.push(message);
  }

  get empty(): boolean {
    return this.#now.length === 0 && this.#afterSync.length === 0;
  }

  takeNow(): readonly RaftMessage[] {
    if (this.#now.length === 0) return NOTHING;
    const messages = this.#now;
    this.#now = [];
    return messages;
  }

  takeAfterSync(): readonly RaftMessage[] {
    if (this.#afterSync.length === 0) return NOTHING;
    const messages = this.#afterSync;
    this.#afterSync = [];
    return messages;
  }
}
