import { expect, test } from "bun:test";
import fc from "fast-check";
import { compareBytes, utf8 } from "../lib/bytes.ts";
import { SEQUENCE_MAX } from "./cursor.ts";
import { mergeRangeDeletes, NO_RANGE_DELETES, RangeDeletes, type StillRead } from "./range-deletes.ts";
import type { RangeTombstone } from "./range-tombstone.ts";

function tombstone(start: string, end: string, sequence: number): RangeTombstone {
  return { start: utf8(start), end: utf8(end), sequence };
}

function show({ starts, ends, sequences }: RangeDeletes): string {
  return sequences
    .map((all, i) => `${Buffer.from(starts[i]!)}-${Buffer.from(ends[i]!)}@${all.join(",")}`)
    .join(" ");
}

test("overlapping tombstones become fragments that do not overlap", () => {
  expect(show(RangeDeletes.of([]))).toBe("");
  expect(show(RangeDeletes.of([tombstone("b", "f", 5)]))).toBe("b-f@5");
  expect(show(RangeDeletes.of([tombstone("d", "h", 7), tombstone("b", "f", 5)]))).toBe("b-d@5 d-f@7,5 f-h@7");
  expect(show(RangeDeletes.of([tombstone("b", "f", 5), tombstone("b", "f", 9)]))).toBe("b-f@9,5");
  expect(show(RangeDeletes.of([tombstone("b", "c", 5), tombstone("c", "d", 5)]))).toBe("b-d@5");
});

test("what nobody can tell from a newer tombstone is forgotten", () => {
  const nested = Array.from({ length: 100 }, (_, i) => tombstone(`${i + 100}`, `${900 - i}`, i + 1));
  const of = (stillRead: StillRead) => RangeDeletes.of(nested, stillRead);
  expect(Math.max(...of(() => true).sequences.map((all) => all.length))).toBe(100);
  expect(Math.max(...of(() => false).sequences.map((all) => all.length))).toBe(1);
  // A snapshot at 50: of the tombstones that it sees one counts, and one of the others.
  const between = of((older, newer) => older <= 50 && newer > 50);
  expect(Math.max(...between.sequences.map((all) => all.length))).toBe(2);
});

const key = fc
  .array(fc.constantFrom(0x61, 0x62, 0x63), { maxLength: 3 })
  .map((bytes) => Uint8Array.from(bytes));
const tombstones = fc
  .array(fc.tuple(key, key), { maxLength: 12 })
  .map((pairs) =>
    pairs
      .map(([a, b], i) => ({ start: a, end: b, sequence: i + 1 }))
      .filter(({ start, end }) => compareBytes(start, end) < 0),
  );

test("the newest deletion of any key at any sequence number is what a search of the list finds", () => {
  fc.assert(
    fc.property(tombstones, key, fc.nat({ max: 14 }), fc.nat({ max: 14 }), (all, of, at, snapshot) => {
      const covering = all.filter(
        ({ start, end, sequence }) =>
          sequence <= at && compareBytes(start, of) <= 0 && compareBytes(of, end) < 0,
      );
      const expected = Math.max(0, ...covering.map(({ sequence }) => sequence));
      const whole = RangeDeletes.of(all);
      for (let i = 0; i < whole.count; i++) {
        expect(compareBytes(whole.starts[i]!, whole.ends[i]!)).toBeLessThan(0);
        if (i > 0) expect(compareBytes(whole.ends[i - 1]!, whole.starts[i]!)).toBeLessThanOrEqual(0);
      }
      expect(whole.newestOver(of, 0, of.length, at)).toBe(expected);
      // With one snapshot, those who read at it and those who read the newest still get the same.
      const thin = RangeDeletes.of(all, (older, newer) => older <= snapshot && newer > snapshot);
      const newest = whole.newestOver(of, 0, of.length, SEQUENCE_MAX);
      expect(thin.newestOver(of, 0, of.length, SEQUENCE_MAX)).toBe(newest);
      expect(thin.newestOver(of, 0, of.length, snapshot)).toBe(whole.newestOver(of, 0, of.length, snapshot));
    }),
    { numRuns: Number(process.env.RUNS ?? 1000) },
  );
});

test("many tombstones are put together in a time that grows hardly more than their number", () => {
  const name = (n: number): string => String(n).padStart(6, "0");
  const all = Array.from({ length: 20_000 }, (_, i) => tombstone(name(i), name(40_000 - i), i + 1));
  const whole = RangeDeletes.of(all, () => false);
  expect(whole.count).toBe(39_999);
  expect(whole.newestOver(utf8(name(20_000)), 0, 6, SEQUENCE_MAX)).toBe(20_000);
  expect(mergeRangeDeletes([NO_RANGE_DELETES, whole], () => true)).toBe(whole);
});
