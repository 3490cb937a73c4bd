import { afterEach, expect, test } from "bun:test";
import { nodeId } from "../../protocol/ids.ts";
import type { ClientRequest, ClientResponse, Topology } from "../../protocol/messages.ts";
import { shardOfSlot, slotOf } from "../../protocol/slots.ts";
import { bunTransport } from "../../src/env/bun-transport.ts";
import { systemClock } from "../../src/env/system-clock.ts";
import { parseAddress } from "../../src/lib/address.ts";
import { fromUtf8 } from "../../src/lib/bytes.ts";
import { topologyNode } from "../../test/support/topology-node.ts";
import { AnswerLog } from "./answer-log.ts";
import { BinaryDriver } from "./binary-driver.ts";
import { type FakeNode, startFakeNode } from "./fake-node.ts";

const SHARDS = 4;
const clock = systemClock();
const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

const DONE: ClientResponse = { kind: "boolean", value: true };

/** `count` nodes of one cluster; shard s is led by node `leaders[s]`. All answer puts with success unless told else. */
async function startCluster(count: number, leaders: readonly (number | null)[]): Promise<FakeNode[]> {
  const nodes: FakeNode[] = [];
  for (let i = 0; i < count; i++) nodes.push(await startFakeNode(() => DONE));
  const topology: Topology = {
    version: 1,
    view: 1,
    clusterId: "c1",
    nodes: nodes.map(({ address }, i) => topologyNode(nodeId(`n${i + 1}`), address)),
    shards: leaders.map((leader) => ({
      leader: leader === null ? null : nodeId(`n${leader + 1}`),
      term: 1,
      replicas: nodes.map((_, i) => nodeId(`n${i + 1}`)),
      copies: [],
    })),
  };
  for (const node of nodes) answerWith(node, topology, () => DONE);
  cleanups.push(() => {
    for (const node of nodes) node.close();
  });
  topologyOf.set(nodes[0]!, topology);
  return nodes;
}
const topologyOf = new WeakMap<FakeNode, Topology>();

function answerWith(
  node: FakeNode,
  topology: Topology,
  answer: (request: ClientRequest) => ClientResponse | undefined,
): void {
  node.answer = (request) => (request.kind === "topology" ? { kind: "topology", topology } : answer(request));
}

async function openDriver(
  nodes: readonly FakeNode[],
  requestTimeoutMs?: number,
): Promise<{ driver: BinaryDriver; log: AnswerLog }> {
  const driver = new BinaryDriver({
    transport: bunTransport(),
    clock,
    addresses: [parseAddress(nodes[0]!.address)!],
    clients: 8,
    connectionsPerNode: 1,
    values: [new Uint8Array(10)],
    ...(requestTimeoutMs === undefined ? {} : { requestTimeoutMs }),
  });
  cleanups.push(() => driver.close());
  const log = new AnswerLog();
  await driver.open(log);
  return { driver, log };
}

function shardOf(request: ClientRequest): number {
  if (request.kind !== "put") throw new Error(`unexpected ${request.kind}`);
  return shardOfSlot(slotOf(request.key), SHARDS);
}

