import { expect, test } from "bun:test";
import { level, limits, shown, table, view } from "../../test/support/compaction-levels.ts";
import { pickCompaction } from "./compaction-policy.ts";

const LIMITS = limits({ level0Tables: 2, level1Bytes: 100, levelSizeRatio: 10, tableBytes: 100 });

function pick(...args: Parameters<typeof view>): string {
  return shown(pickCompaction(view(...args), LIMITS));
}

test("nothing to do", () => {
  expect(pick([])).toBe("nothing");
  expect(pick([table(0, "a-z"), table(5, "a-z", 99), table(6, "a-z", 500)])).toBe("nothing");
  expect(pick([table(6, "a-z", 1e15)])).toBe("nothing");
});

test("level 0 goes with what hangs together by overlap, oldest first, and what it overlaps in the base level", () => {
  expect(
    pick([
      table(0, "c-e"),
      table(0, "d-h"),
      table(0, "g-i"),
      table(0, "m-n"),
      table(6, "a-b", 20),
      table(6, "d-d", 20),
      table(6, "i-k", 20),
      table(6, "m-m", 20),
    ]),
  ).toBe("merge 0>6 level 0: 0ce 0dh 0gi 6dd 6ik");
});

test("tables of level 0 that overlap nothing are moved, all at once", () => {
  expect(pick([table(0, "a-b"), table(0, "c-d"), table(6, "e-f")])).toBe("move 0>6 level 0: 0ab 0cd");
  expect(pick([table(0, "a-b"), table(0, "b-d"), table(0, "x-y")])).toBe("move 0>6 level 0: 0xy");
});

test("a table that ends before a key does not overlap the one that begins there", () => {
  expect(pick([table(0, "a-c)"), table(0, "c-d"), table(6, "d-e")])).toBe("move 0>6 level 0: 0ac)");
  expect(pick([table(0, "a-c"), table(0, "c-d"), table(6, "a-e")])).toBe("merge 0>6 level 0: 0ac 0cd 6ae");
});

test("a full level gives the table that drags the least along", () => {
  const below = [table(6, "a-b", 900), table(6, "e-e", 10), table(6, "h-z", 300)];
  const full = [table(5, "a-c"), table(5, "d-f"), table(5, "g-i")];
  expect(pick([...full, ...below])).toBe("merge 5>6 size: 5df 6ee");
  // The oldest of equals.
  expect(pick([...full.slice(1), table(5, "j-k"), table(6, "e-e", 10), table(6, "h-h", 10)])).toBe(
    "move 5>6 size: 5jk",
  );
});

test("more of a level goes along if it drags nothing more with it", () => {
  expect(
    pick([table(5, "a-b"), table(5, "c-d"), table(5, "e-f"), table(6, "a-d", 20), table(6, "e-z", 50)]),
  ).toBe("merge 5>6 size: 5ab 5cd 6ad");
});

test("what lies deeper under the inputs is told, the rest is not", () => {
  const levels = [
    table(0, "c-e"),
    table(0, "c-f"),
    table(4, "a-d", 1),
    table(5, "a-c"),
    table(6, "f-g", 300),
    table(6, "x-z"),
  ];
  const plan = pickCompaction(view(levels), LIMITS)!;
  expect(shown(plan)).toBe("merge 0>4 level 0: 0ce 0cf 4ad");
  expect(plan.deeper.map(({ smallestKey, largestKey }) => `${smallestKey}-${largestKey}`)).toEqual([
    "97-99",
    "102-103",
  ]);
  expect(plan.below.map(({ bytes }) => bytes)).toEqual([50]);
});

test("the fullest level goes first", () => {
  const levels = [table(0, "a-b"), table(0, "a-b"), table(5, "c-d", 1000), table(6, "c-z", 3000)];
  expect(pick(levels)).toBe("merge 5>6 size: 5cd 6cz");
});

test("a table that lies over much of the level below is written anew instead of being moved", () => {
  const under = Array.from({ length: 11 }, (_, i) => table(6, `${i + 10}-${i + 10}`, 100));
  expect(pick([table(4, "0-9", 200), table(5, "x-z", 50), ...under])).toBe("merge 4>5 size: 409");
  expect(pick([table(4, "0-9", 200), table(5, "x-z", 50), ...under.slice(1)])).toBe("move 4>5 size: 409");
});

test("tombstones go to what they hide, over levels that have nothing of it", () => {
  const deleting = { entries: 10, tombstones: 4 };
  expect(pick([table(4, "c-d", 20, deleting), table(5, "x-z", 20), table(6, "a-z", 90)])).toBe(
    "merge 4>6 tombstones: 4cd 6az",
  );
  // Too few of them, or thin over too much.
  expect(pick([table(5, "c-d", 20, { entries: 10, tombstones: 2 }), table(6, "a-z", 90)])).toBe("nothing");
  expect(pick([table(5, "c-d", 2, deleting), table(6, "a-z", 900, { entries: 1000 })])).toBe("nothing");
});

