import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { utf8 } from "../../lib/bytes.ts";
import { counted, showBytes, showShortened, showSize } from "./printable.ts";

test("text is quoted, bytes that are none are escaped or all is hex", () => {
  expect(showBytes(utf8("apple"))).toBe('"apple"');
  expect(showBytes(utf8('a "b" \\ c'))).toBe('"a \\"b\\" \\\\ c"');
  expect(showBytes(Uint8Array.of(0x61, 0x62, 0, 0xff))).toBe('"ab\\x00\\xff"');
  expect(showBytes(Uint8Array.of(0x61, 0, 0xff))).toBe("0x6100ff");
  expect(showBytes(new Uint8Array(0))).toBe('""');
  expect(showBytes(utf8("0x61"))).toBe('"0x61"');
});

test("two byte strings are never shown alike", () => {
  /** What was shown, read again. */
  const read = (text: string): number[] => {
    if (text.startsWith("0x")) return [...Buffer.from(text.slice(2), "hex")];
    const bytes: number[] = [];
    for (const [, hex, plain] of text.slice(1, -1).matchAll(/\\x([0-9a-f]{2})|\\?(.)/g))
      bytes.push(hex === undefined ? plain!.charCodeAt(0) : Number.parseInt(hex, 16));
    return bytes;
  };
  const byte = fc.oneof(fc.constantFrom(0x22, 0x5c, 0x78, 0x30), fc.integer({ min: 0, max: 255 }));
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 12 }), (bytes) => {
      expect(read(showBytes(Uint8Array.from(bytes)))).toEqual(bytes);
    }),
  );
});

test("long values are cut, sizes and counts read well", () => {
  expect(showShortened(utf8("abcdef"), 6)).toBe('"abcdef"');
  expect(showShortened(utf8("abcdefg"), 6)).toBe('"abcdef"... (7 bytes)');
  expect([showSize(0), showSize(1023), showSize(1536), showSize(3 * 2 ** 30)]).toEqual([
    "0 bytes",
    "1023 bytes",
    "1.5 KiB",
    "3.0 GiB",
  ]);
  expect([counted(1, "entry", "entries"), counted(2, "entry", "entries"), counted(0, "table")]).toEqual([
    "1 entry",
    "2 entries",
    "0 tables",
  ]);
});
