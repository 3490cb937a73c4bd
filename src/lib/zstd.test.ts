import { expect, test } from "bun:test";
import { seededRandom } from "./prng.ts";
import { zstdCompress, zstdDecompress } from "./zstd.ts";

test("content of every length comes back, as long as it is allowed", () => {
  const random = seededRandom(4);
  for (const length of [0, 1, 2, 100, 255, 256, 257, 4096, 65_535, 65_536, 65_791, 65_792, 300_000]) {
    const content = Uint8Array.from({ length }, () => random.below(20));
    const frame = zstdCompress(content);
    expect(Buffer.compare(zstdDecompress(frame, length)!, content)).toBe(0);
    if (length > 0) expect(zstdDecompress(frame, length - 1)).toBeUndefined();
    if (length > 255) expect(frame.length).toBeLessThan(length);
  }
});

test("what comes out is a plain Uint8Array, whose slices are copies", () => {
  const content = new Uint8Array(1000);
  const frame = zstdCompress(content);
  for (const bytes of [frame, zstdDecompress(frame, 1000)!]) {
    bytes.slice(0, 1).fill(7);
    expect(bytes[0]).not.toBe(7);
  }
});

test("what is no frame, or a damaged one, is refused", () => {
  const content = Buffer.from("so it is, so it is, so it is, so it is, so it is");
  const frame = zstdCompress(content);
  expect(zstdDecompress(new Uint8Array(0), 1000)).toBeUndefined();
  for (let length = 0; length < frame.length; length++)
    expect(zstdDecompress(frame.subarray(0, length), 1000)).toBeUndefined();
  const random = seededRandom(8);
  for (let round = 0; round < 2000; round++) {
    const damaged = frame.slice();
    damaged[random.below(damaged.length)]! ^= 1 + random.below(255);
    // There is no checksum in the frame: some damage is for the block's own to find.
    expect(zstdDecompress(damaged, 1000)?.length ?? 0).toBeLessThanOrEqual(1000);
  }
});

test("a frame that promises gigabytes is refused before they are allocated", () => {
  // Magic, a single segment with a content size of eight bytes: 2^40.
  const frame = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0);
  expect(zstdDecompress(frame, 1 << 20)).toBeUndefined();
});
