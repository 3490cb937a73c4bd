import { expect, test } from "bun:test";
import { utf8 } from "../lib/bytes.ts";
import { Overlap } from "./text-overlap.ts";

const a = utf8("key:a");
const b = utf8("key:b");

test("reads of one key go together, and so do writes; one waits for the other", () => {
  const overlap = new Overlap(8);
  expect(overlap.enter(0, "readKey", a)).toBe(true);
  expect(overlap.enter(1, "readKey", a)).toBe(true);
  expect(overlap.enter(2, "writeKey", a)).toBe(false);
  expect(overlap.enter(2, "writeKey", b)).toBe(true);
  expect(overlap.enter(3, "writeKey", b)).toBe(true);
  expect(overlap.enter(4, "readKey", b)).toBe(false);
  overlap.leave(0);
  expect(overlap.enter(4, "writeKey", a)).toBe(false);
  overlap.leave(1);
  expect(overlap.enter(4, "writeKey", a)).toBe(true);
});

test("commands on many keys wait for everything of the other kind", () => {
  const overlap = new Overlap(8);
  expect(overlap.enter(0, "writeKey", a)).toBe(true);
  expect(overlap.enter(1, "readMany", b)).toBe(false);
  expect(overlap.enter(1, "writeMany", b)).toBe(true);
  expect(overlap.enter(2, "writeKey", b)).toBe(false);
  expect(overlap.enter(2, "readKey", b)).toBe(false);
  overlap.leave(0);
  overlap.leave(1);
  expect(overlap.enter(2, "readMany", b)).toBe(true);
  expect(overlap.enter(3, "writeKey", a)).toBe(false);
  expect(overlap.enter(3, "readKey", a)).toBe(true);
  overlap.leave(2);
  overlap.leave(3);
  expect(overlap.enter(4, "writeKey", a)).toBe(true);
});

test("leaving twice, or without having entered, changes nothing", () => {
  const overlap = new Overlap(8);
  overlap.leave(5);
  expect(overlap.enter(0, "readKey", a)).toBe(true);
  expect(overlap.enter(1, "readKey", a)).toBe(true);
  overlap.leave(0);
  overlap.leave(0);
  expect(overlap.enter(2, "writeKey", a)).toBe(false);
});
