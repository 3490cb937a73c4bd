import { expect, test } from "bun:test";
import { FlotillaError } from "../../src/client/client.ts";
import { utf8 } from "../../src/lib/bytes.ts";
import { eventually } from "./eventually.ts";
import { assertLinearizable, checkLinearizable } from "./linearizability.ts";
import { startWorkload, type WorkloadClient } from "./workload.ts";

/** A store in this process that answers in a later turn, takes effect before or after it, and sometimes is silent about it. */
class LocalStore implements WorkloadClient {
  readonly values = new Map<string, string>();
  #calls = 0;

  get(key: string): Promise<Uint8Array | undefined> {
    return this.#later(() => {
      const value = this.values.get(key);
      return value === undefined ? undefined : utf8(value);
    });
  }
  put(key: string, value: string): Promise<boolean> {
    return this.#later(() => {
      this.values.set(key, value);
      return true;
    });
  }
  delete(key: string): Promise<boolean> {
    return this.#later(() => this.values.delete(key));
  }
  increment(key: string, delta: bigint): Promise<bigint> {
    return this.#later(() => {
      const sum = BigInt(this.values.get(key) ?? "0") + delta;
      this.values.set(key, sum.toString());
      return sum;
    });
  }
  compareAndSet(key: string, expected: string | undefined, value: string | undefined): Promise<boolean> {
    return this.#later(() => {
      if (this.values.get(key) !== expected) return false;
      if (value === undefined) this.values.delete(key);
      else this.values.set(key, value);
      return true;
    });
  }

  async #later<T>(execute: () => T): Promise<T> {
    const call = this.#calls++;
    if (call % 3 === 0) await Bun.sleep(0);
    if (call % 50 === 7) throw new FlotillaError("UNAVAILABLE", "no leader", "notDone");
    const result = execute();
    if (call % 2 === 0) await Bun.sleep(0);
    if (call % 50 === 9) throw new FlotillaError("TIMEOUT", "no answer", "unknown");
    return result;
  }
}

test("what it writes down of an honest store is linearizable, and all kinds of operations and outcomes occur", async () => {
  const store = new LocalStore();
  const from = performance.now();
  const workload = startWorkload(Array<WorkloadClient>(8).fill(store), { seed: 1, keys: 6 });
  await eventually("some thousand operations", 10_000, () => workload.history.length > 2000);
  await workload.stop();
  assertLinearizable(workload.history);
  const kinds = new Set(workload.history.map(({ action }) => action.kind));
  expect([...kinds].sort()).toEqual(["cas", "delete", "get", "increment", "put"]);
  expect(Math.min(...Object.values(workload.counts))).toBeGreaterThan(0);
  expect(workload.longestGapMs(from, performance.now())).toBeLessThan(1000);
});

test("what it writes down of a store that loses a write is not", async () => {
  const store = new LocalStore();
  const workload = startWorkload(Array<WorkloadClient>(8).fill(store), { seed: 2, keys: 6 });
  await eventually("a thousand operations", 10_000, () => workload.history.length > 1000);
  const kept = new Map(store.values);
  const before = workload.acknowledged;
  await eventually("some writes that will be lost", 10_000, () => workload.acknowledged > before + 50);
  store.values.clear();
  for (const [key, value] of kept) store.values.set(key, value);
  const after = workload.history.length;
  await eventually("reads of what is left", 10_000, () => workload.history.length > after + 500);
  await workload.stop();
  expect(checkLinearizable(workload.history).linearizable).toBe(false);
});

test("a client that fails as none of its errors says ends the workload with that failure", async () => {
  const store = new LocalStore();
  let failed = false;
  store.increment = () => {
    failed = true;
    return Promise.reject(new TypeError("a bug"));
  };
  const workload = startWorkload([store], { seed: 3, keys: 1 });
  await eventually("the bug", 10_000, () => failed);
  await expect(workload.stop()).rejects.toThrow("a bug");
});

test("gaps are measured between acknowledged writes, and up to the ends of the time asked for", async () => {
  const store = new LocalStore();
  const start = performance.now();
  const workload = startWorkload([store], { seed: 4 });
  await eventually("a write", 10_000, () => workload.acknowledged > 5);
  await workload.stop();
  const last = Math.max(...workload.history.map(({ returnedAt }) => returnedAt));
  // Rounded: sums of times with fractions are not exact.
  expect(Math.round(workload.longestGapMs(start, last + 5000))).toBeGreaterThanOrEqual(5000);
});
