import type { LogIndex, NodeId, Term } from "../../protocol/ids.ts";
import type { SnapshotAck, SnapshotPart } from "../../protocol/peer-messages.ts";
import { assert } from "../lib/assert.ts";
import { xxh32 } from "../lib/hash.ts";
import type { EngineIterator, Snapshot } from "../storage/engine.ts";
import { DATA_PREFIX_BYTES } from "./engine-keys.ts";
import type { ShardSpace } from "./shard-space.ts";
import { EntriesPart, encodeHeadSlice, type SnapshotSizes } from "./snapshot-format.ts";
import { encodeHead, type SnapshotHead } from "./snapshot-head.ts";
import type { StreamBudget } from "./stream-budget.ts";

/** Parts that were not acknowledged for so long are sent again; after twice as long again, and so on. */
const RESEND_MS = 1000;

export interface SenderParts {
  readonly self: NodeId;
  readonly to: NodeId;
  readonly term: Term;
  /** Never used before by this node in this term. */
  readonly stream: number;
  readonly head: SnapshotHead;
  readonly sizes: SnapshotSizes;
  /** The data; a group without any has none. Must not change before the constructor returns. */
  readonly space: ShardSpace | undefined;
  readonly budget: StreamBudget;
  readonly send: (part: SnapshotPart) => void;
  readonly nowMs: () => number;
}

/**
 * Sends one snapshot to one node: what the shard was at one moment, while it goes on. Never more than a window of it is
 * in memory or on its way, and what was lost is sent again, after a while or when a connection comes back.
 */
export class SnapshotSender {
  readonly to: NodeId;
  readonly index: LogIndex;
  readonly #parts: SenderParts;
  readonly #head: Uint8Array;
  readonly #snapshot: Snapshot | undefined;
  readonly #iterator: EngineIterator | undefined;
  readonly #entries: EntriesPart;
  #headAt = 0;
  #next = 0;
  #digest = 0;
  #ended = false;
  /** Sent and not acknowledged, oldest first. */
  #window: SnapshotPart[] = [];
  #windowBytes = 0;
  #sentMs: number;
  #progressMs: number;
  /** Who takes nothing should not take the others' share of the budget. */
  #resendMs = RESEND_MS;

  constructor(parts: SenderParts) {
    assert(parts.sizes.giveUpMs > RESEND_MS, "nobody is given up before it was sent anything again");
    this.#parts = parts;
    this.to = parts.to;
    this.index = parts.head.index;
    this.#entries = new EntriesPart(parts.sizes.partBytes);
    this.#head = encodeHead(parts.head);
    this.#snapshot = parts.space?.snapshot();
    this.#iterator = parts.space?.iterate(this.#snapshot!, parts.head.logTimeMs);
    this.#sentMs = parts.nowMs();
    this.#progressMs = this.#sentMs;
  }

  /** Everything was sent and taken. */
  get isDone(): boolean {
    return this.#ended && this.#window.length === 0;
  }

  /** Whether an answer is about this stream. */
  isAnsweredBy({ from, term, stream }: SnapshotAck): boolean {
    const { to, term: own, stream: number } = this.#parts;
    return from === to && term === own && stream === number;
  }

  /** Fills the window, as far as the budget allows. */
  fill(): void {
    const { sizes, budget } = this.#parts;
    while (!this.#ended && this.#windowBytes < sizes.windowBytes && budget.maySend) {
      const data = this.#read();
      this.#digest = xxh32(data, this.#digest);
      const { self, to, term, stream } = this.#parts;
      const part: SnapshotPart = {
        ...{ kind: "snapshotPart", from: self, to, term, stream },
        ...{ part: this.#next++, last: this.#ended, digest: this.#digest, data },
      };
      this.#window.push(part);
      this.#windowBytes += data.length;
      this.#send(part);
    }
  }

  acknowledged({ next }: SnapshotAck): void {
    let taken = 0;
    while (taken < this.#window.length && this.#window[taken]!.part < next) {
      this.#windowBytes -= this.#window[taken]!.data.length;
      taken++;
    }
    if (taken === 0) return;
    this.#window.splice(0, taken);
    this.#progressMs = this.#parts.nowMs();
    this.#resendMs = RESEND_MS;
    this.fill();
  }

  /** Goes on where the budget allows it, and sends again what may be lost. False: the receiver is given up. */
  tick(): boolean {
    const nowMs = this.#parts.nowMs();
    // It has taken all that it was sent.
    if (this.#window.length === 0) this.#progressMs = nowMs;
    this.fill();
    if (nowMs - this.#progressMs >= this.#parts.sizes.giveUpMs) return false;
    if (nowMs - Math.max(this.#sentMs, this.#progressMs) >= this.#resendMs) {
      this.#resendMs *= 2;
      this.resend();
    }
    return true;
  }

  /** What is on its way is lost: the connection broke, and is back. */
  resend(): void {
    for (const part of this.#window) this.#send(part);
  }

  #send(part: SnapshotPart): void {
    const { nowMs, budget, send } = this.#parts;
    this.#sentMs = nowMs();
    budget.sent(part.data.length);
    send(part);
  }

  close(): void {
    this.#iterator?.close();
    this.#snapshot?.release();
  }

  /** The data of the next part. */
  #read(): Uint8Array {
    if (this.#headAt < this.#head.length) {
      const end = this.#headAt + this.#parts.sizes.partBytes;
      const slice = encodeHeadSlice(this.#head, this.#headAt, end);
      this.#headAt = end;
      this.#ended = this.#headAt >= this.#head.length && this.#iterator === undefined;
      return slice;
    }
    const iterator = this.#iterator!;
    for (;;) {
      if (!iterator.next()) {
        this.#ended = true;
        break;
      }
      this.#entries.add(iterator.key.subarray(DATA_PREFIX_BYTES), iterator.value, iterator.expiresAt);
      if (this.#entries.isFull) break;
    }
    return this.#entries.take();
  }
}
