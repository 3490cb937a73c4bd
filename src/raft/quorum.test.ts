import { expect, test } from "bun:test";
import fc from "fast-check";
import { majority, reachedByMajority } from "./quorum.ts";

test("any two majorities share a member, and no smaller number is enough", () => {
  expect([1, 2, 3, 4, 5, 6, 7].map(majority)).toEqual([1, 2, 2, 3, 3, 4, 4]);
});

test("a majority has reached the result, and none has reached more", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 9 }), (values) => {
      const needed = majority(values.length);
      const result = reachedByMajority([...values]);
      expect(values.filter((value) => value >= result).length).toBeGreaterThanOrEqual(needed);
      expect(values.filter((value) => value > result).length).toBeLessThan(needed);
    }),
  );
});
