/** Numbers among a command's arguments. */
import { fromUtf8 } from "../lib/bytes.ts";
import { UsageError } from "./usage-error.ts";

/** A shard's number. Throws `UsageError`. */
export const shardOf = (bytes: Uint8Array): number => numberOf(bytes, "the shard");

/** A whole number; `what`: what it is called in the error. Throws `UsageError`. */
export function numberOf(bytes: Uint8Array, what: string): number {
  const text = fromUtf8(bytes);
  if (!/^\d{1,6}$/.test(text)) throw new UsageError(`${what} is "${text}", which is no whole number.`);
  return Number(text);
}
