/**
 * When keys expire. A deadline is a time of the shard's log, which its leader stamps on each entry and which never goes back:
 * what is gone is decided by the entries that were applied, and by no replica's clock. So all replicas agree on what
 * there is, and what was seen to be gone never comes back (`docs/decisions/log-time.md`).
 */
import type { Expire, PutWith } from "../../protocol/messages.ts";
import type { Engine } from "../storage/engine.ts";

/** The deadline that a write sets when it is applied at the log time `nowMs`; 0: none. Not for `keep`. */
export function deadlineOf({ expiry, expiryMs }: PutWith | Expire, nowMs: number): number {
  if (expiry === "clear") return 0;
  // A time of 0 is one in the past, and must not be taken for none.
  const deadline = expiry === "after" ? nowMs + expiryMs : Math.max(1, expiryMs);
  return Math.min(deadline, Number.MAX_SAFE_INTEGER);
}

/** The deadline that a key has at `nowMs`; 0: none; `undefined`: there is no such key. */
export function deadlineIn(engine: Engine, key: Uint8Array, nowMs: number): number | undefined {
  using found = engine.iterate({ gte: key, lte: key, limit: 1, keysOnly: true, now: nowMs });
  return found.next() ? found.expiresAt : undefined;
}
