import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { quote, quoteIfNeeded, splitLine } from "./quoting.ts";

const wordsOf = (line: string): string[] => {
  const split = splitLine(line);
  if (split.kind === "malformed") throw new Error(split.message);
  return split.words.map(({ bytes }) => fromUtf8(bytes));
};

/** Bytes that look like text, and bytes that do not. */
const anyBytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.string({ unit: "binary", maxLength: 20 }).map(utf8),
  fc
    .string({ unit: fc.constantFrom("\\", '"', "'", "x", "0", " ", "n", "\n", "-"), maxLength: 20 })
    .map(utf8),
);

describe("what is printed", () => {
  test("can be typed back, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.array(anyBytes, { maxLength: 4 }), fc.boolean(), (words, always) => {
        const line = words.map(always ? quote : quoteIfNeeded).join(" ");
        const split = splitLine(line);
        expect(split.kind).toBe("words");
        if (split.kind === "words") {
          expect(split.words.map(({ bytes }) => Buffer.from(bytes).toString("hex"))).toEqual(
            words.map((bytes) => Buffer.from(bytes).toString("hex")),
          );
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("never holds what a terminal would obey", () => {
    fc.assert(
      fc.property(anyBytes, (bytes) => {
        expect(quote(bytes)).not.toMatch(/[\p{Cc}\p{Cf}]/u);
      }),
      { numRuns: 2000 },
    );
  });

  test("reads as redis-cli's does, but shows characters that can be shown", () => {
    expect(quote(utf8('a"b\\c\n\t'))).toBe('"a\\"b\\\\c\\n\\t"');
    expect(quote(Uint8Array.of(0, 0x1b, 0x7f, 0xff))).toBe('"\\x00\\x1b\\x7f\\xff"');
    expect(quote(utf8("grün 日本 🚀"))).toBe('"grün 日本 🚀"');
    expect(quote(utf8("a\u200bb\u00a0c"))).toBe('"a\\xe2\\x80\\x8bb\\xc2\\xa0c"');
    // The first byte of a character whose rest is missing.
    expect(quote(Uint8Array.of(0x61, 0xe6, 0x97))).toBe('"a\\xe6\\x97"');
  });

  test("has no quotes where they are not needed", () => {
    expect(quoteIfNeeded(utf8("user:1"))).toBe("user:1");
    for (const text of ["", "a b", "-x", "it's", "a\\b", "a\nb"]) {
      expect(quoteIfNeeded(utf8(text))).toStartWith('"');
    }
  });
});

describe("what is typed", () => {
  test("is split at spaces outside of quotes", () => {
    expect(wordsOf("  put  key value ")).toEqual(["put", "key", "value"]);
    expect(wordsOf(`put "a key" 'it''s' `.replace("''", "\\'"))).toEqual(["put", "a key", "it's"]);
    expect(wordsOf("")).toEqual([]);
    expect(wordsOf('put k ""')).toEqual(["put", "k", ""]);
    expect(wordsOf('a"b')).toEqual(['a"b']);
  });

  test("knows which words stood in quotes", () => {
    const split = splitLine(`get "-x" -x`);
    expect(split.kind === "words" && split.words.map(({ quoted }) => quoted)).toEqual([false, true, false]);
  });

  test("an open or a glued quote is said to be where it is", () => {
    expect(splitLine('put "abc')).toEqual({ kind: "malformed", message: 'the " at column 5 is not closed' });
    expect(splitLine('put "abc\\"')).toEqual({
      kind: "malformed",
      message: 'the " at column 5 is not closed',
    });
    expect(splitLine('"a"b')).toEqual({
      kind: "malformed",
      message: 'a space is missing after the " at column 3',
    });
  });

  test("single quotes leave everything but their own escapes alone", () => {
    expect(wordsOf("'\\x41\\n'")).toEqual(["\\x41\\n"]);
    expect(wordsOf('"\\x41\\q\\xZZ"')).toEqual(["AqxZZ"]);
  });
});
