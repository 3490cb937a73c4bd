import { describe, expect, test } from "bun:test";
import { ProtocolError } from "./errors.ts";
import { decodePlain, encodePlain, PLAIN_DEPTH_MAX } from "./plain.ts";

const decode = (hex: string) => decodePlain(new Uint8Array(Buffer.from(hex, "hex")));

test("plain data survives", () => {
  const value = { a: [1, -2, 1.5, 2 ** 40, true, null, "ü"], b: { c: Uint8Array.of(1) }, d: [] };
  expect(decodePlain(encodePlain(value).slice())).toEqual(value);
});

describe("what a stranger may not send", () => {
  test("tags, records, undefined, lengths that are open or lie, depth, more than one item", () => {
    const cases: [string, RegExp][] = [
      ["c11a514b67b0", /a tag/],
      ["d9010280", /a tag/],
      ["d90069830102", /a tag/],
      ["f7", /simple value/],
      ["f820", /simple value/],
      ["9fff", /without a length/],
      ["bfff", /without a length/],
      ["7f6161ff", /without a length/],
      ["ff", /without a length/],
      ["1c", /without a length/],
      ["a10102", /a map key that is not text/],
      ["a1", /a length of 1/],
      ["9a7fffffff00", /a length of 2147483647/],
      ["bb7fffffffffffffff00", /a length of/],
      ["7a7fffffff61", /a length of 2147483647/],
      ["5bffffffffffffffff", /a length of/],
      ["0000", /1 bytes after/],
      ["", /the end of the input/],
      ["19ff", /the end of the input/],
      [`${"81".repeat(PLAIN_DEPTH_MAX + 1)}80`, /more than 16 levels/],
      ["81".repeat(1_000_000), /more than 16 levels/],
    ];
    for (const [hex, sentence] of cases) {
      expect(() => decode(hex)).toThrow(sentence);
      expect(() => decode(hex)).toThrow(ProtocolError);
    }
  });

  test("a prototype", () => {
    // {"__proto__": {"polluted": true}}
    const value = decode("a1695f5f70726f746f5f5fa168706f6c6c75746564f5") as Record<string, unknown>;
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(value.polluted).toBeUndefined();
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});
