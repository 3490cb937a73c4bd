import { expect, test } from "bun:test";
import xxhash from "xxhash-wasm";
import { xxh32, xxh32Of, xxh64 } from "./hash.ts";
import { seededRandom } from "./prng.ts";

test("the hashes are those of another implementation, for every length up to several stripes", async () => {
  const { h64Raw, h32Raw } = await xxhash();
  const random = seededRandom(11);
  for (let length = 0; length < 300; length++) {
    const bytes = Uint8Array.from({ length }, () => random.below(256));
    expect(xxh64(bytes)).toBe(h64Raw(bytes));
    expect(xxh64(bytes, 0xfedc_ba98_7654_3210n)).toBe(h64Raw(bytes, 0xfedc_ba98_7654_3210n));
    expect(xxh32(bytes)).toBe(h32Raw(bytes));
    expect(xxh32(bytes, 7)).toBe(h32Raw(bytes, 7));
    const within = new Uint8Array(length + 5);
    within.set(bytes, 3);
    expect(xxh32Of(within, 3, 3 + length)).toBe(h32Raw(bytes));
    expect(xxh32Of(within, 3, 3 + length, 0xfedc_ba98)).toBe(h32Raw(bytes, 0xfedc_ba98));
  }
});

test("a view is hashed, not the buffer behind it", () => {
  const bytes = Uint8Array.from({ length: 100 }, (_, i) => i);
  expect(xxh64(bytes.subarray(10, 50))).toBe(xxh64(bytes.slice(10, 50)));
});
