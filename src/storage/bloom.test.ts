import { expect, test } from "bun:test";
import { bloomBytes, bloomHash, bloomMayContain, writeBloom } from "./bloom.ts";

const hashOf = (n: number): number => bloomHash(Buffer.from(`key ${n}`));

/** The filter of `count` keys, in the middle of other bytes. */
function filterOf(count: number, bitsPerKey: number): (hash: number) => boolean {
  const hashes = Uint32Array.from({ length: count }, (_, i) => hashOf(i));
  const end = 7 + bloomBytes(count, bitsPerKey);
  const bytes = new Uint8Array(end + 5);
  writeBloom(bytes, 7, hashes, count, bitsPerKey);
  expect(bytes.subarray(0, 7).every((byte) => byte === 0)).toBe(true);
  expect(bytes.subarray(end).every((byte) => byte === 0)).toBe(true);
  return (hash) => bloomMayContain(bytes, 7, end, hash);
}

test("no key is missed, and with 10 bits a key one absent key in a hundred is taken for present", () => {
  for (const count of [0, 1, 100, 3000, 20_000]) {
    const mayContain = filterOf(count, 10);
    for (let i = 0; i < count; i++) expect(mayContain(hashOf(i))).toBe(true);
    let wrong = 0;
    for (let i = count; i < count + 40_000; i++) if (mayContain(hashOf(i))) wrong++;
    expect(wrong / 40_000).toBeLessThan(0.0115);
  }
});

test("no key is missed with few bits, or many", () => {
  for (const bitsPerKey of [1, 4, 16, 40]) {
    const mayContain = filterOf(1000, bitsPerKey);
    for (let i = 0; i < 1000; i++) expect(mayContain(hashOf(i))).toBe(true);
  }
});
