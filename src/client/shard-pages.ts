import { type ShardId, shardId } from "../../protocol/ids.ts";
import { KEY_BYTES_MAX, SCAN_ENTRIES_MAX, SLOTS } from "../../protocol/limits.ts";
import type { Consistency, KeyValue } from "../../protocol/messages.ts";
import { concatBytes, prefixEnd } from "../lib/bytes.ts";
import { ENTRIES } from "./answers.ts";
import type { KeyRunner } from "./key-runner.ts";

/** What a scan asks of each shard. */
export interface PageRequest {
  readonly end: Uint8Array | undefined;
  readonly keysOnly: boolean;
  readonly consistency: Consistency;
}

/**
 * One shard's part of a scan: entries in order, a page fetched at a time from whoever leads the shard by then. The place
 * where it goes on is a key, which means the same to every node: no node keeps anything for it. The next page is asked for
 * when half of the last one has been taken, so that it is there when it is needed, and not before: a scan that nobody goes
 * on with fetches nothing. Pages grow as the scan goes on.
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

  #fetch(): void {
    const start = this.#start;
    if (start === undefined || this.#fetching !== undefined) return;
    const limit = this.#pageEntries;
    this.#pageEntries = Math.min(2 * limit, SCAN_ENTRIES_MAX);
    // Of its shard any slot will do: this is the first.
    const slot = Math.ceil((this.#shard * SLOTS) / this.#runner.shards);
    this.#fetching = this.#runner
      .run({ kind: "scan", start, ...this.#request, limit, shard: this.#shard }, ENTRIES, { slot })
      .then(({ entries, more }) => {
        const last = entries.at(-1);
        this.#start = more && last !== undefined ? afterKey(last.key) : undefined;
        return entries;
      });
    // It may be that nobody waits for it any more.
    this.#fetching.catch(() => undefined);
  }
}

/** The smallest key after `key`; `undefined` if there is none, which only a key of the greatest length can lead to. */
export function afterKey(key: Uint8Array): Uint8Array | undefined {
  return key.length < KEY_BYTES_MAX ? concatBytes([key, Uint8Array.of(0)]) : prefixEnd(key);
}
