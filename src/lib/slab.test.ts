import { expect, test } from "bun:test";
import { seededRandom } from "./prng.ts";
import { Slab } from "./slab.ts";

test("copies are equal to what they were made of, and never share bytes", () => {
  const random = seededRandom(7);
  const slab = new Slab(256);
  const pairs = Array.from({ length: 500 }, () => {
    const original = Uint8Array.from({ length: random.below(120) }, () => random.below(256));
    return { original: original.slice(), copy: slab.copy(original) };
  });
  for (const { original, copy } of pairs) expect(copy).toEqual(original);
  for (const { copy } of pairs.filter((_, i) => i % 2 === 0)) copy.fill(0);
  for (const { original, copy } of pairs.filter((_, i) => i % 2 === 1)) expect(copy).toEqual(original);
});

test("small copies share a buffer, large ones have their own", () => {
  const slab = new Slab(1024);
  const [a, b] = [slab.copy(new Uint8Array(10)), slab.copy(new Uint8Array(10))];
  expect(a.buffer).toBe(b.buffer);
  expect(slab.copy(new Uint8Array(1000)).buffer.byteLength).toBe(1000);
});
