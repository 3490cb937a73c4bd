/** For tests: a client of a fake cluster, and what came of its requests. */
import type { ClientRequest } from "../../protocol/messages.ts";
import { Client, type ClientOptions } from "./cluster-client.ts";
import { FlotillaError } from "./errors.ts";
import { FakeCluster, type FakeNode } from "./fake-cluster.ts";
import { FakeWorld } from "./fake-world.ts";

/** A client that has found its cluster. */
export async function connected(nodes = 3, shards = 4, options: Partial<ClientOptions> = {}) {
  const world = new FakeWorld();
  const cluster = new FakeCluster(world, nodes, shards);
  const client = await world.until(
    Client.open({ addresses: cluster.addresses, requestTimeoutMs: 5000, ...options }, world),
  );
  return { world, cluster, client };
}

/** The error with which `promise` is rejected; throws if it is not, or with another one. */
export async function failureOf(world: FakeWorld, promise: Promise<unknown>): Promise<FlotillaError> {
  try {
    await world.until(promise);
  } catch (error) {
    if (error instanceof FlotillaError) return error;
    throw error;
  }
  throw new Error("it succeeded");
}

/** The requests of one kind that a node received, in their order. */
export const kinds = (node: FakeNode, kind: ClientRequest["kind"]) =>
  node.received.filter((r) => r.kind === kind);
