/** Longest decimal form of a 64-bit integer: `-9223372036854775808`. */
const DIGITS_MAX = 20;

/**
 * The 64-bit integer that `bytes` spell in decimal, or `undefined`. As strict as Redis: no spaces, no plus sign, no
 * leading zeros, no `-0`.
 */
export function parseInteger(bytes: Uint8Array): bigint | undefined {
  if (bytes.length === 0 || bytes.length > DIGITS_MAX) return undefined;
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  if (!/^(0|-?[1-9][0-9]*)$/.test(text)) return undefined;
  const value = BigInt(text);
  return BigInt.asIntN(64, value) === value ? value : undefined;
}
