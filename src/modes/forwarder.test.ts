import { expect, test } from "bun:test";
import { errorResponse } from "../../protocol/errors.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import { type NodeId, nodeId, shardId } from "../../protocol/ids.ts";
import { type ClientResponse, NO_SESSION } from "../../protocol/messages.ts";
import type { Clock } from "../env/env.ts";
import { utf8 } from "../lib/bytes.ts";
import { Forwarder, type ShardRequest } from "./forwarder.ts";

const BYTES_MAX = 100_000;

/** A forwarder on a clock that is turned by hand, with a network that keeps what it is given. */
function setUp() {
  let nowMs = 0;
  const timers: (() => void)[] = [];
  const clock: Clock = {
    nowMs: () => nowMs,
    wallMs: () => nowMs,
    timer: (_delayMs, callback) => {
      timers.push(callback);
      return { cancel: () => {} };
    },
    endOfTurn: (callback) => callback(),
  };
  const sent: { node: NodeId; sink: ReplySink; id: number; request: ShardRequest }[] = [];
  const answers: [number, ClientResponse][] = [];
  let answered: (id: number) => void = () => {};
  const client: ReplySink = {
    reply: (id, response) => {
      answers.push([id, response]);
      answered(id);
    },
  };
  let refusing = false;
  let together = 0;
  const gathered: number[] = [];
  let leader: NodeId | undefined;
  const limits = { waitMs: 1000, retryMs: 20, waitingMax: 2, bytesMax: BYTES_MAX };
  const forwarder: Forwarder = new Forwarder(
    clock,
    limits,
    { leaderOf: () => leader, refused: () => {} },
    (node, request, _shard, id) => {
      sent.push({ node, sink: forwarder, id, request });
      if (refusing) forwarder.reply(id, errorResponse("NOT_LEADER", "somebody else leads the shard"));
      if (together === 0) return;
      if (sent.length > 100) throw new Error("the same is sent again and again");
      gathered.push(id);
      if (gathered.length < together) return;
      for (const one of gathered.splice(0)) forwarder.reply(one, errorResponse("NOT_LEADER", "hands over"));
    },
  );
  const get = { kind: "get", key: utf8("k"), consistency: "linearizable" } as const;
  return {
    sent,
    answers,
    forwarder,
    forward: (id: number, request: ShardRequest = get) => forwarder.forward(shardId(0), request, client, id),
    put: (id: number, key: string, value = "v") =>
      forwarder.forward(
        shardId(0),
        { kind: "put", stamp: NO_SESSION, key: utf8(key), value: utf8(value), condition: "always" },
        client,
        id,
      ),
    elect: (node: string) => {
      leader = nodeId(node);
    },
    whenAnswered: (callback: (id: number) => void) => {
      answered = callback;
    },
    refuseAtOnce: (refuse: boolean) => {
      refusing = refuse;
    },
    /** Refuses so many at once, when the last of them comes; 0: none. */
    refuseTogether: (count: number) => {
      together = count;
    },
    wait: (ms: number) => {
      nowMs += ms;
      for (const callback of timers.splice(0)) callback();
    },
  };
}

test("the leader's answer is the caller's, under the caller's id", () => {
  const { sent, answers, forward, elect } = setUp();
  elect("n2");
  forward(77);
  expect(sent.map(({ node }) => node)).toEqual([nodeId("n2")]);
  sent[0]!.sink.reply(sent[0]!.id, { kind: "pong" });
  expect(answers).toEqual([[77, { kind: "pong" }]]);
});

test("without a leader a request waits until there is one", () => {
  const { sent, answers, forward, elect, wait } = setUp();
  forward(1);
  wait(20);
  expect(sent).toEqual([]);
  elect("n3");
  wait(20);
  expect(sent.map(({ node }) => node)).toEqual([nodeId("n3")]);
  expect(answers).toEqual([]);
});

test("no leader for too long is an error, and so is too many that wait", () => {
  const { answers, forward, wait } = setUp();
  forward(1);
  forward(2);
  forward(3);
  expect(answers.map(([id]) => id)).toEqual([3]);
  wait(1000);
  expect(answers.map(([id, response]) => [id, response.kind === "error" && response.error])).toEqual([
    [3, "UNAVAILABLE"],
    [1, "UNAVAILABLE"],
    [2, "UNAVAILABLE"],
  ]);
});

