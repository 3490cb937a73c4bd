import { expect, test } from "bun:test";
import { compareEntries, randomEntries, type TestEntry } from "../../test/support/sorted-entries.ts";
import { seededRandom } from "../lib/prng.ts";
import { Block } from "./block.ts";
import { IndexBlock } from "./index-block.ts";
import { IndexBuilder } from "./partition.ts";

function build(entries: readonly TestEntry[]): IndexBlock {
  const builder = new IndexBuilder();
  for (const [i, { key, sequence }] of entries.entries())
    builder.add(key, sequence, { offset: 2 ** 41 + i, length: 7 * i });
  return new IndexBlock(new Block(builder.finish().slice()));
}

function check(entries: readonly TestEntry[], sought: readonly Uint8Array[]): void {
  const index = build(entries);
  expect(index.count).toBe(entries.length);
  for (let i = 0; i < entries.length; i++)
    expect(index.pointer(i)).toEqual({ offset: 2 ** 41 + i, length: 7 * i });
  for (const key of sought) {
    for (let sequence = 0; sequence <= entries.length + 1; sequence += 1 + (sequence >> 2)) {
      const place = { key, sequence, value: undefined };
      const expected = entries.findIndex((entry) => compareEntries(entry, place) >= 0);
      expect(index.lowerBound(key, sequence)).toBe(expected < 0 ? entries.length : expected);
    }
  }
}

test("the first entry that is not before a place is found", () => {
  const random = seededRandom(3);
  for (const count of [0, 1, 2, 40]) {
    const entries = randomEntries(random, count);
    const keys = entries.map(({ key }) => key);
    check(entries, [...keys, ...keys.map((key) => key.subarray(1)), Buffer.from("zz"), Buffer.of()]);
  }
});

test("keys with long common beginnings, zeros, and ones that are beginnings of others", () => {
  const random = seededRandom(4);
  for (const prefix of ["", "a", "a common beginning/"]) {
    for (let round = 0; round < 30; round++) {
      const key = (): Uint8Array => {
        const tail = Uint8Array.from({ length: random.below(8) }, () => [0, 0, 1, 255][random.below(4)]!);
        return Buffer.concat([Buffer.from(prefix), tail]);
      };
      const entries = Array.from({ length: 1 + random.below(20) }, (_, i) => ({
        key: key(),
        sequence: i + 1,
        value: undefined,
      })).sort(compareEntries);
      const beginnings = [0, 1, 5].map((length) => Buffer.from(prefix.slice(0, length)));
      check(entries, [...Array.from({ length: 20 }, key), ...beginnings, Buffer.from("b"), Buffer.of(0)]);
    }
  }
});
