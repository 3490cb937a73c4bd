/**
 * Plain data as CBOR: what travels seldom (topology, status, the peers' hello) as maps, through cbor-x.
 *
 * cbor-x can do more than is wanted from a stranger: tags that build objects, records, recursion as deep as the input
 * says. So a walk without allocation goes over the bytes first and lets through only null, booleans, numbers, strings,
 * byte strings, arrays and maps with text keys, of definite lengths and bounded depth.
 */
// The entry that is plain JavaScript: the package's main entry loads a native addon that gains nothing here.
import { Encoder } from "cbor-x/encode";
import { ProtocolError } from "./errors.ts";

/** Deepest nesting that is read. */
export const PLAIN_DEPTH_MAX = 16;

const codec = new Encoder({
  useRecords: false,
  mapsAsObjects: true,
  variableMapSize: true,
  tagUint8Array: false,
});

/** `value` (plain data, no cycles) as one CBOR item. The result is borrowed until the next call. */
export function encodePlain(value: unknown): Uint8Array {
  return codec.encode(value);
}

/**
 * The one CBOR item that `bytes` holds. Throws `ProtocolError` (BAD_REQUEST) for anything but plain data. Maps become
 * objects; a key `__proto__` is renamed. The result does not say more than that: its shape is the caller's to check.
 */
export function decodePlain(bytes: Uint8Array): unknown {
  const end = skipItem(bytes, 0, 0);
  if (end !== bytes.length) refuse(end, `${bytes.length - end} bytes after the last item`);
  try {
    return codec.decode(bytes);
  } catch (cause) {
    throw new ProtocolError(
      "BAD_REQUEST",
      `malformed body: ${cause instanceof Error ? cause.message : cause}`,
    );
  }
}

/** Where the item that begins at `at` ends. */
function skipItem(bytes: Uint8Array, at: number, depth: number): number {
  if (at >= bytes.length) refuse(at, "the end of the input");
  if (depth > PLAIN_DEPTH_MAX) refuse(at, `more than ${PLAIN_DEPTH_MAX} levels`);
  const initial = bytes[at]!;
  const major = initial >> 5;
  const low = initial & 0x1f;
  if (major === 6) refuse(at, "a tag");
  if (low > 27) refuse(at, "an item without a length");
  const bodyAt = at + 1 + (low < 24 ? 0 : 1 << (low - 24));
  if (bodyAt > bytes.length) refuse(at, "the end of the input");
  if (major === 7) {
    // false, true, null, and floating point numbers of 2, 4 and 8 bytes.
    if (!(low >= 20 && low <= 22) && low < 25)
      refuse(at, "a simple value that is none of false, true and null");
    return bodyAt;
  }
  if (major < 2) return bodyAt;
  const count = low < 24 ? low : readCount(bytes, at + 1, bodyAt);
  // Every item takes a byte at least, every pair of a map two.
  if (count * (major === 5 ? 2 : 1) > bytes.length - bodyAt) refuse(at, `a length of ${count}`);
  if (major < 4) return bodyAt + count;
  let next = bodyAt;
  for (let i = 0; i < count; i++) {
    if (major === 5) {
      if (next < bytes.length && bytes[next]! >> 5 !== 3) refuse(next, "a map key that is not text");
      next = skipItem(bytes, next, depth + 1);
    }
    next = skipItem(bytes, next, depth + 1);
  }
  return next;
}

function readCount(bytes: Uint8Array, from: number, to: number): number {
  let count = 0;
  for (let i = from; i < to; i++) count = count * 256 + bytes[i]!;
  return count;
}

function refuse(at: number, found: string): never {
  throw new ProtocolError("BAD_REQUEST", `malformed body: found ${found} at offset ${at}`);
}
