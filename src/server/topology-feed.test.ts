import { expect, test } from "bun:test";
import { nodeId } from "../../protocol/ids.ts";
import type { Topology } from "../../protocol/messages.ts";
import { topologyNode } from "../../test/support/topology-node.ts";
import { BinaryClient, eventually, serverPerTest } from "./test-harness.ts";

const start = serverPerTest();
const n1 = nodeId("n1");

/** `shards` makes it large. */
const topology = (view: number, shards = 1): Topology => ({
  ...{ version: 1, view, clusterId: "c1", nodes: [topologyNode(n1, "127.0.0.1:7001")] },
  shards: Array.from({ length: shards }, () => ({ leader: n1, term: view, replicas: [n1], copies: [] })),
});
const subscribe = { kind: "topology", known: undefined, subscribe: true } as const;

test("who subscribed is sent every other topology under the request's id, and who did not is sent nothing", async () => {
  const { port, handler } = await start({ sweepMs: 1 });
  handler.topology = topology(1);
  const [subscriber, other] = [await BinaryClient.connect(port), await BinaryClient.connect(port)];
  subscriber.send(subscribe, 9);
  other.send({ ...subscribe, subscribe: false }, 9);
  expect(await subscriber.next()).toMatchObject({ id: 9, response: { topology: { view: 1 } } });
  expect(await other.next()).toMatchObject({ id: 9, response: { topology: { view: 1 } } });
  handler.topology = topology(2);
  expect(await subscriber.next()).toMatchObject({ id: 9, response: { topology: { view: 2 } } });
  handler.topology = topology(3);
  expect(await subscriber.next()).toMatchObject({ id: 9, response: { topology: { view: 3 } } });
  // What has not changed is looked at again and again, and not sent.
  const { executed } = handler;
  await eventually(() => handler.executed > executed + 5);
  for (const client of [other, subscriber]) {
    client.send({ kind: "ping" }, 10);
    expect(await client.next()).toEqual({ id: 10, response: { kind: "pong" } });
  }
});

test("a later subscription of a connection takes the place of the earlier one", async () => {
  const { port, handler } = await start({ sweepMs: 1 });
  handler.topology = topology(1);
  const client = await BinaryClient.connect(port);
  client.send(subscribe, 1);
  client.send({ ...subscribe, known: 1 }, 2);
  expect((await client.next()).id).toBe(1);
  expect(await client.next()).toEqual({ id: 2, response: { kind: "unchanged" } });
  handler.topology = topology(2);
  expect((await client.next()).id).toBe(2);
  client.send({ kind: "ping" }, 3);
  expect((await client.next()).id).toBe(3);
});

test("a client that does not read is sent no more than one topology beyond what its socket takes, and then the latest", async () => {
  const { port, handler } = await start({ sweepMs: 1 });
  handler.topology = topology(1, 1024);
  const client = await BinaryClient.connect(port);
  client.send(subscribe, 1);
  await client.next();
  client.raw.pause();
  let asked = 0;
  const respond = handler.respond.bind(handler);
  handler.respond = (request) => {
    // Another topology each time it is looked at.
    if (request.kind === "topology") handler.topology = topology(++asked + 1, 1024);
    return respond(request);
  };
  // More sweeps than the buffers of the connection can hold topologies.
  await eventually(() => asked >= 400);
  handler.respond = respond;
  const last = handler.topology.view;
  client.raw.resume();
  let received = 0;
  for (let view = 0; view !== last; received++) {
    const { response } = await client.next();
    if (response.kind === "topology") view = response.topology.view;
  }
  expect(received).toBeLessThan(asked);
}, 20_000);
