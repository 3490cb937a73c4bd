import { fromUtf8 } from "../lib/bytes.ts";
import { UsageError } from "./usage-error.ts";

const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** The milliseconds of `500ms`, `10s`, `1.5h`, `2d`. Throws `UsageError`; `what` is how the message calls it. */
export function parseDuration(bytes: Uint8Array, what: string): number {
  const text = fromUtf8(bytes);
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? [];
  const ms = Math.round(Number(number) * (UNITS_MS[unit ?? ""] ?? Number.NaN));
  if (Number.isSafeInteger(ms) && ms >= 1) return ms;
  throw new UsageError(`${what} is "${text}", which is no time like 500ms, 10s, 5m, 2h or 1d.`);
}

/** A time in a unit of which there are at least two, or in seconds: `1.5s`, `90m`, `3d`. Never more than it is. */
export function showDuration(ms: number): string {
  if (ms < 1000) return `${ms}ms`;
  for (const unit of ["d", "h", "m"]) {
    const size = UNITS_MS[unit]!;
    if (ms >= 2 * size) return `${Math.floor((ms / size) * 10) / 10}${unit}`;
  }
  return `${Math.floor(ms / 100) / 10}s`;
}
