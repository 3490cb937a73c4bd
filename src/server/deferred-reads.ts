import type { ClientRequest, ReadRequest } from "../../protocol/messages.ts";

/**
 * A connection's reads whose answers found no room. How long a value is shows only when it is there, so a client that
 * asks for a thousand values at once may be answered with more than it takes, and than the node wants to keep for it. Such
 * an answer is dropped, for a read may be asked again: what is kept is the request and the answer's length, and when the
 * client has taken what waits for it, as many are asked again as there is room for.
 *
 * A read is under way until its answer is written, so asking twice changes nothing for the order of things.
 */
export class DeferredReads {
  readonly #waiting = new Map<number, Deferred>();
  /** By slot: the length of the answer of a read that was asked again. */
  readonly #asked = new Map<number, number>();
  #askedBytes = 0;

  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  /** Bytes of the answers that are expected again. */
  get askedBytes(): number {
    return this.#askedBytes;
  }

  /** Keeps the read of `slot`, whose answer had `bytes`. */
  defer(slot: number, request: ReadRequest, bytes: number): void {
    this.#waiting.set(slot, { request, bytes });
  }

  /** The answer of `slot` has come. Nothing happens for one that was asked once only. */
  answered(slot: number): void {
    const bytes = this.#asked.get(slot);
    if (bytes === undefined) return;
    this.#asked.delete(slot);
    this.#askedBytes -= bytes;
  }

  /** Of the slots that wait, the one that comes first from `head` on; slots are numbered up to `mask` and round again. */
  first(head: number, mask: number): number {
    let best = mask;
    for (const slot of this.#waiting.keys()) best = Math.min(best, (slot - head) & mask);
    return (head + best) & mask;
  }

  /** Takes out the read of `slot`, which is asked again now. */
  take(slot: number): ReadRequest {
    const { request, bytes } = this.#waiting.get(slot)!;
    this.#waiting.delete(slot);
    this.#asked.set(slot, bytes);
    this.#askedBytes += bytes;
    return request;
  }

  /** Forgets what waits. */
  clear(): void {
    this.#waiting.clear();
  }
}

interface Deferred {
  readonly request: ReadRequest;
  readonly bytes: number;
}

/** Whether `request` may be asked again, and is worth it: its answer may be long. */
export function isDeferrable(request: ClientRequest): request is ReadRequest {
  return request.kind === "get" || request.kind === "scan";
}
