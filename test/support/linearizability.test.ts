import { describe, expect, test } from "bun:test";
import { type Random, seededRandom } from "../../src/lib/prng.ts";
import type { Action, Operation } from "./history.ts";
import { assertLinearizable, checkLinearizable } from "./linearizability.ts";
import { testSeed } from "./seed.ts";

const SEED = testSeed("linearizability");

let clients = 0;
/** An operation of a client of its own, from `from` to `to`. */
function op(from: number, to: number, action: Action, key = "k"): Operation {
  return { client: clients++, key, action, outcome: "done", invokedAt: from, returnedAt: to };
}
function unknown(from: number, action: Action): Operation {
  return { client: clients++, key: "k", action, outcome: "unknown", invokedAt: from, returnedAt: from + 1 };
}
const put = (value: string): Action => ({ kind: "put", value });
const get = (result: string | undefined): Action => ({ kind: "get", result });
const remove = (result: boolean): Action => ({ kind: "delete", result });
const add = (delta: number, result?: number): Action => ({
  kind: "increment",
  delta: BigInt(delta),
  result: result === undefined ? undefined : BigInt(result),
});
const cas = (expected: string | undefined, value: string | undefined, result?: boolean): Action => ({
  kind: "cas",
  expected,
  value,
  result,
});

const GOOD: Record<string, Operation[]> = {
  "nothing at all": [],
  "a read of a key that was never written": [op(0, 1, get(undefined))],
  "one after another": [op(0, 1, put("a")), op(2, 3, get("a")), op(4, 5, put("b")), op(6, 7, get("b"))],
  "overlapping writes in either order, first": [op(0, 5, put("a")), op(1, 4, put("b")), op(6, 7, get("a"))],
  "overlapping writes in either order, second": [op(0, 5, put("a")), op(1, 4, put("b")), op(6, 7, get("b"))],
  "a read during a write sees the old value, then the new": [
    op(0, 1, put("a")),
    op(2, 20, put("b")),
    op(3, 4, get("a")),
    op(5, 6, get("b")),
  ],
  "a read that began before the write sees it": [op(0, 10, get("a")), op(5, 6, put("a"))],
  "an unknown write that happened at once": [unknown(0, put("a")), op(2, 3, get("a"))],
  "an unknown write that never happened": [op(0, 1, put("a")), unknown(2, put("b")), op(4, 5, get("a"))],
  "an unknown write that happened late": [
    op(0, 1, put("a")),
    unknown(2, put("b")),
    op(4, 5, get("a")),
    op(6, 7, get("b")),
  ],
  "a failed write that nobody sees": [
    op(0, 1, put("a")),
    { ...op(2, 3, put("b")), outcome: "failed" },
    op(4, 5, get("a")),
  ],
  "increments at once": [op(0, 9, add(1, 2)), op(0, 9, add(1, 1)), op(0, 9, add(1, 3)), op(10, 11, get("3"))],
  "an unknown increment in the sum": [unknown(0, add(5)), op(0, 9, add(1, 6)), op(10, 11, get("6"))],
  "three of five unknown increments": [
    ...Array.from({ length: 5 }, () => unknown(0, add(1))),
    op(1, 2, get("2")),
    op(3, 4, get("3")),
  ],
  "a number that was put is incremented": [op(0, 1, put("41")), op(2, 3, add(1, 42)), op(4, 5, get("42"))],
  "a delete, then none": [
    op(0, 1, put("a")),
    op(2, 3, remove(true)),
    op(4, 5, remove(false)),
    op(6, 7, get(undefined)),
  ],
  "an unknown delete explains a missing key": [
    op(0, 1, put("a")),
    unknown(2, { kind: "delete" }),
    op(4, 5, get(undefined)),
  ],
  "cas takes turns": [
    op(0, 1, cas(undefined, "a", true)),
    op(2, 3, cas("a", "b", true)),
    op(4, 5, cas("a", "c", false)),
  ],
  "a cas fails because of an unknown write": [
    op(0, 1, put("a")),
    unknown(2, put("x")),
    op(4, 5, cas("a", "b", false)),
    op(6, 7, remove(true)),
  ],
  "an unknown cas that happened": [op(0, 1, put("a")), unknown(2, cas("a", "b")), op(4, 5, get("b"))],
  "other keys are others": [op(0, 1, put("a"), "x"), op(2, 3, get(undefined), "y"), op(4, 5, get("a"), "x")],
};

