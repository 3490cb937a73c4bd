/** Length of every key, in bytes: three letters and thirteen digits, so that byte order is number order. */
export const KEY_BYTES = 16;

const DIGIT_ZERO = 48;

/** Writes key number `key` (0 to 2^53) at `offset` as `key0000000000042`, in place: no string is made. */
export function writeKey(target: Uint8Array, offset: number, key: number): void {
  target[offset] = 0x6b;
  target[offset + 1] = 0x65;
  target[offset + 2] = 0x79;
  let rest = key;
  for (let at = offset + KEY_BYTES - 1; at > offset + 2; at--) {
    const tenth = Math.floor(rest / 10);
    target[at] = DIGIT_ZERO + rest - tenth * 10;
    rest = tenth;
  }
}

/**
 * Values to write, drawn once: up to 256 different ones of `bytes` random bytes, no more than 4 MiB together. Random, so
 * that compression gains nothing; several, so that a store sees changes.
 */
export function makeValues(bytes: number, below: (bound: number) => number): Uint8Array[] {
  const count = Math.max(1, Math.min(256, Math.floor((4 * 1024 * 1024) / Math.max(1, bytes))));
  return Array.from({ length: count }, () => {
    const value = new Uint8Array(bytes);
    for (let i = 0; i < bytes; i++) value[i] = below(256);
    return value;
  });
}
