import { expect, test } from "bun:test";
import { utf8 } from "../lib/bytes.ts";
import { hashOfKey, ScanCursors } from "./scan-cursors.ts";

const place = (shard: number, key: string | undefined) => ({
  shard,
  after: key === undefined ? undefined : utf8(key),
});

test("a cursor stands for its place, again and again", () => {
  const cursors = new ScanCursors(4);
  const places = [place(0, "k"), place(1023, "k"), place(7, undefined)];
  const given = places.map((each) => cursors.cursorOf(each));
  expect(new Set(given).size).toBe(3);
  for (const _ of [1, 2]) expect(given.map((cursor) => cursors.placeOf(cursor))).toEqual(places);
  expect(cursors.cursorOf(place(0, undefined))).toBe(0n);
  expect(given.every((cursor) => cursor > 0n && cursor < 1n << 63n)).toBe(true);
});

test("what no place has is none", () => {
  const cursors = new ScanCursors(4);
  expect(cursors.placeOf(-1n)).toBeUndefined();
  expect(cursors.placeOf(1n << 63n)).toBeUndefined();
});

test("of a key that is forgotten, or was never known, the shard and the hash are told", () => {
  const few = new ScanCursors(2);
  const [a, b, c] = ["a", "b", "c"].map((key) => few.cursorOf(place(3, key)));
  expect(few.placeOf(a!)).toEqual({ shard: 3, hash: hashOfKey(utf8("a")) });
  expect(few.placeOf(b!)).toEqual(place(3, "b"));
  expect(few.placeOf(c!)).toEqual(place(3, "c"));
  expect(new ScanCursors(2).placeOf(c!)).toEqual({ shard: 3, hash: hashOfKey(utf8("c")) });

  const small = new ScanCursors(100, 10);
  const first = small.cursorOf({ shard: 0, after: new Uint8Array(6) });
  const second = small.cursorOf({ shard: 1, after: new Uint8Array(6) });
  expect(small.placeOf(first)).toHaveProperty("hash");
  expect(small.placeOf(second)).toEqual({ shard: 1, after: new Uint8Array(6) });
});

test("the same place takes room once, and is the newest then", () => {
  const cursors = new ScanCursors(2);
  const a = cursors.cursorOf(place(0, "a"));
  const b = cursors.cursorOf(place(0, "b"));
  expect(cursors.cursorOf(place(0, "a"))).toBe(a);
  cursors.cursorOf(place(0, "c"));
  expect(cursors.placeOf(a)).toEqual(place(0, "a"));
  expect(cursors.placeOf(b)).toHaveProperty("hash");
});

test("the key is copied: its buffer may be used again", () => {
  const cursors = new ScanCursors(2);
  const key = utf8("abc");
  const cursor = cursors.cursorOf({ shard: 0, after: key });
  key.fill(0);
  expect(cursors.placeOf(cursor)).toEqual(place(0, "abc"));
});
