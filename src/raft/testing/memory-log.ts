import { decodeConfiguration } from "../../../protocol/configuration.ts";
import { indexPlus, type LogIndex, logIndex, TERM_ZERO, type Term } from "../../../protocol/ids.ts";
import type { Entry } from "../../../protocol/peer-messages.ts";
import { assert } from "../../lib/assert.ts";
import { type Membership, NO_MEMBERS } from "../configuration.ts";
import type { LogReader } from "../types.ts";

/** A log in memory, for tests and benchmarks of the core: what its owner was handed, with the owner's duty to truncate. */
export class MemoryLog implements LogReader {
  #entries: Entry[] = [];
  #firstIndex: LogIndex = logIndex(1);
  #termBefore: Term = TERM_ZERO;
  /** Who the members are where the log begins. */
  membership: Membership = { index: logIndex(0), configuration: NO_MEMBERS };

  get firstIndex(): LogIndex {
    return this.#firstIndex;
  }

  get lastIndex(): LogIndex {
    return indexPlus(this.#firstIndex, this.#entries.length - 1);
  }

  term(index: LogIndex): Term | undefined {
    if (index === this.#firstIndex - 1) return this.#termBefore;
    return this.#entries[index - this.#firstIndex]?.term;
  }

  entries(low: LogIndex, high: LogIndex, bytesMax: number): Entry[] {
    assert(low >= this.#firstIndex && high <= this.lastIndex + 1, `memory log: no [${low}, ${high})`);
    const found: Entry[] = [];
    let bytes = 0;
    for (let index = low; index < high; index = indexPlus(index, 1)) {
      const entry = this.#entries[index - this.#firstIndex]!;
      bytes += entry.data.length;
      if (bytes > bytesMax && found.length > 0) break;
      found.push(entry);
    }
    return found;
  }

  configurations(): Entry[] {
    return this.#entries.filter(({ kind }) => kind === "config");
  }

  /** Appends, cutting away what `entries` overwrite. */
  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    const at = first.index - this.#firstIndex;
    assert(at >= 0 && at <= this.#entries.length, `memory log: ${first.index} leaves a gap`);
    this.#entries.length = at;
    for (const entry of entries) this.#entries.push(entry);
  }

  /** Forgets everything up to `index`. */
  compact(index: LogIndex): void {
    const count = index + 1 - this.#firstIndex;
    if (count <= 0) return;
    this.#termBefore = this.term(index)!;
    const last = this.#entries.slice(0, count).findLast(({ kind }) => kind === "config");
    if (last !== undefined) {
      this.membership = { index: last.index, configuration: decodeConfiguration(last.data) };
    }
    this.#entries.splice(0, count);
    this.#firstIndex = indexPlus(index, 1);
  }

  /** Forgets all entries for a snapshot. */
  restart(index: LogIndex, termBefore: Term, membership: Membership): void {
    this.#entries = [];
    this.#firstIndex = indexPlus(index, 1);
    this.#termBefore = termBefore;
    this.membership = membership;
  }

  /** A log of its own with the same content. */
  copy(): MemoryLog {
    const copy = new MemoryLog();
    copy.#entries = this.#entries.slice();
    copy.#firstIndex = this.#firstIndex;
    copy.#termBefore = this.#termBefore;
    copy.membership = this.membership;
    return copy;
  }
}
