/**
 * The block of a table that holds its range tombstones, in the order in which they were added:
 *
 *     block = u32 number of range tombstones, for each: u64 sequence, u32 length and bytes of the start, the same of the end
 */
import { assert } from "../lib/assert.ts";
import { GrowingBytes, readU32, readU64 } from "./fixed-width.ts";
import type { RangeTombstone } from "./range-tombstone.ts";

/** Owned by the caller. */
export function encodeRangeTombstones(tombstones: readonly RangeTombstone[]): Uint8Array {
  const out = new GrowingBytes();
  out.u32(tombstones.length);
  for (const { start, end, sequence } of tombstones) {
    out.u64(sequence);
    out.prefixed(start);
    out.prefixed(end);
  }
  return out.view();
}

/** Reads the block; its checksum was right. The keys are owned by the caller. */
export function decodeRangeTombstones(bytes: Uint8Array): RangeTombstone[] {
  let at = 4;
  const key = (): Uint8Array => {
    const end = at + 4 + readU32(bytes, at);
    assert(end <= bytes.length, "range tombstones: a key ends behind the block");
    const found = bytes.slice(at + 4, end);
    at = end;
    return found;
  };
  const tombstones: RangeTombstone[] = [];
  for (let left = readU32(bytes, 0); left > 0; left--) {
    assert(at + 16 <= bytes.length, "range tombstones: fewer than the block says");
    const sequence = readU64(bytes, at);
    at += 8;
    tombstones.push({ sequence, start: key(), end: key() });
  }
  assert(at === bytes.length, "range tombstones: lengths do not add up");
  return tombstones;
}
