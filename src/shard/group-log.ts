import type { LogIndex, Term } from "../../protocol/ids.ts";
import { INDEX_ZERO, indexPlus, TERM_ZERO } from "../../protocol/ids.ts";
import type { Entry } from "../../protocol/peer-messages.ts";
import { assert, broken } from "../lib/assert.ts";
import { xxh32 } from "../lib/hash.ts";
import type { HardState, LogFloor, LogReader } from "../raft/types.ts";
import { NO_FLOOR } from "../raft/types.ts";
import { LogDamageError, type Segment } from "./log-segment.ts";

export const EMPTY_HARD_STATE: HardState = { term: TERM_ZERO, votedFor: undefined, commit: INDEX_ZERO };

/** Where one entry is. `data` is there while it is cached; the file has it as soon as `segment` is set. */
export interface EntrySlot {
  readonly term: Term;
  readonly kind: Entry["kind"];
  readonly length: number;
  /** XXH32 of the data: what comes back from the file is checked before anybody sees it. */
  readonly checksum: number;
  data: Uint8Array | undefined;
  segment: Segment | undefined;
  offset: number;
}

/**
 * One group's part of the node's log, as its Raft core reads it: which entries there are and where. The log store is its
 * only writer. Entries are dropped from the front by compaction and from the back by truncation.
 */
export class GroupLog implements LogReader {
  hardState: HardState = EMPTY_HARD_STATE;
  /** The last place that the logs of earlier replicas had, which were dropped from this node. */
  floor: LogFloor = NO_FLOOR;
  /** A replica was dropped, and its data may still be in the engine. */
  mustClear = false;
  #slots: EntrySlot[] = [];
  /** Slots before this place are gone; the array is cut from time to time. */
  #head = 0;
  #compactedIndex: LogIndex = INDEX_ZERO;
  #compactedTerm: Term = TERM_ZERO;

  get firstIndex(): LogIndex {
    return indexPlus(this.#compactedIndex, 1);
  }

  get lastIndex(): LogIndex {
    return indexPlus(this.#compactedIndex, this.#slots.length - this.#head);
  }

  /** The last entry that was compacted away; a new log's is 0, of term 0. */
  get compacted(): { readonly index: LogIndex; readonly term: Term } {
    return { index: this.#compactedIndex, term: this.#compactedTerm };
  }

  term(index: LogIndex): Term | undefined {
    return index === this.#compactedIndex ? this.#compactedTerm : this.#slotAt(index)?.term;
  }

  entries(low: LogIndex, high: LogIndex, bytesMax: number): Entry[] {
    const { firstIndex, lastIndex } = this;
    if (low < firstIndex) broken(`entries from ${low} asked for, but the log begins at ${firstIndex}`);
    if (high > lastIndex + 1) broken(`entries before ${high} asked for, but the log ends at ${lastIndex}`);
    const found: Entry[] = [];
    let bytes = 0;
    for (let index = low; index < high; index = indexPlus(index, 1)) {
      const slot = this.#slotAt(index)!;
      bytes += slot.length;
      if (bytes > bytesMax && found.length > 0) break;
      found.push({ index, term: slot.term, kind: slot.kind, data: slot.data ?? readFromFile(slot) });
    }
    return found;
  }

  configurations(): Entry[] {
    const found: Entry[] = [];
    for (let place = this.#head; place < this.#slots.length; place++) {
      const { kind, term, data } = this.#slots[place]!;
      if (kind !== "config") continue;
      const index = indexPlus(this.#compactedIndex, 1 + place - this.#head);
      found.push({ index, term, kind, data: data ?? readFromFile(this.#slots[place]!) });
    }
    return found;
  }

  /** What the entries [low, high) are, without their data. */
  describe(
    low: LogIndex,
    high: LogIndex,
  ): { index: LogIndex; term: Term; kind: Entry["kind"]; bytes: number }[] {
    const found = [];
    for (let index = low; index < high; index = indexPlus(index, 1)) {
      const { term, kind, length } = this.#slotAt(index)!;
      found.push({ index, term, kind, bytes: length });
    }
    return found;
  }

  /** Adds the entry at `index`, dropping what the log had from there on. There is never a gap. */
  put(index: LogIndex, slot: EntrySlot): void {
    if (index <= this.#compactedIndex) {
      broken(`entry ${index} was compacted already (up to ${this.#compactedIndex})`);
    }
    const place = this.#head + index - this.#compactedIndex - 1;
    if (place > this.#slots.length) {
      broken(`entry ${index} would leave a gap: the log ends at ${this.lastIndex}`);
    }
    this.#slots.length = place;
    this.#slots.push(slot);
  }

  /** Forgets the entries up to and including `index`, which must be there. */
  compact(index: LogIndex): void {
    if (index <= this.#compactedIndex) return;
    const last = this.#slotAt(index);
    assert(last !== undefined, `compaction up to ${index}, but the log ends at ${this.lastIndex}`);
    this.#head += index - this.#compactedIndex;
    this.#compactedIndex = index;
    this.#compactedTerm = last.term;
    if (this.#head > 1024 && this.#head * 2 > this.#slots.length) {
      this.#slots = this.#slots.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Sets where the log begins, at recovery: entries up to `index` are not in it. False: another entry is in that place. */
  begin(index: LogIndex, term: Term): boolean {
    if (index < this.#compactedIndex) return true;
    if (index === this.#compactedIndex) this.#compactedTerm = term;
    else if (index > this.lastIndex) this.restart(index, term);
    else if (this.term(index) === term) this.compact(index);
    else return false;
    return true;
  }

  /** Forgets all entries: the next one is at `index + 1`. */
  restart(index: LogIndex, term: Term): void {
    this.#slots = [];
    this.#head = 0;
    this.#compactedIndex = index;
    this.#compactedTerm = term;
  }

  /** Forgets the replica: what it promised, its hard state and how far its log went, stays known. */
  drop(floor: LogFloor): void {
    this.restart(INDEX_ZERO, TERM_ZERO);
    this.hardState = { ...this.hardState, commit: INDEX_ZERO };
    this.floor = floor;
    this.mustClear = true;
  }

  /** The segment of the oldest entry; `undefined` if there is no entry, or none in a file yet. */
  get oldestSegment(): Segment | undefined {
    return this.#slots[this.#head]?.segment;
  }

  #slotAt(index: LogIndex): EntrySlot | undefined {
    return index > this.#compactedIndex
      ? this.#slots[this.#head + index - this.#compactedIndex - 1]
      : undefined;
  }
}

function readFromFile(slot: EntrySlot): Uint8Array {
  assert(slot.segment !== undefined, "an entry that is in no file must be in memory");
  const data = new Uint8Array(slot.length);
  const read = slot.segment.file.read(data, 0, slot.length, slot.offset);
  if (read !== slot.length || xxh32(data) !== slot.checksum) {
    throw new LogDamageError(
      `cannot read the Raft log: ${slot.segment.path}, offset ${slot.offset}: the entry of ${slot.length} bytes there is damaged`,
    );
  }
  return data;
}