test("requests that wait take a bounded number of bytes, whether they were sent or not", () => {
  const { sent, answers, put, elect, wait, forwarder } = setUp();
  const large = "v".repeat(BYTES_MAX / 2);
  put(1, "a", large);
  put(2, "b", large);
  expect(answers.map(([id, response]) => [id, response.kind === "error" && response.error])).toEqual([
    [2, "OVERLOADED"],
  ]);
  elect("n2");
  wait(20);
  put(3, "b", large);
  expect(answers.at(-1)![0]).toBe(3);
  sent[0]!.sink.reply(sent[0]!.id, { kind: "boolean", value: true });
  expect(forwarder.heldBytes).toBe(0);
  put(4, "b", large);
  expect(sent).toHaveLength(2);
  expect(forwarder.heldBytes).toBeGreaterThan(large.length);
});

test("one request alone is never too much", () => {
  const { sent, answers, put, elect } = setUp();
  elect("n2");
  put(1, "a", "v".repeat(2 * BYTES_MAX));
  put(2, "b");
  expect(sent).toHaveLength(1);
  expect(answers.map(([id]) => id)).toEqual([2]);
});

test("who waits keeps little more than its own bytes; who is sent at once is not copied", () => {
  const { sent, forward, elect, wait } = setUp();
  const chunk = new Uint8Array(65_536);
  const [key, value] = [chunk.subarray(10, 20), chunk.subarray(30, 60)];
  const put = { kind: "put", stamp: NO_SESSION, key, value, condition: "always" } as const;
  elect("n2");
  forward(1, put);
  expect(sent[0]!.request).toBe(put);
  sent[0]!.sink.reply(sent[0]!.id, errorResponse("NOT_LEADER", "hands over"));
  wait(20);
  expect(sent[1]!.request).toEqual(put);
  expect((sent[1]!.request as typeof put).value.buffer.byteLength).toBeLessThan(1000);
});

test("what certainly did not happen is tried again; an unknown outcome is not", () => {
  const { sent, answers, forward, elect, wait } = setUp();
  elect("n2");
  forward(1);
  sent[0]!.sink.reply(sent[0]!.id, errorResponse("NOT_LEADER", "n3 leads the shard"));
  expect(answers).toEqual([]);
  elect("n3");
  wait(20);
  expect(sent[1]!.node).toBe(nodeId("n3"));
  sent[1]!.sink.reply(sent[1]!.id, errorResponse("TIMEOUT", "the connection broke"));
  expect(answers.map(([id, response]) => [id, response.kind === "error" && response.error])).toEqual([
    [1, "TIMEOUT"],
  ]);
});

test("requests for a shard never overtake each other, whoever comes to lead it meanwhile", () => {
  const { sent, answers, forward, elect, wait } = setUp();
  elect("n2");
  forward(1);
  elect("n3");
  // n2 may still execute the first: the second must not get to n3 before that is known.
  forward(2);
  wait(20);
  expect(sent.map(({ node }) => node)).toEqual([nodeId("n2")]);
  sent[0]!.sink.reply(sent[0]!.id, errorResponse("NOT_LEADER", "n3 leads the shard"));
  forward(3);
  wait(20);
  expect(sent.slice(1).map(({ node }) => node)).toEqual([nodeId("n3"), nodeId("n3")]);
  for (const { sink, id } of sent.slice(1)) sink.reply(id, { kind: "pong" });
  expect(answers.filter(([, response]) => response.kind === "pong").map(([id]) => id)).toEqual([1, 2]);
});

test("a caller that forwards its next request while it is answered keeps its order, and gets its answer", () => {
  const { sent, answers, forward, elect, wait, whenAnswered } = setUp();
  forward(1);
  wait(600);
  forward(2);
  // The first one's time is over now; its answer lets the caller send a third.
  whenAnswered((id) => {
    if (id === 1) forward(3);
  });
  wait(400);
  expect(answers.map(([id]) => id)).toEqual([1]);
  elect("n2");
  wait(20);
  for (const { sink, id } of [...sent]) sink.reply(id, { kind: "pong" });
  expect(answers.map(([id, response]) => [id, response.kind])).toEqual([
    [1, "error"],
    [2, "pong"],
    [3, "pong"],
  ]);
});

test("a request that comes while the last one's lane closes gets a lane of its own", () => {
  const { sent, answers, forward, elect, wait, whenAnswered } = setUp();
  forward(1);
  forward(2);
  whenAnswered((id) => {
    if (id === 2) forward(3);
  });
  wait(1000);
  elect("n2");
  wait(20);
  for (const { sink, id } of [...sent]) sink.reply(id, { kind: "pong" });
  expect(answers.map(([id]) => id)).toEqual([1, 2, 3]);
});

