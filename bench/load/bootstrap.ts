import { ASK_TOPOLOGY, type Topology } from "../../protocol/messages.ts";
import type { Clock, Transport } from "../../src/env/env.ts";
import type { Address } from "../../src/lib/address.ts";
import { BinaryConnection } from "./binary-connection.ts";

/** How long one node may take to connect and tell the topology. */
const ANSWER_MS_MAX = 2000;

/**
 * Asks the nodes at `addresses`, one after the other, who is in the cluster and who leads what. Rejects with an `Error`
 * that tells what each of them said when none of them knows.
 */
export async function fetchTopology(
  transport: Transport,
  clock: Clock,
  addresses: readonly Address[],
): Promise<Topology> {
  const failures: string[] = [];
  for (const address of addresses) {
    try {
      return await askOne(transport, clock, address);
    } catch (error) {
      failures.push((error as Error).message);
    }
  }
  throw new Error(`no node told the topology: ${failures.join("; ")}`);
}

async function askOne(transport: Transport, clock: Clock, address: Address): Promise<Topology> {
  const { promise, resolve, reject } = Promise.withResolvers<Topology>();
  const connection = new BinaryConnection(transport, clock, address, {
    opened: (opened) => opened.send(ASK_TOPOLOGY, 0),
    answered: (_requestId, response) => {
      if (response.kind === "topology") resolve(response.topology);
      else reject(new Error(`${connection.remote} answered to topology with ${response.kind}`));
    },
    lost: (_connection, error, message) => reject(new Error(`${error}: ${message}`)),
  });
  const timer = clock.timer(ANSWER_MS_MAX, () =>
    reject(new Error(`${connection.remote} did not answer in ${ANSWER_MS_MAX} ms`)),
  );
  try {
    return await promise;
  } finally {
    timer.cancel();
    connection.close();
  }
}
