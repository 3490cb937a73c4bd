import { expect, test } from "bun:test";
import { isLeaseSafe, Lease } from "./lease.ts";

test("a lease is as long as it may be, from when its round was opened", () => {
  const lease = new Lease(90);
  expect(lease.holdsAt(0)).toBe(false);
  lease.confirmed(100);
  expect([100, 189, 190].map((now) => lease.holdsAt(now))).toEqual([true, true, false]);
  lease.confirmed(50);
  expect(lease.holdsAt(189)).toBe(true);
  lease.confirmed(110);
  expect(lease.holdsAt(199)).toBe(true);
});

test("without a length there is none", () => {
  const lease = new Lease(0);
  lease.confirmed(100);
  expect(lease.holdsAt(100)).toBe(false);
});

test("a pause ends it until the next confirmation, giving it up ends it for good", () => {
  const lease = new Lease(90);
  lease.confirmed(100);
  lease.interrupt();
  expect(lease.holdsAt(101)).toBe(false);
  lease.confirmed(Number.NEGATIVE_INFINITY);
  expect(lease.holdsAt(101)).toBe(false);
  lease.confirmed(102);
  expect(lease.holdsAt(103)).toBe(true);
  lease.giveUp();
  lease.confirmed(104);
  expect(lease.holdsAt(105)).toBe(false);
});

test("it has to end before the shortest promise does, by the fastest clock", () => {
  expect(isLeaseSafe(450, 50, 10, 0)).toBe(true);
  expect(isLeaseSafe(451, 50, 10, 0)).toBe(false);
  expect(isLeaseSafe(450, 50, 10, 0.01)).toBe(false);
  expect(isLeaseSafe(441, 50, 10, 0.01)).toBe(true);
});