test("a refusal that comes at once is tried again later, and not in a circle", () => {
  const { sent, answers, forward, elect, wait, refuseAtOnce } = setUp();
  forward(1);
  forward(2);
  elect("n2");
  refuseAtOnce(true);
  wait(20);
  expect(sent).toHaveLength(1);
  refuseAtOnce(false);
  wait(20);
  for (const { sink, id } of sent.slice(1)) sink.reply(id, { kind: "pong" });
  expect(answers.map(([id]) => id)).toEqual([1, 2]);
});

/** Of two puts that were sent again both are done, and their clients hear so in the order in which they asked. */
function expectBothDone({ sent, answers }: ReturnType<typeof setUp>): void {
  expect(sent).toHaveLength(4);
  for (const { sink, id } of sent.slice(2)) sink.reply(id, { kind: "boolean", value: true });
  expect(answers.map(([id, response]) => [id, response.kind])).toEqual([
    [1, "boolean"],
    [2, "boolean"],
  ]);
}

test("a refusal that comes at once for several together is tried again later, and not in a circle", () => {
  const parts = setUp();
  const { sent, put, elect, wait, refuseTogether } = parts;
  put(1, "k");
  put(2, "k");
  elect("n2");
  // A leader that hands over gathers writes until they fill an entry, and refuses all of them then.
  refuseTogether(2);
  wait(20);
  expect(sent).toHaveLength(2);
  refuseTogether(0);
  wait(20);
  expectBothDone(parts);
});

test("nothing is sent again before all that was sent is answered, and then in its order", () => {
  const parts = setUp();
  const { sent, put, elect, wait } = parts;
  elect("n2");
  put(1, "k");
  put(2, "k");
  const refuse = (at: number) =>
    sent[at]!.sink.reply(sent[at]!.id, errorResponse("NOT_LEADER", "hands over"));
  refuse(0);
  // n2 has not said yet what becomes of the second: sent now, the first could come after it.
  wait(20);
  expect(sent).toHaveLength(2);
  refuse(1);
  wait(20);
  expectBothDone(parts);
});

test("a write that was refused before a later one of its key was done is over; others are tried again", () => {
  const { sent, answers, forward, put, elect, wait } = setUp();
  elect("n2");
  put(1, "k");
  put(2, "j");
  forward(3);
  put(4, "k");
  for (const { sink, id } of sent.slice(0, 3)) sink.reply(id, errorResponse("NOT_LEADER", "hands over"));
  // The third found no place to wait.
  expect(answers.splice(0).map(([id]) => id)).toEqual([3]);
  sent[3]!.sink.reply(sent[3]!.id, { kind: "boolean", value: true });
  expect(answers.splice(0).map(([id, response]) => [id, response.kind])).toEqual([
    [1, "error"],
    [4, "boolean"],
  ]);
  wait(20);
  expect(sent).toHaveLength(5);
  sent[4]!.sink.reply(sent[4]!.id, { kind: "boolean", value: true });
  expect(answers).toEqual([[2, { kind: "boolean", value: true }]]);
});

test("an unknown outcome of a later write ends an earlier one's turn too", () => {
  const { sent, answers, put, elect } = setUp();
  elect("n2");
  put(1, "k");
  put(2, "k");
  sent[0]!.sink.reply(sent[0]!.id, errorResponse("NOT_LEADER", "hands over"));
  sent[1]!.sink.reply(sent[1]!.id, errorResponse("TIMEOUT", "the connection broke"));
  expect(answers.map(([id, response]) => [id, response.kind === "error" && response.error])).toEqual([
    [1, "UNAVAILABLE"],
    [2, "TIMEOUT"],
  ]);
});

test("a later write of which nothing was done ends nobody's turn", () => {
  const { sent, answers, put, elect, wait } = setUp();
  elect("n2");
  put(1, "k");
  put(2, "k");
  sent[0]!.sink.reply(sent[0]!.id, errorResponse("NOT_LEADER", "hands over"));
  sent[1]!.sink.reply(sent[1]!.id, errorResponse("READ_ONLY", "the disk is full"));
  expect(answers.splice(0).map(([id]) => id)).toEqual([2]);
  elect("n3");
  wait(20);
  sent[2]!.sink.reply(sent[2]!.id, { kind: "boolean", value: true });
  expect(answers).toEqual([[1, { kind: "boolean", value: true }]]);
});
