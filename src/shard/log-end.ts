/**
 * How far the Raft log is known to be durable, noted apart from the log itself (`docs/formats/raft-log.md`). A record vouches for
 * what was written before it, so the last one has no witness in the log: damaged, it looks like a write that the power cut
 * short, and would be cut away with what was acknowledged through it. What is noted here can't be cut away.
 *
 * The file has two places, a block of a disk apart, which are written by turns: a crash spoils the one that was being written
 * at most, and the other is a little older.
 */
import type { FileHandle, FileSystem } from "../env/env.ts";
import { xxh64 } from "../lib/hash.ts";
import { readBigU64, readU64, writeBigU64, writeU64 } from "../storage/fixed-width.ts";
import { LogDamageError } from "./log-segment.ts";

const NAME = "end";
const MAGIC = "FLOTREND";
const PLACE_BYTES = 4096;
const NOTE_BYTES = 40;
/** Where in a note its parts are; the magic is at 0. */
const COUNT = 8;
const NUMBER = 16;
const OFFSET = 24;
const CHECKSUM = 32;

/** In the segment with this number everything before the offset is durable, and so is every earlier segment. */
export interface EndOfLog {
  readonly number: number;
  readonly offset: number;
}

export class NotedEnd implements EndOfLog {
  number = 0;
  offset = 0;
  readonly #file: FileHandle;
  /** Notes that were ever written: tells which of the two is newer, and where the next one goes. */
  #count = 0;
  #isNoting = false;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /**
   * Reads what was noted in a log's directory, or begins with nothing where there is no log yet. Throws `LogDamageError` where
   * there is a log, and no note that can be read.
   */
  static open(fs: FileSystem, directory: string, hasSegments: boolean): NotedEnd {
    const path = `${directory}/${NAME}`;
    const isThere = fs.exists(path);
    if (!isThere && hasSegments) throw damaged(path, "the file is missing");
    const noted = new NotedEnd(fs.open(path, isThere ? "write" : "create"));
    const isRead = isThere && noted.#read();
    if (isRead) return noted;
    // Before there is a segment nothing can have been noted: the file was being made.
    if (hasSegments) throw damaged(path, "neither of its two notes has the right checksum");
    noted.#file.write(new Uint8Array(2 * PLACE_BYTES), 0, 2 * PLACE_BYTES, 0);
    noted.#write(noted);
    noted.#file.syncNow();
    noted.#wrote(noted);
    fs.syncDirectorySync(directory);
    return noted;
  }

  /** Whether `end` is further than what was noted. */
  isBehind(end: EndOfLog): boolean {
    return end.number > this.number || (end.number === this.number && end.offset > this.offset);
  }

  /** Notes that the log is durable up to `end`, unless a note is being written. Rejects with `FileError`. */
  async note(end: EndOfLog): Promise<void> {
    if (this.#isNoting || !this.isBehind(end)) return;
    this.#isNoting = true;
    try {
      this.#write(end);
      await this.#file.sync();
      this.#wrote(end);
    } finally {
      this.#isNoting = false;
    }
  }

  /** The same at once; nothing if a note is being written. Throws `FileError`. */
  noteNow(end: EndOfLog): void {
    if (this.#isNoting || !this.isBehind(end)) return;
    this.#write(end);
    this.#file.syncNow();
    this.#wrote(end);
  }

  close(): void {
    this.#file.close();
  }

  #read(): boolean {
    const bytes = new Uint8Array(2 * PLACE_BYTES);
    const length = this.#file.read(bytes, 0, bytes.length, 0);
    let isFound = false;
    for (const place of [0, 1]) {
      const start = place * PLACE_BYTES;
      if (start + NOTE_BYTES > length || !isWhole(bytes, start, place)) continue;
      const count = readU64(bytes, start + COUNT);
      if (isFound && count < this.#count) continue;
      isFound = true;
      this.#count = count;
      this.number = readU64(bytes, start + NUMBER);
      this.offset = readU64(bytes, start + OFFSET);
    }
    return isFound;
  }

  #write({ number, offset }: EndOfLog): void {
    const count = this.#count + 1;
    const place = count % 2;
    const bytes = new Uint8Array(NOTE_BYTES);
    bytes.set(new TextEncoder().encode(MAGIC));
    writeU64(bytes, COUNT, count);
    writeU64(bytes, NUMBER, number);
    writeU64(bytes, OFFSET, offset);
    writeBigU64(bytes, CHECKSUM, xxh64(bytes.subarray(0, CHECKSUM), BigInt(place)));
    this.#file.write(bytes, 0, NOTE_BYTES, place * PLACE_BYTES);
  }

  /** What was written last is durable. Until then it is tried again in the same place: the other one must stay whole. */
  #wrote({ number, offset }: EndOfLog): void {
    this.#count++;
    this.number = number;
    this.offset = offset;
  }
}

function isWhole(bytes: Uint8Array, start: number, place: number): boolean {
  const magic = new TextDecoder("latin1").decode(bytes.subarray(start, start + COUNT));
  if (magic !== MAGIC) return false;
  const expected = xxh64(bytes.subarray(start, start + CHECKSUM), BigInt(place));
  return readBigU64(bytes, start + CHECKSUM) === expected;
}

function damaged(path: string, what: string): LogDamageError {
  return new LogDamageError(`cannot read the Raft log: ${path}, offset 0: ${what}`);
}
