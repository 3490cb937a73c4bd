/**
 * Reads a file of records one by one, with a window of the file in memory: no more than the longest record, however
 * long the file is.
 *
 * Reading ends at the first record that is not whole. That can be a torn tail: the end of a write that never became
 * durable, behind which there may be anything, records of the file's earlier life included. Or it is damage. Blocks
 * that were never synced may reach the disk in any order, so good records further on prove nothing by themselves. But
 * if one of them says that the bad one had been durable before, then it was damaged since, and nothing may be cut: what
 * would be lost was acknowledged. Such a record is called a witness.
 */
import type { FileHandle, FileSystem } from "../env/env.ts";
import { readU32 } from "./fixed-width.ts";
import {
  checkLogHeader,
  faultOfRecord,
  faultOfRecordHeader,
  isWholeLogHeader,
  LOG_HEADER_BYTES,
  payloadLength,
  RECORD_DURABLE,
  RECORD_HEADER_BYTES,
  RECORD_LOG_VERSION,
  RECORD_POSITION,
  type RecordSalt,
  recordSalt,
  recordType,
} from "./record-frame.ts";
import { corrupt, newerFormat } from "./storage-error.ts";

/** What is held of a file at a time, in bytes, unless a record is longer. */
const WINDOW_BYTES = 256 * 1024;

/** Makes the error for bytes at an offset of a file that can't be what was written. */
export type Damaged = (path: string, offset: number, what: string) => Error;

export class RecordReader {
  readonly path: string;
  /** What is wrong with the file's header, if it is not whole. Then there are no records. */
  readonly headerFault: string | undefined;
  /** The header's mark; 0 if it is not whole. */
  readonly mark: number;

  /** The record that `next` found: its type, its offset in the file, and its payload `bytes[start, end)`. */
  type = 0;
  offset = 0;
  start = 0;
  end = 0;
  /**
   * Where the good records that were read end, in the file; 0 if the header is not whole. Who wants to read on behind
   * damage sets it to where the next record is.
   */
  tail: number;
  /** The last record that was read says that everything before this offset was durable when it was written. */
  vouchedFor = 0;
  /** Why reading ended; `undefined` if it was at the end of the file. */
  fault: string | undefined;

  readonly #handle: FileHandle;
  readonly #salt: RecordSalt;
  readonly #damaged: Damaged;
  #size: number;
  #window: Uint8Array;
  /** The offset in the file of the window's first byte, and how many bytes of the window are the file's. */
  #base = 0;
  #filled = 0;

  /**
   * Opens the file with this number. Throws `FileError`, `NEWER`, and what `damaged` makes of a header that is whole but not that
   * of such a file: that is no torn tail, whatever follows.
   */
  constructor(fs: FileSystem, path: string, magic: string, number: number, damaged: Damaged = corrupt) {
    this.path = path;
    this.#damaged = damaged;
    this.#salt = recordSalt(number);
    this.#handle = fs.open(path, "read");
    try {
      this.#size = this.#handle.size();
      this.#window = new Uint8Array(Math.min(WINDOW_BYTES, this.#size));
      const at = this.#load(0, Math.min(LOG_HEADER_BYTES, this.#size));
      const header = this.#window.subarray(at, at + LOG_HEADER_BYTES);
      if (isWholeLogHeader(header)) {
        const checked = checkLogHeader(header, magic, number);
        if (typeof checked !== "number") {
          const { offset, fault, newerVersion } = checked;
          if (newerVersion !== undefined) throw newerFormat(path, newerVersion, RECORD_LOG_VERSION);
          throw damaged(path, offset, fault);
        }
        this.headerFault = undefined;
        this.mark = checked;
        this.tail = LOG_HEADER_BYTES;
      } else {
        this.headerFault =
          this.#size < LOG_HEADER_BYTES
            ? `${this.#size} bytes are too few for a header`
            : "the header's checksum is wrong";
        this.mark = 0;
        this.tail = 0;
      }
    } catch (error) {
      this.#handle.close();
      throw error;
    }
  }

  /** Length of the file, or of what counts of it, in bytes. */
  get size(): number {
    return this.#size;
  }

