import { SCAN_BYTES_MAX, SCAN_ENTRIES_MAX } from "../../protocol/limits.ts";
import type { ClientResponse, KeyValue, Scan } from "../../protocol/messages.ts";
import { concatBytes } from "../lib/bytes.ts";
import type { Engine, Snapshot } from "../storage/engine.ts";

const NOTHING = new Uint8Array(0);

/**
 * The page of entries that a scan of one shard is answered with. `gte` and `lt`: where the shard's part of the keyspace
 * begins and ends in the engine; keys are answered without what `gte` is. `undefined`: `isPast` says of a deadline on the
 * way that what has it must not be answered, nor left out.
 */
export function readEntries(
  engine: Engine,
  gte: Uint8Array,
  lt: Uint8Array,
  { start, end, limit, keysOnly }: Scan,
  as: { readonly snapshot?: Snapshot | undefined; readonly now: number },
  isPast: (deadline: number) => boolean,
): ClientResponse | undefined {
  const most = Math.min(limit, SCAN_ENTRIES_MAX);
  const entries: KeyValue[] = [];
  let bytes = 0;
  using iterator = engine.iterate({
    gte: start.length === 0 ? gte : concatBytes([gte, start]),
    lt: end === undefined ? lt : concatBytes([gte, end]),
    ...as,
  });
  while (iterator.next()) {
    if (entries.length === most || bytes >= SCAN_BYTES_MAX) return { kind: "entries", entries, more: true };
    if (isPast(iterator.expiresAt)) return undefined;
    const key = iterator.key.slice(gte.length);
    const value = keysOnly ? NOTHING : iterator.value.slice();
    bytes += key.length + value.length;
    entries.push({ key, value });
  }
  return { kind: "entries", entries, more: false };
}
