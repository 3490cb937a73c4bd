/**
 * The text mode's wire: RESP2, RESP3 and inline commands, as Redis 7 reads and writes them.
 *
 * Commands are arrays of bulk strings (`*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`), or lines that begin with anything but `*`. The
 * reader keeps its place inside of an unfinished command, so every byte is looked at once however the stream is cut, and
 * long arguments are views of what arrived. It is as lenient as Redis where Redis is: the byte after a CR and the two after a
 * bulk string are skipped, not checked.
 */

import { utf8 } from "../src/lib/bytes.ts";
import type { ByteWriter } from "./cbor.ts";
import { ProtocolError } from "./errors.ts";
import {
  CLIENT_FRAME_BYTES_MAX,
  RESP_ARGUMENTS_MAX,
  RESP_INLINE_BYTES_MAX,
  VALUE_BYTES_MAX,
} from "./limits.ts";
import { plainView } from "./plain-view.ts";
import { splitInline } from "./resp-inline.ts";

/** A command and its arguments; at least one. Copies, or views of the bytes that were pushed. */
export type RespCommand = readonly Uint8Array[];

export interface RespLimits {
  readonly argumentsMax: number;
  /** Longest argument. */
  readonly bulkBytesMax: number;
  /** Longest inline command, and longest line with a length. */
  readonly inlineBytesMax: number;
  /** Longest command in all, as it is on the wire. */
  readonly commandBytesMax: number;
}

export const RESP_LIMITS: RespLimits = {
  argumentsMax: RESP_ARGUMENTS_MAX,
  bulkBytesMax: VALUE_BYTES_MAX,
  inlineBytesMax: RESP_INLINE_BYTES_MAX,
  commandBytesMax: CLIENT_FRAME_BYTES_MAX,
};

const LF = 0x0a;
const CR = 0x0d;
const DOLLAR = 0x24;
const STAR = 0x2a;
const MINUS = 0x2d;
const ZERO = 0x30;
const NOTHING = new Uint8Array(0);
/** What a line with a length is read as while it isn't all there. */
const INCOMPLETE = Number.NEGATIVE_INFINITY;
/** Arguments up to this are copied: that costs less than a view, and keeps no chunk alive for the sake of a key. */
const COPIED_BYTES_MAX = 256;
/** A buffer larger than this is not kept for the beginning of a command that fills little of it. */
const PINNED_BYTES_MAX = 16 * 1024;

/** Cuts a byte stream into commands. */
export class RespReader {
  readonly #limits: RespLimits;
  #buffer: Uint8Array = NOTHING;
  /** Where the command that is being read begins, how far it was read, and where the bytes end. */
  #start = 0;
  #at = 0;
  #end = 0;
  /** How far a line that has no end yet was searched for one. */
  #searched = 0;
  /** Arguments that the command still lacks; 0 between commands. */
  #missing = 0;
  /** Length of the argument that is being read; -1 while its length line is. */
  #bulkLength = -1;
  /** Of each argument read: where it begins, counted from the command's beginning, and its length. */
  #spans: number[] = [];

  constructor(limits: RespLimits = RESP_LIMITS) {
    this.#limits = limits;
  }

  /** Bytes that were pushed and have not left as commands. */
  get bufferedBytes(): number {
    return this.#end - this.#start;
  }

