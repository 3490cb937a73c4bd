import type { Expiry, PutCondition } from "../../protocol/messages.ts";

/** From when on a key is gone; at most one of the three. Without any it stays until it is changed. */
export interface ExpiryOptions {
  /** In so many milliseconds from when the write is done. A whole number above 0. */
  readonly ttlMs?: number | undefined;
  /** At that many milliseconds since the Unix epoch; a time that is past removes the key at once. */
  readonly expiresAtMs?: number | undefined;
  /** When the value that is there now would have been gone. */
  readonly keepTtl?: boolean | undefined;
}

export interface PutOptions extends ExpiryOptions {
  /** Write only if the key is absent, or only if it is present. Default `always`. */
  readonly condition?: PutCondition;
}

export const CLEAR = { expiry: "clear", expiryMs: 0 } as const;

/** What the protocol says for `options`, or a sentence about what is wrong with them. */
export function expiryOf(
  options: ExpiryOptions,
): { readonly expiry: Expiry; readonly expiryMs: number } | string {
  const { ttlMs, expiresAtMs, keepTtl } = options;
  const given = [ttlMs !== undefined, expiresAtMs !== undefined, keepTtl === true];
  if (given.filter(Boolean).length > 1) return "ttlMs, expiresAtMs and keepTtl exclude each other";
  if (keepTtl === true) return { expiry: "keep", expiryMs: 0 };
  if (ttlMs !== undefined) {
    if (!Number.isSafeInteger(ttlMs) || ttlMs < 1)
      return `a time to live of ${ttlMs} ms is no whole number above 0`;
    return { expiry: "after", expiryMs: ttlMs };
  }
  if (expiresAtMs === undefined) return CLEAR;
  if (!Number.isSafeInteger(expiresAtMs) || expiresAtMs < 0)
    return `the time ${expiresAtMs} is no whole number of milliseconds`;
  return { expiry: "at", expiryMs: expiresAtMs };
}
