/** XXH64 of `bytes`, as the unsigned 64-bit number that the file formats store. */
export function xxh64(bytes: Uint8Array, seed = 0n): bigint {
  return Bun.hash.xxHash64(bytes, seed);
}

/** XXH32 of `bytes`; used where 32 bits are enough, never as the only thing that vouches for bytes on disk. */
export function xxh32(bytes: Uint8Array, seed = 0): number {
  return Bun.hash.xxHash32(bytes, seed);
}

const P1 = 0x9e3779b1;
const P2 = 0x85ebca77;
const P3 = 0xc2b2ae3d;
const P4 = 0x27d4eb2f;
const P5 = 0x165667b1;

/**
 * XXH32 of `bytes[start, end)`: the same number as `xxh32` gives. For keys and the like: neither a view nor a copy is
 * made, which for a few bytes cost more than the hash.
 */
export function xxh32Of(bytes: Uint8Array, start: number, end: number, seed = 0): number {
  let at = start;
  let hash = seed + P5;
  if (end - start >= 16) {
    let a = (seed + P1 + P2) | 0;
    let b = (seed + P2) | 0;
    let c = seed | 0;
    let d = (seed - P1) | 0;
    for (; at + 16 <= end; at += 16) {
      a = round(a, lane(bytes, at));
      b = round(b, lane(bytes, at + 4));
      c = round(c, lane(bytes, at + 8));
      d = round(d, lane(bytes, at + 12));
    }
    hash = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
  }
  hash = (hash + end - start) | 0;
  for (; at + 4 <= end; at += 4) hash = Math.imul(rotate(hash + Math.imul(lane(bytes, at), P3), 17), P4);
  for (; at < end; at++) hash = Math.imul(rotate(hash + Math.imul(bytes[at]!, P5), 11), P1);
  hash = Math.imul(hash ^ (hash >>> 15), P2);
  hash = Math.imul(hash ^ (hash >>> 13), P3);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function lane(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

function round(state: number, input: number): number {
  return Math.imul(rotate((state + Math.imul(input, P2)) | 0, 13), P1);
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
