import { expect, test } from "bun:test";
import { seededRandom } from "../../src/lib/prng.ts";
import { KEY_BYTES, makeValues, writeKey } from "./keys.ts";
import { KeySpace, type OperationKind, SCAN_LIMIT_MAX, Workload, type WorkloadName } from "./workload.ts";

const SEED = 7;

test.each([
  ["put", { update: 1 }],
  ["get", { read: 1 }],
  ["stale-get", { staleRead: 1 }],
  ["a", { read: 0.5, update: 0.5 }],
  ["b", { read: 0.95, update: 0.05 }],
  ["c", { read: 1 }],
  ["d", { read: 0.95, insert: 0.05 }],
  ["e", { scan: 0.95, insert: 0.05 }],
  ["f", { read: 0.5, readModifyWrite: 0.5 }],
] as [WorkloadName, Partial<Record<OperationKind, number>>][])(
  `workload %s has YCSB's mix (seed ${SEED})`,
  (name, shares) => {
    const draws = 20_000;
    const workload = new Workload(name, new KeySpace(1000), seededRandom(SEED));
    const counts = new Map<OperationKind, number>();
    for (let i = 0; i < draws; i++) {
      workload.next();
      counts.set(workload.kind, (counts.get(workload.kind) ?? 0) + 1);
      workload.settled(workload.kind, workload.key, true);
    }
    expect([...counts.keys()].sort()).toEqual(Object.keys(shares).sort() as OperationKind[]);
    for (const [kind, share] of Object.entries(shares)) {
      expect(Math.abs(counts.get(kind as OperationKind)! / draws - share)).toBeLessThan(0.015);
    }
  },
);

test(`scans are of 1 to ${SCAN_LIMIT_MAX} entries, evenly (seed ${SEED})`, () => {
  const workload = new Workload("e", new KeySpace(1000), seededRandom(SEED));
  const limits = new Set<number>();
  for (let i = 0; i < 10_000; i++) {
    workload.next();
    if (workload.kind === "scan") limits.add(workload.scanLimit);
  }
  expect(limits.size).toBe(SCAN_LIMIT_MAX);
  expect(Math.min(...limits)).toBe(1);
  expect(Math.max(...limits)).toBe(SCAN_LIMIT_MAX);
});

test("a key exists once its insert and all before it were answered", () => {
  const keys = new KeySpace(10);
  expect([keys.allocate(), keys.allocate(), keys.allocate()]).toEqual([10, 11, 12]);
  keys.settled(11);
  expect(keys.count).toBe(10);
  keys.settled(10);
  expect(keys.count).toBe(12);
  keys.settled(12);
  expect(keys.count).toBe(13);
});

test("keys are 16 bytes, in the order of their numbers", () => {
  const target = new Uint8Array(KEY_BYTES + 2);
  const text = (key: number): string => {
    writeKey(target, 1, key);
    return Buffer.from(target.subarray(1, 1 + KEY_BYTES)).toString();
  };
  expect(text(0)).toBe("key0000000000000");
  expect(text(987_654_321_012)).toBe("key0987654321012");
  expect(text(42)).toBe("key0000000000042");
  expect([target[0], target[KEY_BYTES + 1]]).toEqual([0, 0]);
});

test("values have the size asked for, and differ", () => {
  const values = makeValues(100, seededRandom(SEED).below);
  expect(values.length).toBe(256);
  for (const value of values) expect(value.length).toBe(100);
  expect(new Set(values.map((value) => Buffer.from(value).toString("hex"))).size).toBe(256);
  expect(makeValues(3 * 1024 * 1024, () => 0).length).toBe(1);
  expect(makeValues(0, () => 0)[0]!.length).toBe(0);
});
