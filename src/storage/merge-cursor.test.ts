import { expect, test } from "bun:test";
import { describe, entryOf, randomEntries, type TestEntry, text } from "../../test/support/sorted-entries.ts";
import { seededRandom } from "../lib/prng.ts";
import { Block, BlockCursor } from "./block.ts";
import { BlockBuilder } from "./block-builder.ts";
import type { Cursor } from "./cursor.ts";
import { MergeCursor } from "./merge-cursor.ts";

function cursorOf(entries: readonly TestEntry[]): Cursor {
  const builder = new BlockBuilder(4);
  for (const entry of entries) builder.add(entryOf(entry));
  const cursor = new BlockCursor();
  cursor.reset(new Block(builder.finish().slice()));
  return cursor;
}

test("sources of any number and length are merged, both ways", () => {
  for (const sources of [1, 2, 5, 12]) {
    const random = seededRandom(sources);
    const entries = randomEntries(random, 300);
    const parts: TestEntry[][] = Array.from({ length: sources }, () => []);
    for (const entry of entries) parts[random.below(sources)]!.push(entry);
    const merged = new MergeCursor([...parts, []].map(cursorOf));
    const forward: string[] = [];
    for (merged.seekToFirst(); merged.valid; merged.next()) forward.push(describe(merged));
    expect(forward).toEqual(entries.map(text));
    const backward: string[] = [];
    for (merged.seekToLast(); merged.valid; merged.prev()) backward.push(describe(merged));
    expect(backward.reverse()).toEqual(entries.map(text));
    const { key } = entries[150]!;
    merged.seek(key, Number.MAX_SAFE_INTEGER);
    const first = entries.findIndex((entry) => Buffer.compare(entry.key, key) === 0);
    expect(describe(merged)).toBe(text(entries[first]!));
    merged.seekBefore(key);
    expect(describe(merged)).toBe(first === 0 ? "end" : text(entries[first - 1]!));
  }
});
