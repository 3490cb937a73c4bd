import { expect, test } from "bun:test";
import { utf8 } from "../lib/bytes.ts";
import { ScanCursors } from "./scan-cursors.ts";

test("a cursor can be used again, and an unknown one is not found", () => {
  const cursors = new ScanCursors(4, 0);
  const cursor = cursors.remember(utf8("k"));
  expect(cursor).not.toBe(0);
  expect(cursors.find(cursor)).toEqual(utf8("k"));
  expect(cursors.find(cursor)).toEqual(utf8("k"));
  expect(cursors.find(cursor + 1)).toBeUndefined();
});

test("the oldest place is forgotten when there are too many, or too many bytes", () => {
  const few = new ScanCursors(2, 0);
  const [a, b, c] = ["a", "b", "c"].map((key) => few.remember(utf8(key)));
  expect(few.find(a!)).toBeUndefined();
  expect(few.find(b!)).toEqual(utf8("b"));
  expect(few.find(c!)).toEqual(utf8("c"));

  const small = new ScanCursors(100, 0, 10);
  const first = small.remember(new Uint8Array(6));
  const second = small.remember(new Uint8Array(6));
  expect(small.find(first)).toBeUndefined();
  expect(small.find(second)).toEqual(new Uint8Array(6));
});

test("the key is copied: its buffer may be used again", () => {
  const cursors = new ScanCursors(2, 0);
  const key = utf8("abc");
  const cursor = cursors.remember(key);
  key.fill(0);
  expect(cursors.find(cursor)).toEqual(utf8("abc"));
});
