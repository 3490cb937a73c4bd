import { describe, expect, test } from "bun:test";
import { INDEX_ZERO, type LogIndex, logIndex, nodeId, type Term, term } from "../../protocol/ids.ts";
import type { AppendRequest, Entry } from "../../protocol/peer-messages.ts";
import { AssertionError } from "../lib/assert.ts";
import { founders } from "./configuration.ts";
import { RaftLog } from "./log.ts";
import { MemoryLog } from "./testing/memory-log.ts";

const at = logIndex;
const t = term;
const BIG = 1_000_000;
const FOUNDED = { index: INDEX_ZERO, configuration: founders([nodeId("n1"), nodeId("n2")]) };

function entry(index: number, of: number, bytes = 1): Entry {
  return { index: at(index), term: t(of), kind: "commands", data: new Uint8Array(bytes) };
}

function entriesOf(first: number, terms: readonly number[]): Entry[] {
  return terms.map((of, i) => entry(first + i, of));
}

function setUp(terms: readonly number[], commit = 0): { log: RaftLog; stored: MemoryLog } {
  const stored = new MemoryLog();
  stored.append(entriesOf(1, terms));
  return { log: new RaftLog(stored, FOUNDED, at(commit)), stored };
}

function append(prevIndex: number, prevTerm: number, terms: readonly number[], commit = 0): AppendRequest {
  return {
    kind: "append",
    from: nodeId("n1"),
    to: nodeId("n2"),
    term: t(9),
    prevIndex: at(prevIndex),
    prevTerm: t(prevTerm),
    commit: at(commit),
    entries: entriesOf(prevIndex + 1, terms),
  };
}

function termsOf(log: RaftLog): (Term | undefined)[] {
  const terms: (Term | undefined)[] = [];
  for (let index = 1; index <= log.lastIndex; index++) terms.push(log.term(at(index)));
  return terms;
}

/** What the owner does with an Output's entries. */
function handOut(log: RaftLog, stored: MemoryLog): readonly Entry[] {
  const tail = log.takeTail();
  stored.append(tail);
  return tail;
}

const indexes = (entries: readonly Entry[]): LogIndex[] => entries.map(({ index }) => index);

describe("accepting an append", () => {
  test("what follows on is appended", () => {
    const { log } = setUp([1, 1]);
    expect(log.accept(append(2, 1, [2, 2]))).toBe(at(4));
    expect(termsOf(log)).toEqual([1, 1, 2, 2] as Term[]);
    expect(indexes(log.takeTail())).toEqual([3, 4] as LogIndex[]);
  });

  test("an append behind a gap, or behind another entry, is refused and changes nothing", () => {
    const { log } = setUp([1, 1]);
    expect(log.accept(append(3, 1, [2]))).toBeUndefined();
    expect(log.accept(append(2, 2, [2]))).toBeUndefined();
    expect(termsOf(log)).toEqual([1, 1] as Term[]);
    expect(log.hasTail).toBe(false);
  });

  test("a conflict cuts off what was there, and what was durable of it is no more", () => {
    const { log, stored } = setUp([1, 1, 2, 2, 2]);
    expect(log.accept(append(2, 1, [2, 3]))).toBe(at(4));
    expect(termsOf(log)).toEqual([1, 1, 2, 3] as Term[]);
    expect(log.persisted).toBe(at(3));
    expect(indexes(handOut(log, stored))).toEqual([4] as LogIndex[]);
    expect(stored.lastIndex).toBe(at(4));
  });

  test("a late append that ends earlier than the log takes nothing away, and vouches only for itself", () => {
    const { log } = setUp([1, 1, 2, 2, 2]);
    expect(log.accept(append(1, 1, [1]))).toBe(at(2));
    expect(log.accept(append(2, 1, []))).toBe(at(2));
    expect(log.lastIndex).toBe(at(5));
    expect(log.hasTail).toBe(false);
  });

  test("the commit index follows the leader's only as far as the append reaches", () => {
    const { log } = setUp([1, 1, 2, 2]);
    log.accept(append(1, 1, [1], 4));
    expect(log.commit).toBe(at(2));
    log.accept(append(1, 1, [1], 1));
    expect(log.commit).toBe(at(2));
  });

  test("what is committed matches by itself, also where it was compacted", () => {
    const { stored } = setUp([1, 1, 1, 1]);
    stored.compact(at(3));
    const log = new RaftLog(stored, FOUNDED, at(4));
    expect(log.accept(append(0, 0, [1, 1]))).toBe(at(4));
    expect(log.accept(append(1, 1, [1, 1, 1, 2]))).toBe(at(5));
    expect(log.term(at(5))).toBe(t(2));
    expect(indexes(log.takeTail())).toEqual([5] as LogIndex[]);
  });

  test("overwriting what is committed is a broken invariant", () => {
    const { log } = setUp([1, 1], 2);
    expect(() => log.accept(append(2, 1, [2], 3))).not.toThrow();
    expect(() => log.accept(append(2, 1, [3]))).toThrow(AssertionError);
  });

  test("entries out of order are a broken invariant", () => {
    const { log } = setUp([1]);
    const request = { ...append(1, 1, [1]), entries: [entry(3, 1)] };
    expect(() => log.accept(request)).toThrow("an append has entry 3 in the place of 2");
  });

  test("a conflict within the tail that waits replaces only its end", () => {
    const { log } = setUp([1]);
    log.accept(append(1, 1, [2, 2, 2]));
    log.accept(append(2, 2, [3]));
    expect(termsOf(log)).toEqual([1, 2, 3] as Term[]);
    expect(indexes(log.takeTail())).toEqual([2, 3] as LogIndex[]);
  });
});

