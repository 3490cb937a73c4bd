import { expect, test } from "bun:test";
import { checkCursor, entryOf, randomEntries, type TestEntry } from "../../test/support/sorted-entries.ts";
import { seededRandom } from "../lib/prng.ts";
import { Block, BlockCursor } from "./block.ts";
import { BlockBuilder } from "./block-builder.ts";

function build(entries: readonly TestEntry[], restartInterval: number): Block {
  const builder = new BlockBuilder(restartInterval);
  for (const entry of entries) builder.add(entryOf(entry));
  const size = builder.byteLength;
  const bytes = builder.finish().slice();
  expect(bytes.length).toBe(size);
  return new Block(bytes);
}

test("a block gives back its entries, at every restart interval and size", () => {
  for (const restartInterval of [1, 2, 7, 16]) {
    for (const count of [0, 1, 2, 16, 17, 150]) {
      const entries = randomEntries(seededRandom(count), count);
      const cursor = new BlockCursor();
      cursor.reset(build(entries, restartInterval));
      checkCursor(cursor, entries);
    }
  }
});

test("long keys and values, and large sequence numbers", () => {
  const entries = [0, 1, 2].map((n) => ({
    key: Buffer.from("k".repeat(70_000) + n),
    sequence: 2 ** 52 + n,
    value: new Uint8Array(300_000).fill(n),
  }));
  const cursor = new BlockCursor();
  cursor.reset(build(entries, 16));
  checkCursor(cursor, entries);
});

test("shared prefixes are stored once", () => {
  const entries = Array.from({ length: 16 }, (_, i) => ({
    key: Buffer.from(`a/rather/long/common/prefix/${String.fromCharCode(97 + i)}`),
    sequence: i,
    value: new Uint8Array(0),
  }));
  const shared = build(entries, 16).bytes.length;
  expect(shared).toBeLessThan(build(entries, 1).bytes.length / 2);
});

test("a search finds its way past restart points at values that expire", () => {
  const entries = Array.from({ length: 20 }, (_, i) => ({
    key: Buffer.from(`k${String.fromCharCode(97 + i)}`),
    sequence: i + 1,
    value: Buffer.from("v"),
  }));
  const builder = new BlockBuilder(2);
  for (const [i, entry] of entries.entries()) {
    const expiring = entryOf(entry);
    expiring.expiresAt = i % 3 === 0 ? 0 : i;
    builder.add(expiring);
  }
  const cursor = new BlockCursor();
  cursor.reset(new Block(builder.finish().slice()));
  checkCursor(cursor, entries);
});
