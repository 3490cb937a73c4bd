import { expect, test } from "bun:test";
import { logIndex } from "../../protocol/ids.ts";
import type { ClientResponse } from "../../protocol/messages.ts";
import { utf8 } from "../lib/bytes.ts";
import { ReadQueue } from "./read-queue.ts";

function queueWith() {
  const answers: [number, ClientResponse][] = [];
  const sink = { reply: (id: number, response: ClientResponse) => void answers.push([id, response]) };
  const queue = new ReadQueue();
  const add = (requestId: number, startedMs = 0) =>
    queue.add({
      request: { kind: "get", key: utf8("k"), consistency: "linearizable" },
      sink,
      requestId,
      startedMs,
    });
  return { queue, add, answers };
}

test("a read waits for its round and then for its index to be applied", () => {
  const { queue, add } = queueWith();
  add(1);
  queue.submitted(5);
  expect(queue.takeReady(logIndex(100))).toBeUndefined();
  queue.granted(5, logIndex(10));
  expect(queue.takeReady(logIndex(9))).toBeUndefined();
  expect(queue.takeReady(logIndex(10))?.reads.map((read) => read.requestId)).toEqual([1]);
  expect(queue.waiting).toBe(0);
});

test("a granted round grants the rounds before it, not those after", () => {
  const { queue, add } = queueWith();
  for (const round of [1, 2, 3]) {
    add(round);
    queue.submitted(round);
  }
  queue.granted(2, logIndex(4));
  expect(queue.takeReady(logIndex(4))?.reads[0]?.requestId).toBe(1);
  expect(queue.takeReady(logIndex(4))?.reads[0]?.requestId).toBe(2);
  expect(queue.takeReady(logIndex(4))).toBeUndefined();
});

test("lost leadership fails what was not granted, and keeps what was", () => {
  const { queue, add, answers } = queueWith();
  add(1);
  queue.submitted(1);
  add(2);
  queue.submitted(2);
  queue.granted(1, logIndex(9));
  expect(queue.lost(2)).toBe(1);
  expect(answers.map(([id, response]) => [id, response.kind === "error" && response.error])).toEqual([
    [2, "UNAVAILABLE"],
  ]);
  expect(queue.takeReady(logIndex(9))?.reads[0]?.requestId).toBe(1);
});

test("reads that waited too long are answered so", () => {
  const { queue, add, answers } = queueWith();
  add(1, 100);
  queue.submitted(1);
  add(2, 200);
  queue.submitted(2);
  expect(queue.expire(100)).toBe(0);
  expect(queue.expire(150)).toBe(1);
  expect(answers.map(([id]) => id)).toEqual([1]);
  expect(queue.waiting).toBe(1);
});

test("reads that wait for the log's time come back once its entry is applied, whatever waits beside them", () => {
  const { queue, add, answers } = queueWith();
  add(1, 100);
  queue.submitted(1);
  queue.granted(1, logIndex(4));
  const ready = queue.takeReady(logIndex(4))!;
  expect(ready.hasWaited).toBe(false);
  queue.wait(ready.reads, logIndex(6));
  add(2, 200);
  queue.submitted(2);
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
