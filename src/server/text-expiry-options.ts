/** Times as the text mode's commands name them: in seconds or milliseconds, from now or since the Unix epoch. */
import type { Expiry } from "../../protocol/messages.ts";
import { NOT_AN_INTEGER } from "./text-errors.ts";
import { parseInt64 } from "./text-integer.ts";

/** What a write does to the deadline of its key. */
export interface ExpiryChange<Kind extends Expiry = Expiry> {
  readonly expiry: Kind;
  readonly expiryMs: number;
}
export type Deadline = ExpiryChange<"after" | "at">;

export const CLEAR: ExpiryChange<"clear"> = { expiry: "clear", expiryMs: 0 };
export const KEEP: ExpiryChange<"keep"> = { expiry: "keep", expiryMs: 0 };
/** A deadline that is past: the key is gone at once. */
export const GONE: Deadline = { expiry: "at", expiryMs: 0 };

const UNITS = {
  EX: { expiry: "after", ms: 1000n },
  PX: { expiry: "after", ms: 1n },
  EXAT: { expiry: "at", ms: 1000n },
  PXAT: { expiry: "at", ms: 1n },
} as const;
export type Unit = keyof typeof UNITS;

export const isUnit = (word: string): word is Unit => Object.hasOwn(UNITS, word);

const INT64_MIN = -(1n << 63n);
const INT64_MAX = (1n << 63n) - 1n;
const MS_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/** The error for a time that `command` can't have. */
export const invalidExpireTime = (command: string): string =>
  `ERR invalid expire time in '${command}' command`;

/**
 * The deadline that `time` names, or the error of `command`. `which`: SET and its kin take a `positive` time only, EXPIRE and
 * its kin `any`, and what is past then is `GONE`. `nowMs`: since the Unix epoch.
 */
export function parseTime(
  unit: Unit,
  time: Uint8Array,
  which: "positive" | "any",
  command: string,
  nowMs: number,
): Deadline | { readonly error: string } {
  const value = parseInt64(time);
  if (value === undefined) return { error: NOT_AN_INTEGER };
  const isRefused = which === "positive" && value <= 0n;
  return isRefused ? { error: invalidExpireTime(command) } : deadlineOf(unit, value, command, nowMs);
}

/** Redis' times have 64 bits; ours end with the year 287396, and later ones are taken for that. */
function deadlineOf(
  unit: Unit,
  value: bigint,
  command: string,
  nowMs: number,
): Deadline | { readonly error: string } {
  const { expiry, ms } = UNITS[unit];
  const time = value * ms;
  const base = expiry === "after" ? BigInt(Math.floor(nowMs)) : 0n;
  if (time < INT64_MIN || time > INT64_MAX - base) return { error: invalidExpireTime(command) };
  if (time <= 0n) return GONE;
  return { expiry, expiryMs: Number(time < MS_MAX ? time : MS_MAX) };
}
