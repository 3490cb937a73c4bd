const MINUS = 0x2d;
const ZERO = 0x30;
const INT64_MIN = -(1n << 63n);
const INT64_MAX = (1n << 63n) - 1n;

/**
 * A decimal integer of 64 bits as Redis reads one: no sign but `-`, no leading zeros, no blanks. `undefined`: it is none.
 */
export function parseInt64(bytes: Uint8Array): bigint | undefined {
  const negative = bytes[0] === MINUS;
  const start = negative ? 1 : 0;
  const digits = bytes.length - start;
  if (digits < 1 || digits > 19) return undefined;
  if (bytes[start] === ZERO && (digits > 1 || negative)) return undefined;
  let value = 0n;
  for (let i = start; i < bytes.length; i++) {
    const digit = bytes[i]! - ZERO;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10n + BigInt(digit);
  }
  if (negative) value = -value;
  return value >= INT64_MIN && value <= INT64_MAX ? value : undefined;
}

/** The same as a number, for what can only be small; beyond ±2^53 it is not exact. */
export function parseCount(bytes: Uint8Array): number | undefined {
  const value = parseInt64(bytes);
  return value === undefined ? undefined : Number(value);
}
