import { expect, test } from "bun:test";
import { concatBytes, equalBytes, prefixEnd, utf8 } from "./bytes.ts";

test("the end of a prefix is the first string behind all that begin with it", () => {
  expect(prefixEnd(utf8("ab"))).toEqual(utf8("ac"));
  expect(prefixEnd(Uint8Array.of(1, 0xff, 0xff))).toEqual(Uint8Array.of(2));
  expect(prefixEnd(Uint8Array.of(0xff))).toBeUndefined();
  expect(prefixEnd(Uint8Array.of())).toBeUndefined();
});

test("a prefix that is a Buffer is not changed, though a Buffer's slice shares its memory", () => {
  const prefix = Buffer.from("ab");
  expect(prefixEnd(prefix)).toEqual(utf8("ac"));
  expect(prefix.toString()).toBe("ab");
});

test("joined bytes are a plain array of their own: a slice of it is a copy", () => {
  const joined = concatBytes([utf8("a"), utf8("bc")]);
  const slice = joined.slice(0, 1);
  slice[0] = 0;
  expect(joined).toEqual(utf8("abc"));
});

test("equal bytes are equal in length and content", () => {
  expect(equalBytes(utf8("ab"), utf8("ab"))).toBe(true);
  expect(equalBytes(utf8("ab"), utf8("abc"))).toBe(false);
  expect(equalBytes(utf8("ab"), utf8("ac"))).toBe(false);
});
