/**
 * Scans over all shards. Keys are spread over the shards by their hash, so the next key in order may lie in any of them:
 * each shard's part is read in order from its leader, and the parts are merged here. Every entry is fetched once, whatever
 * the number of shards, and only as the caller comes to it.
 */
import type { Consistency, KeyValue } from "../../protocol/messages.ts";
import { compareBytes, prefixEnd } from "../lib/bytes.ts";
import { Heap } from "../lib/heap.ts";
import { type Bytes, toBytes } from "./bytes.ts";
import { FlotillaError } from "./errors.ts";
import type { KeyRunner } from "./key-runner.ts";
import { afterKey, ShardPages, type SnapshotRequest } from "./shard-pages.ts";

/** What to scan: all keys with `prefix`, or those from `start` (included) up to `end` (excluded); all keys without any. */
export interface ScanOptions {
  readonly prefix?: Bytes;
  readonly start?: Bytes;
  readonly end?: Bytes;
  /**
   * Only what follows this key: where a scan that ended, or broke off, goes on. The last key that was seen is all there is
   * to remember: it means the same to every node, whatever has moved since.
   */
  readonly after?: Bytes;
  /** Most entries to give; all without it. */
  readonly limit?: number;
  /** Leaves the values out: they come as empty. */
  readonly keysOnly?: boolean;
  readonly consistency?: Consistency;
  /**
   * Read each shard as it was at the beginning, however long the scan takes (between shards there is no such promise). The
   * node that leads a shard at the beginning keeps that for it; where it is lost, with the node, the scan fails with
   * SNAPSHOT_GONE. Default false.
   */
  readonly snapshot?: boolean | SnapshotOptions;
}

export interface SnapshotOptions {
  /** How long the nodes keep it if nothing is asked of them. Default 30,000 ms, at most ten minutes. */
  readonly leaseMs?: number;
  /** Go on with what a shard has then if its snapshot is lost; this is told which shard it is. */
  readonly fallback?: (shard: number) => void;
}

const SNAPSHOT_LEASE_MS = 30_000;

/** Entries that the first pages of all shards have together, and that the first page of each has at least. */
const FIRST_ENTRIES = 1000;
const FIRST_PAGE_MIN = 16;

/** Entries in key order, fetched by the page, as the caller gets to them. */
export async function* scanShards(runner: KeyRunner, options: ScanOptions): AsyncGenerator<KeyValue, void> {
  const range = rangeOf(options);
  const left = options.limit ?? Number.POSITIVE_INFINITY;
  if (options.limit !== undefined && !(Number.isSafeInteger(left) && left >= 0)) {
    throw new FlotillaError("BAD_REQUEST", `cannot scan: the limit ${left} is no whole number`, "notDone");
  }
  if (range === undefined || left === 0) return;
  const request = {
    end: range.end,
    keysOnly: options.keysOnly ?? false,
    consistency: options.consistency ?? "linearizable",
    snapshot: snapshotRequest(options.snapshot),
  };
  const share = Math.ceil(FIRST_ENTRIES / runner.shards);
  const pageEntries = Math.min(left, Math.max(FIRST_PAGE_MIN, share));
  const all = Array.from(
    { length: runner.shards },
    (_, shard) => new ShardPages(runner, shard, range.start, pageEntries, request),
  );
  for (const pages of all) pages.begin();
  try {
    yield* merged(all, left);
  } finally {
    for (const pages of all) pages.close();
  }
}

/** The first `limit` entries of all shards, in order. */
async function* merged(all: readonly ShardPages[], limit: number): AsyncGenerator<KeyValue, void> {
  let left = limit;
  const heads = new Heap<ShardPages>((a, b) => compareBytes(a.current!.key, b.current!.key));
  for (const pages of all) if (await pages.ready()) heads.add(pages);
  for (let pages = heads.top; pages !== undefined; pages = heads.top) {
    const entry = pages.current!;
    // Before it is given away: the caller may never come back.
    if (--left > 0) pages.advance();
    yield entry;
    if (left <= 0) return;
    if (await pages.ready()) heads.topChanged();
    else heads.takeTop();
  }
}

function snapshotRequest(wanted: ScanOptions["snapshot"]): SnapshotRequest | undefined {
  if (wanted === undefined || wanted === false) return undefined;
  const { leaseMs, fallback } = wanted === true ? {} : wanted;
  return { leaseMs: leaseMs ?? SNAPSHOT_LEASE_MS, fallback };
}

function rangeOf(
  options: ScanOptions,
): { readonly start: Uint8Array; readonly end: Uint8Array | undefined } | undefined {
  const prefix = options.prefix === undefined ? undefined : toBytes(options.prefix);
  const end =
    prefix !== undefined ? prefixEnd(prefix) : options.end === undefined ? undefined : toBytes(options.end);
  let start = prefix ?? toBytes(options.start ?? "");
  if (options.after !== undefined) {
    const next = afterKey(toBytes(options.after));
    if (next === undefined) return undefined;
    if (compareBytes(next, start) > 0) start = next;
  }
  return end !== undefined && compareBytes(start, end) >= 0 ? undefined : { start, end };
}
