import { describe, expect, test } from "bun:test";
import { utf8 } from "../src/lib/bytes.ts";
import { SLOTS } from "./limits.ts";
import { shardOfSlot, slotOf } from "./slots.ts";

describe("slotOf", () => {
  test("is CRC16/XMODEM: the published check value, and slots that Redis gives", () => {
    expect(slotOf(utf8("123456789"))).toBe(0x31c3);
    expect(slotOf(utf8("foo"))).toBe(12_182);
    expect(slotOf(utf8("bar"))).toBe(5061);
    expect(slotOf(utf8(""))).toBe(0);
    expect(slotOf(Uint8Array.of(0, 0xff, 0x80))).toBeLessThan(SLOTS);
  });

  test("hash tags", () => {
    const same = (a: string, b: string) => expect(slotOf(utf8(a))).toBe(slotOf(utf8(b)));
    const differ = (a: string, b: string) => expect(slotOf(utf8(a))).not.toBe(slotOf(utf8(b)));
    same("{user1000}.following", "user1000");
    same("foo{{bar}}zap", "{bar");
    same("foo{bar}{zap}", "bar");
    same("a}b{c}", "c");
    // An empty tag, and a brace that nothing closes, are ordinary bytes.
    differ("foo{}{bar}", "bar");
    differ("foo{bar", "bar");
  });
});

test("shards are contiguous ranges of slots that cover all of them", () => {
  for (const shards of [1, 2, 3, 16, 1024]) {
    for (let slot = 0; slot < SLOTS; slot++) {
      const shard = shardOfSlot(slot, shards);
      expect(shard * SLOTS <= slot * shards && slot * shards < (shard + 1) * SLOTS).toBe(true);
    }
  }
});
