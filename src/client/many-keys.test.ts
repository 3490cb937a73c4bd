import { expect, test } from "bun:test";
import { fromUtf8 } from "../lib/bytes.ts";
import { errorResponse } from "./fake-cluster.ts";
import { connected, failureOf, kinds } from "./test-client.ts";

test("are read in the order in which they were asked for, and deleted ones are counted", async () => {
  const { world, cluster, client } = await connected();
  await world.until(
    client.putMany([
      ["a", "1"],
      ["b", "2"],
      ["c", "3"],
      ["a", "4"],
    ]),
  );
  expect((await world.until(client.getMany(["c", "none", "a"]))).map((v) => v && fromUtf8(v))).toEqual([
    "3",
    undefined,
    "4",
  ]);
  expect(await world.until(client.deleteMany(["a", "b", "none", "b"]))).toBe(2);
  expect(await world.until(client.getMany([]))).toEqual([]);
  for (const node of cluster.nodes) expect(kinds(node, "put")).toHaveLength(0);
});

test("more than a request takes go in parts, each to its shard", async () => {
  const { world, cluster, client } = await connected(2, 2);
  const large = new Uint8Array(1024 * 1024);
  const entries = Array.from({ length: 24 }, (_, i) => [`k${i}`, large] as const);
  await world.until(client.putMany(entries));
  const batches = cluster.nodes.flatMap((node) => kinds(node, "batch"));
  expect(batches.length).toBeGreaterThanOrEqual(6);
  expect(await world.until(client.getMany(entries.map(([key]) => key)))).toEqual(entries.map(() => large));
  const many = Array.from({ length: 25_000 }, (_, i) => [`{tag}${i}`, ""] as const);
  await world.until(client.putMany(many));
  expect(await world.until(client.exists("{tag}24999"))).toBe(true);
});

test("where a shard fails, the error says how many keys are deleted all the same", async () => {
  const { world, cluster, client } = await connected(2, 2);
  await world.until(
    client.putMany([
      ["a", "1"],
      ["b", "1"],
      ["c", "1"],
      ["d", "1"],
    ]),
  );
  cluster.nodes[0]!.behave((r) => (r.kind === "delete" ? errorResponse("INTERNAL") : "serve"));
  const error = await failureOf(world, client.deleteMany(["a", "b", "c", "d"]));
  expect(error.message).toMatch(/^[1-3] of 4 keys (is|are) deleted, then: delete of /);
  expect(error.outcome).toBe("unknown");
});
