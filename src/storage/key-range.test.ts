import { expect, test } from "bun:test";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import {
  containsKey,
  disjoint,
  endsBefore,
  firstNotBefore,
  type KeyRange,
  overlap,
  overlapping,
  rangeOf,
} from "./key-range.ts";

/** `[a,c]` or `[a,c)`. */
function range(text: string): KeyRange {
  const [, smallest, largest, end] = text.match(/^\[(\w*),(\w*)([\])])$/)!;
  return { smallestKey: utf8(smallest!), largestKey: utf8(largest!), largestKeyIncluded: end === "]" };
}

function text({ smallestKey, largestKey, largestKeyIncluded }: KeyRange): string {
  return `[${fromUtf8(smallestKey)},${fromUtf8(largestKey)}${largestKeyIncluded ? "]" : ")"}`;
}

test("an end that is not included is outside", () => {
  expect(["a", "b", "c", "d"].map((key) => containsKey(range("[b,c]"), utf8(key)))).toEqual([
    false,
    true,
    true,
    false,
  ]);
  expect(containsKey(range("[b,c)"), utf8("c"))).toBe(false);
  expect(containsKey(range("[b,c)"), utf8("bz"))).toBe(true);
  expect([endsBefore(range("[b,c)"), utf8("c")), endsBefore(range("[b,c]"), utf8("c"))]).toEqual([
    true,
    false,
  ]);
});

test("ranges overlap if some key can be in both, whichever comes first", () => {
  const cases = [
    ["[a,c]", "[c,d]", true],
    ["[a,c)", "[c,d]", false],
    ["[a,c)", "[b,b]", true],
    ["[a,z]", "[c,d)", true],
    ["[a,b]", "[c,d]", false],
    ["[c,c]", "[c,c]", true],
  ] as const;
  for (const [one, two, expected] of cases) {
    expect([one, two, overlap(range(one), range(two))]).toEqual([one, two, expected]);
    expect([two, one, overlap(range(two), range(one))]).toEqual([two, one, expected]);
  }
});

test("the range of several reaches as far as the farthest", () => {
  expect(text(rangeOf([range("[b,c)")]))).toBe("[b,c)");
  expect(text(rangeOf([range("[b,c)"), range("[a,c]"), range("[b,c)")]))).toBe("[a,c]");
  expect(text(rangeOf([range("[b,x]"), range("[c,z)"), range("[a,a]")]))).toBe("[a,z)");
});

test("those of a level that overlap a range are found", () => {
  const level = ["[a,b]", "[c,e)", "[e,e]", "[g,k]"].map(range);
  const found = (one: string): string[] => overlapping(level, range(one)).map(text);
  expect(found("[b,c]")).toEqual(["[a,b]", "[c,e)"]);
  expect(found("[e,f]")).toEqual(["[e,e]"]);
  expect(found("[d,e)")).toEqual(["[c,e)"]);
  expect(found("[f,f]")).toEqual([]);
  expect(found("[0,z]")).toEqual(level.map(text));
  expect([firstNotBefore(level, utf8("e")), firstNotBefore(level, utf8("z"))]).toEqual([2, 4]);
});

test("ranges that overlap become one, others stay apart", () => {
  const of = (...ranges: string[]): string[] => disjoint(ranges.map(range)).map(text);
  expect(of()).toEqual([]);
  expect(of("[c,d]", "[a,b]")).toEqual(["[a,b]", "[c,d]"]);
  expect(of("[c,f]", "[a,c]", "[d,e]", "[h,i)", "[i,k]")).toEqual(["[a,f]", "[h,i)", "[i,k]"]);
  expect(of("[a,c)", "[b,c]", "[c,c]")).toEqual(["[a,c]"]);
});
