import { expect, test } from "bun:test";
import { testSeed } from "../../test/support/seed.ts";
import {
  checkCursor,
  compareEntries,
  describe,
  randomEntries,
  type TestEntry,
  text,
} from "../../test/support/sorted-entries.ts";
import { utf8 } from "../lib/bytes.ts";
import { seededRandom } from "../lib/prng.ts";
import { type Cursor, SEQUENCE_MAX } from "./cursor.ts";
import { Memtable } from "./memtable.ts";
import { BATCH_HEADER_BYTES, EncodedBatch } from "./write-batch.ts";

const SEED = testSeed("memtable.test.ts");

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
    const value = memtable.get(utf8(key), sequence, 0);
    return value === null ? "tombstone" : value && Buffer.from(value).toString();
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
    const value = memtable.get(utf8("k"), sequence, 0);
    return value && Buffer.from(value).toString();
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
  expect(memtable.get(utf8("k"), SEQUENCE_MAX, 0)).toBeNull();
  expect(read(6)).toBe("v6");
});

test("range tombstones are beside the entries, and count by their sequence numbers", () => {
  const memtable = new Memtable(1000);
  insert(memtable, 1, (batch) => {
    batch.put(utf8("b"), utf8("old"));
    batch.deleteRange(utf8("a"), utf8("c"));
    batch.put(utf8("bb"), utf8("new"));
    batch.deleteRange(utf8("x"), utf8("x"));
  });
  expect(memtable.count).toBe(2);
  const text = (value: Uint8Array | null | undefined) => value && Buffer.from(value).toString();
  const read = (key: string, sequence = SEQUENCE_MAX) => text(memtable.get(utf8(key), sequence, 0));
  expect([read("b"), read("b", 1), read("bb"), read("a"), read("c")]).toEqual([
    null,
    "old",
    "new",
    null,
    undefined,
  ]);
  const shared = Memtable.attach(structuredClone(memtable.share()));
  expect(shared.rangeDeletes.map((set) => set.newestOver(utf8("b"), 0, 1, SEQUENCE_MAX))).toEqual([2]);
  const alone = new Memtable(0);
  insert(alone, 1, (batch) => batch.deleteRange(utf8("a"), utf8("b")));
  expect([alone.isEmpty, alone.byteLength > 0]).toEqual([false, true]);
});

test("many range tombstones are kept in few sets, and those that nobody reads are not kept", () => {
  const memtable = new Memtable(1000);
  const key = (n: number): Uint8Array => utf8(String(n).padStart(6, "0"));
  const apart = 1000;
  for (let n = 0; n < apart; n++)
    insert(memtable, n + 1, (batch) => batch.deleteRange(key(2 * n), key(2 * n + 1)), -1);
  const before = memtable.rangeDeletes;
  expect(before.length).toBeLessThan(11);
  expect(before.reduce((sum, set) => sum + set.count, 0)).toBe(apart);
  expect([
    memtable.newestRangeDelete(key(10), SEQUENCE_MAX),
    memtable.newestRangeDelete(key(11), 9999),
  ]).toEqual([6, 0]);
  // One over all of them, again and again, is one fragment more. Who reads the old sets goes on reading them.
  for (let n = 0; n < apart; n++)
    insert(memtable, apart + n + 1, (batch) => batch.deleteRange(key(0), key(9999)), -1);
  expect(memtable.rangeDeletes.reduce((sum, set) => sum + set.count, 0)).toBeLessThan(apart + 20);
  expect(memtable.newestRangeDelete(key(10), SEQUENCE_MAX)).toBe(2 * apart);
  expect(before.some((set) => set.newestOver(key(10), 0, 6, SEQUENCE_MAX) === 6)).toBe(true);
});

