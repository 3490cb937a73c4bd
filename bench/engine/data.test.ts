import { expect, test } from "bun:test";
import { KEY_BYTES, KeySequence, KeySet, newKey, VALUE_BYTES, Values } from "./data.ts";

test("a key is its number, big-endian, and then zeros as db_bench writes them", () => {
  const key = newKey();
  const keys = KeySequence.inOrder(1 << 20);
  for (let i = 0; i <= 0x12345; i++) keys.nextInto(key);
  expect(Buffer.from(key).toString("hex")).toBe(`0000000000012345${"30".repeat(8)}`);
  const absent = newKey(KEY_BYTES + 1);
  expect(Buffer.compare(newKey(), absent)).toBeLessThan(0);
});

test("the same seed gives the same keys", () => {
  const numbers = (seed: number): number[] => {
    const keys = KeySequence.random(1000, seed);
    return Array.from({ length: 50 }, () => keys.nextNumber());
  };
  expect(numbers(7)).toEqual(numbers(7));
  expect(numbers(7)).not.toEqual(numbers(8));
});

test("a compressor leaves about half of the values", () => {
  const values = new Values(1);
  const all = Buffer.concat(Array.from({ length: 1000 }, () => values.next()));
  expect(all.length).toBe(1000 * VALUE_BYTES);
  const share = Bun.zstdCompressSync(all).length / all.length;
  expect(share).toBeGreaterThan(0.45);
  expect(share).toBeLessThan(0.62);
});

test("a set of keys knows how many answers are due", () => {
  const keys = new KeySet(1000);
  for (const number of [3, 3, 8, 500]) keys.add(number);
  expect(keys.size).toBe(3);
  expect(keys.countHits(KeySequence.inOrder(1000), 9)).toBe(2);
  expect(keys.countNotAbove(KeySequence.inOrder(1000), 1000, 1000)).toBe(501);
});
