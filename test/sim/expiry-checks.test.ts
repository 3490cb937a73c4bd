import { expect, test } from "bun:test";
import type { Action, Operation } from "../support/history.ts";
import { ExpiryChecks } from "./expiry-checks.ts";

const operation = (action: Action, invokedAt: number, returnedAt: number): Operation => ({
  ...{ client: 1, key: "k", action, outcome: "done", invokedAt, returnedAt },
});
const PUT = operation({ kind: "put", value: "v", expiry: 100 }, 10, 20);
const read = (at: number, result: string | undefined) => operation({ kind: "get", result }, at, at + 5);

test("a value may go from its deadline on, and must not be found after it", () => {
  const checks = new ExpiryChecks(true);
  expect(checks.goneOf(PUT)).toMatchObject({
    action: { kind: "cas", expected: "v", value: undefined },
    outcome: "unknown",
    invokedAt: 109,
  });
  expect(
    checks.faultsOf([read(50, "v"), read(1121, "v"), read(5000, undefined), read(5000, "another")]),
  ).toEqual([]);
  expect(checks.faultsOf([read(1122, "v")])).toEqual([
    "client 1 found v under k 1.000 ms after it had expired",
  ]);
});

test("where clocks differ, or the deadline is another value's, it may go at any time and stay for ever", () => {
  const unsure = new ExpiryChecks(false);
  expect(unsure.goneOf(PUT)?.invokedAt).toBe(10);
  expect(unsure.faultsOf([read(9000, "v")])).toEqual([]);
  const checks = new ExpiryChecks(true);
  const kept = operation({ kind: "put", value: "v", expiry: "keep" }, 10, 20);
  expect(checks.goneOf(kept)?.invokedAt).toBe(10);
  const unknown = checks.goneOf({ ...PUT, outcome: "unknown" });
  expect(unknown?.invokedAt).toBe(109);
  expect(checks.faultsOf([read(9000, "v")])).toEqual([]);
  expect(checks.goneOf({ ...PUT, outcome: "failed" })).toBeUndefined();
  expect(checks.goneOf(read(1, "v"))).toBeUndefined();
});
