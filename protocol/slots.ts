/** Where a key belongs: Redis Cluster's own function, so that its clients can route for us. */
import { type ShardId, shardId } from "./ids.ts";
import { SLOTS } from "./limits.ts";

const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** CRC-16/XMODEM of each byte value: polynomial 0x1021, no reflection, starts at 0. */
const CRC16 = new Uint16Array(256).map((_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc;
});

/**
 * The slot of a key, 0 to 16383: CRC16 of the key modulo 16384. If the key has a `{` and a `}` after it with anything
 * in between, only what is between the first `{` and the first `}` after it counts (the "hash tag"), so that keys can be
 * made to share a slot.
 */
export function slotOf(key: Uint8Array): number {
  let start = 0;
  let end = key.length;
  const open = key.indexOf(OPEN_BRACE);
  if (open >= 0) {
    const close = key.indexOf(CLOSE_BRACE, open + 1);
    if (close > open + 1) {
      start = open + 1;
      end = close;
    }
  }
  let crc = 0;
  for (let i = start; i < end; i++) crc = ((crc << 8) & 0xffff) ^ CRC16[(crc >>> 8) ^ key[i]!]!;
  return crc & (SLOTS - 1);
}

/** The shard that holds `slot` in a cluster of `shards` shards: shard s holds slots [s·16384/n, (s+1)·16384/n). */
export function shardOfSlot(slot: number, shards: number): ShardId {
  return shardId(Math.floor((slot * shards) / SLOTS));
}
