/**
 * The first bytes of a binary connection. The first one, 0xF1, never begins a Redis command, so that both protocols
 * live on one port. The caller says what it is and which versions it speaks; the node answers with the version that it
 * chose, or with an error and a sentence, and closes. Nothing else is sent before that answer has come.
 */
import { fromUtf8, utf8 } from "../src/lib/bytes.ts";
import { ERRORS, type ErrorName, errorName } from "./errors.ts";

/** The newest version of the protocol that this code speaks; the oldest one, too, so far. */
export const PROTOCOL_VERSION = 1;
/** Length of a caller's preamble. */
export const PREAMBLE_BYTES = 8;
/** The first byte of a binary connection. */
export const PREAMBLE_FIRST_BYTE = 0xf1;

const MAGIC = [PREAMBLE_FIRST_BYTE, 0x46, 0x4c, 0x54] as const;
/** Magic, status, version, length of the sentence. */
const REPLY_HEADER_BYTES = 8;

export type PreambleRole = "client" | "peer";
const ROLE_NUMBERS = { client: 1, peer: 2 } as const satisfies Record<PreambleRole, number>;

export type Preamble =
  | { readonly kind: "incomplete" }
  | {
      readonly kind: "preamble";
      readonly role: PreambleRole;
      /** The lowest and the highest version that the caller speaks. */
      readonly low: number;
      readonly high: number;
      /** Bytes that the preamble took. */
      readonly length: number;
    }
  | { readonly kind: "malformed"; readonly message: string };

export type PreambleReply =
  | { readonly kind: "incomplete" }
  | {
      readonly kind: "reply";
      /** Why the node closes the connection; `undefined`: it accepts. */
      readonly error: ErrorName | undefined;
      /** The version to speak; 0 with an error. */
      readonly version: number;
      readonly message: string;
      /** Bytes that the reply took. */
      readonly length: number;
    }
  | { readonly kind: "malformed"; readonly message: string };

/** What a caller sends first. The result is owned by the caller. */
export function encodePreamble(
  role: PreambleRole,
  low = PROTOCOL_VERSION,
  high = PROTOCOL_VERSION,
): Uint8Array {
  return Uint8Array.of(...MAGIC, ROLE_NUMBERS[role], low, high, 0);
}

/** Reads a caller's preamble from `bytes[at, ...)`. `malformed` comes as soon as a byte is wrong. */
export function parsePreamble(bytes: Uint8Array, at: number): Preamble {
  const wrong = wrongMagic(bytes, at);
  if (wrong !== undefined) return { kind: "malformed", message: wrong };
  if (bytes.length - at < PREAMBLE_BYTES) return { kind: "incomplete" };
  const role = bytes[at + 4]!;
  const low = bytes[at + 5]!;
  const high = bytes[at + 6]!;
  if (role !== ROLE_NUMBERS.client && role !== ROLE_NUMBERS.peer) {
    return { kind: "malformed", message: `the preamble has role ${role}, there are 1 (client) and 2 (peer)` };
  }
  if (low === 0 || low > high) {
    return { kind: "malformed", message: `the preamble offers versions ${low} to ${high}` };
  }
  if (bytes[at + 7] !== 0) {
    return { kind: "malformed", message: `the preamble's last byte is ${bytes[at + 7]} instead of 0` };
  }
  return {
    kind: "preamble",
    role: role === ROLE_NUMBERS.client ? "client" : "peer",
    low,
    high,
    length: PREAMBLE_BYTES,
  };
}

/** The highest version that both sides speak; `undefined` if there is none. */
export function chooseVersion(
  low: number,
  high: number,
  ourLow = PROTOCOL_VERSION,
  ourHigh = PROTOCOL_VERSION,
): number | undefined {
  const version = Math.min(high, ourHigh);
  return version >= Math.max(low, ourLow) ? version : undefined;
}

/** A node's answer: `error` undefined and a version, or an error and a sentence that says why. */
export function encodePreambleReply(error: ErrorName | undefined, version: number, message = ""): Uint8Array {
  const sentence = utf8(message).subarray(0, 0xffff);
  const reply = new Uint8Array(REPLY_HEADER_BYTES + sentence.length);
  reply.set(MAGIC);
  reply[4] = error === undefined ? 0 : ERRORS[error].code;
  reply[5] = version;
  reply[6] = sentence.length >>> 8;
  reply[7] = sentence.length;
  reply.set(sentence, REPLY_HEADER_BYTES);
  return reply;
}

/** Reads a node's answer from `bytes[at, ...)`. */
export function parsePreambleReply(bytes: Uint8Array, at: number): PreambleReply {
  const wrong = wrongMagic(bytes, at);
  if (wrong !== undefined) return { kind: "malformed", message: wrong };
  if (bytes.length - at < REPLY_HEADER_BYTES) return { kind: "incomplete" };
  const status = bytes[at + 4]!;
  const version = bytes[at + 5]!;
  const length = REPLY_HEADER_BYTES + ((bytes[at + 6]! << 8) | bytes[at + 7]!);
  if (bytes.length - at < length) return { kind: "incomplete" };
  if (status === 0 && version === 0) {
    return { kind: "malformed", message: "the answer to the preamble accepts, but names no version" };
  }
  return {
    kind: "reply",
    error: status === 0 ? undefined : errorName(status),
    version,
    message: fromUtf8(bytes.subarray(at + REPLY_HEADER_BYTES, at + length)),
    length,
  };
}

function wrongMagic(bytes: Uint8Array, at: number): string | undefined {
  const count = Math.min(MAGIC.length, bytes.length - at);
  for (let i = 0; i < count; i++) {
    if (bytes[at + i] !== MAGIC[i]) {
      return `byte ${i} of the preamble is 0x${bytes[at + i]!.toString(16).padStart(2, "0")}, not 0x${MAGIC[i]!.toString(16)}`;
    }
  }
  return undefined;
}
