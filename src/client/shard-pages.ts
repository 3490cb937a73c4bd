import type { ErrorName } from "../../protocol/errors.ts";
import { type ShardId, shardId } from "../../protocol/ids.ts";
import { KEY_BYTES_MAX, SCAN_ENTRIES_MAX, SLOTS } from "../../protocol/limits.ts";
import type { Consistency, KeyValue } from "../../protocol/messages.ts";
import { concatBytes, prefixEnd } from "../lib/bytes.ts";
import { BOOLEAN, ENTRIES, type OpenedSnapshot, SNAPSHOT } from "./answers.ts";
import { FlotillaError } from "./errors.ts";
import type { KeyRunner } from "./key-runner.ts";

/** What a scan asks of each shard. */
export interface PageRequest {
  readonly end: Uint8Array | undefined;
  readonly keysOnly: boolean;
  readonly consistency: Consistency;
  readonly snapshot: SnapshotRequest | undefined;
}

/** Each shard is to be read as it was when the scan came to it first. */
export interface SnapshotRequest {
  readonly leaseMs: number;
  /** Called when a shard's snapshot is lost and what follows is read as it is then; without it the scan fails. */
  readonly fallback: ((shard: number) => void) | undefined;
}

interface Page {
  readonly entries: readonly KeyValue[];
  readonly more: boolean;
}

/** What a node says that has no such snapshot, or what is said of a node that can't be asked. */
const LOST: ReadonlySet<ErrorName> = new Set(["SNAPSHOT_GONE", "UNAVAILABLE", "TIMEOUT", "SHUTTING_DOWN"]);

/**
 * One shard's part of a scan: entries in order, a page fetched at a time from whoever leads the shard by then. The place
 * where it goes on is a key, which means the same to every node: no node keeps anything for it. The next page is asked for
 * when half of the last one has been taken, so that it is there when it is needed, and not before: a scan that nobody goes
 * on with fetches nothing. Pages grow as the scan goes on.
 *
 * A snapshot is another matter: a node keeps it, and only that node has it. Leaders may change meanwhile; when the node
 * is gone, or the lease has ended, the scan ends with that, or goes on without, as the caller wants it.
 */
export class ShardPages {
  readonly #runner: KeyRunner;
  readonly #request: PageRequest;
  readonly #shard: ShardId;
  #start: Uint8Array | undefined;
  #pageEntries: number;
  #entries: readonly KeyValue[] = [];
  #at = 0;
  #fetching: Promise<readonly KeyValue[]> | undefined;
  #opening: Promise<OpenedSnapshot> | undefined;
  /** There was a snapshot, and is none any more. */
  #isLost = false;

  /** `pageEntries`: of the first page. */
  constructor(
    runner: KeyRunner,
    shard: number,
    start: Uint8Array,
    pageEntries: number,
    request: PageRequest,
  ) {
    this.#runner = runner;
    this.#shard = shardId(shard);
    this.#start = start;
    this.#pageEntries = pageEntries;
    this.#request = request;
  }

  /** The entry that it is at; `undefined`: a page has to be waited for, or there are no more. */
  get current(): KeyValue | undefined {
    return this.#entries[this.#at];
  }

  /** Begins to fetch the first page. */
  begin(): void {
    this.#fetch();
  }

  /** Moves behind the current entry. */
  advance(): void {
    this.#at++;
    if (this.#at * 2 >= this.#entries.length) this.#fetch();
  }

  /** Waits for a page if there is no entry at hand; `false`: there are no more. Rejects with a `FlotillaError`. */
  async ready(): Promise<boolean> {
    while (this.current === undefined) {
      this.#fetch();
      if (this.#fetching === undefined) return false;
      const page = await this.#fetching;
      this.#fetching = undefined;
      this.#entries = page;
      this.#at = 0;
    }
    return true;
  }

  /** Nothing more is wanted: lets go of the snapshot, without waiting for it. */
  close(): void {
    if (this.#isLost) return;
    this.#opening
      ?.then(({ snapshot, address }) =>
        this.#runner.run({ kind: "closeSnapshot", snapshot }, BOOLEAN, { address }),
      )
      .catch(() => undefined);
  }

  #fetch(): void {
    const start = this.#start;
    if (start === undefined || this.#fetching !== undefined) return;
    const limit = this.#pageEntries;
    this.#pageEntries = Math.min(2 * limit, SCAN_ENTRIES_MAX);
    this.#fetching = this.#page(start, limit).then(({ entries, more }) => {
      const last = entries.at(-1);
      this.#start = more && last !== undefined ? afterKey(last.key) : undefined;
      return entries;
    });
    // It may be that nobody waits for it any more.
    this.#fetching.catch(() => undefined);
  }

  async #page(start: Uint8Array, limit: number): Promise<Page> {
    const { snapshot: wanted, end, keysOnly, consistency } = this.#request;
    const scan = { kind: "scan", start, end, limit, keysOnly, consistency, shard: this.#shard } as const;
    if (wanted === undefined || this.#isLost) return this.#runner.run(scan, ENTRIES, { slot: this.#slot });
    this.#opening ??= this.#runner.run(
      { kind: "openSnapshot", shard: this.#shard, leaseMs: wanted.leaseMs, consistency },
      SNAPSHOT,
      { slot: this.#slot },
    );
    const { snapshot, address } = await this.#opening;
    try {
      return await this.#runner.run({ ...scan, snapshot }, ENTRIES, { address });
    } catch (error) {
      const { code, message } = error as FlotillaError;
      if (!LOST.has(code)) throw error;
      if (wanted.fallback === undefined) {
        throw new FlotillaError(
          "SNAPSHOT_GONE",
          `the snapshot of shard ${this.#shard} at ${address} is gone: ${message}`,
          "notDone",
          { cause: error },
        );
      }
      this.#isLost = true;
      wanted.fallback(this.#shard);
      return this.#runner.run(scan, ENTRIES, { slot: this.#slot });
    }
  }

  /** Of its shard any slot will do: this is the first. */
  get #slot(): number {
    return Math.ceil((this.#shard * SLOTS) / this.#runner.shards);
  }
}

/** The smallest key after `key`; `undefined` if there is none, which only a key of the greatest length can lead to. */
export function afterKey(key: Uint8Array): Uint8Array | undefined {
  return key.length < KEY_BYTES_MAX ? concatBytes([key, Uint8Array.of(0)]) : prefixEnd(key);
}
