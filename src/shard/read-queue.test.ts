import { expect, test } from "bun:test";
import { errorResponse } from "../../protocol/errors.ts";
import { logIndex } from "../../protocol/ids.ts";
import type { ClientResponse, Consistency } from "../../protocol/messages.ts";
import { utf8 } from "../lib/bytes.ts";
import { ReadQueue } from "./read-queue.ts";

function queueWith() {
  const answers: [number, ClientResponse][] = [];
  const sink = { reply: (id: number, response: ClientResponse) => void answers.push([id, response]) };
  const queue = new ReadQueue();
  const add = (requestId: number, startedMs = 0, consistency: Consistency = "linearizable") =>
    queue.add({ request: { kind: "get", key: utf8("k"), consistency }, sink, requestId, startedMs });
  const submit = (round: number | undefined) =>
    queue.submit(
      () => round,
      () => errorResponse("NOT_LEADER", "no"),
    );
  return { queue, add, submit, answers };
}

test("a read waits for its round and then for its index to be applied", () => {
  const { queue, add, submit } = queueWith();
  add(1);
  submit(5);
  expect(queue.takeReady(logIndex(100))).toBeUndefined();
  queue.granted(5, logIndex(10));
  expect(queue.takeReady(logIndex(9))).toBeUndefined();
  expect(queue.takeReady(logIndex(10))?.reads.map((read) => read.requestId)).toEqual([1]);
  expect(queue.waiting).toBe(0);
});

test("a round is granted by itself, not with those before or after it", () => {
  const { queue, add, submit } = queueWith();
  for (const round of [1, 2, 3]) {
    add(round);
    submit(round);
  }
  queue.granted(2, logIndex(4));
  expect(queue.takeReady(logIndex(4))?.reads[0]?.requestId).toBe(2);
  expect(queue.takeReady(logIndex(4))).toBeUndefined();
  queue.granted(1, logIndex(3));
  expect(queue.takeReady(logIndex(4))?.reads[0]?.requestId).toBe(1);
  expect(queue.waiting).toBe(1);
});

test("reads for which a lease is enough have a round of their own, asked for before that of the others", () => {
  const { queue, add } = queueWith();
  add(1);
  add(2, 0, "lease");
  add(3);
  const asked: boolean[] = [];
  const open = (byLease: boolean) => {
    asked.push(byLease);
    return asked.length;
  };
  expect(queue.waiting).toBe(3);
  queue.submit(open, () => errorResponse("NOT_LEADER", "no"));
  expect(asked).toEqual([true, false]);
  queue.granted(1, logIndex(1));
  expect(queue.takeReady(logIndex(1))?.reads.map((read) => read.requestId)).toEqual([2]);
  queue.granted(2, logIndex(1));
  expect(queue.takeReady(logIndex(1))?.reads.map((read) => read.requestId)).toEqual([1, 3]);
});

test("where this node does not lead, all that was gathered is answered so", () => {
  const { queue, add, submit, answers } = queueWith();
  add(1);
  add(2, 0, "lease");
  expect(submit(undefined)).toBe(2);
  expect(answers.map(([id, response]) => [id, response.kind])).toEqual([
    [2, "error"],
    [1, "error"],
  ]);
  expect(queue.waiting).toBe(0);
});

test("lost leadership fails what was not granted, and keeps what was", () => {
  const { queue, add, submit, answers } = queueWith();
  add(1);
  submit(1);
  add(2);
  submit(2);
  queue.granted(1, logIndex(9));
  expect(queue.lost(2)).toBe(1);
  expect(answers.map(([id, response]) => [id, response.kind === "error" && response.error])).toEqual([
    [2, "UNAVAILABLE"],
  ]);
  expect(queue.takeReady(logIndex(9))?.reads[0]?.requestId).toBe(1);
});

test("reads that waited too long are answered so", () => {
  const { queue, add, submit, answers } = queueWith();
  add(1, 100);
  submit(1);
  add(2, 200);
  submit(2);
  expect(queue.expire(100)).toBe(0);
  expect(queue.expire(150)).toBe(1);
  expect(answers.map(([id]) => id)).toEqual([1]);
  expect(queue.waiting).toBe(1);
});

test("reads that wait for the log's time come back once its entry is applied, whatever waits beside them", () => {
  const { queue, add, submit, answers } = queueWith();
  add(1, 100);
  submit(1);
  queue.granted(1, logIndex(4));
  const ready = queue.takeReady(logIndex(4))!;
  expect(ready.hasWaited).toBe(false);
  queue.wait(ready.reads, logIndex(6));
  add(2, 200);
  submit(2);
  queue.granted(2, logIndex(4));
  expect(queue.waiting).toBe(2);
  expect(queue.takeReady(logIndex(5))?.reads[0]?.requestId).toBe(2);
  expect(queue.takeReady(logIndex(5))).toBeUndefined();
  const late = queue.takeReady(logIndex(6))!;
  expect([late.hasWaited, late.reads[0]?.requestId]).toEqual([true, 1]);
  queue.wait(late.reads, logIndex(9));
  expect([queue.expire(100), queue.expire(101), queue.waiting]).toEqual([0, 1, 0]);
  expect(answers.map(([id]) => id)).toEqual([1]);
});