test("a value that expires is gone from its time on", () => {
  const memtable = new Memtable(1000);
  insert(memtable, 1, (batch) => {
    batch.put(utf8("k"), utf8("value"), 1000);
    batch.put(utf8("empty"), utf8(""), 7);
  });
  const at = (key: string, now: number) => {
    const value = memtable.get(utf8(key), SEQUENCE_MAX, now);
    return value && Buffer.from(value).toString();
  };
  expect([at("k", 999), at("k", 1000), at("empty", 6), at("empty", 8)]).toEqual(["value", null, "", null]);
  const cursor = memtable.cursor();
  cursor.seekToLast();
  expect([cursor.entry.expiresAt, cursor.entry.valueEnd - cursor.entry.valueStart]).toEqual([1000, 5]);
});

test("scans and writes take turns: each scan finds everything, and older scans go on", () => {
  const random = seededRandom(SEED);
  for (let run = 0; run < 3; run++) {
    const memtable = new Memtable(1000);
    const entries: TestEntry[] = [];
    const held: { cursor: Cursor; sequence: number; left: TestEntry[] }[] = [];
    for (let round = 0; round < 30; round++) {
      // Few beside many, and many beside few, are put in order in different ways.
      for (let i = random.below(4) === 0 ? random.below(200) : random.below(5); i > 0; i--) {
        const sequence = entries.length + 1;
        const key = utf8(`${"prefix".slice(0, random.below(7))}${random.below(60)}`);
        const value = utf8(`v${sequence}`);
        entries.push({ key, sequence, value });
        insert(memtable, sequence, (batch) => batch.put(key, value));
      }
      for (const { cursor, sequence, left } of held) {
        expect(describe(cursor)).toBe(left.length === 0 ? "end" : text(left.shift()!));
        // What came after the cursor was made may be met on the way, and is not for its reader.
        do if (cursor.valid) cursor.next();
        while (cursor.valid && cursor.entry.sequence > sequence);
      }
      const sorted = [...entries].sort(compareEntries);
      if (round % 4 === 0) {
        const cursor = memtable.cursor();
        cursor.seekToFirst();
        held.push({ cursor, sequence: entries.length, left: [...sorted] });
      }
      const cursor = memtable.cursor();
      cursor.seekToFirst();
      for (const entry of sorted) {
        expect(describe(cursor)).toBe(text(entry));
        cursor.next();
      }
      expect(cursor.valid).toBe(false);
    }
    checkCursor(memtable.cursor(), [...entries].sort(compareEntries));
    checkCursor(Memtable.attach(memtable.share()).cursor(), [...entries].sort(compareEntries));
  }
});

test("every version of a key is found, the oldest of many as well", () => {
  const memtable = new Memtable(1000);
  const versions = 100;
  for (let i = 1; i <= versions; i++) {
    insert(memtable, 3 * i - 2, (batch) => {
      batch.put(utf8("before"), utf8("x"));
      batch.put(utf8("key"), utf8(`v${i}`));
      batch.put(utf8("key2"), utf8("x"));
    });
  }
  const get = (sequence: number) => {
    const value = memtable.get(utf8("key"), sequence, 0);
    return value === undefined || value === null ? value : Buffer.from(value).toString();
  };
  for (let i = 1; i <= versions; i++) expect(get(3 * i - 1)).toBe(`v${i}`);
  expect(get(1)).toBeUndefined();
});

test("a range tombstone is kept for those who read at its sequence number, under newer ones", () => {
  const memtable = new Memtable(1000);
  const remove = (sequence: number, keepUpTo: number) =>
    insert(memtable, sequence, (batch) => batch.deleteRange(utf8("a"), utf8("c")), keepUpTo);
  const sequences = () => memtable.rangeDeletes.flatMap((set) => set.sequences.flat());
  remove(5, -1);
  remove(6, -1);
  expect(sequences()).toEqual([6]);
  // Somebody reads at 6 from now on.
  remove(7, 6);
  remove(8, 6);
  expect(sequences()).toEqual([8, 6]);
  expect([5, 6, 7, 8].map((at) => memtable.newestRangeDelete(utf8("b"), at))).toEqual([0, 6, 6, 8]);
});
