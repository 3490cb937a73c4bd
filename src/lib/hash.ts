import xxhash from "xxhash-wasm";

const wasm = await xxhash();

/** XXH64 of `bytes`, as the unsigned 64-bit number that the file formats store. */
export function xxh64(bytes: Uint8Array, seed = 0n): bigint {
  return wasm.h64Raw(bytes, seed);
}

/** XXH32 of `bytes`; used where 32 bits are enough, never as the only thing that vouches for bytes on disk. */
export function xxh32(bytes: Uint8Array, seed = 0): number {
  return wasm.h32Raw(bytes, seed);
}
