import { expect, test } from "bun:test";
import type { ReplySink } from "../protocol/handler.ts";
import type { ClientResponse, Scan } from "../protocol/messages.ts";
import { utf8 } from "./lib/bytes.ts";
import { ScanGate } from "./scan-gate.ts";

const SCAN: Scan = {
  kind: "scan",
  start: utf8(""),
  end: undefined,
  limit: 1,
  keysOnly: false,
  consistency: "linearizable",
  shard: undefined,
};
const clock = { nowMs: () => 0 };
const EMPTY: ClientResponse = { kind: "entries", entries: [], more: false };

test("few scans run at one time, the rest in turn, and too many are refused", () => {
  const started: { sink: ReplySink; id: number }[] = [];
  const answers: [number, string][] = [];
  const client: ReplySink = {
    reply: (id, response) =>
      void answers.push([id, response.kind === "error" ? response.error : response.kind]),
  };
  const gate = new ScanGate(
    { activeMax: 2, waitingMax: 2, waitMsMax: 100 },
    clock,
    (_scan, sink, id) => void started.push({ sink, id }),
  );
  for (let id = 1; id <= 5; id++) gate.run(SCAN, client, id, "redirect");
  expect(started).toHaveLength(2);
  expect(answers).toEqual([[5, "OVERLOADED"]]);
  started[1]!.sink.reply(started[1]!.id, EMPTY);
  expect(started).toHaveLength(3);
  for (const { sink, id } of [started[0]!, started[2]!]) sink.reply(id, EMPTY);
  expect(started).toHaveLength(4);
  started[3]!.sink.reply(started[3]!.id, EMPTY);
  expect(answers.slice(1).map(([id]) => id)).toEqual([2, 1, 3, 4]);
});

test("a scan that is answered at once makes room at once", () => {
  const answered: number[] = [];
  const gate = new ScanGate({ activeMax: 1, waitingMax: 0, waitMsMax: 100 }, clock, (_scan, sink, id) =>
    sink.reply(id, EMPTY),
  );
  const client: ReplySink = { reply: (id) => void answered.push(id) };
  for (let id = 1; id <= 3; id++) gate.run(SCAN, client, id, "redirect");
  expect(answered).toEqual([1, 2, 3]);
});

test("a scan that waited too long is refused when its turn comes, and so are all behind it", () => {
  let nowMs = 0;
  const started: { sink: ReplySink; id: number }[] = [];
  const answers: [number, string][] = [];
  const client: ReplySink = {
    reply: (id, response) =>
      void answers.push([id, response.kind === "error" ? response.error : response.kind]),
  };
  const limits = { activeMax: 1, waitingMax: 10_000, waitMsMax: 100 };
  const gate = new ScanGate(
    limits,
    { nowMs: () => nowMs },
    (_scan, sink, id) => void started.push({ sink, id }),
  );
  for (let id = 1; id <= 5000; id++) gate.run(SCAN, client, id, "redirect");
  nowMs = 101;
  started[0]!.sink.reply(started[0]!.id, EMPTY);
  expect(answers).toHaveLength(5000);
  expect(answers[0]).toEqual([1, "entries"]);
  expect(answers.slice(1).every(([, answer]) => answer === "OVERLOADED")).toBe(true);
  gate.run(SCAN, client, 5001, "redirect");
  expect(started).toHaveLength(2);
});
