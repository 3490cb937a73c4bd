import { expect, test } from "bun:test";
import { describe, type TestEntry, text } from "../../test/support/sorted-entries.ts";
import { seededRandom } from "../lib/prng.ts";
import { SEQUENCE_MAX } from "./cursor.ts";
import { Memtable } from "./memtable.ts";
import { BATCH_HEADER_BYTES, EncodedBatch } from "./write-batch.ts";

/** A memtable beside a sorted array of what was put into it. */
class Written {
  readonly memtable = new Memtable(1000);
  readonly entries: TestEntry[] = [];

  put(key: Uint8Array): void {
    const sequence = this.entries.length + 1;
    const value = Uint8Array.of(sequence & 0xff);
    const batch = new EncodedBatch();
    batch.put(key, value);
    // All versions are kept.
    this.memtable.insert(batch.bytes, BATCH_HEADER_BYTES, batch.byteLength, 1, sequence, SEQUENCE_MAX);
    this.entries.push({ key, sequence, value });
  }

  /** Seeks each of `keys`, and what lies right beside it, both ways. */
  check(keys: readonly Uint8Array[]): void {
    const sorted = this.entries.toSorted((a, b) => Buffer.compare(a.key, b.key) || b.sequence - a.sequence);
    const cursor = this.memtable.cursor();
    const expectAt = (entry: TestEntry | undefined): void => {
      const wanted = entry === undefined ? "end" : text(entry);
      if (describe(cursor) !== wanted) throw new Error(`at ${describe(cursor)}, expected ${wanted}`);
    };
    for (const key of keys) {
      for (const sought of [key, Buffer.concat([key, Uint8Array.of(0)]), key.subarray(0, -1)]) {
        const first = sorted.findIndex((entry) => Buffer.compare(entry.key, sought) >= 0);
        cursor.seek(sought, SEQUENCE_MAX);
        expectAt(first < 0 ? undefined : sorted[first]);
        cursor.seekBefore(sought);
        expectAt(first < 0 ? sorted.at(-1) : sorted[first - 1]);
      }
    }
    cursor.seekToLast();
    for (const entry of sorted.toReversed()) {
      expectAt(entry);
      cursor.prev();
    }
    expect(cursor.valid).toBe(false);
  }
}

test("searches end where they should, whatever keys begin with, and wherever more came", () => {
  const random = seededRandom(1);
  const shapes: ((n: number) => Uint8Array)[] = [
    // Eight bytes in common, and four that differ.
    (n) => Buffer.from(`prefix/ ${String.fromCharCode(97 + (n % 26))}${random.below(1000)}`),
    // Keys that are equal in the four bytes, and prefixes of each other.
    (n) => Buffer.from("same".repeat(1 + (n % 5)) + "\0".repeat(n % 7)),
    () => Uint8Array.from({ length: random.below(4) }, () => random.below(3) * 127),
    () => Uint8Array.from({ length: 12 }, () => random.below(256)),
    // Versions of few keys.
    (n) => Buffer.from(`k${n % 3}`),
  ];
  for (const shape of shapes) {
    const written = new Written();
    for (let n = 0; n < 400; n++) written.put(shape(n));
    written.check(written.entries.map(({ key }) => key));
    // Fewer than would begin the list again, first all over, then behind one of them.
    for (let n = 0; n < 20; n++) written.put(shape(1000 + n));
    written.check(written.entries.map(({ key }) => key));
    const from = written.entries[200]!.key;
    for (let n = 0; n < 60; n++) written.put(Buffer.concat([from, Buffer.from(`\0${n}`)]));
    written.check(written.entries.map(({ key }) => key));
  }
});

test("keys that do not begin as all others do are found on both sides", () => {
  const written = new Written();
  for (let n = 0; n < 100; n++) written.put(Buffer.from(`middle${n}`));
  const keys = [
    "",
    "m",
    "middle",
    "midd",
    "a",
    "z",
    "middlf",
    "middle5",
    "middle99999",
    "aaaaaa~~~~",
    "zzzzzz    ",
  ].map((key) => Buffer.from(key));
  written.check(keys);
  for (const key of keys) written.put(key);
  written.check(keys);
});
