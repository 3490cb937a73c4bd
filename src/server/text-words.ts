import { fromUtf8 } from "../lib/bytes.ts";

/** An argument as an option's name: in upper case. Longer than any option, it is cut. */
export function word(bytes: Uint8Array): string {
  return fromUtf8(bytes.length > 64 ? bytes.subarray(0, 64) : bytes).toUpperCase();
}
