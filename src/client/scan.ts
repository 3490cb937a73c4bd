import { KEY_BYTES_MAX } from "../../protocol/limits.ts";
import type { Consistency, KeyValue } from "../../protocol/messages.ts";
import { concatBytes, prefixEnd } from "../lib/bytes.ts";
import { ENTRIES } from "./answers.ts";
import { type Bytes, toBytes } from "./bytes.ts";
import type { Outgoing } from "./call.ts";
import { FlotillaError } from "./errors.ts";
import type { RequestRunner } from "./request-runner.ts";

/** What to scan: all keys with `prefix`, or those from `start` (included) up to `end` (excluded); all keys without any. */
export interface ScanOptions {
  readonly prefix?: Bytes;
  readonly start?: Bytes;
  readonly end?: Bytes;
  /** Most entries to give; all without it. */
  readonly limit?: number;
  /** Leaves the values out: they come as empty. */
  readonly keysOnly?: boolean;
  readonly consistency?: Consistency;
}

/** Entries to fetch at a time. */
const PAGE_ENTRIES = 1000;

/** Entries in key order, a page fetched at a time, as the caller gets to it. */
export async function* scanPages(
  runner: RequestRunner,
  options: ScanOptions,
): AsyncGenerator<KeyValue, void> {
  const prefix = options.prefix === undefined ? undefined : toBytes(options.prefix);
  let start = prefix ?? toBytes(options.start ?? "");
  const end =
    prefix !== undefined ? prefixEnd(prefix) : options.end === undefined ? undefined : toBytes(options.end);
  let left = options.limit ?? Number.POSITIVE_INFINITY;
  if (options.limit !== undefined && !(Number.isSafeInteger(left) && left >= 0)) {
    throw new FlotillaError("BAD_REQUEST", `cannot scan: the limit ${left} is no whole number`, "notDone");
  }
  while (left > 0) {
    const request: Outgoing = {
      kind: "scan",
      start,
      end,
      limit: Math.min(left, PAGE_ENTRIES),
      keysOnly: options.keysOnly ?? false,
      consistency: options.consistency ?? "linearizable",
      shard: undefined,
    };
    const page = await runner.run(request, ENTRIES, "any");
    yield* page.entries;
    left -= page.entries.length;
    const last = page.entries.at(-1);
    if (!page.more || last === undefined) return;
    const next = afterKey(last.key);
    if (next === undefined) return;
    start = next;
  }
}

/** The smallest key after `key`; `undefined` if there is none, which only a key of the greatest length can lead to. */
function afterKey(key: Uint8Array): Uint8Array | undefined {
  return key.length < KEY_BYTES_MAX ? concatBytes([key, Uint8Array.of(0)]) : prefixEnd(key);
}
