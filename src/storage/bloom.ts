/**
 * Bloom filters (Bloom 1970; double hashing after Kirsch and Mitzenmacher 2006): a few bits for each key of a table
 * that tell "not here" for sure, or "perhaps". With 10 bits a key about one absent key in a hundred is searched for in
 * vain.
 *
 *     filter = u8 number of probes, bits (bit b is bit b mod 8 of byte b div 8)
 */
import { xxh32 } from "../lib/hash.ts";

/** The hash of a key from which all its probes follow: XXH32, seed 0. */
export function bloomHash(key: Uint8Array): number {
  return xxh32(key);
}

/** Builds the filter of the keys with these hashes. The result is owned by the caller. */
export function buildBloom(hashes: Uint32Array, count: number, bitsPerKey: number): Uint8Array {
  const probes = Math.max(1, Math.min(30, Math.round(bitsPerKey * Math.LN2)));
  const bytes = Math.max(8, Math.ceil((count * bitsPerKey) / 8));
  const filter = new Uint8Array(1 + bytes);
  filter[0] = probes;
  const bits = bytes * 8;
  for (let i = 0; i < count; i++) {
    let hash = hashes[i]!;
    const step = ((hash >>> 17) | (hash << 15)) >>> 0;
    for (let probe = 0; probe < probes; probe++) {
      const bit = hash % bits;
      filter[1 + (bit >>> 3)]! |= 1 << (bit & 7);
      hash = (hash + step) >>> 0;
    }
  }
  return filter;
}

/** False: no key with this hash is in the filter. */
export function bloomMayContain(filter: Uint8Array, keyHash: number): boolean {
  const probes = filter[0]!;
  const bits = (filter.length - 1) * 8;
  const step = ((keyHash >>> 17) | (keyHash << 15)) >>> 0;
  let hash = keyHash;
  for (let probe = 0; probe < probes; probe++) {
    const bit = hash % bits;
    if ((filter[1 + (bit >>> 3)]! & (1 << (bit & 7))) === 0) return false;
    hash = (hash + step) >>> 0;
  }
  return true;
}
