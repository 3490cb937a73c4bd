import type { ErrorName } from "../../protocol/errors.ts";
import type { Join, JoinedCluster, Topology } from "../../protocol/messages.ts";
import { Client } from "../client/cluster-client.ts";
import { FlotillaError } from "../client/errors.ts";
import type { Env, Transport } from "../env/env.ts";
import { formatAddress, parseAddress } from "../lib/address.ts";
import type { NodeFact } from "../shard/system-facts.ts";
import { StartError } from "../start-error.ts";
import type { KeptFacts } from "./membership.ts";

/** How long one attempt may take, and the pause before the next. */
const ATTEMPT_MS = 3_000;
const PAUSE_MS = 250;

/** Another attempt would be answered in the same way. */
const FINAL: ReadonlySet<ErrorName> = new Set<ErrorName>([
  "BAD_REQUEST",
  "WRONG_INCARNATION",
  "REMOVED",
  "UNSUPPORTED_VERSION",
]);

/**
 * Has a cluster take this node in: asks the nodes at `seeds`, again and again until one of them has passed it on to who
 * decides. Resolves with what the node has to know, or with `undefined` once `isOver`; rejects with `StartError` where the
 * cluster refuses.
 */
export async function joinCluster(
  env: Pick<Env, "clock" | "random" | "transport" | "log">,
  seeds: readonly string[],
  node: Omit<Join, "kind" | "forwarded">,
  isOver: () => boolean,
): Promise<JoinedCluster | undefined> {
  let told = "";
  while (!isOver()) {
    try {
      return await ask(env, seeds, node);
    } catch (error) {
      if (!(error instanceof FlotillaError)) throw error;
      if (FINAL.has(error.code))
        throw new StartError(`${node.node} can't join: ${error.message}`, { cause: error });
      // The reason once, and not at each attempt.
      if (error.message !== told) env.log.warn("could not join yet", { reason: error.message });
      told = error.message;
    }
    await new Promise<void>((resolve) => env.clock.timer(PAUSE_MS, resolve));
  }
  return undefined;
}

/**
 * Asks once who the nodes of a cluster are, for one that belongs to it and finds none of them; `undefined` where nobody
 * answers.
 */
export async function findCluster(
  env: Pick<Env, "clock" | "random" | "transport">,
  addresses: readonly string[],
): Promise<Pick<Topology, "clusterId" | "nodes"> | undefined> {
  try {
    const client = await Client.open({ addresses, requestTimeoutMs: ATTEMPT_MS }, env);
    return await client.topology().finally(() => client.close());
  } catch (error) {
    if (!(error instanceof FlotillaError)) throw error;
    return undefined;
  }
}

async function ask(
  env: Pick<Env, "clock" | "random" | "transport">,
  seeds: readonly string[],
  node: Omit<Join, "kind" | "forwarded">,
): Promise<JoinedCluster> {
  const addresses = await everyPlace(env.transport, seeds);
  const client = await Client.open({ addresses, requestTimeoutMs: ATTEMPT_MS }, env);
  try {
    return await client.join(node);
  } finally {
    client.close();
  }
}

/**
 * `host:port` of every address that the seeds stand for. A name may be that of all nodes, this one included, which can't help
 * itself: whoever connects to it takes any address, and may find itself each time.
 */
export async function everyPlace(
  transport: Pick<Transport, "resolve">,
  seeds: readonly string[],
): Promise<readonly string[]> {
  const places = new Set<string>();
  for (const seed of seeds) {
    const place = parseAddress(seed);
    const found = place === undefined ? [] : await transport.resolve(place.host);
    if (found.length === 0) places.add(seed);
    for (const host of found) places.add(formatAddress({ ...place!, host }));
  }
  return [...places];
}

/** What a node that has joined knows until it hears the facts. */
export function factsOfJoined({
  clusterId,
  nodes,
  shards,
  replicas,
  virtualNodes,
}: JoinedCluster): KeptFacts {
  const known = nodes.map(({ id, address }): [string, NodeFact] => [
    id,
    { address, labels: {}, state: "member", successor: "" },
  ]);
  return {
    ...{ version: 0, clusterId, settings: { shards, replicas, virtualNodes } },
    ...{ incarnations: {}, nodes: Object.fromEntries(known), first: [] },
  };
}