describe("durability", () => {
  test("only entries that were handed out, and are still the same, become durable", () => {
    const { log, stored } = setUp([1]);
    log.append(t(2), "commands", new Uint8Array(1));
    log.persistedTo(at(2), t(2));
    expect(log.persisted).toBe(at(1));
    handOut(log, stored);
    log.persistedTo(at(2), t(1));
    expect(log.persisted).toBe(at(1));
    log.persistedTo(at(2), t(2));
    expect(log.persisted).toBe(at(2));
    log.persistedTo(at(1), t(1));
    expect(log.persisted).toBe(at(2));
  });

  test("entries are handed out for applying once, when they are committed and durable", () => {
    const { log, stored } = setUp([1], 1);
    expect(indexes(log.takeCommitted(BIG))).toEqual([1] as LogIndex[]);
    log.accept(append(1, 1, [1, 1], 3));
    handOut(log, stored);
    expect(log.hasCommitted).toBe(false);
    expect(log.takeCommitted(BIG)).toEqual([]);
    log.persistedTo(at(2), t(1));
    expect(indexes(log.takeCommitted(BIG))).toEqual([2] as LogIndex[]);
    log.persistedTo(at(3), t(1));
    expect(indexes(log.takeCommitted(BIG))).toEqual([3] as LogIndex[]);
  });

  test("a large number of committed entries comes in parts", () => {
    const { log } = setUp([1, 1, 1], 3);
    expect(log.takeCommitted(2)).toHaveLength(2);
    expect(log.hasCommitted).toBe(true);
    expect(log.takeCommitted(2)).toHaveLength(1);
    expect(log.hasCommitted).toBe(false);
  });

  test("what the owner compacts before it was handed out again is not handed out", () => {
    const { log, stored } = setUp([1, 1, 1, 1], 4);
    stored.compact(at(3));
    expect(indexes(log.takeCommitted(BIG))).toEqual([4] as LogIndex[]);
    expect(log.hasCommitted).toBe(false);
  });

  test("what the owner has applied in an earlier life is not handed out again, and is committed", () => {
    const { stored } = setUp([1, 1, 1, 1, 1]);
    const log = new RaftLog(stored, FOUNDED, at(4), at(3));
    expect(indexes(log.takeCommitted(BIG))).toEqual([4] as LogIndex[]);
    expect(new RaftLog(stored, FOUNDED, at(0), at(3)).commit).toBe(at(3));
    expect(() => new RaftLog(stored, FOUNDED, at(0), at(6))).toThrow(AssertionError);
  });

  test("after a restart the commit index is within what is left of the log", () => {
    const { stored } = setUp([1, 1, 1, 1]);
    expect(new RaftLog(stored, FOUNDED, at(9)).commit).toBe(at(4));
    stored.compact(at(2));
    expect(new RaftLog(stored, FOUNDED, at(0)).commit).toBe(at(2));
  });

  test("a commit index beyond the log means that acknowledged entries were lost", () => {
    const { log } = setUp([1]);
    expect(() => log.commitTo(at(2))).toThrow(AssertionError);
  });
});

