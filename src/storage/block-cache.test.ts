import { expect, test } from "bun:test";
import { seededRandom } from "../lib/prng.ts";
import { BlockCache, CacheOwner, OVERHEAD_BYTES, type Priority, USES_MAX } from "./block-cache.ts";

const SIZE = 1000 + OVERHEAD_BYTES;

/** A table as the cache sees it: blocks by number. `read` says whether the cache had the block. */
class Blocks {
  readonly #owner = new CacheOwner<string>();
  readonly #cache: BlockCache;

  constructor(cache: BlockCache) {
    this.#cache = cache;
  }

  read(index: number, priority: Priority = "normal"): boolean {
    const slot = this.#owner.slots[index];
    if (slot !== undefined) {
      expect(slot.value).toBe(`block ${index}`);
      if (slot.uses < USES_MAX) slot.uses++;
      return true;
    }
    const id = Math.imul(index + 1, 0x9e3779b1) >>> 0;
    this.#cache.add(this.#owner, index, `block ${index}`, SIZE - OVERHEAD_BYTES, id, priority);
    return false;
  }

  has(index: number): boolean {
    return this.#owner.slots[index] !== undefined;
  }

  get arrayLength(): number {
    return this.#owner.slots.length;
  }

  remove(): void {
    this.#cache.removeOwner(this.#owner);
  }
}

/** How many of the first `count` blocks the cache has, in parts of one. */
function share(blocks: Blocks, count: number): number {
  let there = 0;
  for (let i = 0; i < count; i++) if (blocks.has(i)) there++;
  return there / count;
}

test("the cache stays below its bound", () => {
  const random = seededRandom(1);
  const cache = new BlockCache(10 * SIZE);
  const blocks = new Blocks(cache);
  for (let i = 0; i < 10_000; i++) {
    blocks.read(random.below(30), random.below(10) === 0 ? "high" : "normal");
    expect(cache.bytes).toBeLessThanOrEqual(10 * SIZE);
  }
  expect(cache.bytes).toBe(10 * SIZE);
  cache.add(new CacheOwner<string>(), 0, "too large", 11 * SIZE, 1, "high");
  expect(cache.bytes).toBe(10 * SIZE);
});

test("a scan of ten times the cache does not push out what is read again and again", () => {
  const random = seededRandom(2);
  const cache = new BlockCache(1000 * SIZE);
  const blocks = new Blocks(cache);
  const hot = 700;
  const readHot = (times: number): number => {
    let hits = 0;
    for (let i = 0; i < times; i++) if (blocks.read(random.below(hot))) hits++;
    return hits / times;
  };
  readHot(10_000);
  const before = readHot(10_000);
  expect(before).toBeGreaterThan(0.99);
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 10_000; i++) blocks.read(10_000 + i);
    // Nobody has read the hot set meanwhile.
    expect(share(blocks, hot)).toBeGreaterThan(0.95);
    expect(readHot(2000)).toBeGreaterThan(0.95);
  }
});

test("where more is read than fits, what is read most often stays", () => {
  const random = seededRandom(3);
  const cache = new BlockCache(200 * SIZE);
  const blocks = new Blocks(cache);
  let hits = 0;
  for (let i = 0; i < 60_000; i++) {
    // About Zipf's law: block n is read in proportion to 1 / n.
    const block = Math.floor(4000 ** (random.below(1_000_000) / 1_000_000));
    if (blocks.read(block) && i >= 20_000) hits++;
  }
  // The best 200 blocks of 4000 would have ln(200) / ln(4000) = 0.64 of the reads.
  expect(hits / 40_000).toBeGreaterThan(0.57);
});

test("what begins in the main queue outlives a scan", () => {
  const cache = new BlockCache(100 * SIZE);
  const blocks = new Blocks(cache);
  for (let i = 0; i < 50; i++) blocks.read(i, "high");
  for (let i = 0; i < 1000; i++) blocks.read(1000 + i);
  expect(share(blocks, 50)).toBe(1);
});

test("a block that comes back soon after it left stays longer", () => {
  const cache = new BlockCache(100 * SIZE);
  const blocks = new Blocks(cache);
  for (let i = 0; i < 50; i++) blocks.read(i, "high");
  for (let i = 0; i < 200; i++) blocks.read(1000 + i);
  expect(blocks.has(1140)).toBe(false);
  blocks.read(1140);
  for (let i = 0; i < 1000; i++) blocks.read(2000 + i);
  expect(blocks.has(1140)).toBe(true);
});

test("a table that is closed leaves nothing behind", () => {
  const cache = new BlockCache(1 << 20);
  const one = new Blocks(cache);
  const two = new Blocks(cache);
  for (let i = 0; i < 20; i++) (i % 2 === 0 ? one : two).read(i, i % 3 === 0 ? "high" : "normal");
  const all = cache.bytes;
  one.remove();
  expect(cache.bytes).toBe(all / 2);
  expect([one.arrayLength, share(one, 20), share(two, 20)]).toEqual([0, 0, 0.5]);
  two.remove();
  expect(cache.bytes).toBe(0);
});
