/**
 * The Raft log of a node: one sequence of segment files for all its groups, so that one write and one fdatasync make the
 * work of all groups durable. The log is also the write-ahead log of the data: what is applied goes to the engine's
 * memtable without another one, and entries are dropped only when the engine has the result in its tables.
 *
 * `append` gathers, `flush` writes what was gathered as one record and makes it durable. The caller keeps at most one
 * flush under way; what is appended meanwhile goes out with the next.
 */

import { ByteWriter } from "../../protocol/cbor.ts";
import type { GroupId, LogIndex, NodeId, Term } from "../../protocol/ids.ts";
import { groupId, indexPlus, logIndex, nodeId, TERM_ZERO, term } from "../../protocol/ids.ts";
import type { Entry } from "../../protocol/peer-messages.ts";
import type { Env, FileError } from "../env/env.ts";
import { assert } from "../lib/assert.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { xxh32 } from "../lib/hash.ts";
import type { HardState } from "../raft/types.ts";
import { type EntrySlot, GroupLog } from "./group-log.ts";
import {
  beginRecord,
  LogDamageError,
  RECORD_HEADER_BYTES,
  type RecordPlace,
  readRecords,
  readU64,
  type Segment,
  sealRecord,
  segmentHeader,
  wasInterrupted,
  writeU64,
} from "./log-segment.ts";

export interface LogStoreOptions {
  /** A segment that has grown beyond this is closed, and the next one begun. */
  readonly segmentBytes: number;
  /**
   * Entry data kept in memory for followers and for applying, with about what the objects around it take; older entries
   * are read from the files.
   */
  readonly cacheBytes: number;
}

export const DEFAULT_LOG_STORE_OPTIONS: LogStoreOptions = {
  segmentBytes: 64 * 1024 * 1024,
  cacheBytes: 16 * 1024 * 1024,
};

/** About what an entry takes in memory beside its data. */
const SLOT_BYTES = 256;

/** What a record's payload consists of. */
const ITEM = { entries: 1, hardState: 2, compacted: 3 } as const;
const ENTRY_KINDS = ["noop", "commands"] as const;

export class LogStore {
  readonly #env: Pick<Env, "fs">;
  readonly #directory: string;
  readonly #options: LogStoreOptions;
  readonly #groups = new Map<GroupId, GroupLog>();
  readonly #segments: Segment[] = [];
  /** The record that is being gathered, its slots, and where in the record their data is. */
  #gathering = new ByteWriter();
  #gatheredSlots: EntrySlot[] = [];
  /** The other writer: the record that is being flushed, or that could not be written yet. */
  #flushing = new ByteWriter();
  #flushingSlots: EntrySlot[] = [];
  /** A sealed record that a full disk has not taken yet. */
  #unwritten = false;
  /** Segments before this one are not needed any more once the sealed record is durable. */
  #droppableBelow = 0;
  /** Slots whose data is in memory, oldest first. */
  #cached: EntrySlot[] = [];
  #cachedHead = 0;
  #cachedBytes = 0;

  private constructor(env: Pick<Env, "fs">, directory: string, options: LogStoreOptions) {
    this.#env = env;
    this.#directory = directory;
    this.#options = options;
    beginRecord(this.#gathering);
  }

  /** Opens the log in `directory`, or begins one. Throws `LogDamageError` where it holds what it can't have written. */
  static open(
    env: Pick<Env, "fs">,
    directory: string,
    options: LogStoreOptions = DEFAULT_LOG_STORE_OPTIONS,
  ): LogStore {
    const store = new LogStore(env, directory, options);
    store.#recover();
    return store;
  }

  /** The log of a group; an empty one if the group is new. */
  group(group: GroupId): GroupLog {
    let log = this.#groups.get(group);
    if (log === undefined) {
      log = new GroupLog();
      this.#groups.set(group, log);
    }
    return log;
  }

  /** Whether there is anything to flush. */
  get hasGathered(): boolean {
    return this.#unwritten || this.#gathering.length > RECORD_HEADER_BYTES;
  }

  /** Bytes of all segments. */
  get byteLength(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.end, 0);
  }

  /** Groups whose oldest entry is in a segment before this one keep a closed segment alive. */
  get oldestWanted(): number {
    return this.#segments.at(-1)!.number;
  }

