import { expect, test } from "bun:test";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { globMatches, globPrefix } from "./glob.ts";

const matches = (pattern: string, text: string): boolean => globMatches(utf8(pattern), utf8(text));

test.each([
  ["*", "", true],
  ["*", "anything", true],
  ["", "", true],
  ["", "a", false],
  ["a*c", "abbbc", true],
  ["a*c", "abbbd", false],
  ["a**c*", "ac", true],
  ["h?llo", "hello", true],
  ["h?llo", "hllo", false],
  ["h[ae]llo", "hallo", true],
  ["h[ae]llo", "hillo", false],
  ["h[^e]llo", "hello", false],
  ["h[^e]llo", "hallo", true],
  ["h[a-c]llo", "hbllo", true],
  ["h[c-a]llo", "hbllo", true],
  ["h[a-c]llo", "hdllo", false],
  ["h\\*llo", "h*llo", true],
  ["h\\*llo", "hello", false],
  ["[\\]]", "]", true],
  ["[abc", "b", true],
  ["x\\", "x\\", true],
  ["*a*b", "xxaxxbxxb", true],
  ["user:*:name", "user:17:name", true],
])("pattern %p and text %p: %p", (pattern, text, expected) => {
  expect(matches(pattern, text)).toBe(expected);
});

test("many stars take no more than pattern times text steps", () => {
  const started = performance.now();
  expect(matches("a*".repeat(50), `${"a".repeat(20_000)}b`)).toBe(true);
  expect(matches(`${"a*".repeat(50)}c`, "a".repeat(20_000))).toBe(false);
  expect(performance.now() - started).toBeLessThan(2_000);
});

test.each([
  ["user:*", "user:"],
  ["us?r", "us"],
  ["us[e]r", "us"],
  ["us\\*r*", "us*r"],
  ["plain", "plain"],
  ["*", ""],
])("every match of %p begins with %p", (pattern, prefix) => {
  expect(fromUtf8(globPrefix(utf8(pattern)))).toBe(prefix);
});
