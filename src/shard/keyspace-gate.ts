import { ProtocolError } from "../../protocol/errors.ts";
import { type KeyspaceId, keyspaceId } from "../../protocol/ids.ts";
import { list, whole } from "../../protocol/shape.ts";
import { keyspaceIdShape } from "../../protocol/status-shapes.ts";
import type { KeepKeyspaces } from "../../protocol/write-body.ts";

type Dump = readonly [drops: number, next: KeyspaceId, live: readonly KeyspaceId[]];

/**
 * Which keyspaces a shard takes writes for, as its log says. Of those below `next` it knows which ones there are: a write to
 * another one, which some node sent on that had not heard of the drop yet, must not leave data behind that nobody would ever
 * delete. Of later ones it knows nothing, and takes them: whoever let the write in knew better.
 */
export class KeyspaceGate {
  #drops = 0;
  #next = keyspaceId(1);
  #live: ReadonlySet<KeyspaceId> = new Set();

  /** How many drops of keyspaces the shard knows of. */
  get drops(): number {
    return this.#drops;
  }

  /** Whether there may be such a keyspace. */
  admits(id: KeyspaceId): boolean {
    return id >= this.#next || this.#live.has(id);
  }

  /** Takes over what the log says. The keyspaces that are no more, as runs of numbers, both ends included. */
  keep({ drops, next, live }: KeepKeyspaces): (readonly [first: KeyspaceId, last: KeyspaceId])[] {
    if (drops <= this.#drops) return [];
    this.#drops = drops;
    this.#next = next;
    this.#live = new Set(live);
    const gone: [KeyspaceId, KeyspaceId][] = [];
    let from = 1;
    for (const id of [...live, next]) {
      if (from < id) gone.push([keyspaceId(from), keyspaceId(id - 1)]);
      from = id + 1;
    }
    return gone;
  }

  dump(): unknown {
    return [this.#drops, this.#next, [...this.#live]] satisfies Dump;
  }

  /** Throws `ProtocolError` (BAD_REQUEST) where `dump`, which another node sent, is none. */
  checkDump(dump: unknown): void {
    if (!Array.isArray(dump) || dump.length !== 3)
      throw new ProtocolError("BAD_REQUEST", "malformed keyspaces");
    whole(0, Number.MAX_SAFE_INTEGER)(dump[0], "drops of keyspaces");
    keyspaceIdShape(dump[1], "the next keyspace");
    list(keyspaceIdShape)(dump[2], "the keyspaces");
  }

  restore(dump: unknown): void {
    const [drops, next, live] = dump as Dump;
    this.#drops = drops;
    this.#next = next;
    this.#live = new Set(live);
  }
}