  /**
   * Takes over entries (dropping what the group's log had from the first of them on) and a hard state. They can be read
   * back at once and are durable after the next flush. The entries' data must never change.
   */
  append(group: GroupId, hardState: HardState | undefined, entries: readonly Entry[]): void {
    const log = this.group(group);
    const first = entries[0];
    if (first !== undefined) {
      const writer = this.#gathering;
      writer.u8(ITEM.entries);
      writer.u16(group);
      writeU64(writer, first.index);
      writer.u32(entries.length);
      for (const entry of entries) {
        const checksum = xxh32(entry.data);
        writeU64(writer, entry.term);
        writer.u8(ENTRY_KINDS.indexOf(entry.kind));
        writer.u32(entry.data.length);
        writer.u32(checksum);
        const slot: EntrySlot = {
          term: entry.term,
          kind: entry.kind,
          length: entry.data.length,
          checksum,
          data: entry.data,
          segment: undefined,
          offset: writer.length,
        };
        writer.append(entry.data);
        log.put(entry.index, slot);
        this.#gatheredSlots.push(slot);
        this.#cached.push(slot);
        this.#cachedBytes += entry.data.length + SLOT_BYTES;
      }
    }
    if (hardState !== undefined) {
      log.hardState = hardState;
      writeHardState(this.#gathering, group, hardState);
    }
  }

  /**
   * Writes what was gathered and makes it durable. Rejects with `ENOSPC` when the disk is full: nothing is lost, the same
   * flush may be called again later. Any other failure is final: what is on disk is unknown (a failed fsync marks pages
   * clean), so the caller must stop the node.
   */
  async flush(): Promise<void> {
    if (!this.#unwritten) this.#seal();
    const segment = this.#segments.at(-1)!;
    const record = this.#flushing;
    segment.file.write(record.view(), 0, record.length, segment.end);
    const start = segment.end;
    segment.end += record.length;
    this.#unwritten = false;
    for (const slot of this.#flushingSlots) {
      slot.offset += start;
      slot.segment = segment;
    }
    this.#flushingSlots.length = 0;
    await segment.file.sync();
    segment.durable = start + record.length;
    this.#evict();
    this.#dropSegments();
  }

  /** Forgets entries of a group up to and including `index`: their effects are durable elsewhere and no member needs them. */
  compact(group: GroupId, index: LogIndex): void {
    const log = this.group(group);
    if (index <= log.compacted.index) return;
    log.compact(index);
    writeCompacted(this.#gathering, group, log.compacted.index, log.compacted.term);
  }

  close(): void {
    for (const segment of this.#segments) segment.file.close();
    this.#segments.length = 0;
  }

  /** Turns what was gathered into a record that is ready to be written, in a new segment if the old one is full. */
  #seal(): void {
    if (this.#segments.at(-1)!.end > this.#options.segmentBytes)
      this.#beginSegment(this.#segments.at(-1)!.number + 1);
    const spare = this.#flushing;
    this.#flushing = this.#gathering;
    this.#gathering = spare;
    const spareSlots = this.#flushingSlots;
    this.#flushingSlots = this.#gatheredSlots;
    this.#gatheredSlots = spareSlots;
    beginRecord(this.#gathering);
    sealRecord(this.#flushing, this.#segments.at(-1)!.durable);
    this.#unwritten = true;
    this.#droppableBelow = this.#oldestNeeded();
  }

  /**
   * Creates a segment. It begins with the hard state and the compaction point of every group, so that earlier segments
   * are needed for their entries only.
   */
  #beginSegment(number: number): void {
    const path = `${this.#directory}/${segmentName(number)}`;
    // A file of that name can only be what a failed attempt to begin this segment left: nothing in it was acknowledged.
    this.#env.fs.remove(path);
    const file = this.#env.fs.open(path, "create");
    const record = new ByteWriter();
    beginRecord(record);
    for (const [group, log] of this.#groups) {
      writeCompacted(record, group, log.compacted.index, log.compacted.term);
      writeHardState(record, group, log.hardState);
    }
    sealRecord(record, 0);
    const header = segmentHeader(number);
    try {
      file.write(header, 0, header.length, 0);
      file.write(record.view(), 0, record.length, header.length);
      file.syncNow();
      this.#env.fs.syncDirectorySync(this.#directory);
    } catch (error) {
      file.close();
      throw error;
    }
    const end = header.length + record.length;
    this.#segments.push({ number, path, file, end, durable: end });
  }

  /** Lets go of the oldest cached data beyond the limit; what is not in a file yet stays. */
  #evict(): void {
    while (this.#cachedBytes > this.#options.cacheBytes && this.#cachedHead < this.#cached.length) {
      const slot = this.#cached[this.#cachedHead]!;
      if (slot.segment === undefined) break;
      slot.data = undefined;
      this.#cachedBytes -= slot.length + SLOT_BYTES;
      this.#cachedHead++;
    }
    if (this.#cachedHead > 4096 && this.#cachedHead * 2 > this.#cached.length) {
      this.#cached = this.#cached.slice(this.#cachedHead);
      this.#cachedHead = 0;
    }
  }

  /** The first segment in which a group has an entry. */
  #oldestNeeded(): number {
    let oldest = this.#segments.at(-1)!.number;
    if (this.#segments.length === 1) return oldest;
    for (const log of this.#groups.values()) {
      const needed = log.oldestSegment;
      if (needed !== undefined && needed.number < oldest) oldest = needed.number;
    }
    return oldest;
  }

  /** Removes segments that were not needed when the record that is durable now was sealed: the compaction marks are on disk. */
  #dropSegments(): void {
    while (this.#segments[0]!.number < this.#droppableBelow) {
      const segment = this.#segments.shift()!;
      segment.file.close();
      this.#env.fs.remove(segment.path);
    }
  }

  #recover(): void {
    const { fs } = this.#env;
    fs.makeDirectory(this.#directory);
    const numbers = fs
      .list(this.#directory)
      .map(segmentNumber)
      .filter((number) => number !== undefined);
    numbers.sort((a, b) => a - b);
    for (const [place, number] of numbers.entries()) {
      const path = `${this.#directory}/${segmentName(number)}`;
      const file = fs.open(path, "write");
      const bytes = new Uint8Array(file.size());
      file.read(bytes, 0, bytes.length, 0);
      const last = place === numbers.length - 1;
      if (last && wasInterrupted(bytes, number)) {
        file.close();
        fs.remove(path);
        break;
      }
      const segment: Segment = { number, path, file, end: 0, durable: 0 };
      this.#segments.push(segment);
      segment.end = readRecords(bytes, path, number, last, (record, view) =>
        this.#replay(segment, record, bytes, view),
      );
      // Entries of a torn tail were never acknowledged; without them the file ends where the log does.
      if (segment.end < bytes.length) file.truncate(segment.end);
      segment.durable = segment.end;
      if (last) file.syncNow();
    }
    for (const [group, log] of this.#groups) {
      if (log.compacted.index === 0 || log.compacted.term > 0) continue;
      throw new LogDamageError(
        `cannot read the Raft log in ${this.#directory}: group ${group} begins at entry ${log.firstIndex}, and what was before it is missing`,
      );
    }
    if (this.#segments.length === 0) this.#beginSegment((numbers.at(-1) ?? 0) + 1);
  }

  #replay(segment: Segment, record: RecordPlace, bytes: Uint8Array, view: DataView): void {
    let at = record.payloadStart;
    while (at < record.end) {
      const item = view.getUint8(at);
      const group = groupId(view.getUint16(at + 1));
      const log = this.group(group);
      at += 3;
      if (item === ITEM.entries) {
        const first = readU64(view, at);
        const count = view.getUint32(at + 8);
        at += 12;
        for (let i = 0; i < count; i++) {
          const length = view.getUint32(at + 9);
          const slot: EntrySlot = {
            term: term(readU64(view, at)),
            kind: ENTRY_KINDS[view.getUint8(at + 8)]!,
            length,
            checksum: view.getUint32(at + 13),
            data: undefined,
            segment,
            offset: at + 17,
          };
          const index = logIndex(first + i);
          // Where segments were dropped entries are missing; the mark that allowed it comes later, with the term.
          if (index > log.lastIndex + 1) log.begin(indexPlus(index, -1), TERM_ZERO);
          if (index > log.compacted.index) log.put(index, slot);
          at += 17 + length;
        }
      } else if (item === ITEM.hardState) {
        const nameLength = view.getUint8(at + 16);
        const name = fromUtf8(bytes.subarray(at + 17, at + 17 + nameLength));
        log.hardState = {
          term: term(readU64(view, at)),
          commit: logIndex(readU64(view, at + 8)),
          votedFor: nameLength === 0 ? undefined : nodeId(name),
        };
        at += 17 + nameLength;
      } else {
        assert(
          item === ITEM.compacted,
          `${segment.path}, offset ${at - 3}: item of kind ${item} in a sound record`,
        );
        log.begin(logIndex(readU64(view, at)), term(readU64(view, at + 8)));
        at += 16;
      }
    }
  }
}

function writeHardState(writer: ByteWriter, group: GroupId, state: HardState): void {
  writer.u8(ITEM.hardState);
  writer.u16(group);
  writeU64(writer, state.term);
  writeU64(writer, state.commit);
  const name = utf8((state.votedFor ?? "") satisfies NodeId | "");
  writer.u8(name.length);
  writer.append(name);
}

function writeCompacted(writer: ByteWriter, group: GroupId, index: LogIndex, compactedTerm: Term): void {
  writer.u8(ITEM.compacted);
  writer.u16(group);
  writeU64(writer, index);
  writeU64(writer, compactedTerm);
}

function segmentName(number: number): string {
  return `${String(number).padStart(12, "0")}.log`;
}

function segmentNumber(name: string): number | undefined {
  return /^\d{12}\.log$/.test(name) ? Number(name.slice(0, 12)) : undefined;
}

/** Whether an error of `LogStore.flush` means "later, when there is space". */
export function isDiskFull(error: unknown): boolean {
  const code = (error as Partial<FileError>)?.code;
  return code === "ENOSPC" || code === "EDQUOT";
}
