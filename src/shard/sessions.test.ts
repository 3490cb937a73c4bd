import { describe, expect, test } from "bun:test";
import { ProtocolError } from "../../protocol/errors.ts";
import type { SessionStamp } from "../../protocol/messages.ts";
import { decodePlain, encodePlain } from "../../protocol/plain.ts";
import { DEFAULT_SESSION_LIMITS, type RememberedResponse, SessionTable } from "./sessions.ts";
import { HEAD_BYTES_MAX } from "./snapshot-head.ts";

const stamp = (session: number, sequence: number, acknowledgedBelow = 1): SessionStamp => ({
  session,
  sequence,
  acknowledgedBelow,
});
const answer = (value: bigint): RememberedResponse => ({ kind: "integer", value });

describe("sessions", () => {
  test("a write that was answered is answered again, not done again", () => {
    const table = new SessionTable();
    const id = table.open(1000);
    expect(table.lookup(stamp(id, 1))).toEqual({ kind: "new" });
    table.remember(stamp(id, 1), 1000, answer(7n));
    expect(table.lookup(stamp(id, 1))).toEqual({ kind: "done", response: answer(7n) });
    expect(table.lookup(stamp(id, 2))).toEqual({ kind: "new" });
  });

  test("writes of a pipeline may arrive in any order", () => {
    const table = new SessionTable();
    const id = table.open(0);
    table.remember(stamp(id, 3), 0, answer(3n));
    table.remember(stamp(id, 1), 0, answer(1n));
    expect(table.lookup(stamp(id, 2)).kind).toBe("new");
    expect(table.lookup(stamp(id, 3)).kind).toBe("done");
  });

  test("an answer that the client has confirmed is forgotten, and its number is never new again", () => {
    const table = new SessionTable();
    const id = table.open(0);
    table.remember(stamp(id, 1), 0, answer(1n));
    table.remember(stamp(id, 2), 0, answer(2n));
    table.remember(stamp(id, 3, 3), 0, answer(3n));
    expect(table.lookup(stamp(id, 1)).kind).toBe("expired");
    expect(table.lookup(stamp(id, 2)).kind).toBe("expired");
    expect(table.lookup(stamp(id, 3)).kind).toBe("done");
  });

  test("a client that confirms absurdly much costs no time", () => {
    const table = new SessionTable();
    const id = table.open(0);
    table.remember(stamp(id, 1), 0, answer(1n));
    table.remember(stamp(id, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER), 0, answer(2n));
    expect(table.lookup(stamp(id, 1)).kind).toBe("expired");
  });

  test("a session that was never opened is expired, and session 0 is none", () => {
    const table = new SessionTable();
    expect(table.lookup(stamp(99, 1)).kind).toBe("expired");
    expect(table.lookup(stamp(0, 0)).kind).toBe("new");
  });

  test("sessions expire by log time, and their numbers are not given out again", () => {
    const table = new SessionTable({ idleMs: 100, sessionsMax: 10, answersMax: 100 });
    const first = table.open(0);
    const second = table.open(50);
    table.remember(stamp(second, 1), 90, answer(1n));
    const third = table.open(150);
    expect(table.lookup(stamp(first, 1)).kind).toBe("expired");
    expect(table.lookup(stamp(second, 2)).kind).toBe("new");
    expect(new Set([first, second, third]).size).toBe(3);
  });

  test("beyond the limit the session that was idle for longest goes", () => {
    const table = new SessionTable({ idleMs: 1e9, sessionsMax: 2, answersMax: 100 });
    const first = table.open(1);
    const second = table.open(2);
    table.remember(stamp(first, 1), 3, answer(1n));
    table.open(4);
    expect(table.size).toBe(2);
    expect(table.lookup(stamp(first, 1)).kind).toBe("done");
    expect(table.lookup(stamp(second, 1)).kind).toBe("expired");
  });

  test("beyond the limit of answers the session that was idle for longest goes, and never the one that writes", () => {
    const table = new SessionTable({ idleMs: 1e9, sessionsMax: 10, answersMax: 4 });
    const [first, second, third] = [table.open(1), table.open(2), table.open(3)];
    for (let sequence = 1; sequence <= 2; sequence++) {
      for (const id of [first, second]) table.remember(stamp(id, sequence), 10 + id, answer(1n));
    }
    expect(table.size).toBe(3);
    table.remember(stamp(second, 3), 20, answer(1n));
    // The third had none to forget, and was idle for longest.
    expect(table.lookup(stamp(third, 1)).kind).toBe("expired");
    expect(table.lookup(stamp(first, 1)).kind).toBe("expired");
    expect(table.lookup(stamp(second, 3)).kind).toBe("done");
    const restored = new SessionTable({ idleMs: 1e9, sessionsMax: 10, answersMax: 4 });
    restored.restore(decodePlain(encodePlain(table.dump())));
    for (let sequence = 4; sequence <= 9; sequence++) {
      restored.remember(stamp(second, sequence), 30, answer(1n));
    }
    expect(restored.size).toBe(1);
    const other = restored.open(40);
    restored.remember(stamp(other, 1), 50, answer(1n));
    expect(restored.lookup(stamp(second, 9)).kind).toBe("expired");
  });

  test("the fullest table fits into the head of a snapshot", () => {
    const { sessionsMax, answersMax } = DEFAULT_SESSION_LIMITS;
    const rows = encodePlain([
      Number.MAX_SAFE_INTEGER,
      Number.MAX_SAFE_INTEGER,
      Number.MAX_SAFE_INTEGER,
      [],
    ]).length;
    const row = encodePlain([Number.MAX_SAFE_INTEGER, ["NOT_AN_INTEGER", "x".repeat(64)]]).length;
    expect(sessionsMax * rows + answersMax * row).toBeLessThan(HEAD_BYTES_MAX);
  });

  test("what is no dump is told from one", () => {
    const table = new SessionTable({ idleMs: 1, sessionsMax: 2, answersMax: 4 });
    const whole = [
      8,
      [
        [
          1,
          2.5,
          3,
          [
            [3, true],
            [4, 5],
            [5, ["NOT_AN_INTEGER", "x"]],
            [6, -7n],
          ],
        ],
      ],
    ];
    table.checkDump(whole);
    table.restore(whole);
    const bad: unknown[] = [
      null,
      {},
      [8],
      [8, [], 1],
      [-1, []],
      [1.5, []],
      [8, [[1, 2, 3]]],
      [8, [["1", 2, 3, []]]],
      [8, [[1, "2", 3, []]]],
      [8, [[1, 2, 3, [[3]]]]],
      [8, [[1, 2, 3, [[3, null]]]]],
      [8, [[1, 2, 3, [[3, ["NO_ERROR", "x"]]]]]],
      [8, [[1, 2, 3, [[3, ["__proto__", "x"]]]]]],
      [
        8,
        [
          [1, 2, 3, []],
          [2, 2, 3, []],
          [3, 2, 3, []],
        ],
      ],
    ];
    for (const dump of bad) expect(() => table.checkDump(dump)).toThrow(ProtocolError);
  });

  test("a dumped table is restored as it was", () => {
    const table = new SessionTable();
    const id = table.open(5);
    table.remember(stamp(id, 1), 6, answer(1n));
    table.remember(stamp(id, 2, 2), 6, answer(2n ** 62n));
    table.remember(stamp(id, 3, 2), 6, { kind: "boolean", value: false });
    const error = { kind: "error", error: "NOT_AN_INTEGER", message: "no", leader: undefined } as const;
    table.remember(stamp(id, 4, 2), 6, error);
    const copy = new SessionTable();
    copy.restore(decodePlain(encodePlain(table.dump())));
    expect(copy.dump()).toEqual(table.dump());
    expect(copy.lookup(stamp(id, 2))).toEqual({ kind: "done", response: answer(2n ** 62n) });
    expect(copy.lookup(stamp(id, 4))).toEqual({ kind: "done", response: error });
    expect(copy.open(7)).toBe(table.open(7));
  });
});
