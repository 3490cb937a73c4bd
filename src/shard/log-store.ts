/**
 * The Raft log of a node: one sequence of segment files for all its groups, so that one write and one fdatasync make the
 * work of all groups durable. The log is also the write-ahead log of the data: what is applied goes to the engine's
 * memtable without another one, and entries are dropped only when the engine has the result in its tables.
 *
 * `append` gathers, `flush` writes what was gathered as one record and makes it durable. The caller keeps at most one
 * flush under way; what is appended meanwhile goes out with the next.
 */

import { ByteWriter } from "../../protocol/cbor.ts";
import type { GroupId, LogIndex, Term } from "../../protocol/ids.ts";
import { indexPlus, TERM_ZERO } from "../../protocol/ids.ts";
import type { Entry } from "../../protocol/peer-messages.ts";
import type { Env, FileError, FileHandle } from "../env/env.ts";
import { xxh32 } from "../lib/hash.ts";
import { type HardState, type LogFloor, NO_FLOOR } from "../raft/types.ts";
import { makeDurableDirectory } from "../storage/durable-directory.ts";
import { RECORD_HEADER_BYTES, recordSalt } from "../storage/record-frame.ts";
import { removeQuietly, settleTail } from "../storage/record-log.ts";
import type { RecordReader } from "../storage/record-reader.ts";
import { removeSpares, SpareFiles, unfinishedPath } from "../storage/spare-files.ts";
import { type EntrySlot, GroupLog } from "./group-log.ts";
import { type EndOfLog, NotedEnd } from "./log-end.ts";
import {
  beginEntries,
  type ItemVisitor,
  readItems,
  writeCompacted,
  writeDropped,
  writeEntry,
  writeHardState,
  writeRestarted,
} from "./log-items.ts";
import {
  beginRecord,
  LogDamageError,
  previousEnd,
  readSegment,
  SEGMENT_HEADER_BYTES,
  type Segment,
  sealRecord,
  segmentHeader,
  visitRecords,
  wasInterrupted,
} from "./log-segment.ts";

export type LogStoreEnv = Pick<Env, "fs" | "background">;

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
  segmentBytes: 32 * 1024 * 1024,
  cacheBytes: 16 * 1024 * 1024,
};

/** About what an entry takes in memory beside its data. */
const SLOT_BYTES = 256;

/**
 * A sync failed, whatever its reason. The system may have marked what it could not write as clean, so that a second sync
 * would succeed and prove nothing: the node has to stop.
 */
export class LogSyncError extends Error {
  override readonly name = "LogSyncError";
}

/** By group: the last compaction point that recovery has come across. */
type CompactionMarks = Map<GroupId, { readonly index: LogIndex; readonly term: Term }>;

/** A log that has written this part of a segment is in use, and worth a file that is allocated ahead. */
const SPARE_FROM = 1 / 32;

export class LogStore {
  readonly #env: LogStoreEnv;
  readonly #directory: string;
  readonly #options: LogStoreOptions;
  readonly #groups = new Map<GroupId, GroupLog>();
  readonly #segments: Segment[] = [];
  /** There once recovery has begun. */
  #noted!: NotedEnd;
  readonly #spare: SpareFiles;
  /** The record that is being gathered, its slots, and where in the record their data is. */
  #gathering = new ByteWriter();
  #gatheredSlots: EntrySlot[] = [];
  /** The other writer: the record that is being flushed, or that could not be written yet. */
  #flushing = new ByteWriter();
  #flushingSlots: EntrySlot[] = [];
  /** There is a record that a full disk has not taken yet. */
  #unwritten = false;
  /** Segments before this one are not needed any more once the record that is being flushed is durable. */
  #droppableBelow = 0;
  /** Slots whose data is in memory, oldest first. */
  #cached: EntrySlot[] = [];
  #cachedHead = 0;
  #cachedBytes = 0;

