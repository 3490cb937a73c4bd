import { expect, test } from "bun:test";
import { nodeId } from "../protocol/ids.ts";
import { isShardCount, memberAt } from "./config.ts";

test("a cluster has a power of two of shards, up to 1024", () => {
  for (const good of [1, 2, 8, 1024]) expect(isShardCount(good)).toBe(true);
  for (const bad of [0, -1, 3, 12, 2048, 1.5, Number.NaN]) expect(isShardCount(bad)).toBe(false);
});

test("an address with an IPv6 host has brackets", () => {
  expect(memberAt(nodeId("n1"), "::1", 7001).address).toBe("[::1]:7001");
  expect(memberAt(nodeId("n1"), "db-1", 7001).address).toBe("db-1:7001");
});
