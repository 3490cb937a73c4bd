import { expect, test } from "bun:test";
import { utf8 } from "../lib/bytes.ts";
import { parseInteger } from "./integer-value.ts";

test("decimal integers of 64 bits are read", () => {
  for (const text of ["0", "1", "-1", "42", "9223372036854775807", "-9223372036854775808"]) {
    expect(parseInteger(utf8(text))).toBe(BigInt(text));
  }
});

test("everything else is not an integer, as strictly as Redis has it", () => {
  const texts = [
    "",
    " 1",
    "1 ",
    "+1",
    "01",
    "-0",
    "-",
    "1.0",
    "1e3",
    "0x10",
    "9223372036854775808",
    "-9223372036854775809",
    "1".repeat(21),
  ];
  for (const text of texts) expect([text, parseInteger(utf8(text))]).toEqual([text, undefined]);
});