test("a put goes to the leader of its key's shard, and its answer to the client", async () => {
  const nodes = await startCluster(2, [0, 1, 0, 1]);
  const topology = topologyOf.get(nodes[0]!)!;
  const seen: string[] = [];
  nodes.forEach((node, i) => {
    answerWith(node, topology, (request) => {
      expect(shardOf(request) % 2).toBe(i);
      if (request.kind === "put") seen.push(fromUtf8(request.key));
      return DONE;
    });
  });
  const { driver, log } = await openDriver(nodes);
  for (let client = 0; client < 8; client++) driver.submit(client, "put", client * 1000, 0, clock.nowMs());
  await log.until(8);
  expect(log.answered.sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(seen.sort()[1]).toBe("key0000000001000");
  expect(nodes[0]!.requests).toBeGreaterThan(0);
  expect(nodes[1]!.requests).toBeGreaterThan(0);
  expect(driver.redirects).toBe(0);
});

test("reads say whether they found something", async () => {
  const nodes = await startCluster(1, [0]);
  answerWith(nodes[0]!, topologyOf.get(nodes[0]!)!, (request) => {
    const found = request.kind === "get" && request.consistency === "stale";
    return { kind: "value", value: found ? new Uint8Array(3) : undefined, ageMs: 0 };
  });
  const { driver, log } = await openDriver(nodes);
  driver.submit(0, "get", 1, 0, clock.nowMs());
  driver.submit(1, "staleGet", 1, 0, clock.nowMs());
  await log.until(2);
  expect(log.missed).toEqual([0]);
  expect(log.answered.sort()).toEqual([0, 1]);
});

test("NOT_LEADER with a hint is followed at once, and remembered", async () => {
  const nodes = await startCluster(2, [0]);
  const topology = topologyOf.get(nodes[0]!)!;
  answerWith(nodes[0]!, topology, () => ({
    kind: "error",
    error: "NOT_LEADER",
    message: "n2 leads",
    leader: { node: nodeId("n2"), address: nodes[1]!.address },
  }));
  const { driver, log } = await openDriver(nodes);
  driver.submit(3, "put", 7, 0, clock.nowMs());
  await log.until(1);
  driver.submit(3, "put", 8, 0, clock.nowMs());
  await log.until(2);
  expect(log.answered).toEqual([3, 3]);
  expect(log.failures).toEqual([]);
  expect(driver.redirects).toBe(1);
  expect(nodes[0]!.requests).toBe(1);
  expect(nodes[1]!.requests).toBe(2);
});

test("without a leader a request waits for one, and is not an error", async () => {
  const nodes = await startCluster(1, [null]);
  let refusals = 0;
  answerWith(nodes[0]!, topologyOf.get(nodes[0]!)!, () =>
    refusals++ < 2
      ? { kind: "error", error: "NOT_LEADER", message: "an election is on", leader: undefined }
      : DONE,
  );
  const { driver, log } = await openDriver(nodes);
  driver.submit(0, "put", 7, 0, clock.nowMs());
  await log.until(1);
  expect(log.answered).toEqual([0]);
  expect(driver.redirects).toBe(2);
});

test("other errors are reported by their name", async () => {
  const nodes = await startCluster(1, [0]);
  answerWith(nodes[0]!, topologyOf.get(nodes[0]!)!, () => ({
    kind: "error",
    error: "OVERLOADED",
    message: "too much waits",
    leader: undefined,
  }));
  const { driver, log } = await openDriver(nodes);
  driver.submit(0, "put", 7, 0, clock.nowMs());
  await log.until(1);
  expect(log.failures).toEqual([{ client: 0, error: "OVERLOADED", message: "too much waits" }]);
});

test("a broken connection fails what waited on it, and comes back", async () => {
  const nodes = await startCluster(1, [0]);
  const topology = topologyOf.get(nodes[0]!)!;
  answerWith(nodes[0]!, topology, () => {
    nodes[0]!.breakConnections();
    return undefined;
  });
  const { driver, log } = await openDriver(nodes);
  driver.submit(0, "put", 7, 0, clock.nowMs());
  await log.until(1);
  expect(log.failures[0]!.error).toBe("CONNECTION_LOST");
  answerWith(nodes[0]!, topology, () => DONE);
  driver.submit(0, "put", 7, 0, clock.nowMs());
  await log.until(2);
  expect(log.answered).toEqual([0]);
});

test("with the leader gone, another node is asked", async () => {
  const nodes = await startCluster(2, [1]);
  const { driver, log } = await openDriver(nodes);
  nodes[1]!.close();
  driver.submit(0, "put", 7, 0, clock.nowMs());
  await log.until(1);
  driver.submit(1, "put", 7, 0, clock.nowMs());
  await log.until(2);
  expect(log.answered).toContain(1);
  expect(nodes[0]!.requests).toBeGreaterThan(0);
});

test("a request without an answer fails in time, and its late answer is ignored", async () => {
  const nodes = await startCluster(1, [0]);
  answerWith(nodes[0]!, topologyOf.get(nodes[0]!)!, () => undefined);
  const { driver, log } = await openDriver(nodes, 50);
  driver.submit(0, "put", 7, 0, clock.nowMs());
  await log.until(1);
  expect(log.failures[0]!.error).toBe("TIMEOUT");
  // The client asks again; the answer that comes now is to its first request.
  driver.submit(0, "put", 8, 0, clock.nowMs());
  driver.answered((1 << 16) | 0, DONE, clock.nowMs());
  expect(log.answered).toEqual([]);
  driver.answered((2 << 16) | 0, DONE, clock.nowMs());
  expect(log.answered).toEqual([0]);
});

test("nodes that point at each other are asked now and then, until the time is up", async () => {
  const nodes = await startCluster(2, [0]);
  nodes.forEach((node, i) => {
    const other = nodes[1 - i]!;
    answerWith(node, topologyOf.get(nodes[0]!)!, () => ({
      kind: "error",
      error: "NOT_LEADER",
      message: "it is the other one",
      leader: { node: nodeId(`n${2 - i}`), address: other.address },
    }));
  });
  const { driver, log } = await openDriver(nodes, 100);
  driver.submit(0, "put", 7, 0, clock.nowMs());
  await log.until(1);
  expect(log.failures[0]!.error).toBe("TIMEOUT");
  // Four at once, and then a pause of 20 ms: a loop without one would ask thousands of times.
  expect(nodes[0]!.requests + nodes[1]!.requests).toBeLessThan(60);
});

test("a cluster that can't be reached is a sentence with the addresses", async () => {
  const node = await startFakeNode(() => DONE);
  node.close();
  const opening = openDriver([node]);
  await expect(opening).rejects.toThrow(`no node told the topology: UNREACHABLE: ${node.address}`);
});
