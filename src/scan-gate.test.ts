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
const EMPTY: ClientResponse = { kind: "entries", entries: [], more: false };

test("few scans run at one time, the rest in turn, and too many are refused", () => {
  const started: { sink: ReplySink; id: number }[] = [];
  const answers: [number, string][] = [];
  const client: ReplySink = {
    reply: (id, response) =>
      void answers.push([id, response.kind === "error" ? response.error : response.kind]),
  };
  const gate = new ScanGate(
    { activeMax: 2, waitingMax: 2 },
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
  const gate = new ScanGate({ activeMax: 1, waitingMax: 0 }, (_scan, sink, id) => sink.reply(id, EMPTY));
  const client: ReplySink = { reply: (id) => void answered.push(id) };
  for (let id = 1; id <= 3; id++) gate.run(SCAN, client, id, "redirect");
  expect(answered).toEqual([1, 2, 3]);
});
