import { expect, test } from "bun:test";
import { nodeId } from "../protocol/ids.ts";
import { CLIENT_FRAME_BYTES_MAX } from "../protocol/limits.ts";
import { DEFAULT_LIMITS, isShardCount, memberAt } from "./config.ts";
import { REQUEST_BYTES } from "./modes/request-bytes.ts";
import { DEFAULT_SERVER_LIMITS } from "./server/limits.ts";

test("a cluster has a power of two of shards, up to 1024", () => {
  for (const good of [1, 2, 8, 1024]) expect(isShardCount(good)).toBe(true);
  for (const bad of [0, -1, 3, 12, 2048, 1.5, Number.NaN]) expect(isShardCount(bad)).toBe(false);
});

test("an address with an IPv6 host has brackets", () => {
  expect(memberAt(nodeId("n1"), "::1", 7001).address).toBe("[::1]:7001");
  expect(memberAt(nodeId("n1"), "db-1", 7001).address).toBe("db-1:7001");
});

test("what one client can send at once may be on its way to leaders, and leaves room for others", () => {
  const { requestsInFlightMax } = DEFAULT_SERVER_LIMITS;
  const oneFrame = CLIENT_FRAME_BYTES_MAX + requestsInFlightMax * REQUEST_BYTES;
  expect(DEFAULT_LIMITS.waiting.forwardedBytesMax).toBeGreaterThan(8 * oneFrame);
});
