/**
 * The bytes that leave and the bytes that arrive.
 *
 * Frame bodies are CBOR (RFC 8949). The frequent ones are written and read by the two classes here, one primitive at a
 * time and straight from and into a buffer: no object tree, no options, no allocation but the byte strings' views. What
 * they write is the preferred serialization (shortest form, definite lengths, but for the one array that says else), so
 * any CBOR library reads it, and they read what any CBOR library writes for the same shape.
 *
 * The reader trusts nothing: each length is compared with the bytes that are there before it is used.
 */
import { assert } from "../src/lib/assert.ts";
import { utf8 } from "../src/lib/bytes.ts";
import { ProtocolError } from "./errors.ts";

const INITIAL_BYTES = 4096;
/** A buffer larger than this is given back at `reset`: one huge reply must not be paid for as long as a connection lives. */
const KEPT_BYTES_MAX = 1024 * 1024;

const UINT = 0x00;
const NEGATIVE = 0x20;
const BYTES = 0x40;
const TEXT = 0x60;
const ARRAY = 0x80;
const INDEFINITE_ARRAY = 0x9f;
const FALSE = 0xf4;
const TRUE = 0xf5;
const NIL = 0xf6;
const BREAK = 0xff;

const U32_RANGE = 0x1_0000_0000;

/** A growing output buffer: raw big-endian integers and bytes, and CBOR items. */
export class ByteWriter {
  #bytes: Uint8Array;
  #numbers: DataView;
  #length = 0;
  readonly #initialBytes: number;

  constructor(initialBytes = INITIAL_BYTES) {
    this.#initialBytes = initialBytes;
    this.#bytes = new Uint8Array(initialBytes);
    this.#numbers = new DataView(this.#bytes.buffer);
  }

  /** Bytes written since the last `reset`. */
  get length(): number {
    return this.#length;
  }

