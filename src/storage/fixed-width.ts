/**
 * Little-endian numbers in byte arrays, as all file formats use them. The offsets are the caller's responsibility: on
 * these paths a bounds check was made before, or a checksum vouches for the bytes.
 */
import { assert } from "../lib/assert.ts";

export function readU32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

/** A u64 as a number; asserts that it is a safe integer. */
export function readU64(bytes: Uint8Array, at: number): number {
  const value = readU32(bytes, at + 4) * 0x1_0000_0000 + readU32(bytes, at);
  assert(Number.isSafeInteger(value), `u64 at ${at} is above 2^53`);
  return value;
}

export function writeU64(bytes: Uint8Array, at: number, value: number): void {
  writeU32(bytes, at, value >>> 0);
  writeU32(bytes, at + 4, Math.floor(value / 0x1_0000_0000));
}

/**
 * A BigInt, and its halves, the low one first, as on all machines that Bun runs on. Arithmetic would make a new BigInt at
 * every step.
 */
const whole = new BigUint64Array(1);
const halves = new Uint32Array(whole.buffer);

/** A u64 of which all 64 bits matter: a checksum. */
export function readBigU64(bytes: Uint8Array, at: number): bigint {
  halves[0] = readU32(bytes, at);
  halves[1] = readU32(bytes, at + 4);
  return whole[0]!;
}

export function writeBigU64(bytes: Uint8Array, at: number, value: bigint): void {
  whole[0] = value;
  writeU32(bytes, at, halves[0]!);
  writeU32(bytes, at + 4, halves[1]!);
}

/** Writes a number below 2^32 in 7-bit groups, low ones first; returns the offset after it. At most 5 bytes. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  let rest = value >>> 0;
  let offset = at;
  while (rest >= 0x80) {
    bytes[offset++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[offset++] = rest;
  return offset;
}

/** A byte array that grows: what the writers of blocks, records and edits build their output in. */
export class GrowingBytes {
  bytes: Uint8Array;
  length = 0;

  constructor(capacity = 256) {
    this.bytes = new Uint8Array(capacity);
  }

  /** Makes room for `more` bytes after `length`; the content stays. */
  reserve(more: number): void {
    const needed = this.length + more;
    if (needed <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, this.bytes.length * 2));
    larger.set(this.bytes.subarray(0, this.length));
    this.bytes = larger;
  }

  u8(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }

  u32(value: number): void {
    this.reserve(4);
    writeU32(this.bytes, this.length, value);
    this.length += 4;
  }

  u64(value: number): void {
    this.reserve(8);
    writeU64(this.bytes, this.length, value);
    this.length += 8;
  }

  /** Copies `source[start, end)`. */
  append(source: Uint8Array, start = 0, end = source.length): void {
    this.reserve(end - start);
    copyBytes(this.bytes, this.length, source, start, end);
    this.length += end - start;
  }

  /** A length as u32, then the bytes. */
  prefixed(source: Uint8Array): void {
    this.u32(source.length);
    this.append(source);
  }

  /** What was written, borrowed until the next write. */
  view(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}

const copy = Buffer.prototype.copy;

/**
 * Copies `source[start, end)` to `target` at `at`, where there is room for it. Very short pieces go byte by byte; others
 * without a view being made, which would cost more than the copy.
 */
export function copyBytes(
  target: Uint8Array,
  at: number,
  source: Uint8Array,
  start: number,
  end: number,
): void {
  const length = end - start;
  if (length <= 16) for (let i = 0; i < length; i++) target[at + i] = source[start + i]!;
  else copy.call(source, target, at, start, end);
}
