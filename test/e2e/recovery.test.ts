/** Nodes that are away, come back, are left alone, or leave on purpose. */
import { expect, test } from "bun:test";
import type { ErrorName } from "../../protocol/errors.ts";
import type { ClientRequest } from "../../protocol/messages.ts";
import { NO_SESSION } from "../../protocol/messages.ts";
import { type Client, FlotillaError } from "../../src/client/client.ts";
import { fromUtf8, utf8 } from "../../src/lib/bytes.ts";
import { DEFAULT_TIMINGS } from "../../src/timings.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { keyOfEachShard } from "../support/keys.ts";
import { assertLinearizable } from "../support/linearizability.ts";
import { NodeProcess } from "../support/node-process.ts";
import { askNode } from "../support/raw-connection.ts";
import { testSeed } from "../support/seed.ts";
import { startWorkload } from "../support/workload.ts";

const SEED = testSeed("recovery");
const SHARDS = 8;
/** What a refusal may take beyond the time that it is allowed: a busy machine is no error. */
const SLACK_MS = 1500;
/** How a node or a client may refuse when there is no majority. */
const REFUSALS: readonly ErrorName[] = ["UNAVAILABLE", "TIMEOUT"];
/** What one node may answer then: it may also have heard of a leader that it can't reach. */
const NODE_REFUSALS: readonly ErrorName[] = [...REFUSALS, "NOT_LEADER"];

const get = (key: string, consistency: "linearizable" | "stale"): ClientRequest => ({
  kind: "get",
  key: utf8(key),
  consistency,
});
const put = (key: string, value: string): ClientRequest => ({
  kind: "put",
  stamp: NO_SESSION,
  key: utf8(key),
  value: utf8(value),
  condition: "always",
});

/** A key of the same shard. What times out may still happen, so what is refused is written beside what is checked. */
const beside = (key: string): string => `{${key}}refused`;

async function staleText(node: NodeProcess, key: string): Promise<string | undefined> {
  const answer = await askNode(node.port, get(key, "stale"));
  if (answer.kind !== "value") throw new Error(`${node.id} answered a stale get with ${Bun.inspect(answer)}`);
  return answer.value === undefined ? undefined : fromUtf8(answer.value);
}

test("a node that promises less than leases rest on is refused, and says which flags these are", async () => {
  await withCluster({ shards: 1, flags: ["--lease-drift-percent", "10"] }, async (cluster) => {
    await cluster.untilServing();
    const last = cluster.nodes.at(-1)!;
    await last.kill("SIGTERM");
    const { port, id } = last;
    const peers = cluster.nodes.map((node) => `${node.id}=${node.address}`).join(",");
    const changed = new NodeProcess(id, port, [
      "--data",
      last.dataDirectory,
      "--shards",
      "1",
      "--peers",
      peers,
    ]);
    await changed.start();
    await eventually("the node has ended", 20_000, () => !changed.isRunning);
    expect(changed.lines.join("\n")).toMatch(
      /refuses this node: n3 was started without leases, n[12] with leases of 352 ms/,
    );
    expect(changed.lines.at(-1)).toContain("exit code 1");
    await last.start();
    await cluster.untilServing();
  });
}, 60_000);

test("a node that was away catches up, and then stands in for another", async () => {
  await withCluster({ shards: SHARDS }, async (cluster) => {
    const [away, , last] = cluster.nodes as [NodeProcess, NodeProcess, NodeProcess];
    const client = await cluster.connect({ requestTimeoutMs: 15_000 });
    const keys = Array.from({ length: 5000 }, (_, number) => `away${number}`);
    await client.put(keys[0]!, "old");
    await away.kill("SIGKILL");
    await Promise.all(keys.map((key) => client.put(key, `${key}:${"x".repeat(200)}`)));
    await away.start();
    const startedAt = performance.now();
    await cluster.untilCaughtUp(away);
    console.log(`${keys.length} keys behind, caught up in ${(performance.now() - startedAt).toFixed(0)} ms`);
    for (const key of keys.filter((_, index) => index % 250 === 0)) {
      expect(await staleText(away, key)).toBe(`${key}:${"x".repeat(200)}`);
    }
    await last.kill("SIGKILL");
    await cluster.untilServing();
    const read = await Promise.all(keys.map((key) => client.getText(key)));
    expect(read.every((value, index) => value?.startsWith(`${keys[index]}:`))).toBe(true);
    await client.put(keys[0]!, "and it takes writes");
  });
}, 60_000);

/** That a node without a majority refuses what needs one, soon and clearly, and still reads what it has. */
async function expectRefusals(node: NodeProcess, keys: readonly string[]): Promise<void> {
  const boundMs = DEFAULT_TIMINGS.requestTimeoutMs + SLACK_MS;
  const startedAt = performance.now();
  const requests = keys.flatMap((key) => [put(beside(key), "refused"), get(key, "linearizable")]);
  const answers = await Promise.all(requests.map((request) => askNode(node.port, request, boundMs)));
  console.log(`${node.id} refused everything within ${(performance.now() - startedAt).toFixed(0)} ms`);
  for (const answer of answers) {
    if (answer.kind !== "error") throw new Error(`it answered ${Bun.inspect(answer)}`);
    expect(NODE_REFUSALS).toContain(answer.error);
    expect(answer.message.length).toBeGreaterThan(10);
  }
  for (const key of keys) expect(await staleText(node, key)).toBe("before");
}

