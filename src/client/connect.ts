import { bunTransport } from "../env/bun-transport.ts";
import { systemClock } from "../env/system-clock.ts";
import { systemRandom } from "../env/system-random.ts";
import { Client, type ClientOptions } from "./cluster-client.ts";

/**
 * Connects to a cluster over the real network. Rejects with a `FlotillaError` when none of the addresses answers within
 * `requestTimeoutMs`. Close the client when done: its connections keep the process alive.
 */
export function connect(options: ClientOptions): Promise<Client> {
  return Client.open(options, {
    clock: systemClock(),
    transport: bunTransport(),
    random: systemRandom(),
  });
}
