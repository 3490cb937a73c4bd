import { shardOfSlot, slotOf } from "../../protocol/slots.ts";
import { utf8 } from "../../src/lib/bytes.ts";

/** A key of each shard, at the index of its shard. They begin with `prefix`. */
export function keyOfEachShard(shards: number, prefix: string): string[] {
  const keys = new Array<string | undefined>(shards).fill(undefined);
  for (let number = 0, found = 0; found < shards; number++) {
    const key = `${prefix}${number}`;
    const shard = shardOfSlot(slotOf(utf8(key)), shards);
    if (keys[shard] !== undefined) continue;
    keys[shard] = key;
    found++;
  }
  return keys as string[];
}
