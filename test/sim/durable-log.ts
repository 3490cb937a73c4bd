/**
 * What a machine's disk has of the Raft log whatever happens to its power: the records that were synced, in segments whose
 * names are. It is read with the decoders of the format, and otherwise knows nothing of the log store: what a node
 * promises to others (a vote, an acknowledgement) is held against this.
 */
import type { Term } from "../../protocol/ids.ts";
import { readItems } from "../../src/shard/log-items.ts";
import {
  faultOfRecord,
  faultOfRecordHeader,
  isWholeLogHeader,
  LOG_HEADER_BYTES,
  payloadLength,
  RECORD_HEADER_BYTES,
  recordSalt,
} from "../../src/storage/record-frame.ts";
import type { MemoryFileSystem } from "../support/memory-fs.ts";

const DIRECTORY = "/data/raft-log";
const SEGMENT = /^(\d{12})\.log$/;

/** One group's part of it. */
export class DurableGroup {
  term = 0;
  votedFor: string | undefined;
  /** The last entry that replicas had which are gone. */
  floor: { readonly index: number; readonly term: number } = { index: 0, term: 0 };
  /** The last entry that is not there any more, because its effects are in tables, and its term where that is known. */
  compacted = 0;
  #compactedTerm: number | undefined = 0;
  /** The terms of the entries behind it. */
  readonly #terms: number[] = [];

  get lastIndex(): number {
    return this.compacted + this.#terms.length;
  }

  /** `undefined` where it is not known. */
  get lastTerm(): number | undefined {
    return this.termOf(this.lastIndex);
  }

  /** The term of the entry at `index`; `undefined` for one that is not there, or was compacted away. */
  termOf(index: number): number | undefined {
    return index === this.compacted ? this.#compactedTerm : this.#terms[index - this.compacted - 1];
  }

  put(index: number, term: number): void {
    // Segments before this one were dropped, so entries are missing here, or were and are written over now.
    const overwritesGap = this.#compactedTerm === undefined && index <= this.compacted;
    if (overwritesGap || index > this.lastIndex + 1) this.restart(index - 1, undefined);
    if (index <= this.compacted) return;
    this.#terms.length = index - this.compacted - 1;
    this.#terms.push(term);
  }

  /** Nothing up to `index`, of `term`, is in the log; nor what is behind it if something else is in that place. */
  compact(index: number, term: number): void {
    if (index < this.compacted) return;
    if (index === this.compacted || this.termOf(index) === term) {
      this.#terms.splice(0, index - this.compacted);
      this.compacted = index;
      this.#compactedTerm = term;
    } else this.restart(index, term);
  }

  restart(index: number, term: number | undefined): void {
    this.#terms.length = 0;
    this.compacted = index;
    this.#compactedTerm = term;
  }
}

/** All groups of one disk. A machine that gets another disk, or another process, gets another one of these. */
export class DurableLog {
  readonly #disk: MemoryFileSystem;
  readonly #groups = new Map<number, DurableGroup>();
  /** By segment: what was read of it, and up to where its records are read. */
  readonly #read = new Map<string, { bytes: Uint8Array | undefined; tail: number }>();
  /** How much the disk had made durable when it was last read. */
  #syncs = -1;

  constructor(disk: MemoryFileSystem) {
    this.#disk = disk;
  }

  /** What is durable of a group's log now. */
  group(group: number): DurableGroup {
    this.#refresh();
    return this.#groupOf(group);
  }

  #groupOf(group: number): DurableGroup {
    let found = this.#groups.get(group);
    if (found === undefined) {
      found = new DurableGroup();
      this.#groups.set(group, found);
    }
    return found;
  }

  /** Reads what has become durable since the last time. */
  #refresh(): void {
    if (this.#syncs === this.#disk.syncs) return;
    this.#syncs = this.#disk.syncs;
    const files = this.#disk.durableFiles(DIRECTORY);
    for (const name of [...files.keys()].sort()) {
      const number = SEGMENT.exec(name)?.[1];
      if (number === undefined) continue;
      const { bytes, size } = files.get(name)!;
      const known = this.#read.get(name) ?? { bytes: undefined, tail: 0 };
      if (known.bytes === bytes) continue;
      known.bytes = bytes;
      if (known.tail === 0 && isWholeLogHeader(bytes.subarray(0, size))) known.tail = LOG_HEADER_BYTES;
      if (known.tail > 0) known.tail = this.#readRecords(bytes, size, known.tail, Number(number));
      this.#read.set(name, known);
    }
  }

  /** Reads whole records from `tail` on; returns where they end. */
  #readRecords(bytes: Uint8Array, size: number, tail: number, number: number): number {
    const salt = recordSalt(number);
    let at = tail;
    while (at + RECORD_HEADER_BYTES <= size) {
      if (faultOfRecordHeader(bytes, at, at, salt) !== undefined) break;
      const end = at + RECORD_HEADER_BYTES + payloadLength(bytes, at);
      if (end > size || faultOfRecord(bytes, at, end, salt) !== undefined) break;
      readItems(bytes.subarray(at + RECORD_HEADER_BYTES, end), 0, {
        entry: (group, index, { term }) => this.#groupOf(group).put(index, term),
        hardState: (group, { term, votedFor }) => {
          const log = this.#groupOf(group);
          // What was promised in a later term stays promised: a replica that goes back is held against that.
          if (term < log.term) return;
          log.term = term;
          log.votedFor = votedFor;
        },
        compacted: (group, index, term: Term) => this.#groupOf(group).compact(index, term),
        restarted: (group, index, term: Term) => this.#groupOf(group).restart(index, term),
        dropped: (group, floor, cleared) => {
          const log = this.#groupOf(group);
          log.floor = floor;
          if (!cleared) log.restart(0, 0);
        },
      });
      at = end;
    }
    return at;
  }
}
