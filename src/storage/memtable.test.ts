import { expect, test } from "bun:test";
import { checkCursor, randomEntries } from "../../test/support/sorted-entries.ts";
import { utf8 } from "../lib/bytes.ts";
import { seededRandom } from "../lib/prng.ts";
import { SEQUENCE_MAX } from "./cursor.ts";
import { Memtable } from "./memtable.ts";
import { BATCH_HEADER_BYTES, EncodedBatch } from "./write-batch.ts";

function insert(
  memtable: Memtable,
  sequence: number,
  fill: (batch: EncodedBatch) => void,
  keepUpTo?: number,
): void {
  const batch = new EncodedBatch();
  fill(batch);
  memtable.insert(batch.bytes, BATCH_HEADER_BYTES, batch.byteLength, batch.count, sequence, keepUpTo);
}

test("random entries come out sorted, whatever the capacity it begins with", () => {
  for (const [seed, capacity] of [
    [1, 0],
    [2, 100],
    [3, 1 << 20],
  ] as const) {
    const entries = randomEntries(seededRandom(seed), 400);
    const memtable = new Memtable(capacity);
    for (const { key, sequence, value } of [...entries].sort((a, b) => a.sequence - b.sequence)) {
      insert(memtable, sequence, (batch) =>
        value === undefined ? batch.delete(key) : batch.put(key, value),
      );
    }
    expect(memtable.count).toBe(400);
    checkCursor(memtable.cursor(), entries);
    checkCursor(Memtable.attach(memtable.share()).cursor(), entries);
  }
});

test("a reader finds the newest version that it may see", () => {
  const memtable = new Memtable(1000);
  insert(memtable, 5, (batch) => {
    batch.put(utf8("k"), utf8("first"));
    batch.put(utf8("k"), utf8("second"));
    batch.delete(utf8("gone"));
    batch.put(utf8("empty"), utf8(""));
  });
  const read = (key: string, sequence: number): string | undefined => {
    const node = memtable.find(utf8(key), sequence);
    if (node === 0) return undefined;
    return memtable.isTombstone(node) ? "tombstone" : Buffer.from(memtable.value(node)).toString();
  };
  expect(read("k", SEQUENCE_MAX)).toBe("second");
  expect(read("k", 6)).toBe("second");
  expect(read("k", 5)).toBe("first");
  expect(read("k", 4)).toBeUndefined();
  expect(read("gone", 100)).toBe("tombstone");
  expect(read("empty", 100)).toBe("");
  expect(read("other", 100)).toBeUndefined();
});

test("sequence numbers above 32 bits keep their order", () => {
  const memtable = new Memtable(1000);
  const high = 2 ** 40;
  for (const sequence of [3, high, high + 2 ** 31]) {
    insert(memtable, sequence, (batch) => batch.put(utf8("k"), utf8(String(sequence))));
  }
  const cursor = memtable.cursor();
  const seen: number[] = [];
  for (cursor.seekToFirst(); cursor.valid; cursor.next()) seen.push(cursor.entry.sequence);
  expect(seen).toEqual([high + 2 ** 31, high, 3]);
});

test("an overwritten version is kept for those who read at its sequence number, and for nobody else", () => {
  const memtable = new Memtable(1000);
  const put = (sequence: number, keepUpTo: number) =>
    insert(memtable, sequence, (batch) => batch.put(utf8("k"), utf8(`v${sequence}`)), keepUpTo);
  const read = (sequence: number) => {
    const node = memtable.find(utf8("k"), sequence);
    return node === 0 ? undefined : Buffer.from(memtable.value(node)).toString();
  };
  put(5, -1);
  put(6, -1);
  expect(memtable.count).toBe(1);
  // Somebody reads at 6 from now on.
  put(7, 6);
  put(8, 6);
  expect(memtable.count).toBe(2);
  expect([read(5), read(6), read(7), read(8)]).toEqual([undefined, "v6", "v6", "v8"]);
  insert(memtable, 9, (batch) => batch.delete(utf8("k")), 6);
  expect(memtable.isTombstone(memtable.find(utf8("k"), SEQUENCE_MAX))).toBe(true);
  expect(read(6)).toBe("v6");
});
