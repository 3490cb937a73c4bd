import type { ReplySink } from "../protocol/handler.ts";
import { SCAN_BYTES_MAX, SCAN_ENTRIES_MAX } from "../protocol/limits.ts";
import type { ClientResponse, ErrorResponse, KeyValue, Scan } from "../protocol/messages.ts";
import { compareBytes } from "./lib/bytes.ts";

/**
 * One scan over all shards: each shard's part arrives as an answer with the shard as its request id; when all are there,
 * the caller gets them merged in key order. An error of one shard is the answer to the whole scan.
 */
export class GatherScan implements ReplySink {
  readonly #scan: Scan;
  readonly #sink: ReplySink;
  readonly #requestId: number;
  readonly #parts: { entries: readonly KeyValue[]; more: boolean }[] = [];
  #missing: number;
  #error: ErrorResponse | undefined;

  constructor(scan: Scan, shards: number, sink: ReplySink, requestId: number) {
    this.#scan = scan;
    this.#missing = shards;
    this.#sink = sink;
    this.#requestId = requestId;
  }

  reply(_shard: number, response: ClientResponse): void {
    if (response.kind === "error") this.#error ??= response;
    else if (response.kind === "entries") this.#parts.push(response);
    this.#missing--;
    if (this.#missing > 0) return;
    this.#sink.reply(this.#requestId, this.#error ?? mergeParts(this.#parts, this.#scan.limit));
  }
}

/**
 * How many entries to ask of each shard for `limit` of all: twice its share, since the hash spreads keys evenly, and some
 * more for chance. If that turns out too few, the answer ends early; all of them from every shard would mostly be thrown away.
 */
export function partLimit(limit: number, shards: number): number {
  return Math.min(limit, PART_ENTRIES_MIN + Math.ceil((2 * limit) / shards));
}

const PART_ENTRIES_MIN = 64;

/** Merges sorted parts; where a part was cut short nothing beyond its last key may be answered. */
export function mergeParts(
  parts: readonly { readonly entries: readonly KeyValue[]; readonly more: boolean }[],
  limit: number,
): ClientResponse {
  let horizon: Uint8Array | undefined;
  for (const { entries, more } of parts) {
    const last = entries.at(-1)?.key;
    if (more && last !== undefined && (horizon === undefined || compareBytes(last, horizon) < 0))
      horizon = last;
  }
  const all = parts.flatMap((part) => part.entries).sort((a, b) => compareBytes(a.key, b.key));
  const most = Math.min(limit, SCAN_ENTRIES_MAX);
  const entries: KeyValue[] = [];
  let bytes = 0;
  for (const entry of all) {
    const beyond = horizon !== undefined && compareBytes(entry.key, horizon) > 0;
    if (beyond || entries.length === most || bytes >= SCAN_BYTES_MAX)
      return { kind: "entries", entries, more: true };
    entries.push(entry);
    bytes += entry.key.length + entry.value.length;
  }
  return { kind: "entries", entries, more: horizon !== undefined };
}
