import { expect, test } from "bun:test";
import { utf8 } from "../lib/bytes.ts";
import { LEVELS, pickCompaction } from "./compaction-policy.ts";
import type { TableMeta } from "./manifest.ts";

const LIMITS = { level0Tables: 2, level1Bytes: 100, levelSizeRatio: 10 };

let nextNumber = 1;
function table(level: number, smallest: string, largest: string, bytes = 50): TableMeta {
  const number = nextNumber++;
  const keys = { smallestKey: utf8(smallest), largestKey: utf8(largest), largestKeyIncluded: true };
  const counts = { entries: 1, tombstones: 0, rangeTombstones: 0, expiring: 0, latestExpiry: 0 };
  return { number, level, bytes, ...counts, largestSequence: number, ...keys };
}

function levelsOf(...tables: TableMeta[]): TableMeta[][] {
  return Array.from({ length: LEVELS }, (_, level) => tables.filter((one) => one.level === level));
}

function pick(...tables: TableMeta[]): string | undefined {
  const plan = pickCompaction(levelsOf(...tables), LIMITS);
  if (plan === undefined) return undefined;
  const keys = plan.inputs.map(({ level, smallestKey, largestKey }) =>
    Buffer.concat([Buffer.from(`${level}`), smallestKey, largestKey]).toString(),
  );
  const deeper = plan.deeper.map(({ smallestKey, largestKey }) =>
    Buffer.concat([smallestKey, largestKey]).toString(),
  );
  return `${plan.level}>${plan.outputLevel}: ${keys.join(" ")} | ${deeper.join(" ")}`;
}

test("nothing to do", () => {
  expect(pick()).toBeUndefined();
  expect(pick(table(0, "a", "z"), table(1, "a", "z", 99))).toBeUndefined();
});

test("level 0 goes as a whole, with what it overlaps", () => {
  expect(
    pick(
      table(0, "c", "e"),
      table(0, "g", "h"),
      table(1, "a", "b", 1),
      table(1, "d", "d", 1),
      table(1, "i", "k", 1),
    ),
  ).toBe("0>1: 0ce 0gh 1dd | ");
});

test("a full level gives the table that drags the least along", () => {
  expect(
    pick(
      table(1, "a", "c"),
      table(1, "d", "f"),
      table(1, "g", "i"),
      table(2, "a", "b", 100),
      table(2, "e", "e", 10),
      table(2, "h", "z", 30),
    ),
  ).toBe("1>2: 1df 2ee | ");
});

test("what lies deeper under the inputs is told, the rest is not", () => {
  expect(
    pick(table(0, "c", "e"), table(0, "c", "f"), table(2, "a", "c"), table(3, "g", "h"), table(6, "f", "g")),
  ).toBe("0>1: 0ce 0cf | ac fg");
});

test("the fullest level goes first, and the last level never", () => {
  expect(pick(table(0, "a", "b"), table(0, "a", "b"), table(1, "c", "d", 1000))?.slice(0, 3)).toBe("1>2");
  expect(pick(table(6, "a", "b", 1e15))).toBeUndefined();
});