  private constructor(env: LogStoreEnv, directory: string, options: LogStoreOptions) {
    this.#env = env;
    this.#directory = directory;
    this.#options = options;
    this.#spare = new SpareFiles(env, directory, { fileBytes: options.segmentBytes, max: 1 });
    beginRecord(this.#gathering);
  }

  /** Opens the log in `directory`, or begins one. Throws `LogDamageError` where it holds what it can't have written. */
  static open(
    env: LogStoreEnv,
    directory: string,
    options: LogStoreOptions = DEFAULT_LOG_STORE_OPTIONS,
  ): LogStore {
    makeDurableDirectory(env.fs, directory);
    // A crash may have left a spare's name on a segment: the name goes before anything is made of either.
    removeSpares(env.fs, directory);
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

  /** Bytes that wait in memory for the next flush. */
  get gatheredBytes(): number {
    // A record has a head from the beginning.
    return this.hasGathered ? this.#gathering.length : 0;
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
      beginEntries(this.#gathering, group, first.index, entries.length);
      for (const entry of entries) {
        const checksum = xxh32(entry.data);
        const slot: EntrySlot = {
          term: entry.term,
          kind: entry.kind,
          length: entry.data.length,
          checksum,
          data: entry.data,
          segment: undefined,
          offset: writeEntry(this.#gathering, entry, checksum),
        };
        log.put(entry.index, slot);
        this.#gatheredSlots.push(slot);
        this.#cached.push(slot);
        this.#cachedBytes += slot.length + SLOT_BYTES;
      }
    }
    if (hardState !== undefined) {
      log.hardState = hardState;
      writeHardState(this.#gathering, group, hardState);
    }
  }

  /**
   * Writes what was gathered when it was called, and makes that durable. Rejects with `ENOSPC` when the disk is full:
   * nothing is lost, and calling it again tries the same record again; what was gathered meanwhile is not part of it. Any
   * other failure is final, a failed sync above all (`LogSyncError`): the caller must stop the node.
   */
  async flush(): Promise<void> {
    if (!this.#unwritten) this.#takeGathered();
    const record = this.#flushing;
    const segment = this.#segmentToWrite();
    const start = segment.end;
    sealRecord(record, segment);
    segment.file.write(record.view(), 0, record.length, start);
    segment.end += record.length;
    this.#unwritten = false;
    for (const slot of this.#flushingSlots) {
      slot.offset += start;
      slot.segment = segment;
    }
    this.#flushingSlots.length = 0;
    try {
      await segment.file.sync();
    } catch (error) {
      throw syncFailed(segment.path, error);
    }
    segment.durable = segment.end;
    this.#evict();
    this.#dropSegments();
    if (segment.end > this.#options.segmentBytes * SPARE_FROM) this.#spare.want(segment.number);
  }

  /** Forgets entries of a group up to and including `index`: their effects are durable elsewhere and no member needs them. */
  compact(group: GroupId, index: LogIndex): void {
    const log = this.group(group);
    if (index <= log.compacted.index) return;
    log.compact(index);
    writeCompacted(this.#gathering, group, log.compacted.index, log.compacted.term);
  }

  /** Forgets all entries of a group: a snapshot has taken their place, and the next entry is the one behind `index`. */
  restart(group: GroupId, index: LogIndex, term: Term): void {
    this.group(group).restart(index, term);
    writeRestarted(this.#gathering, group, index, term);
  }

  /**
   * Forgets the log of a group that this node has no replica of any more. Its hard state stays for ever, and how far its log
   * went: a replica that comes back is bound by what this one promised. The group's data may be cleared away once this is
   * durable, and `cleared` says that it is.
   */
  drop(group: GroupId): void {
    const log = this.group(group);
    const last = { index: log.lastIndex, term: log.term(log.lastIndex) ?? TERM_ZERO };
    log.drop(isLaterPlace(last, log.floor) ? last : { ...log.floor });
    writeDropped(this.#gathering, group, log.floor, false);
    writeHardState(this.#gathering, group, log.hardState);
  }

  /** Nothing is left of a dropped replica: there may be another one. */
  cleared(group: GroupId): void {
    const log = this.group(group);
    log.mustClear = false;
    writeDropped(this.#gathering, group, log.floor, true);
  }

  /** Groups of which entries are here, or data of a dropped replica may be, in order. */
  get known(): readonly GroupId[] {
    const found = [...this.#groups].filter(([, log]) => log.lastIndex > 0 || log.mustClear);
    return found.map(([group]) => group).sort((a, b) => a - b);
  }

  /**
   * Notes apart from the log how far it is durable, if nobody has since: a last record that goes bad is told from a torn
   * tail by that. To be called about once a second. A full disk is no matter, any other failure is final (`LogSyncError`).
   */
  async noteEnd(): Promise<void> {
    try {
      await this.#noted.note(this.#durableEnd);
    } catch (error) {
      if (!isDiskFull(error)) throw syncFailed(this.#directory, error);
    }
  }

  close(): void {
    if (this.#segments.length === 0) return;
    try {
      this.#noted.noteNow(this.#durableEnd);
    } catch {
      // What was noted before still holds, and nobody goes on with this log now.
    }
    this.#noted.close();
    for (const segment of this.#segments) segment.file.close();
    this.#segments.length = 0;
  }

  get #durableEnd(): EndOfLog {
    const { number, durable } = this.#segments.at(-1)!;
    return { number, offset: durable };
  }

  /** What was gathered becomes the record to flush, and a new one is begun. */
  #takeGathered(): void {
    const spare = this.#flushing;
    this.#flushing = this.#gathering;
    this.#gathering = spare;
    const spareSlots = this.#flushingSlots;
    this.#flushingSlots = this.#gatheredSlots;
    this.#gatheredSlots = spareSlots;
    beginRecord(this.#gathering);
    this.#unwritten = true;
    // Here, where all compaction marks are in this record or in earlier ones.
    this.#droppableBelow = this.#oldestNeeded();
  }

  /** Where the next record goes: the newest segment, or a new one if it is time for one. */
  #segmentToWrite(): Segment {
    const last = this.#segments.at(-1)!;
    const isFull = last.end > this.#options.segmentBytes;
    const couldBeFaster = last.allocatedBytes === 0 && this.#spare.isReady;
    return isFull || couldBeFaster ? this.#beginSegment(last.number + 1, last.end) : last;
  }

  /**
   * Creates a segment. It begins with the hard state and the compaction point of every group, so that earlier segments
   * are needed for their entries only.
   */
  #beginSegment(number: number, previousEndsAt: number): Segment {
    const { fs } = this.#env;
    const path = `${this.#directory}/${segmentName(number)}`;
    const spare = this.#spare.take();
    const madeAt = spare ?? path;
    // A file of the segment's name can only be what a failed attempt to begin it left: nothing in it was acknowledged.
    if (spare === undefined) fs.remove(path);
    const file = fs.open(madeAt, spare === undefined ? "create" : "write");
    const allocatedBytes = spare === undefined ? 0 : file.size();
    const record = new ByteWriter();
    beginRecord(record);
    for (const [group, log] of this.#groups) {
      const { index, term } = log.compacted;
      // What is in memory may be ahead of the disk: where no entry is in a file, none of those that are there counts.
      if (log.oldestSegment === undefined) writeRestarted(record, group, index, term);
      else writeCompacted(record, group, index, term);
      writeHardState(record, group, log.hardState);
      if (log.floor !== NO_FLOOR) writeDropped(record, group, log.floor, !log.mustClear);
    }
    const salt = recordSalt(number);
    sealRecord(record, { number, path, salt, allocatedBytes, end: SEGMENT_HEADER_BYTES, durable: 0 });
    try {
      // A spare may have been an old segment: it must not be found under its old name with new contents.
      if (spare !== undefined) this.#syncDirectory();
      file.write(segmentHeader(number, previousEndsAt), 0, SEGMENT_HEADER_BYTES, 0);
      file.write(record.view(), 0, record.length, SEGMENT_HEADER_BYTES);
      syncNow(file);
      if (spare !== undefined) fs.rename(spare, path);
      this.#syncDirectory();
    } catch (error) {
      file.close();
      if (spare !== undefined) removeQuietly(fs, spare);
      throw error;
    }
    const end = SEGMENT_HEADER_BYTES + record.length;
    const segment = { number, path, file, salt, allocatedBytes, end, durable: end };
    this.#segments.push(segment);
    return segment;
  }

  #syncDirectory(): void {
    try {
      this.#env.fs.syncDirectorySync(this.#directory);
    } catch (error) {
      throw syncFailed(this.#directory, error);
    }
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

  /** Removes segments that were not needed when the record that is durable now was taken: the compaction marks are on disk. */
  #dropSegments(): void {
    while (this.#segments[0]!.number < this.#droppableBelow) {
      const segment = this.#segments.shift()!;
      segment.file.close();
      this.#spare.offer(segment.path, Math.max(segment.allocatedBytes, segment.end));
    }
  }

  #recover(): void {
    const { fs } = this.#env;
    const numbers = fs
      .list(this.#directory)
      .map(segmentNumber)
      .filter((number) => number !== undefined)
      .sort((a, b) => a - b);
    const newest = numbers.at(-1);
    this.#noted = NotedEnd.open(fs, this.#directory, newest !== undefined);
    if ((newest ?? 0) < this.#noted.number) {
      throw new LogDamageError(
        `cannot read the Raft log: ${this.#directory}/${segmentName(this.#noted.number)} is missing, which was durable up to offset ${this.#noted.offset}`,
      );
    }
    const isNoted = newest === this.#noted.number;
    if (newest !== undefined && !isNoted && this.#reading(newest, wasInterrupted)) {
      fs.remove(`${this.#directory}/${segmentName(newest)}`);
      numbers.pop();
    }
    // Segments are dropped from the oldest on, but the disk may have forgotten one removal and not a later one.
    const gap = numbers.findLastIndex((number, place) => place > 0 && numbers[place - 1] !== number - 1);
    const forgotten = numbers.splice(0, Math.max(0, gap));
    const marks: CompactionMarks = new Map();
    for (const [place, number] of numbers.entries()) this.#recoverSegment(number, numbers[place + 1], marks);
    for (const [group, log] of this.#groups) {
      if (log.compacted.index === 0 || log.compacted.term > 0) continue;
      throw new LogDamageError(
        `cannot read the Raft log in ${this.#directory}: group ${group} begins at entry ${log.firstIndex}, and what was before it is missing`,
      );
    }
    for (const number of forgotten) fs.remove(`${this.#directory}/${segmentName(number)}`);
    // The last process may have ended between naming its newest segment and making the name durable.
    this.#syncDirectory();
    if (this.#segments.length === 0) this.#beginSegment((newest ?? 0) + 1, 0);
    try {
      this.#noted.noteNow(this.#durableEnd);
    } catch (error) {
      if (!isDiskFull(error)) throw syncFailed(this.#directory, error);
    }
  }

  /** Reads a segment back; `next` is the number of the one behind it, which says where this one ends. */
  #recoverSegment(number: number, next: number | undefined, marks: CompactionMarks): void {
    const path = `${this.#directory}/${segmentName(number)}`;
    const salt = recordSalt(number);
    const file = this.#env.fs.open(path, "write");
    const segment: Segment = { number, path, file, salt, allocatedBytes: 0, end: 0, durable: 0 };
    this.#segments.push(segment);
    const visitor = this.#replayInto(segment, marks);
    const isLast = next === undefined;
    const vouchedFor = this.#reading(number, (reader) => {
      if (!isLast) reader.limit(this.#reading(next, previousEnd));
      visitRecords(reader, isLast, () => {
        const { bytes, base, start, end } = reader;
        readItems(bytes.subarray(start, end), base + start, visitor);
      });
      const { number: notedIn, offset } = this.#noted;
      if (notedIn === number && reader.tail < offset) {
        reader.refuse(
          `it was noted that the segment was durable up to offset ${offset}, so this is no torn tail`,
        );
      }
      segment.end = reader.tail;
      return reader.vouchedFor;
    });
    segment.durable = segment.end;
    if (!isLast) return;
    // What is behind the end was never acknowledged, and must not be found by a later recovery. What is before it may not
    // be on the disk yet.
    try {
      if (vouchedFor === 0) this.#writeAnew(segment);
      else settleTail(file, vouchedFor, segment.end);
    } catch (error) {
      throw syncFailed(path, error);
    }
  }

  /**
   * Puts a file of its own in the place of a segment that has its first record only. Perhaps the directory could not be
   * synced when it got its name, and then another sync can succeed without that name: a new one is needed.
   */
  #writeAnew(segment: Segment): void {
    const { fs } = this.#env;
    const bytes = new Uint8Array(segment.end);
    segment.file.read(bytes, 0, bytes.length, 0);
    segment.file.close();
    const temporary = unfinishedPath(this.#directory);
    segment.file = fs.open(temporary, "create");
    segment.file.write(bytes, 0, bytes.length, 0);
    segment.file.syncNow();
    fs.rename(temporary, segment.path);
  }

  #reading<Result>(number: number, use: (reader: RecordReader) => Result): Result {
    const reader = readSegment(this.#env.fs, `${this.#directory}/${segmentName(number)}`, number);
    try {
      return use(reader);
    } finally {
      reader.close();
    }
  }

  /**
   * Where segments were dropped entries are missing. The mark that allowed it has the term of the last of them and mostly
   * comes later: until then the log begins in term 0. What follows such a gap may also be left of entries that were
   * overwritten from within the gap on: when that happens the log begins anew, and its mark may have come before.
   */
  #replayInto(segment: Segment, marks: CompactionMarks): ItemVisitor {
    return {
      entry: (group, index, stored) => {
        const log = this.group(group);
        const { compacted } = log;
        const isBehindGap = index > log.lastIndex + 1;
        const overwritesGap = compacted.term === 0 && index <= compacted.index;
        if (isBehindGap || overwritesGap) {
          const mark = marks.get(group);
          log.restart(indexPlus(index, -1), mark?.index === index - 1 ? mark.term : TERM_ZERO);
        }
        if (index > log.compacted.index) log.put(index, { ...stored, data: undefined, segment });
      },
      hardState: (group, state) => {
        this.group(group).hardState = state;
      },
      compacted: (group, index, compactedTerm) => {
        marks.set(group, { index, term: compactedTerm });
        if (!this.group(group).begin(index, compactedTerm)) {
          throw new LogDamageError(
            `cannot read the Raft log: in ${segment.path} group ${group} is compacted up to entry ${index} of term ${compactedTerm}, and the entry there is of another term`,
          );
        }
      },
      restarted: (group, index, lastTerm) => {
        marks.set(group, { index, term: lastTerm });
        this.group(group).restart(index, lastTerm);
      },
      dropped: (group, floor, cleared) => {
        const log = this.group(group);
        if (!cleared) {
          marks.delete(group);
          log.drop(floor);
        }
        log.floor = floor;
        log.mustClear = !cleared;
      },
    };
  }
}

function isLaterPlace(a: LogFloor, b: LogFloor): boolean {
  return a.term > b.term || (a.term === b.term && a.index > b.index);
}

function syncNow(file: FileHandle): void {
  try {
    file.syncNow();
  } catch (error) {
    throw syncFailed(file.path, error);
  }
}

function syncFailed(path: string, error: unknown): LogSyncError {
  return new LogSyncError(`cannot make the Raft log durable: ${path}: ${(error as Error).message}`, {
    cause: error,
  });
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
