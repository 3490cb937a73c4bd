import type { ReplySink } from "../../protocol/handler.ts";
import type { ShardId } from "../../protocol/ids.ts";
import { KEY_BYTES_MAX, SCAN_ENTRIES_MAX } from "../../protocol/limits.ts";
import type { ClientResponse, KeyValue } from "../../protocol/messages.ts";
import type { RespWriter } from "../../protocol/resp.ts";
import { prefixEnd } from "../lib/bytes.ts";
import { GrowingReply } from "./growing-reply.ts";
import type { TextSession } from "./text-command.ts";

export interface ScanSteps {
  readonly start: Uint8Array;
  /** Excluded; `undefined`: up to the last key. */
  readonly end: Uint8Array | undefined;
  /** Most entries to visit. */
  readonly limit: number;
  readonly keysOnly: boolean;
  /** Whose keys; all shards' without it. */
  readonly shard?: ShardId;
  /** Takes an entry, borrowed during the call: the bytes that the reply grows by. */
  visit(entry: KeyValue): number;
  /** Whether nothing more is wanted; asked after each step. */
  isDone?(): boolean;
  /** Writes the reply. `next`: where to go on if the limit was reached before the end. */
  write(writer: RespWriter, next: Uint8Array | undefined): void;
}

/** A command over a range of keys, as one scan after the other. */
export class ScanJob implements ReplySink {
  readonly #session: TextSession;
  readonly #reply: GrowingReply;
  readonly #steps: ScanSteps;
  #start: Uint8Array;
  #left: number;

  constructor(session: TextSession, slot: number, steps: ScanSteps) {
    this.#session = session;
    this.#reply = new GrowingReply(session, slot);
    this.#steps = steps;
    this.#start = steps.start;
    this.#left = steps.limit;
    this.#ask();
  }

  reply(_requestId: number, response: ClientResponse): void {
    if (response.kind !== "entries") {
      this.#reply.fail(response);
      return;
    }
    const { entries, more } = response;
    let bytes = 0;
    for (const entry of entries) bytes += this.#steps.visit(entry);
    this.#left -= entries.length;
    if (!this.#reply.grow(bytes, "ask for less with SCAN or LIMIT")) return;
    const last = more ? entries.at(-1) : undefined;
    const next = last === undefined ? undefined : keyAfter(last.key);
    if (next !== undefined && this.#left > 0 && this.#steps.isDone?.() !== true) {
      this.#start = next;
      // The handler is not called from within its own answer.
      this.#session.clients.env.clock.endOfTurn(() => this.#ask());
      return;
    }
    this.#reply.finish((writer) => this.#steps.write(writer, next));
  }

  #ask(): void {
    const { end, keysOnly } = this.#steps;
    const request = {
      kind: "scan",
      start: this.#start,
      end,
      limit: Math.min(this.#left, SCAN_ENTRIES_MAX),
      keysOnly,
      consistency: "linearizable",
      shard: this.#steps.shard,
      keyspace: this.#session.keyspace,
    } as const;
    this.#session.clients.handler.execute(request, this, 0, "forward");
  }
}

/** The smallest key greater than `key`, in bytes of its own; `undefined`: there is none. */
export function keyAfter(key: Uint8Array): Uint8Array | undefined {
  // Nothing that begins with a longest key follows it.
  if (key.length >= KEY_BYTES_MAX) return prefixEnd(new Uint8Array(key));
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}
