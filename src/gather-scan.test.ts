import { expect, test } from "bun:test";
import { errorResponse } from "../protocol/errors.ts";
import type { ClientResponse, Scan } from "../protocol/messages.ts";
import { GatherScan, mergeParts, partLimit } from "./gather-scan.ts";
import { fromUtf8, utf8 } from "./lib/bytes.ts";

const part = (keys: string, more = false) => ({
  entries: [...keys].map((key) => ({ key: utf8(key), value: utf8(key) })),
  more,
});
const keysOf = (response: ClientResponse) =>
  response.kind === "entries"
    ? [response.entries.map((entry) => fromUtf8(entry.key)).join(""), response.more]
    : response;

test("parts are merged in key order", () => {
  expect(keysOf(mergeParts([part("adg"), part("be"), part("cf")], 100))).toEqual(["abcdefg", false]);
});

test("the limit cuts, and says that there is more", () => {
  expect(keysOf(mergeParts([part("ac"), part("bd")], 3))).toEqual(["abc", true]);
  expect(keysOf(mergeParts([part("ac"), part("bd")], 4))).toEqual(["abcd", false]);
});

test("nothing is answered from beyond where a part was cut short: keys of that part may lie before it", () => {
  expect(keysOf(mergeParts([part("ab", true), part("cz")], 10))).toEqual(["ab", true]);
  expect(keysOf(mergeParts([part("ae", true), part("bz")], 10))).toEqual(["abe", true]);
});

test("of each shard twice its share is asked for, of a single one what was asked", () => {
  expect(partLimit(10_000, 1)).toBe(10_000);
  expect(partLimit(10_000, 8)).toBe(2564);
  expect(partLimit(10, 1024)).toBe(10);
  expect(partLimit(1000, 1024)).toBe(66);
});

test("one answer comes when all shards have answered; an error of one is the answer", () => {
  const answers: ClientResponse[] = [];
  const scan: Scan = {
    kind: "scan",
    start: utf8(""),
    end: undefined,
    limit: 10,
    keysOnly: false,
    consistency: "linearizable",
    shard: undefined,
  };
  const sink = { reply: (_id: number, response: ClientResponse) => void answers.push(response) };
  const gather = new GatherScan(scan, 2, sink, 1);
  gather.reply(0, { kind: "entries", ...part("b") });
  expect(answers).toEqual([]);
  gather.reply(1, { kind: "entries", ...part("a") });
  expect(answers.map(keysOf)).toEqual([["ab", false]]);

  const failing = new GatherScan(scan, 2, sink, 2);
  failing.reply(1, errorResponse("UNAVAILABLE", "no leader"));
  failing.reply(0, { kind: "entries", ...part("a") });
  expect(answers[1]?.kind).toBe("error");
});
