import { expect, test } from "bun:test";
import {
  copyBytes,
  GrowingBytes,
  readBigU64,
  readU32,
  readU64,
  writeBigU64,
  writeU32,
  writeU64,
  writeVarint,
} from "./fixed-width.ts";

test("numbers come back as they were written, low bytes first", () => {
  const bytes = new Uint8Array(16);
  writeU32(bytes, 1, 0xfedc_ba98);
  expect([...bytes.subarray(1, 5)]).toEqual([0x98, 0xba, 0xdc, 0xfe]);
  expect(readU32(bytes, 1)).toBe(0xfedc_ba98);
  for (const value of [0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 52 + 12345, Number.MAX_SAFE_INTEGER]) {
    writeU64(bytes, 3, value);
    expect(readU64(bytes, 3)).toBe(value);
  }
  writeBigU64(bytes, 0, 0xfedc_ba98_7654_3210n);
  expect(readBigU64(bytes, 0)).toBe(0xfedc_ba98_7654_3210n);
  expect(() => readU64(bytes, 0)).toThrow("above 2^53");
});

test("a varint takes a byte for every 7 bits", () => {
  const bytes = new Uint8Array(8);
  for (const [value, length] of [
    [0, 1],
    [127, 1],
    [128, 2],
    [16_383, 2],
    [16_384, 3],
    [0xffff_ffff, 5],
  ] as const) {
    expect(writeVarint(bytes, 0, value)).toBe(length);
  }
  expect([...bytes.subarray(0, 5)]).toEqual([0xff, 0xff, 0xff, 0xff, 0x0f]);
});

test("a growing array keeps what is in it", () => {
  const out = new GrowingBytes(1);
  out.u8(1);
  out.u32(2);
  out.prefixed(new Uint8Array(100).fill(9));
  out.u64(3);
  expect(out.length).toBe(1 + 4 + 104 + 8);
  expect(readU32(out.view(), 1)).toBe(2);
  expect(readU64(out.view(), 109)).toBe(3);
});

test("copies of every length arrive, from and to shared memory too", () => {
  const arrays = [
    (length: number) => new Uint8Array(length),
    (length: number) => new Uint8Array(new SharedArrayBuffer(length)),
  ];
  for (const length of [0, 1, 15, 16, 17, 48, 200]) {
    for (const [of, to] of [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ] as const) {
      const source = arrays[of]!(length + 2);
      for (let i = 0; i < length + 2; i++) source[i] = i + 1;
      const target = arrays[to]!(length + 2);
      copyBytes(target, 1, source, 1, length + 1);
      expect([...target]).toEqual([0, ...source.subarray(1, length + 1), 0]);
    }
  }
});