  /** The part of the file in memory; `start` and `end` are places in it. Changes with `next`. */
  get bytes(): Uint8Array {
    return this.#window;
  }

  /** Where in the file `bytes` begins. */
  get base(): number {
    return this.#base;
  }

  /** Leaves out of account what is behind `size`. A file that is not even as long is damaged. */
  limit(size: number): void {
    if (size > this.#size) {
      throw this.#damaged(this.path, this.#size, `the file ends there, but it had ${size} bytes once`);
    }
    this.#size = size;
  }

  /** Goes to the next record; false if there is no whole one (`fault` says why, unless the file ends there). */
  next(): boolean {
    if (this.headerFault !== undefined && this.tail === 0) {
      this.fault = this.headerFault;
      return false;
    }
    if (this.tail === this.#size) {
      this.fault = undefined;
      return false;
    }
    this.fault = this.#faultAt(this.tail);
    if (this.fault !== undefined) return false;
    const at = this.tail - this.#base;
    this.type = recordType(this.#window, at);
    this.vouchedFor = readU32(this.#window, at + RECORD_DURABLE);
    this.offset = this.tail;
    this.start = at + RECORD_HEADER_BYTES;
    this.end = this.start + payloadLength(this.#window, at);
    this.tail += this.end - at;
    return true;
  }

  /**
   * After the last record: throws unless what is behind it can be the end of a write that never became durable, which
   * is so if there is no witness.
   */
  refuseUnlessTorn(): void {
    if (this.fault === undefined) return;
    const witness = this.findWitness(this.tail, this.tail);
    if (witness === undefined) return;
    throw this.#damaged(
      this.path,
      this.tail,
      `${this.fault}; the record at ${witness} shows that this had been durable, so it is no torn tail`,
    );
  }

  /**
   * After the last record: throws the error for a file that should go on there. `why` tells how that is known.
   */
  refuse(why: string): never {
    throw this.#damaged(this.path, this.tail, `${this.fault ?? "the file ends there"}; ${why}`);
  }

  /** The offset of the first whole record behind `from` which says that more than `above` bytes had been durable. */
  findWitness(from: number, above: number): number | undefined {
    let next = from + 1;
    while (next + RECORD_HEADER_BYTES <= this.#size) {
      this.#load(next, RECORD_HEADER_BYTES);
      const window = this.#window;
      const base = this.#base;
      const last = base + this.#filled - RECORD_HEADER_BYTES;
      // The position is compared first: it makes all other places cheap to rule out.
      while (next <= last && readU32(window, next - base + RECORD_POSITION) !== next) next++;
      if (next > last) continue;
      const durable = readU32(window, next - base + RECORD_DURABLE);
      if (durable > above && this.#faultAt(next) === undefined) return next;
      next++;
    }
    return undefined;
  }

  close(): void {
    this.#handle.close();
  }

  /** What is wrong with the record at `position`. If nothing is, all of it is in the window. */
  #faultAt(position: number): string | undefined {
    const rest = this.#size - position;
    if (rest < RECORD_HEADER_BYTES) return `${rest} bytes are too few for a record's header`;
    const header = this.#load(position, RECORD_HEADER_BYTES);
    const fault = faultOfRecordHeader(this.#window, header, position, this.#salt);
    if (fault !== undefined) return fault;
    const length = payloadLength(this.#window, header);
    if (length > rest - RECORD_HEADER_BYTES) return `a record of ${length} bytes does not fit into the file`;
    const start = this.#load(position, RECORD_HEADER_BYTES + length);
    return faultOfRecord(this.#window, start, start + RECORD_HEADER_BYTES + length, this.#salt);
  }

  /** Sees to it that the bytes of the file from `position` on are in the window; returns where. */
  #load(position: number, length: number): number {
    if (position >= this.#base && position + length <= this.#base + this.#filled)
      return position - this.#base;
    if (length > this.#window.length) this.#window = new Uint8Array(length);
    this.#base = position;
    this.#filled = this.#handle.read(
      this.#window,
      0,
      Math.min(this.#window.length, this.#size - position),
      position,
    );
    if (this.#filled < length)
      throw this.#damaged(
        this.path,
        position + this.#filled,
        "the file has become shorter while it was read",
      );
    return 0;
  }
}
