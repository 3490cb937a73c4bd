import { expect, test } from "bun:test";
import { seededRandom } from "../lib/prng.ts";
import { bloomHash } from "./bloom.ts";
import { Partition, PartitionBuilder, shortSeparator } from "./partition.ts";

test("a partition knows its blocks and its keys", () => {
  const builder = new PartitionBuilder(10);
  for (const count of [1, 3, 200]) {
    for (let i = 0; i < count * 5; i++) builder.addKey(bloomHash(Buffer.from(`key ${i}`)));
    for (let i = 0; i < count; i++)
      builder.index.add(Buffer.from(`k${i + 1000}`), i, { offset: 2 ** 40 + i * 50, length: i });
    expect(builder.keys).toBe(count * 5);
    const size = builder.byteLength;
    const partition = new Partition(builder.finish().slice());
    expect(partition.byteLength).toBe(size + 4 * count);
    for (let i = 0; i < count; i++) {
      expect(partition.index.lowerBound(Buffer.from(`k${i + 1000}`), i)).toBe(i);
      expect(partition.index.pointer(i)).toEqual({ offset: 2 ** 40 + i * 50, length: i });
    }
    for (let i = 0; i < count * 5; i++)
      expect(partition.mayContain(bloomHash(Buffer.from(`key ${i}`)))).toBe(true);
    expect(partition.mayContain(bloomHash(Buffer.from("absent")))).toBe(false);
    expect(builder.keys).toBe(0);
  }
});

test("a separator is above the last key, below the next, and shorter", () => {
  const random = seededRandom(6);
  const key = (): Uint8Array =>
    Uint8Array.from({ length: random.below(6) }, () => [0, 1, 2, 254, 255][random.below(5)]!);
  let found = 0;
  for (let round = 0; round < 20_000; round++) {
    const [last, next] = [key(), key()].sort(Buffer.compare) as [Uint8Array, Uint8Array];
    const separator = shortSeparator(last, next);
    if (separator === undefined) continue;
    found++;
    expect(Buffer.compare(last, separator)).toBeLessThan(0);
    expect(Buffer.compare(separator, next)).toBeLessThan(0);
    expect(separator.length).toBeLessThan(last.length);
  }
  expect(found).toBeGreaterThan(1000);
});

test("separators of keys that differ early are short", () => {
  const short = (last: string, next: string): string | undefined => {
    const separator = shortSeparator(Buffer.from(last), Buffer.from(next));
    return separator === undefined ? undefined : Buffer.from(separator).toString();
  };
  expect(short("abcdefgh", "axyz")).toBe("ac");
  expect(short("abcdefgh", "acd")).toBe("ac");
  expect(short("abcdefgh", "ac")).toBe("abd");
  expect(short("abcdefgh", "abcdefghi")).toBeUndefined();
  expect(short("same", "same")).toBeUndefined();
});
