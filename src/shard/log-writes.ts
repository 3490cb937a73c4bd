import { INDEX_ZERO, type LogIndex, type Term } from "../../protocol/ids.ts";
import type { Entry, GroupMessage } from "../../protocol/peer-messages.ts";
import { assert } from "../lib/assert.ts";

/** What was written of one group, and what may be said once it is on the disk. */
export interface LogWrite {
  lastIndex: LogIndex;
  /** `undefined` if no entries are part of it. */
  lastTerm: Term | undefined;
  readonly messages: GroupMessage[];
}

/** A group's log writes on their way to the disk: those since the last flush began, and those in the flush under way. */
export class LogWrites {
  #gathered: LogWrite | undefined;
  #flushing: LogWrite | undefined;

  get isFlushing(): boolean {
    return this.#flushing !== undefined;
  }

  /** The log store got something to write. */
  add(entries: readonly Entry[]): void {
    this.#gathered ??= { lastIndex: INDEX_ZERO, lastTerm: undefined, messages: [] };
    const last = entries.at(-1);
    if (last === undefined) return;
    this.#gathered.lastIndex = last.index;
    this.#gathered.lastTerm = last.term;
  }

  /** Keeps messages until all that was written is durable. False if it is: they may leave at once. */
  hold(messages: readonly GroupMessage[]): boolean {
    const write = this.#gathered ?? this.#flushing;
    write?.messages.push(...messages);
    return write !== undefined;
  }

  /** The log store begins to flush: what was gathered so far is part of it. */
  flushStarted(): void {
    assert(this.#flushing === undefined, "a second flush of a group's log began before the first ended");
    this.#flushing = this.#gathered;
    this.#gathered = undefined;
  }

  /** What was gathered when the flush began is durable. */
  flushEnded(): LogWrite | undefined {
    const write = this.#flushing;
    this.#flushing = undefined;
    return write;
  }
}