test("a range tombstone goes to what it hides, whatever lies there", () => {
  const deleting = { entries: 1000, rangeTombstones: 1 };
  expect(pick([table(5, "c-d", 2, deleting), table(6, "a-z", 900, { entries: 1000 })])).toBe(
    "merge 5>6 tombstones: 5cd 6az",
  );
});

test("garbage that hides nothing is written out of its table, unless somebody reads at an older time", () => {
  const deleting = { entries: 10, tombstones: 4, largestSequence: 50 };
  const levels = [table(5, "a-b"), table(6, "c-d", 20, deleting)];
  expect(pick(levels)).toBe("merge 6>6 tombstones: 6cd");
  expect(pick(levels, { oldestSnapshot: 50 })).toBe("merge 6>6 tombstones: 6cd");
  expect(pick(levels, { oldestSnapshot: 49 })).toBe("nothing");
});

test("versions that snapshots kept are written out of their table when these are gone", () => {
  const overwritten = { entries: 10, overwritten: 4, largestSequence: 50 };
  const levels = [table(5, "a-b"), table(6, "c-d", 20, overwritten)];
  expect(pick(levels)).toBe("merge 6>6 versions: 6cd");
  expect(pick(levels, { oldestSnapshot: 49 })).toBe("nothing");
  // It takes part in merges; it is no reason for one.
  expect(pick([table(5, "c-d", 20, overwritten), table(6, "c-d")])).toBe("nothing");
  expect(pick([table(6, "c-d", 20, { ...overwritten, overwritten: 1 })])).toBe("nothing");
});

test("a table with garbage is written anew, not moved, where that cleans it", () => {
  const deleting = { entries: 10, tombstones: 4 };
  const next = [table(5, "m-z"), table(6, "m-z", 300)];
  expect(pick([table(4, "c-d", 200, deleting), ...next])).toBe("merge 4>5 size: 4cd");
  expect(pick([table(4, "c-d", 200), ...next])).toBe("move 4>5 size: 4cd");
  // Here it has something to hide still.
  expect(pick([table(4, "c-d", 200, deleting), ...next, table(6, "a-e", 100)])).toBe("move 4>5 size: 4cd");
});

test("tables that hold nothing but garbage go without being read, where nothing lies under them", () => {
  const expiring = { entries: 10, expiring: 10, latestExpiry: 100 };
  const levels = [
    table(5, "a-b", 50, expiring),
    table(6, "b-c", 50, expiring),
    table(6, "d-e", 50, { entries: 3, tombstones: 3 }),
    table(6, "f-g", 50, { ...expiring, entries: 11 }),
    table(6, "h-i", 50, { ...expiring, latestExpiry: 101 }),
    table(6, "j-k", 50, { entries: 0, rangeTombstones: 2 }),
  ];
  expect(pick(levels, { now: 100, oldestSnapshot: 1 })).toBe("drop 6>6 expiry: 6bc 6de 6jk");
  expect(pick(levels, { now: 99, oldestSnapshot: 1 })).toBe("drop 6>6 tombstones: 6de 6jk");
  expect(pick(levels.slice(0, 1), { now: 100 })).toBe("drop 5>5 expiry: 5ab");
  // It hides what is under it.
  const over = [levels[0]!, table(6, "b-c", 50)];
  expect(pick(over, { now: 100 })).toBe("merge 5>6 expiry: 5ab 6bc");
});

test("what has expired is merged into what it hides, and not before its time", () => {
  const expiring = { entries: 10, expiring: 4, latestExpiry: 100 };
  const levels = [table(5, "a-b", 50, expiring), table(6, "b-c", 50)];
  expect(pick(levels, { now: 100 })).toBe("merge 5>6 expiry: 5ab 6bc");
  expect(pick(levels, { now: 99 })).toBe("nothing");
  expect(pick(levels.slice(0, 1), { now: 100 })).toBe("merge 5>5 expiry: 5ab");
});

test("what runs is left alone, and what would write there waits", () => {
  const levels = [
    table(4, "a-c", 200),
    table(4, "d-f", 200),
    table(5, "a-g", 30),
    table(5, "x-z", 30),
    table(6, "a-z", 3000),
  ];
  const first = pickCompaction(view(levels), LIMITS)!;
  expect(shown(first)).toBe("merge 4>5 size: 4ac 4df 5ag");
  expect(pick(levels, { running: [first] })).toBe("nothing");
  const apart = [...levels, table(4, "x-y", 10)];
  const other = pickCompaction(view(apart), LIMITS)!;
  expect(shown(pickCompaction(view(apart, { running: [other] }), LIMITS))).toBe("merge 4>5 size: 4xy 5xz");
  expect(level(apart, 4).length).toBe(3);
});
