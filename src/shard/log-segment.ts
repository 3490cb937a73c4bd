/**
 * One file of the Raft log, and the frame of its records. `docs/formats/raft-log.md` is the description.
 *
 * A segment is a record log (`src/storage/record-frame.ts`), as the engine's own logs are. A record is what one flush of
 * the log store wrote: the entries and hard states of all groups that had work at that moment. What is a torn tail and
 * what is damage is judged by the records, which say up to which offset of the segment everything was durable when they
 * were written (see `RecordReader`).
 *
 * A segment's file may be longer than the segment: it is allocated ahead, and may have been another segment's. So each
 * header says where the segment before ended: that is its mark.
 */

import type { ByteWriter } from "../../protocol/cbor.ts";
import type { FileHandle, FileSystem } from "../env/env.ts";
import {
  encodeLogHeader,
  LOG_HEADER_BYTES,
  RECORD_HEADER_BYTES,
  type RecordSalt,
  sealRecord as seal,
} from "../storage/record-frame.ts";
import { RecordReader } from "../storage/record-reader.ts";

export const SEGMENT_MAGIC = "FLOTRAFT";
export const SEGMENT_HEADER_BYTES = LOG_HEADER_BYTES;
/** The type of all records. */
const FLUSH = 1;

/** A segment's file and how far it is filled. */
export interface Segment {
  readonly number: number;
  readonly path: string;
  file: FileHandle;
  readonly salt: RecordSalt;
  /** How much of the file's length was there before records were written; 0 if it grows with them. */
  readonly allocatedBytes: number;
  /** Where the next record goes. */
  end: number;
  /** Everything before this offset is on disk. */
  durable: number;
}

/** The log holds bytes that it cannot have written. It is never repaired by itself. */
export class LogDamageError extends Error {
  override readonly name = "LogDamageError";
}

/** Writes a number up to 2^53 - 1 as eight bytes. */
export function writeU64(writer: ByteWriter, value: number): void {
  writer.u32(Math.floor(value / 0x1_0000_0000));
  writer.u32(value >>> 0);
}

export function readU64(view: DataView, at: number): number {
  return view.getUint32(at) * 0x1_0000_0000 + view.getUint32(at + 4);
}

/** Starts a record in `writer`: leaves room for the header. The payload follows. */
export function beginRecord(writer: ByteWriter): void {
  writer.reset();
  for (let at = 0; at < RECORD_HEADER_BYTES; at++) writer.u8(0);
}

/** Fills in the header of the record in `writer`, which goes behind the last one of the segment. */
export function sealRecord(writer: ByteWriter, { salt, end, durable }: Omit<Segment, "file">): void {
  seal(writer.view(), 0, writer.length, FLUSH, end, durable, salt);
}

/** The header of segment `number`; `previousEnd` is where the one before it ended, 0 for the first. */
export function segmentHeader(number: number, previousEnd: number): Uint8Array {
  return encodeLogHeader(SEGMENT_MAGIC, number, previousEnd);
}

/** Overwrites the eight bytes at `at`. */
export function patchU64(writer: ByteWriter, at: number, value: number): void {
  writer.patchU32(at, Math.floor(value / 0x1_0000_0000));
  writer.patchU32(at + 4, value >>> 0);
}

/** Reads the segment in the file at `path`. What can't be one is a `LogDamageError`. */
export function readSegment(fs: FileSystem, path: string, number: number): RecordReader {
  return new RecordReader(fs, path, SEGMENT_MAGIC, number, damaged);
}

/**
 * Calls `visit` at every record of a segment that was opened just now, in order.
 *
 * `isLast`: this is the newest segment, whose tail may be torn. Anything else that can't be read throws `LogDamageError`.
 */
export function visitRecords(reader: RecordReader, isLast: boolean, visit: () => void): void {
  while (reader.next()) visit();
  if (reader.headerFault !== undefined) reader.refuse("the segment was there once");
  if (isLast) reader.refuseUnlessTorn();
  else if (reader.fault !== undefined) reader.refuse("the log goes on in a later segment");
}

/**
 * Whether a crash came while the newest segment was being begun: its header or its first record is not there, and nothing
 * in it says that they ever were durable. Nothing was acknowledged through such a segment.
 */
export function wasInterrupted(reader: RecordReader): boolean {
  return !reader.next() && reader.findWitness(0, 0) === undefined;
}

/** Where the segment before this one ended. */
export function previousEnd(reader: RecordReader): number {
  if (reader.headerFault !== undefined)
    throw damaged(
      reader.path,
      0,
      `${reader.headerFault}, though the segment is not the newest or was written to`,
    );
  return reader.mark;
}

function damaged(path: string, at: number, what: string): LogDamageError {
  return new LogDamageError(`cannot read the Raft log: ${path}, offset ${at}: ${what}`);
}
