/**
 * One file of the Raft log, and the format of its records. `docs/formats/raft-log.md` is the description.
 *
 * A segment is a header and then records. A record is what one flush of the log store wrote: the entries and hard states
 * of all groups that had work at that moment. Records are written one behind the other and each says up to which offset
 * of the segment everything was durable when it was written. That tells a torn tail from damage: an unreadable record
 * that a later, readable one declares durable was once on disk, so the disk has lost it, and cutting it away would lose
 * what was acknowledged. An unreadable record that nothing vouches for was never acknowledged and is cut.
 *
 * A segment's file may be longer than the segment: it is allocated ahead, and may have been another segment's. So each
 * record says which segment it belongs to, and each header where the segment before ended.
 */

import { ByteWriter } from "../../protocol/cbor.ts";
import type { FileHandle } from "../env/env.ts";
import { xxh64 } from "../lib/hash.ts";

export const SEGMENT_MAGIC = 0xf1_10_67_01;
export const SEGMENT_HEADER_BYTES = 32;
const FORMAT_VERSION = 1;
export const RECORD_MAGIC = 0xf1_4c_52_31;
/** Magic, payload length, XXH64 of what follows it, durable offset, segment number. */
export const RECORD_HEADER_BYTES = 32;

/** A segment's file and how far it is filled. */
export interface Segment {
  readonly number: number;
  readonly path: string;
  readonly file: FileHandle;
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
  writer.u32(RECORD_MAGIC);
  writer.u32(0);
  for (let at = writer.length; at < RECORD_HEADER_BYTES; at += 4) writer.u32(0);
}

/** Fills in the header of the record in `writer`, which goes into segment `number`. */
export function sealRecord(writer: ByteWriter, number: number, durable: number): void {
  writer.patchU32(4, writer.length - RECORD_HEADER_BYTES);
  patchU64(writer, 16, durable);
  patchU64(writer, 24, number);
  patchHash(writer, 8, xxh64(writer.view(16)));
}

/** The header of segment `number`; `previousEnd` is where the one before it ended, 0 for the first. */
export function segmentHeader(number: number, previousEnd: number): Uint8Array {
  const writer = new ByteWriter();
  writer.u32(SEGMENT_MAGIC);
  writer.u32(FORMAT_VERSION);
  writeU64(writer, number);
  writeU64(writer, previousEnd);
  const hash = xxh64(writer.view());
  writeU64(writer, 0);
  patchHash(writer, 24, hash);
  return writer.copy();
}

/** Overwrites the eight bytes at `at`. */
export function patchU64(writer: ByteWriter, at: number, value: number): void {
  writer.patchU32(at, Math.floor(value / 0x1_0000_0000));
  writer.patchU32(at + 4, value >>> 0);
}

function patchHash(writer: ByteWriter, at: number, hash: bigint): void {
  writer.patchU32(at, Number(hash >> 32n));
  writer.patchU32(at + 4, Number(hash & 0xffff_ffffn));
}

/** Where a record lies in its segment. */
export interface RecordPlace {
  readonly start: number;
  readonly payloadStart: number;
  readonly end: number;
  /** Everything before this offset was on disk when the record was written. */
  readonly durable: number;
}

/** The record at `at`, or `undefined` if there is no whole and sound one. */
function parseRecord(bytes: Uint8Array, view: DataView, at: number, number: number): RecordPlace | undefined {
  if (at + RECORD_HEADER_BYTES > bytes.length || view.getUint32(at) !== RECORD_MAGIC) return undefined;
  const end = at + RECORD_HEADER_BYTES + view.getUint32(at + 4);
  if (end > bytes.length) return undefined;
  if (readU64(view, at + 24) !== number) return undefined;
  if (xxh64(bytes.subarray(at + 16, end)) !== view.getBigUint64(at + 8)) return undefined;
  return { start: at, payloadStart: at + RECORD_HEADER_BYTES, end, durable: readU64(view, at + 16) };
}

/**
 * Calls `visit` for every record of a segment's bytes, in order. Returns the offset behind the last one.
 *
 * `last`: this is the newest segment, whose tail may be torn. Anything else that can't be read throws `LogDamageError`.
 */
export function readRecords(
  bytes: Uint8Array,
  path: string,
  number: number,
  last: boolean,
  visit: (place: RecordPlace, view: DataView) => void,
): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  checkHeader(bytes, view, path, number);
  let at = SEGMENT_HEADER_BYTES;
  while (at < bytes.length) {
    const record = parseRecord(bytes, view, at, number);
    if (record === undefined) {
      if (!last)
        throw damaged(path, at, "the record there cannot be read, though the log goes on in a later segment");
      const witness = findWitness(bytes, view, at, number);
      if (witness === undefined) break;
      throw damaged(
        path,
        at,
        `the record there cannot be read, though the one at ${witness} says that it was durable`,
      );
    }
    visit(record, view);
    at = record.end;
  }
  return at;
}

/**
 * Whether a crash came while the newest segment was being begun: its header or its first record is not there, and nothing
 * in it says that they ever were durable. Nothing was acknowledged through such a segment.
 */
export function wasInterrupted(bytes: Uint8Array, number: number): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const first = isSoundHeader(bytes, view)
    ? parseRecord(bytes, view, SEGMENT_HEADER_BYTES, number)
    : undefined;
  return first === undefined && findWitness(bytes, view, 0, number) === undefined;
}

/** Where the segment before this one ended, from this one's first bytes. */
export function previousEnd(header: Uint8Array, path: string, number: number): number {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  checkHeader(header, view, path, number);
  return readU64(view, 16);
}

function isSoundHeader(bytes: Uint8Array, view: DataView): boolean {
  return bytes.length >= SEGMENT_HEADER_BYTES && xxh64(bytes.subarray(0, 24)) === view.getBigUint64(24);
}

function checkHeader(bytes: Uint8Array, view: DataView, path: string, number: number): void {
  if (bytes.length < SEGMENT_HEADER_BYTES) throw damaged(path, 0, "the segment header is cut short");
  if (view.getUint32(0) !== SEGMENT_MAGIC) throw damaged(path, 0, "this is not a segment of a Raft log");
  if (!isSoundHeader(bytes, view)) throw damaged(path, 0, "the segment header is damaged");
  const version = view.getUint32(4);
  if (version !== FORMAT_VERSION) {
    throw damaged(
      path,
      4,
      `format version ${version} is not known to this program, which reads ${FORMAT_VERSION}`,
    );
  }
  if (readU64(view, 8) !== number) throw damaged(path, 8, `the header says segment ${readU64(view, 8)}`);
}

/** The first sound record behind `from` that was written when everything up to beyond `from` was durable. */
function findWitness(bytes: Uint8Array, view: DataView, from: number, number: number): number | undefined {
  for (let at = from + 1; at + RECORD_HEADER_BYTES <= bytes.length; at++) {
    if (bytes[at] !== RECORD_MAGIC >>> 24 || view.getUint32(at) !== RECORD_MAGIC) continue;
    const record = parseRecord(bytes, view, at, number);
    if (record !== undefined && record.durable > from) return at;
  }
  return undefined;
}

function damaged(path: string, at: number, what: string): LogDamageError {
  return new LogDamageError(`cannot read the Raft log: ${path}, offset ${at}: ${what}`);
}
