import { expect, test } from "bun:test";
import { nodeId } from "../protocol/ids.ts";
import { assertTimings, DEFAULT_TIMINGS, isShardCount, memberAt } from "./config.ts";

test("a cluster has a power of two of shards, up to 1024", () => {
  for (const good of [1, 2, 8, 1024]) expect(isShardCount(good)).toBe(true);
  for (const bad of [0, -1, 3, 12, 2048, 1.5, Number.NaN]) expect(isShardCount(bad)).toBe(false);
});

test("times that would make the node unreliable are refused", () => {
  assertTimings(DEFAULT_TIMINGS);
  expect(() => assertTimings({ ...DEFAULT_TIMINGS, heartbeatTicks: 5 })).toThrow("two lost heartbeats");
  expect(() => assertTimings({ ...DEFAULT_TIMINGS, electionTicks: 60 })).toThrow("a request must survive");
  expect(() => assertTimings({ ...DEFAULT_TIMINGS, stopMsMax: 1_000 })).toThrow("a stopping node");
});

test("an address with an IPv6 host has brackets", () => {
  expect(memberAt(nodeId("n1"), "::1", 7001).address).toBe("[::1]:7001");
  expect(memberAt(nodeId("n1"), "db-1", 7001).address).toBe("db-1:7001");
});
