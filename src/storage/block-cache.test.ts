import { expect, test } from "bun:test";
import { Block } from "./block.ts";
import { BlockCache, type CacheSlot } from "./block-cache.ts";

const block = (bytes: number): Block => new Block(new Uint8Array(bytes));

test("the cache stays below its bound, and what is used stays longer", () => {
  const cache = new BlockCache(10 * (1000 + 128));
  const table: (CacheSlot | undefined)[] = [];
  for (let i = 0; i < 100; i++) {
    cache.add(table, i, block(1000));
    if (table[0] !== undefined) table[0].used = true;
    expect(cache.bytes).toBeLessThanOrEqual(10 * 1128);
  }
  expect(table.filter((slot) => slot !== undefined).length).toBe(10);
  expect(table[0]).toBeDefined();
  cache.add(table, 200, block(100_000));
  expect(table[200]).toBeUndefined();
});

test("a table that is closed leaves nothing behind", () => {
  const cache = new BlockCache(1 << 20);
  const one: (CacheSlot | undefined)[] = [];
  const two: (CacheSlot | undefined)[] = [];
  for (let i = 0; i < 20; i++) cache.add(i % 2 === 0 ? one : two, i, block(100));
  const all = cache.bytes;
  cache.removeOwner(one);
  expect(cache.bytes).toBe(all / 2);
  expect(one.every((slot) => slot === undefined)).toBe(true);
  cache.removeOwner(two);
  expect(cache.bytes).toBe(0);
});
