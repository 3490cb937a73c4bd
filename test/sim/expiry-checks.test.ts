import { expect, test } from "bun:test";
import type { Action, Operation } from "../support/history.ts";
import { ExpiryChecks } from "./expiry-checks.ts";

const operation = (action: Action, invokedAt: number, returnedAt: number): Operation => ({
  ...{ client: 1, key: "k", action, outcome: "done", invokedAt, returnedAt },
});
const PUT = operation({ kind: "put", value: "v", expiry: 100 }, 10, 20);
const WRITTEN = operation({ kind: "delete", result: false }, 122, 130);
const read = (at: number, result: string | undefined) => operation({ kind: "get", result }, at, at + 5);

test("a value may go from its deadline on, and must be gone once something was written after that", () => {
  const checks = new ExpiryChecks(true);
  expect(checks.goneOf(PUT)).toMatchObject({
    action: { kind: "cas", expected: "v", value: undefined },
    outcome: "unknown",
    invokedAt: 109,
  });
  const faults = (...reads: Operation[]) => checks.faultsOf([WRITTEN, ...reads], () => 0);
  // The second one began before there was a write behind the deadline.
  expect(faults(read(50, "v"), read(129, "v"), read(500, undefined), read(500, "another"))).toEqual([]);
  expect(faults(read(131, "v"))).toEqual(["client 1 found v under k 10.000 ms after it had expired"]);
  expect(checks.faultsOf([{ ...WRITTEN, key: "other" }, read(131, "v")], (key) => key.length)).toEqual([]);
  expect(checks.faultsOf([{ ...WRITTEN, invokedAt: 120 }, read(131, "v")], () => 0)).toEqual([]);
});

test("where clocks differ, or the deadline is another value's, it may go at any time and stay for ever", () => {
  const unsure = new ExpiryChecks(false);
  expect(unsure.goneOf(PUT)?.invokedAt).toBe(10);
  expect(unsure.faultsOf([WRITTEN, read(9000, "v")], () => 0)).toEqual([]);
  const checks = new ExpiryChecks(true);
  const kept = operation({ kind: "put", value: "v", expiry: "keep" }, 10, 20);
  expect(checks.goneOf(kept)?.invokedAt).toBe(10);
  const unknown = checks.goneOf({ ...PUT, outcome: "unknown" });
  expect(unknown?.invokedAt).toBe(109);
  expect(checks.faultsOf([WRITTEN, read(9000, "v")], () => 0)).toEqual([]);
  expect(checks.goneOf({ ...PUT, outcome: "failed" })).toBeUndefined();
  expect(checks.goneOf(read(1, "v"))).toBeUndefined();
});
