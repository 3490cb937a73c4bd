import { expect, test } from "bun:test";
import { utf8 } from "../lib/bytes.ts";
import { parseDuration, showDuration } from "./duration.ts";
import { UsageError } from "./usage-error.ts";

test("times are read with their unit, and only so", () => {
  const read = (text: string) => parseDuration(utf8(text), "--ttl");
  expect(["500ms", "10s", "1.5h", "2d", "5m"].map(read)).toEqual([
    500, 10_000, 5_400_000, 172_800_000, 300_000,
  ]);
  for (const text of ["10", "s", "-1s", "0s", "0.1ms", "1 s", "1w", "99999999999999999999d", "1e3s"]) {
    expect(() => read(text)).toThrow(UsageError);
  }
});

test("times are shown so that a person sees how long they are", () => {
  const shown = [5, 999, 1000, 9_940, 119_999, 120_000, 5_400_000, 8_640_000, 200_000_000].map(showDuration);
  expect(shown).toEqual(["5ms", "999ms", "1s", "9.9s", "119.9s", "2m", "90m", "2.4h", "2.3d"]);
});