  /** Bytes of memory that the writer holds. */
  get capacity(): number {
    return this.#bytes.length;
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  u16(value: number): void {
    this.#reserve(2);
    this.#numbers.setUint16(this.#length, value);
    this.#length += 2;
  }

  u32(value: number): void {
    this.#reserve(4);
    this.#numbers.setUint32(this.#length, value);
    this.#length += 4;
  }

  /** Writes `bytes` as they are. They are copied. */
  append(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Writes one byte for each character. All of them must be below U+0100. */
  ascii(text: string): void {
    this.#reserve(text.length);
    const bytes = this.#bytes;
    let at = this.#length;
    for (let i = 0; i < text.length; i++) bytes[at++] = text.charCodeAt(i);
    this.#length = at;
  }

  /** Overwrites four bytes that were written at `at`. */
  patchU32(at: number, value: number): void {
    this.#numbers.setUint32(at, value);
  }

  /** CBOR: an array of `count` items follows. */
  arrayHeader(count: number): void {
    this.#head(ARRAY, count);
  }

  /** CBOR: items follow, up to `endArray`. */
  beginArray(): void {
    this.u8(INDEFINITE_ARRAY);
  }

  endArray(): void {
    this.u8(BREAK);
  }

  /** CBOR: an unsigned integer, at most 2^53 - 1. */
  uint(value: number): void {
    if (!(value >= 0 && value <= Number.MAX_SAFE_INTEGER && Math.floor(value) === value)) {
      assert(false, `cannot write ${value} as an unsigned integer`);
    }
    this.#head(UINT, value);
  }

  /** CBOR: an integer from -2^64 to 2^64 - 1; a `number` must be a safe one. */
  int(value: bigint | number): void {
    const safe = Number(value);
    if (Number.isSafeInteger(safe)) {
      if (safe >= 0) this.#head(UINT, safe);
      else this.#head(NEGATIVE, -1 - safe);
      return;
    }
    assert(typeof value === "bigint", `cannot write ${value} as an integer`);
    const magnitude = value >= 0n ? value : -1n - value;
    assert(magnitude < 1n << 64n, `cannot write ${value} as an integer of 64 bits`);
    this.#reserve(9);
    this.#bytes[this.#length] = (value >= 0n ? UINT : NEGATIVE) | 27;
    this.#numbers.setBigUint64(this.#length + 1, magnitude);
    this.#length += 9;
  }

  /** CBOR: a byte string. `value` is copied. */
  bytes(value: Uint8Array): void {
    this.#head(BYTES, value.length);
    this.append(value);
  }

  /** CBOR: a text string. */
  text(value: string): void {
    const encoded = utf8(value);
    this.#head(TEXT, encoded.length);
    this.append(encoded);
  }

  /** CBOR: true or false. */
  bool(value: boolean): void {
    this.u8(value ? TRUE : FALSE);
  }

  /** CBOR: null. */
  nil(): void {
    this.u8(NIL);
  }

  /** What was written, from `start` up to `end`. Borrowed: good until the next write or `reset`. */
  view(start = 0, end = this.#length): Uint8Array {
    return this.#bytes.subarray(start, end);
  }

  /** A copy of what was written, owned by the caller. */
  copy(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** Forgets what was written from `length` on. */
  truncate(length: number): void {
    assert(length <= this.#length, `cannot truncate ${this.#length} written bytes to ${length}`);
    this.#length = length;
  }

  /** Forgets what was written, and gives back memory if there was unusually much of it. */
  reset(): void {
    this.#length = 0;
    if (this.#bytes.length > KEPT_BYTES_MAX) this.#replace(new Uint8Array(this.#initialBytes));
  }

  #head(major: number, value: number): void {
    this.#reserve(9);
    const bytes = this.#bytes;
    let at = this.#length;
    if (value < 24) {
      bytes[at++] = major | value;
    } else if (value < 0x100) {
      bytes[at++] = major | 24;
      bytes[at++] = value;
    } else if (value < 0x1_0000) {
      bytes[at++] = major | 25;
      bytes[at++] = value >>> 8;
      bytes[at++] = value;
    } else if (value < U32_RANGE) {
      bytes[at] = major | 26;
      this.#numbers.setUint32(at + 1, value);
      at += 5;
    } else {
      bytes[at] = major | 27;
      this.#numbers.setUint32(at + 1, Math.floor(value / U32_RANGE));
      this.#numbers.setUint32(at + 5, value >>> 0);
      at += 9;
    }
    this.#length = at;
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes > this.#bytes.length) this.#grow(this.#length + bytes);
  }

  #grow(needed: number): void {
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#replace(larger);
  }

  #replace(bytes: Uint8Array<ArrayBuffer>): void {
    this.#bytes = bytes;
    this.#numbers = new DataView(bytes.buffer);
  }
}

// A byte order mark is part of the text, as RFC 8949 has it.
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads CBOR items one by one from `buffer[start, end)`. Every method throws `ProtocolError` (BAD_REQUEST, a sentence
 * with the offset from `start`) where the bytes are not what was asked for, or end too early. The buffer is borrowed as
 * long as the reader and what it returned are used.
 */
export class CborReader {
  #buffer: Uint8Array;
  #start: number;
  #at: number;
  #end: number;

  constructor(buffer: Uint8Array, start = 0, end: number = buffer.length) {
    this.#buffer = buffer;
    this.#start = start;
    this.#at = start;
    this.#end = end;
  }

  /** Starts over, with other bytes. */
  reset(buffer: Uint8Array, start = 0, end: number = buffer.length): void {
    this.#buffer = buffer;
    this.#start = start;
    this.#at = start;
    this.#end = end;
  }

  /** Where the next item begins, as a position in the buffer. */
  get position(): number {
    return this.#at;
  }

  /** Bytes that were not read yet. */
  get remaining(): number {
    return this.#end - this.#at;
  }

  /** The number of items of the array that begins here; -1 if it goes on up to a break (see `atBreak`). */
  arrayHeader(): number {
    const at = this.#at;
    if (at < this.#end && this.#buffer[at] === INDEFINITE_ARRAY) {
      this.#at = at + 1;
      return -1;
    }
    const count = this.#head(ARRAY, "an array");
    // An item is a byte at least, so whoever allocates for `count` items has been sent that many bytes.
    if (count > this.#end - this.#at) this.#fail(at, `an array of ${count} items in ${this.remaining} bytes`);
    return count;
  }

  /** Whether an array without a length ends here; if so, its end is read. */
  atBreak(): boolean {
    if (this.#at >= this.#end) this.#fail(this.#at, "the end of the input inside of an array");
    if (this.#buffer[this.#at] !== BREAK) return false;
    this.#at++;
    return true;
  }

  /** An unsigned integer up to 2^53 - 1. */
  uint(): number {
    return this.#head(UINT, "an unsigned integer");
  }

  /** An integer from -2^64 to 2^64 - 1. */
  int(): bigint {
    const at = this.#at;
    const initial = at < this.#end ? this.#buffer[at]! : BREAK;
    const negative = (initial & 0xe0) === NEGATIVE;
    let magnitude: bigint;
    // The general head refuses what a number can't hold; the widest form is therefore read here.
    if ((initial & 0xdf) === (UINT | 27)) {
      if (this.#end - at < 9) this.#truncated(at, "an integer");
      magnitude = (BigInt(this.#u32(at + 1)) << 32n) | BigInt(this.#u32(at + 5));
      this.#at = at + 9;
    } else {
      magnitude = BigInt(this.#head(negative ? NEGATIVE : UINT, "an integer"));
    }
    return negative ? -1n - magnitude : magnitude;
  }

  /** A byte string, as a view of the input. */
  bytes(): Uint8Array {
    return this.#slice(BYTES, "a byte string");
  }

  /** A byte string, or `undefined` for null. */
  bytesOrNil(): Uint8Array | undefined {
    return this.takeNil() ? undefined : this.bytes();
  }

  /** Whether null stands here; if so, it is read. */
  takeNil(): boolean {
    if (this.#at >= this.#end || this.#buffer[this.#at] !== NIL) return false;
    this.#at++;
    return true;
  }

  /** A text string of valid UTF-8. */
  text(): string {
    const at = this.#at;
    const encoded = this.#slice(TEXT, "a text string");
    try {
      return strictUtf8.decode(encoded);
    } catch {
      return this.#fail(at, "a text string that is not UTF-8");
    }
  }

  bool(): boolean {
    const byte = this.#at < this.#end ? this.#buffer[this.#at] : undefined;
    if (byte !== TRUE && byte !== FALSE) this.#unexpected(this.#at, "true or false");
    this.#at++;
    return byte === TRUE;
  }

  /** Throws unless everything was read. */
  expectEnd(): void {
    if (this.#at !== this.#end) this.#fail(this.#at, `${this.remaining} bytes after the last item`);
  }

  /** Throws BAD_REQUEST for the item before the current position; for callers that find a value out of its range. */
  refuse(found: string): never {
    this.#fail(this.#at, found);
  }

  #slice(major: number, wanted: string): Uint8Array {
    const at = this.#at;
    const length = this.#head(major, wanted);
    const from = this.#at;
    if (length > this.#end - from) {
      this.#fail(at, `${wanted} of ${length} bytes where ${this.#end - from} are left`);
    }
    this.#at = from + length;
    return this.#buffer.subarray(from, from + length);
  }

  /** The number in the head of an item of type `major`. */
  #head(major: number, wanted: string): number {
    const at = this.#at;
    if (at >= this.#end) this.#truncated(at, wanted);
    const buffer = this.#buffer;
    const low = buffer[at]! - major;
    if (low >= 0 && low < 24) {
      this.#at = at + 1;
      return low;
    }
    if (low < 0 || low > 27) this.#unexpected(at, wanted);
    const bytes = 1 << (low - 24);
    if (this.#end - at <= bytes) this.#truncated(at, wanted);
    this.#at = at + 1 + bytes;
    if (bytes === 1) return buffer[at + 1]!;
    if (bytes === 2) return (buffer[at + 1]! << 8) | buffer[at + 2]!;
    if (bytes === 4) return this.#u32(at + 1);
    const high = this.#u32(at + 1);
    if (high > 0x1f_ffff) this.#fail(at, `${wanted} whose number is above 2^53 - 1`);
    return high * U32_RANGE + this.#u32(at + 5);
  }

  #u32(at: number): number {
    const buffer = this.#buffer;
    return buffer[at]! * 0x100_0000 + ((buffer[at + 1]! << 16) | (buffer[at + 2]! << 8) | buffer[at + 3]!);
  }

  #truncated(at: number, wanted: string): never {
    this.#fail(at, `the end of the input instead of ${wanted}`);
  }

  #unexpected(at: number, wanted: string): never {
    if (at >= this.#end) this.#truncated(at, wanted);
    this.#fail(at, `byte 0x${this.#buffer[at]!.toString(16).padStart(2, "0")} instead of ${wanted}`);
  }

  #fail(at: number, found: string): never {
    throw new ProtocolError("BAD_REQUEST", `malformed body: found ${found} at offset ${at - this.#start}`);
  }
}