const BAD: Record<string, Operation[]> = {
  "a stale read": [op(0, 1, put("a")), op(2, 3, put("b")), op(4, 5, get("a"))],
  "a lost write": [op(0, 1, put("a")), op(2, 3, get(undefined))],
  "reads that go back while a write is on its way": [
    op(0, 1, put("a")),
    op(2, 20, put("b")),
    op(3, 4, get("b")),
    op(5, 6, get("a")),
  ],
  "two clients see two orders": [
    op(0, 9, put("a")),
    op(0, 9, put("b")),
    op(10, 11, get("a")),
    op(12, 13, get("b")),
  ],
  "an increment that happened twice": [op(0, 1, add(1, 1)), op(2, 3, get("2"))],
  "an increment that was retried and happened twice": [unknown(0, add(1)), op(2, 3, add(1, 3))],
  "a lost increment": [op(0, 1, add(1, 1)), op(2, 3, add(1, 1))],
  "more unknown increments than there were": [unknown(0, add(1)), unknown(0, add(1)), op(2, 3, get("3"))],
  "an unknown increment used before it was asked for": [op(0, 1, get("1")), unknown(2, add(1))],
  "a value that nobody wrote": [op(0, 1, put("a")), op(2, 3, get("ghost"))],
  "a value of another key": [op(0, 1, put("a"), "x"), op(2, 3, get("a"), "y")],
  "a deleted key that came back": [op(0, 1, put("a")), op(2, 3, remove(true)), op(4, 5, get("a"))],
  "a delete that found nothing where something was": [op(0, 1, put("a")), op(2, 3, remove(false))],
  "a delete that found something where nothing was": [op(2, 3, remove(true))],
  "a cas that should have failed": [op(0, 1, put("a")), op(2, 3, put("b")), op(4, 5, cas("a", "c", true))],
  "a cas that should have swapped": [op(0, 1, put("a")), op(2, 3, cas("a", "c", false))],
  "two cas from one value": [
    op(0, 1, put("a")),
    op(2, 5, cas("a", "b", true)),
    op(2, 5, cas("a", "c", true)),
  ],
  "an unknown write seen, then unseen": [
    op(0, 1, put("a")),
    unknown(2, put("b")),
    op(4, 5, get("b")),
    op(6, 7, get("a")),
  ],
  "an unknown write that happened twice": [
    unknown(0, put("b")),
    op(2, 3, get("b")),
    op(4, 5, put("a")),
    op(6, 7, get("b")),
  ],
  "an unknown write read before it was asked for": [op(0, 1, get("b")), unknown(2, put("b"))],
  "a failed write that happened": [{ ...op(0, 1, put("b")), outcome: "failed" }, op(4, 5, get("b"))],
  "a cas that failed for no reason but a failed write": [
    op(0, 1, put("a")),
    { ...op(2, 3, put("x")), outcome: "failed" },
    op(4, 5, cas("a", "b", false)),
  ],
};

describe("histories known good", () => {
  for (const [name, history] of Object.entries(GOOD)) test(name, () => assertLinearizable(history));
});

describe("histories known bad", () => {
  for (const [name, history] of Object.entries(BAD))
    test(name, () => expect(checkLinearizable(history).linearizable).toBe(false));
});

test("a violation names the key, the impossible value and what could have been", () => {
  const history = [op(0, 1, put("a"), "city"), op(2, 3, put("b"), "city"), op(4, 5, get("a"), "city")];
  const verdict = checkLinearizable([...history, op(6, 7, get("b"), "city")]);
  if (verdict.linearizable) throw new Error("accepted a stale read");
  expect(verdict.violation.operation).toBe(history[2]!);
  expect(verdict.violation.key).toBe("city");
  expect(verdict.violation.report).toContain('get → "a"  [4.000, 5.000]');
  expect(verdict.violation.report).toContain('could have been: "b".');
  expect(() => assertLinearizable(history)).toThrow('key "city"');
});

/** What a single map would answer, and its new value. */
function execute(action: Action, value: string | undefined): { action: Action; value: string | undefined } {
  switch (action.kind) {
    case "put":
      return { action, value: action.value };
    case "get":
      return { action: { ...action, result: value }, value };
    case "delete":
      return { action: { ...action, result: value !== undefined }, value: undefined };
    case "increment": {
      const result = BigInt(value ?? "0") + action.delta;
      return { action: { ...action, result }, value: result.toString() };
    }
    case "cas": {
      const result = action.expected === value;
      return { action: { ...action, result }, value: result ? action.value : value };
    }
  }
}

function randomAction(
  random: Random,
  value: string | undefined,
  fresh: () => string,
  counter: boolean,
): Action {
  const kind = random.below(10);
  if (kind < 4) return get(undefined);
  if (counter) return kind < 9 ? add(1 + random.below(3)) : remove(false);
  if (kind < 7) return put(fresh());
  if (kind < 8) return remove(false);
  return cas(random.below(3) === 0 ? fresh() : value, fresh());
}

interface Shape {
  readonly operations: number;
  readonly keys: number;
  /** Longest time before and after the instant at which an operation takes effect; they are one apart. */
  readonly spread: number;
  /** One in so many has an unknown outcome; half of those happened. */
  readonly unknownOneIn: number;
}

/** A history as a correct store could have given it: each operation takes effect at one instant within its interval. */
function honestHistory(random: Random, shape: Shape): Operation[] {
  const values = new Map<string, string | undefined>();
  const history: Operation[] = [];
  let serial = 0;
  const fresh = (): string => `v${serial++}`;
  for (let instant = 0; instant < shape.operations; instant++) {
    const number = random.below(shape.keys);
    const key = `key${number}`;
    const value = values.get(key);
    const done = execute(randomAction(random, value, fresh, number % 3 === 0), value);
    const isUnknown = random.below(shape.unknownOneIn) === 0;
    if (!isUnknown || random.below(2) === 0) values.set(key, done.value);
    history.push({
      client: instant,
      key,
      action: done.action,
      outcome: isUnknown ? "unknown" : "done",
      invokedAt: instant - random.float() * shape.spread,
      returnedAt: instant + random.float() * shape.spread,
    });
  }
  return history;
}

