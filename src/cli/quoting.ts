/**
 * Bytes as text that a person can read and type back. What is printed stands in double quotes; `\"`, `\\`, `\n`, `\r`,
 * `\t`, `\a`, `\b` and `\xNN` stand for bytes, as in redis-cli. UTF-8 characters that show as something are printed as
 * they are. What is typed may be plain words, or in double quotes with the same escapes, or in single quotes, where only
 * `\'` and `\\` are escapes.
 */
import { fromUtf8, utf8 } from "../lib/bytes.ts";

/** A word of a line, and whether it stood in quotes. */
export interface Word {
  readonly bytes: Uint8Array;
  readonly quoted: boolean;
}

export type SplitLine =
  | { readonly kind: "words"; readonly words: readonly Word[] }
  | { readonly kind: "malformed"; readonly message: string };

const SHORT_ESCAPES: Readonly<Record<number, string>> = {
  7: "\\a",
  8: "\\b",
  9: "\\t",
  10: "\\n",
  13: "\\r",
  34: '\\"',
  92: "\\\\",
};
const ESCAPED_BYTES: Readonly<Record<string, number>> = { a: 7, b: 8, t: 9, n: 10, r: 13 };
/** Controls, private use, unassigned, and spaces other than the common one: nothing that a reader could tell apart. */
const INVISIBLE = /[\p{C}\p{Z}]/u;
/** A word of these needs no quotes. */
const PLAIN = /^[^\s"'\\-][^\s"'\\]*$/u;

/** `bytes` in double quotes, so that `splitLine` reads the same bytes. */
export function quote(bytes: Uint8Array): string {
  return `"${escapeBytes(bytes)}"`;
}

/** `bytes` as they have to be typed: without quotes where none are needed. */
export function quoteIfNeeded(bytes: Uint8Array): string {
  const text = escapeBytes(bytes);
  return PLAIN.test(text) ? text : `"${text}"`;
}

function escapeBytes(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const byte = bytes[at]!;
    const short = SHORT_ESCAPES[byte];
    if (short !== undefined) {
      text += short;
      at++;
    } else if (byte >= 0x20 && byte < 0x7f) {
      text += String.fromCharCode(byte);
      at++;
    } else {
      const length = utf8Length(byte);
      const character = length === 0 ? "" : visibleCharacter(bytes.subarray(at, at + length));
      text += character === "" ? `\\x${byte.toString(16).padStart(2, "0")}` : character;
      at += character === "" ? 1 : length;
    }
  }
  return text;
}

/** The length of the UTF-8 character that begins with `byte`; 0 for ASCII and for what begins none. */
function utf8Length(byte: number): number {
  if (byte >= 0xc2 && byte <= 0xdf) return 2;
  if (byte >= 0xe0 && byte <= 0xef) return 3;
  return byte >= 0xf0 && byte <= 0xf4 ? 4 : 0;
}

/** The one character that `bytes` are, if they are one and it can be seen; else empty. */
function visibleCharacter(bytes: Uint8Array): string {
  const text = fromUtf8(bytes);
  const isOne = text.length === (bytes.length === 4 ? 2 : 1) && !text.includes("\ufffd");
  return isOne && !INVISIBLE.test(text) ? text : "";
}

/** Splits a line into words. */
export function splitLine(line: string): SplitLine {
  const words: Word[] = [];
  let at = 0;
  for (;;) {
    while (at < line.length && isSpace(line[at]!)) at++;
    if (at >= line.length) return { kind: "words", words };
    const mark = line[at]!;
    if (mark !== '"' && mark !== "'") {
      const start = at;
      while (at < line.length && !isSpace(line[at]!)) at++;
      words.push({ bytes: utf8(line.slice(start, at)), quoted: false });
      continue;
    }
    const end = quotedEnd(line, at);
    if (end < 0) return { kind: "malformed", message: `the ${mark} at column ${at + 1} is not closed` };
    const next = line[end];
    if (next !== undefined && !isSpace(next)) {
      return { kind: "malformed", message: `a space is missing after the ${mark} at column ${end}` };
    }
    const inner = line.slice(at + 1, end - 1);
    words.push({
      bytes: mark === '"' ? unescapeText(inner) : utf8(inner.replace(/\\(['\\])/g, "$1")),
      quoted: true,
    });
    at = end;
  }
}

const isSpace = (character: string): boolean => /\s/.test(character);

/** The position after the quote that closes the one at `start`; -1 if none does. */
function quotedEnd(line: string, start: number): number {
  for (let at = start + 1; at < line.length; at++) {
    if (line[at] === "\\") at++;
    else if (line[at] === line[start]) return at + 1;
  }
  return -1;
}

/** What stands in double quotes, as bytes. A backslash before anything else stands for what follows it. */
export function unescapeText(text: string): Uint8Array {
  const parts: Uint8Array[] = [];
  let plainFrom = 0;
  let at = 0;
  const replace = (length: number, byte: number): void => {
    parts.push(utf8(text.slice(plainFrom, at)), Uint8Array.of(byte));
    at += length;
    plainFrom = at;
  };
  while (at < text.length) {
    if (text[at] !== "\\" || at + 1 === text.length) {
      at++;
      continue;
    }
    const hex = /^x([0-9A-Fa-f]{2})/.exec(text.slice(at + 1, at + 4));
    const byte = ESCAPED_BYTES[text[at + 1]!];
    if (hex !== null) {
      replace(4, Number.parseInt(hex[1]!, 16));
    } else if (byte !== undefined) {
      replace(2, byte);
    } else {
      parts.push(utf8(text.slice(plainFrom, at)));
      plainFrom = at + 1;
      at += 2;
    }
  }
  parts.push(utf8(text.slice(plainFrom)));
  return new Uint8Array(Buffer.concat(parts));
}