describe("reading", () => {
  test("a range may span what was handed out and what was not", () => {
    const { log } = setUp([1, 1]);
    for (let i = 0; i < 3; i++) log.append(t(2), "commands", new Uint8Array(10));
    expect(indexes(log.entries(at(2), at(5), BIG))).toEqual([2, 3, 4] as LogIndex[]);
    expect(indexes(log.entries(at(4), at(6), BIG))).toEqual([4, 5] as LogIndex[]);
    expect(indexes(log.entries(at(3), at(6), BIG))).toEqual([3, 4, 5] as LogIndex[]);
    expect(indexes(log.entries(at(1), at(2), BIG))).toEqual([1] as LogIndex[]);
  });

  test("it ends before its data gets too large, but never at once", () => {
    const { log } = setUp([1, 1]);
    for (let i = 0; i < 3; i++) log.append(t(2), "commands", new Uint8Array(10));
    expect(indexes(log.entries(at(1), at(6), 1))).toEqual([1] as LogIndex[]);
    expect(indexes(log.entries(at(1), at(6), 12))).toEqual([1, 2, 3] as LogIndex[]);
    expect(indexes(log.entries(at(3), at(6), 20))).toEqual([3, 4] as LogIndex[]);
    expect(indexes(log.entries(at(3), at(6), 5))).toEqual([3] as LogIndex[]);
  });

  test("an entry has a term where there is one, or where one was just compacted", () => {
    const { log, stored } = setUp([1, 2, 3]);
    stored.compact(at(2));
    expect([0, 1, 2, 3, 4].map((index) => log.term(at(index)))).toEqual([
      undefined,
      undefined,
      t(2),
      t(3),
      undefined,
    ]);
    expect(setUp([]).log.term(INDEX_ZERO)).toBe(t(0));
  });

  test("the owner has to have appended what it was handed", () => {
    const { log } = setUp([1]);
    log.append(t(1), "commands", new Uint8Array(1));
    log.takeTail();
    expect(() => log.append(t(1), "commands", new Uint8Array(1))).toThrow("its log ends at 1");
  });
});

test("a log is up to date by its last term, then by its length (Raft §5.4.1)", () => {
  const { log } = setUp([1, 2]);
  expect(log.isUpToDate(at(1), t(3))).toBe(true);
  expect(log.isUpToDate(at(2), t(2))).toBe(true);
  expect(log.isUpToDate(at(3), t(2))).toBe(true);
  expect(log.isUpToDate(at(1), t(2))).toBe(false);
  expect(log.isUpToDate(at(9), t(1))).toBe(false);
});

test("the place where logs part is sought by terms", () => {
  const { log } = setUp([1, 1, 4, 4, 6]);
  expect(log.lastWithTermUpTo(at(9), t(9))).toBe(at(5));
  expect(log.lastWithTermUpTo(at(5), t(5))).toBe(at(4));
  expect(log.lastWithTermUpTo(at(5), t(3))).toBe(at(2));
  expect(log.lastWithTermUpTo(at(5), t(0))).toBe(at(0));
});