test("honest executions with overlapping operations and unknown outcomes are accepted", () => {
  const random = seededRandom(SEED);
  for (let round = 0; round < 300; round++) {
    const keys = 1 + random.below(4);
    assertLinearizable(
      honestHistory(random, {
        operations: 60,
        keys,
        spread: random.below(4) * keys,
        unknownOneIn: 2 + random.below(20),
      }),
    );
  }
});

test("one read changed to a value that was never there is rejected", () => {
  const random = seededRandom(SEED + 1);
  for (let round = 0; round < 300; round++) {
    const history = honestHistory(random, { operations: 60, keys: 2, spread: 6, unknownOneIn: 5 });
    const reads = history.filter(({ action, outcome }) => action.kind === "get" && outcome === "done");
    if (reads.length === 0) continue;
    const changed = reads[random.below(reads.length)]!;
    const bad = history.map((o) => (o === changed ? { ...o, action: get("never") } : o));
    const verdict = checkLinearizable(bad);
    expect(verdict.linearizable).toBe(false);
    if (!verdict.linearizable) expect(verdict.violation.report).toContain("was never written");
  }
});

/** Tries every order of every selection of the unknown operations. Nothing clever, so it can be trusted. */
function bruteForce(history: readonly Operation[]): boolean {
  const place = (rest: readonly Operation[], value: string | undefined): boolean => {
    if (rest.every(({ outcome }) => outcome !== "done")) return true;
    return rest.some((next) => {
      if (next.outcome === "failed") return false;
      // What returned before another was called comes before it.
      if (rest.some((other) => other.outcome === "done" && other.returnedAt < next.invokedAt)) return false;
      if (next.action.kind === "increment" && value !== undefined && !/^-?\d+$/.test(value)) return false;
      const done = execute(next.action, value);
      if (next.outcome === "done" && "result" in next.action) {
        if (next.action.result !== (done.action as { result?: unknown }).result) return false;
      }
      return place(
        rest.filter((other) => other !== next),
        done.value,
      );
    });
  };
  return place(history, undefined);
}

test("it says what trying every order says", () => {
  const random = seededRandom(SEED + 2);
  const values = ["a", "b", "1", "2", undefined];
  const anyValue = (): string | undefined => values[random.below(values.length)];
  const anyAction = (): Action => {
    const yes = random.below(2) === 0;
    switch (random.below(6)) {
      case 0:
      case 1:
        return get(anyValue());
      case 2:
        return put(anyValue() ?? "c");
      case 3:
        return remove(yes);
      case 4:
        return add(1 + random.below(2), 1 + random.below(4));
      default:
        return cas(anyValue(), anyValue(), yes);
    }
  };
  const counts = { accepted: 0, rejected: 0 };
  for (let round = 0; round < 20_000; round++) {
    const history = Array.from({ length: 1 + random.below(6) }, (): Operation => {
      const from = random.below(12);
      const outcome = (["done", "done", "done", "unknown", "failed"] as const)[random.below(5)]!;
      return { ...op(from, from + 0.5 + random.below(8), anyAction()), outcome };
    });
    const expected = bruteForce(history);
    counts[expected ? "accepted" : "rejected"]++;
    const verdict = checkLinearizable(history);
    if (verdict.linearizable !== expected) {
      throw new Error(
        `trying every order says ${expected}, the checker not: ${Bun.inspect(history, { depth: 4 })}`,
      );
    }
  }
  // Both sides have to be well represented for this to mean something.
  expect(Math.min(counts.accepted, counts.rejected)).toBeGreaterThan(2000);
});

test("tens of thousands of operations take seconds, with many of unknown outcome too", () => {
  const random = seededRandom(SEED + 3);
  const history = honestHistory(random, { operations: 40_000, keys: 30, spread: 100, unknownOneIn: 100 });
  const started = performance.now();
  assertLinearizable(history);
  const stormy = honestHistory(random, { operations: 3_000, keys: 30, spread: 100, unknownOneIn: 2 });
  assertLinearizable(stormy);
  expect(performance.now() - started).toBeLessThan(15_000);
});

test("a violation late in a long history with many unknown operations is found too", () => {
  const random = seededRandom(SEED + 4);
  const history = honestHistory(random, { operations: 20_000, keys: 30, spread: 100, unknownOneIn: 50 });
  const first = history.find(
    ({ key, action, outcome }) => key === "key1" && action.kind === "put" && outcome === "done",
  )!;
  const value = (first.action as { value: string }).value;
  const stale: Operation = { ...op(30_000, 30_001, get(value)), key: "key1" };
  const closing: Operation = { ...op(29_000, 29_001, put("last")), key: "key1" };
  expect(checkLinearizable([...history, closing, stale]).linearizable).toBe(false);
});
