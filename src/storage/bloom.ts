/**
 * Bloom filters (Bloom 1970): a few bits for each key that tell "not here" for sure, or "perhaps". With 10 bits a key
 * about one absent key in a hundred is searched for in vain.
 *
 * They are blocked (Putze, Sanders and Singler 2007): the filter is cut into lines of 64 bytes, a key has all its bits in
 * one line, and so a lookup touches one line of the processor's cache.
 *
 *     filter = lines of 64 bytes, u8 number of probes (bit b of a line is bit b mod 8 of its byte b div 8)
 */
import { xxh32Of } from "../lib/hash.ts";

export const LINE_BYTES = 64;
const LINE_BITS = LINE_BYTES * 8;

/** The hash of the key `bytes[start, end)` from which its line and its bits follow: XXH32, seed 0. */
export function bloomHash(bytes: Uint8Array, start = 0, end = bytes.length): number {
  return xxh32Of(bytes, start, end);
}

/** Length in bytes of the filter of `count` keys. */
export function bloomBytes(count: number, bitsPerKey: number): number {
  return Math.max(1, Math.ceil((count * bitsPerKey) / LINE_BITS)) * LINE_BYTES + 1;
}

/** Writes the filter of the keys with the first `count` of these hashes to `target` at `at`, where all is zero yet. */
export function writeBloom(
  target: Uint8Array,
  at: number,
  hashes: Uint32Array,
  count: number,
  bitsPerKey: number,
): void {
  const bytes = bloomBytes(count, bitsPerKey);
  const lines = (bytes - 1) / LINE_BYTES;
  // The best number for a filter that is not blocked, less a little: a line that is fuller than others suffers from more.
  const probes = Math.max(1, Math.min(16, Math.floor(bitsPerKey * Math.LN2 * 0.9)));
  for (let i = 0; i < count; i++) {
    const hash = hashes[i]!;
    const line = at + lineOf(hash, lines) * LINE_BYTES;
    let bits = firstBits(hash);
    for (let probe = 0; probe < probes; probe++) {
      const bit = bits >>> 23;
      target[line + (bit >>> 3)]! |= 1 << (bit & 7);
      bits = Math.imul(bits, 0x9e3779b9);
    }
  }
  target[at + bytes - 1] = probes;
}

/** False: no key with this hash is in the filter `bytes[start, end)`. */
export function bloomMayContain(bytes: Uint8Array, start: number, end: number, hash: number): boolean {
  const probes = bytes[end - 1]!;
  const line = start + lineOf(hash, (end - 1 - start) / LINE_BYTES) * LINE_BYTES;
  let bits = firstBits(hash);
  for (let probe = 0; probe < probes; probe++) {
    const bit = bits >>> 23;
    if ((bytes[line + (bit >>> 3)]! & (1 << (bit & 7))) === 0) return false;
    bits = Math.imul(bits, 0x9e3779b9);
  }
  return true;
}

/** The line of a key: the hash as a fraction of 2^32, of `lines`. */
function lineOf(hash: number, lines: number): number {
  return Math.floor((hash * lines) / 0x1_0000_0000);
}

/** A number whose top 9 bits are the first bit of a key in its line; times 2^32 / golden ratio it gives the next one. */
function firstBits(hash: number): number {
  return Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
}
