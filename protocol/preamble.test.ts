import { describe, expect, test } from "bun:test";
import { concatBytes } from "../src/lib/bytes.ts";
import {
  chooseVersion,
  encodePreamble,
  encodePreambleReply,
  PREAMBLE_BYTES,
  parsePreamble,
  parsePreambleReply,
} from "./preamble.ts";

describe("the preamble", () => {
  test("round trip, from any place in a buffer", () => {
    const bytes = concatBytes([Uint8Array.of(9, 9), encodePreamble("peer", 2, 7), Uint8Array.of(1)]);
    expect(parsePreamble(bytes, 2)).toEqual({
      kind: "preamble",
      role: "peer",
      low: 2,
      high: 7,
      length: PREAMBLE_BYTES,
    });
  });

  test("every cut is incomplete", () => {
    const whole = encodePreamble("client");
    for (let length = 0; length < whole.length; length++) {
      expect(parsePreamble(whole.subarray(0, length), 0).kind).toBe("incomplete");
    }
  });

  test("what is wrong with it is said", () => {
    const message = (...bytes: number[]) => {
      const parsed = parsePreamble(Uint8Array.of(...bytes), 0);
      return parsed.kind === "malformed" ? parsed.message : parsed.kind;
    };
    expect(message(0x47)).toBe("byte 0 of the preamble is 0x47, not 0xf1");
    expect(message(0xf1, 0x46, 0x00)).toBe("byte 2 of the preamble is 0x00, not 0x4c");
    expect(message(0xf1, 0x46, 0x4c, 0x54, 3, 1, 1, 0)).toMatch(/role 3/);
    expect(message(0xf1, 0x46, 0x4c, 0x54, 1, 2, 1, 0)).toMatch(/versions 2 to 1/);
    expect(message(0xf1, 0x46, 0x4c, 0x54, 1, 0, 1, 0)).toMatch(/versions 0 to 1/);
    expect(message(0xf1, 0x46, 0x4c, 0x54, 1, 1, 1, 8)).toMatch(/last byte is 8/);
  });
});

describe("the answer", () => {
  test("round trip of both kinds", () => {
    const accepted = encodePreambleReply(undefined, 1);
    expect(parsePreambleReply(accepted, 0)).toEqual({
      kind: "reply",
      error: undefined,
      version: 1,
      message: "",
      length: 8,
    });
    const refused = encodePreambleReply(
      "UNSUPPORTED_VERSION",
      0,
      "Versionen 5 bis 7 kenne ich nicht – nur 1",
    );
    expect(parsePreambleReply(concatBytes([refused, Uint8Array.of(1, 2)]), 0)).toEqual({
      kind: "reply",
      error: "UNSUPPORTED_VERSION",
      version: 0,
      message: "Versionen 5 bis 7 kenne ich nicht – nur 1",
      length: refused.length,
    });
    for (let length = 0; length < refused.length; length++) {
      expect(parsePreambleReply(refused.subarray(0, length), 0).kind).toBe("incomplete");
    }
  });

  test("from something that is no node", () => {
    expect(parsePreambleReply(Buffer.from("-ERR what?\r\n"), 0).kind).toBe("malformed");
    expect(parsePreambleReply(Uint8Array.of(0xf1, 0x46, 0x4c, 0x54, 0, 0, 0, 0), 0).kind).toBe("malformed");
  });
});

test("the highest version that both speak is chosen", () => {
  expect(chooseVersion(1, 3, 2, 5)).toBe(3);
  expect(chooseVersion(1, 9, 2, 5)).toBe(5);
  expect(chooseVersion(4, 4, 4, 4)).toBe(4);
  expect(chooseVersion(1, 1, 2, 5)).toBeUndefined();
  expect(chooseVersion(6, 9, 2, 5)).toBeUndefined();
});
