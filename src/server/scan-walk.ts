import type { ReplySink } from "../../protocol/handler.ts";
import { shardId } from "../../protocol/ids.ts";
import { SCAN_ENTRIES_MAX } from "../../protocol/limits.ts";
import type { ClientResponse, KeyValue } from "../../protocol/messages.ts";
import type { RespWriter } from "../../protocol/resp.ts";
import { GrowingReply } from "./growing-reply.ts";
import { hashOfKey, type LostPlace, type ScanPlace } from "./scan-cursors.ts";
import { keyAfter } from "./scan-job.ts";
import type { TextSession } from "./text-command.ts";

export interface WalkSteps {
  /** Of the keys in every shard: from this one on, and up to `end` (excluded; `undefined`: to the last). */
  readonly start: Uint8Array;
  readonly end: Uint8Array | undefined;
  /** Most keys to visit. */
  readonly limit: number;
  /** Most shards to look into. */
  readonly shardsMax: number;
  /** Takes a key, borrowed during the call: the bytes that the reply grows by. */
  visit(key: Uint8Array): number;
  /** Writes the reply. `next`: where to go on, if there may be more. */
  write(writer: RespWriter, next: ScanPlace | undefined): void;
}

/**
 * A command over keys in no particular order: one shard after the other. To a client that knows no cluster they are all
 * shards; one that goes to every node by itself gets those that this node leads from each, as from a node of Redis Cluster.
 */
export class ScanWalk implements ReplySink {
  readonly #session: TextSession;
  readonly #reply: GrowingReply;
  readonly #steps: WalkSteps;
  readonly #shards: number;
  #shard: number;
  #start: Uint8Array;
  /** Of the key to go on after, while it is looked for. */
  #soughtHash: bigint | undefined;
  #left: number;
  #shardsLeft: number;

  /** `from`: where to begin. `shards`: how many there are. */
  constructor(
    session: TextSession,
    slot: number,
    from: ScanPlace | LostPlace,
    shards: number,
    steps: WalkSteps,
  ) {
    this.#session = session;
    this.#reply = new GrowingReply(session, slot);
    this.#steps = steps;
    this.#shards = shards;
    this.#left = steps.limit;
    this.#shardsLeft = steps.shardsMax;
    this.#shard = from.shard;
    this.#start = steps.start;
    if ("hash" in from) this.#soughtHash = from.hash;
    else if (from.after !== undefined) this.#goAfter(from.after);
    else this.#shard = this.#nextShard(from.shard);
    if (this.#shard >= shards) this.#finish(undefined);
    else this.#ask();
  }

  reply(_requestId: number, response: ClientResponse): void {
    if (response.kind !== "entries") {
      this.#reply.fail(response);
      return;
    }
    const { entries, more } = response;
    if (this.#soughtHash !== undefined) {
      this.#seek(entries, this.#soughtHash, more);
      return;
    }
    let bytes = 0;
    for (const { key } of entries) bytes += this.#steps.visit(key);
    this.#left -= entries.length;
    if (!this.#reply.grow(bytes, "ask for less with SCAN")) return;
    const last = more ? entries.at(-1)?.key : undefined;
    if (last !== undefined && this.#goAfter(last)) {
      if (this.#left > 0) this.#askLater();
      else this.#finish({ shard: this.#shard, after: last });
      return;
    }
    this.#shard = this.#nextShard(this.#shard + 1);
    this.#start = this.#steps.start;
    this.#shardsLeft--;
    if (this.#shard >= this.#shards) this.#finish(undefined);
    else if (this.#left > 0 && this.#shardsLeft > 0) this.#askLater();
    else this.#finish({ shard: this.#shard, after: undefined });
  }

  /** Looks for the key that the walk goes on after; if it is not there any more, all of the shard is walked again. */
  #seek(entries: readonly KeyValue[], hash: bigint, more: boolean): void {
    const found = entries.find(({ key }) => hashOfKey(key) === hash);
    const last = entries.at(-1);
    if (found !== undefined) {
      this.#soughtHash = undefined;
      this.#goAfter(found.key);
    } else if (!more || last === undefined || !this.#goAfter(last.key)) {
      this.#soughtHash = undefined;
      this.#start = this.#steps.start;
    }
    this.#askLater();
  }

  /** `false`: there is nothing after that key. */
  #goAfter(key: Uint8Array): boolean {
    const next = keyAfter(key);
    if (next !== undefined) this.#start = next;
    return next !== undefined;
  }

  #nextShard(from: number): number {
    const { routes, redirect } = this.#session.clients;
    if (redirect === "forward") return from;
    const places = routes.topology()?.shards ?? [];
    for (let shard = from; shard < this.#shards; shard++) {
      if (places[shard]?.leader === routes.self) return shard;
    }
    return this.#shards;
  }

  #finish(next: ScanPlace | undefined): void {
    this.#reply.finish((writer) => this.#steps.write(writer, next));
  }

  /** The handler is not called from within its own answer. */
  #askLater(): void {
    this.#session.clients.env.clock.endOfTurn(() => this.#ask());
  }

  #ask(): void {
    const limit = this.#soughtHash === undefined ? Math.min(this.#left, SCAN_ENTRIES_MAX) : SCAN_ENTRIES_MAX;
    const request = {
      kind: "scan",
      start: this.#start,
      end: this.#steps.end,
      limit,
      keysOnly: true,
      consistency: "linearizable",
      shard: shardId(this.#shard),
      keyspace: this.#session.keyspace,
    } as const;
    this.#session.clients.handler.execute(request, this, 0, "forward");
  }
}