/** The same through the client library, which retries until its own deadline. */
async function expectClientRefusals(
  client: Client,
  keys: readonly string[],
  timeoutMs: number,
): Promise<void> {
  const startedAt = performance.now();
  const results = await Promise.allSettled([client.put(beside(keys[0]!), "refused"), client.get(keys[0]!)]);
  expect(performance.now() - startedAt).toBeLessThan(timeoutMs + SLACK_MS);
  for (const result of results) {
    if (result.status === "fulfilled") throw new Error("a minority served");
    expect(result.reason).toBeInstanceOf(FlotillaError);
    expect(REFUSALS).toContain((result.reason as FlotillaError).code);
    console.log(`the client says: ${(result.reason as FlotillaError).message}`);
  }
  for (const key of keys) expect(await client.getText(key, { consistency: "stale" })).toBe("before");
}

async function expectAllServed(cluster: TestCluster, client: Client, keys: readonly string[]): Promise<void> {
  await cluster.untilServing();
  await Promise.all(keys.map((key) => client.put(key, "after")));
  for (const key of keys) expect(await client.getText(key)).toBe("after");
}

test("one of three whose fellows were killed or froze refuses in bounded time, and serves again when they are back", async () => {
  await withCluster({ shards: SHARDS }, async (cluster) => {
    // Longer than a client takes to notice that a node is silent, so that it has time to ask another one.
    const timeoutMs = 4000;
    const client = await cluster.connect({ requestTimeoutMs: timeoutMs });
    const keys = keyOfEachShard(SHARDS, "minority");
    const [left, ...gone] = cluster.nodes as [NodeProcess, NodeProcess, NodeProcess];
    for (const how of ["killed", "frozen"]) {
      await Promise.all(keys.map((key) => client.put(key, "before")));
      await cluster.untilCaughtUp(left);
      if (how === "killed") await Promise.all(gone.map((node) => node.kill("SIGKILL")));
      else for (const node of gone) node.pause();
      await expectRefusals(left, keys);
      await expectClientRefusals(client, keys, timeoutMs);
      if (how === "killed") await Promise.all(gone.map((node) => node.start()));
      else for (const node of gone) node.resume();
      await expectAllServed(cluster, client, keys);
    }
  });
}, 60_000);

test("a leader that can't reach the others refuses in bounded time", async () => {
  await withCluster({ shards: SHARDS, proxies: "links" }, async (cluster) => {
    const client = await cluster.connect();
    const keys = keyOfEachShard(SHARDS, "parted");
    await Promise.all(keys.map((key) => client.put(key, "before")));
    const parted = await cluster.busiestLeader();
    await cluster.untilCaughtUp(parted);
    cluster.isolate(parted, "stall");
    await expectRefusals(parted, keys);
    cluster.rejoin(parted);
    await expectAllServed(cluster, client, keys);
  });
}, 60_000);

test("SIGTERM hands leadership over: no gap as long as an election, nothing lost, exit code 0", async () => {
  await withCluster({ shards: SHARDS }, async (cluster) => {
    const clients = await Promise.all(Array.from({ length: 8 }, () => cluster.connect()));
    const workload = startWorkload(clients, { seed: SEED });
    const gaps: number[] = [];
    for (let round = 0; round < 3; round++) {
      const goal = workload.acknowledged + 500;
      await eventually("500 more writes", 10_000, () => workload.acknowledged >= goal);
      const leaving = await cluster.busiestLeader();
      const from = performance.now();
      const exit = await leaving.kill("SIGTERM");
      const more = workload.acknowledged + 300;
      await eventually("300 more writes", 10_000, () => workload.acknowledged >= more);
      gaps.push(workload.longestGapMs(from, performance.now()));
      expect(exit).toEqual({ code: 0, signal: null });
      await leaving.start();
      await cluster.untilCaughtUp(leaving);
    }
    console.log(
      `longest time without an acknowledged write, ms: ${gaps.map((ms) => ms.toFixed(0)).join(", ")}`,
    );
    await workload.stop();
    await Promise.all(cluster.nodes.map((node) => node.kill("SIGTERM")));
    await Promise.all(cluster.nodes.map((node) => node.start()));
    await cluster.untilServing();
    await workload.readAll(await cluster.connect());
    assertLinearizable(workload.history);
    expect(workload.counts.unknown).toBe(0);
    expect(Math.max(...gaps)).toBeLessThan(DEFAULT_TIMINGS.electionTicks * DEFAULT_TIMINGS.tickMs);
  });
}, 60_000);
