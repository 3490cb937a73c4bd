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
  expect(queue.takeReady(logIndex(10))?.map((read) => read.requestId)).toEqual([1]);
  expect(queue.waiting).toBe(0);
});

test("a granted round grants the rounds before it, not those after", () => {
  const { queue, add } = queueWith();
  for (const round of [1, 2, 3]) {
    add(round);
    queue.submitted(round);
  }
  queue.granted(2, logIndex(4));
  expect(queue.takeReady(logIndex(4))?.[0]?.requestId).toBe(1);
  expect(queue.takeReady(logIndex(4))?.[0]?.requestId).toBe(2);
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
  expect(queue.takeReady(logIndex(9))?.[0]?.requestId).toBe(1);
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