  /** Adds bytes that arrived. They belong to the reader from now on; commands may be views of them. */
  push(chunk: Uint8Array): void {
    const waiting = this.#end - this.#start;
    if (waiting === 0) {
      this.#buffer = plainView(chunk);
      this.#start = 0;
      this.#at = 0;
      this.#searched = 0;
      this.#end = chunk.length;
      return;
    }
    if (this.#end + chunk.length > this.#buffer.length) {
      // Doubling keeps the copying linear where a command comes in many pieces. Bytes that commands were made of are
      // never moved or overwritten: what follows goes to another buffer.
      const needed = waiting + chunk.length;
      this.#move(waiting > chunk.length ? 2 * needed : needed);
    }
    this.#buffer.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /**
   * The next command, or `undefined` until more has been pushed. Throws `ProtocolError`, whose message is what Redis
   * sends after `-ERR ` before it closes the connection; nothing can be read after that.
   */
  next(): RespCommand | undefined {
    for (;;) {
      if (this.#missing === 0) {
        this.#start = this.#at;
        if (this.#at === this.#end) return this.#wait();
        if (this.#buffer[this.#at] !== STAR) {
          const line = this.#readInline();
          if (line === undefined) return this.#wait();
          if (line.length > 0) return line;
          continue;
        }
        const count = this.#readLength("multibulk");
        if (count === INCOMPLETE) return this.#wait();
        if (!(count <= this.#limits.argumentsMax)) fail("invalid multibulk length");
        if (count <= 0) continue;
        this.#missing = count;
        this.#spans.length = 0;
      }
      while (this.#missing > 0) {
        if (!this.#readArgument()) return this.#wait();
      }
      return this.#command();
    }
  }

  /** Reads an argument; false if it isn't all there. */
  #readArgument(): boolean {
    if (this.#bulkLength < 0) {
      const lineAt = this.#at;
      const length = this.#readLength("bulk");
      if (length === INCOMPLETE) return false;
      if (this.#buffer[lineAt] !== DOLLAR) {
        fail(`expected '$', got '${String.fromCharCode(this.#buffer[lineAt]!)}'`);
      }
      if (!(length >= 0 && length <= this.#limits.bulkBytesMax)) fail("invalid bulk length");
      if (this.#at - this.#start + length > this.#limits.commandBytesMax) {
        throw new ProtocolError(
          "TOO_LARGE",
          `Protocol error: too big command, more than ${this.#limits.commandBytesMax} bytes`,
        );
      }
      this.#bulkLength = length;
    }
    const next = this.#at + this.#bulkLength + 2;
    if (next > this.#end) return false;
    this.#spans.push(this.#at - this.#start, this.#bulkLength);
    this.#at = next;
    this.#searched = next;
    this.#bulkLength = -1;
    this.#missing--;
    return true;
  }

  #command(): RespCommand {
    const spans = this.#spans;
    const command: Uint8Array[] = [];
    for (let i = 0; i < spans.length; i += 2) {
      const from = this.#start + spans[i]!;
      const to = from + spans[i + 1]!;
      command.push(
        to - from > COPIED_BYTES_MAX ? this.#buffer.subarray(from, to) : this.#buffer.slice(from, to),
      );
    }
    // One command of very many arguments must not be paid for as long as the connection lives.
    if (spans.length > 1024) this.#spans = [];
    this.#start = this.#at;
    return command;
  }

  /**
   * Reads the line at the current place: one byte of any kind, then a number. INCOMPLETE: its end isn't there; NaN: not a
   * number.
   */
  #readLength(what: "multibulk" | "bulk"): number {
    const buffer = this.#buffer;
    let at = Math.max(this.#at + 1, this.#searched);
    while (at < this.#end && buffer[at] !== CR) at++;
    this.#searched = at;
    if (at + 1 >= this.#end) {
      if (at >= this.#end && this.#end - this.#at > this.#limits.inlineBytesMax) {
        fail(what === "bulk" ? "too big bulk count string" : "too big mbulk count string");
      }
      return INCOMPLETE;
    }
    const value = parseInteger(buffer, this.#at + 1, at);
    this.#at = at + 2;
    this.#searched = this.#at;
    return value;
  }

  /** The arguments of the line at the current place, perhaps none; `undefined`: the line's end isn't there. */
  #readInline(): Uint8Array[] | undefined {
    const buffer = this.#buffer;
    let at = Math.max(this.#at, this.#searched);
    while (at < this.#end && buffer[at] !== LF) at++;
    this.#searched = at;
    if (at === this.#end) {
      if (this.#end - this.#at > this.#limits.inlineBytesMax) fail("too big inline request");
      return undefined;
    }
    const end = at > this.#at && buffer[at - 1] === CR ? at - 1 : at;
    const parts = splitInline(buffer.subarray(this.#at, end));
    if (parts === undefined) fail("unbalanced quotes in request");
    this.#at = at + 1;
    this.#searched = this.#at;
    this.#start = this.#at;
    return parts;
  }

  /** Nothing more to read: lets go of memory that a waiting connection does not need. */
  #wait(): undefined {
    const waiting = this.#end - this.#start;
    if (waiting === 0) {
      this.#buffer = NOTHING;
      this.#start = 0;
      this.#at = 0;
      this.#searched = 0;
      this.#end = 0;
    } else if (this.#buffer.length > PINNED_BYTES_MAX && waiting * 4 < this.#buffer.length) {
      this.#move(waiting);
    }
    return undefined;
  }

  /** Moves what waits to the beginning of a new buffer. */
  #move(capacity: number): void {
    const buffer = new Uint8Array(capacity);
    buffer.set(this.#buffer.subarray(this.#start, this.#end));
    this.#buffer = buffer;
    this.#at -= this.#start;
    this.#searched = Math.max(0, this.#searched - this.#start);
    this.#end -= this.#start;
    this.#start = 0;
  }
}

/** A decimal integer of 64 bits as Redis has it: no sign but `-`, no leading zeros, no blanks. NaN: it is none. */
function parseInteger(bytes: Uint8Array, from: number, to: number): number {
  let at = from;
  const negative = bytes[at] === MINUS && at < to;
  if (negative) at++;
  const digits = to - at;
  if (digits <= 0 || digits > 19) return Number.NaN;
  if (bytes[at] === ZERO) return digits === 1 && !negative ? 0 : Number.NaN;
  let value = 0;
  for (; at < to; at++) {
    const digit = bytes[at]! - ZERO;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = value * 10 + digit;
  }
  return negative ? -value : value;
}

function fail(message: string): never {
  throw new ProtocolError("BAD_REQUEST", `Protocol error: ${message}`);
}

/** Writes replies. What RESP2 has no type for is written as Redis writes it to a client that didn't ask for RESP3. */
export class RespWriter {
  /** 2, until HELLO 3. */
  protocolVersion: 2 | 3 = 2;
  readonly #out: ByteWriter;

  constructor(out: ByteWriter) {
    this.#out = out;
  }

  /** `+OK`. Line breaks become spaces. */
  simple(text: string): void {
    this.#line("+", text);
  }

  /** `-ERR what is wrong`: `text` begins with the error's code. Line breaks become spaces. */
  error(text: string): void {
    this.#line("-", text);
  }

  integer(value: number | bigint): void {
    this.#number(":", value);
  }

  /** A byte string. `bytes` is copied. */
  bulk(bytes: Uint8Array): void {
    this.#number("$", bytes.length);
    this.#out.append(bytes);
    this.#out.u16(CRLF);
  }

  /** A byte string from text. */
  text(text: string): void {
    this.bulk(utf8(text));
  }

  /** A missing value. */
  nullBulk(): void {
    this.#out.ascii(this.protocolVersion === 3 ? "_\r\n" : "$-1\r\n");
  }

  /** `count` items follow. */
  arrayHeader(count: number): void {
    this.#number("*", count);
  }

  /** `count` pairs follow; in RESP2 an array of twice as many items. */
  mapHeader(count: number): void {
    if (this.protocolVersion === 3) this.#number("%", count);
    else this.#number("*", count * 2);
  }

  /** `count` items follow, in no order that matters; in RESP2 an array. */
  setHeader(count: number): void {
    this.#number(this.protocolVersion === 3 ? "~" : "*", count);
  }

  /** In RESP2 the integers 1 and 0. */
  boolean(value: boolean): void {
    if (this.protocolVersion === 3) this.#out.ascii(value ? "#t\r\n" : "#f\r\n");
    else this.integer(value ? 1 : 0);
  }

  /** In RESP2 a bulk string. */
  double(value: number): void {
    const text = Number.isFinite(value)
      ? String(value)
      : Number.isNaN(value)
        ? "nan"
        : value > 0
          ? "inf"
          : "-inf";
    if (this.protocolVersion === 3) this.#out.ascii(`,${text}\r\n`);
    else this.text(text);
  }

  /** Text for people (INFO, CLUSTER NODES); in RESP2 a bulk string. */
  verbatim(text: string): void {
    const encoded = utf8(text);
    if (this.protocolVersion === 2) {
      this.bulk(encoded);
      return;
    }
    this.#number("=", encoded.length + 4);
    this.#out.ascii("txt:");
    this.#out.append(encoded);
    this.#out.u16(CRLF);
  }

  #line(sign: string, text: string): void {
    this.#out.ascii(sign);
    if (isPlain(text)) this.#out.ascii(text);
    else this.#out.append(utf8(text.replace(/[\r\n]/g, " ")));
    this.#out.u16(CRLF);
  }

  #number(sign: string, value: number | bigint): void {
    this.#out.ascii(sign);
    this.#out.ascii(String(value));
    this.#out.u16(CRLF);
  }
}

const CRLF = 0x0d0a;

/** Whether a line is ASCII without line breaks: nearly all are, and take no encoder. */
function isPlain(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f || code === CR || code === LF) return false;
  }
  return true;
}
