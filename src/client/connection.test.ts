import { expect, test } from "bun:test";
import { encodePreambleReply } from "../../protocol/preamble.ts";
import type { Connection } from "../env/env.ts";
import { Client } from "./cluster-client.ts";
import { FakeCluster } from "./fake-cluster.ts";
import { FakeWorld } from "./fake-world.ts";

const ADDRESS = "10.0.0.1:7001";

/** What a client says that connects to a server which answers the first bytes with `answer`, in pieces of `pieceBytes`. */
async function messageFrom(answer: Uint8Array, pieceBytes = answer.length): Promise<string> {
  const world = new FakeWorld();
  world.serve(ADDRESS, {
    opened: () => undefined,
    received: (connection: Connection) => {
      for (let at = 0; at < answer.length; at += pieceBytes) {
        connection.send(answer.subarray(at, at + pieceBytes));
      }
    },
    closed: () => undefined,
  });
  try {
    await world.until(Client.open({ addresses: [ADDRESS], requestTimeoutMs: 200 }, world));
  } catch (error) {
    return (error as Error).message;
  }
  return "connected";
}

test("a node's refusal reaches the user, also when it arrives byte by byte", async () => {
  const refusal = encodePreambleReply("UNSUPPORTED_VERSION", 0, "this node speaks versions 7 to 8");
  for (const pieceBytes of [refusal.length, 1]) {
    expect(await messageFrom(refusal, pieceBytes)).toContain(
      "10.0.0.1:7001 refused the connection: UNSUPPORTED_VERSION: this node speaks versions 7 to 8",
    );
  }
});

test("something else on the port is recognized", async () => {
  expect(await messageFrom(new TextEncoder().encode("-ERR unknown command\r\n"))).toContain(
    "10.0.0.1:7001 is not a Flotilla node",
  );
});

test("a damaged answer ends the connection with the reason", async () => {
  const answer = new Uint8Array([...encodePreambleReply(undefined, 1), 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
  expect(await messageFrom(answer)).toContain("it sent what can't be read: a frame of 4294967295 bytes came");
});

test("a server that accepts and says nothing counts as not reachable", async () => {
  expect(await messageFrom(new Uint8Array())).toContain(`there was no connection to ${ADDRESS} in time`);
});

test("an address that is none is named", async () => {
  const world = new FakeWorld();
  const asked = Client.open({ addresses: ["nonsense"], requestTimeoutMs: 200 }, world);
  await expect(world.until(asked)).rejects.toThrow('"nonsense" is not an address: host:port is expected');
});

test("a connection that was lost while idle is made anew for the next request", async () => {
  const world = new FakeWorld();
  const cluster = new FakeCluster(world, 1, 1);
  const client = await world.until(Client.open({ addresses: cluster.addresses }, world));
  cluster.nodes[0]!.dropConnections();
  await world.pass(10);
  expect(await world.until(client.put("a", "1"))).toBe(true);
  expect(cluster.nodes[0]!.connections).toBe(1);
});
