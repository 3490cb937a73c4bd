/** What stands between the clients of a load and a wire: one implementation for each protocol. */

import type { Clock, Transport } from "../../src/env/env.ts";
import type { Address } from "../../src/lib/address.ts";

/** One request on the wire. A scan asks for `scanLimit` entries from its key on. */
export type RequestKind = "get" | "staleGet" | "put" | "scan";

/**
 * Carries requests of numbered clients, each of which has at most one outstanding. No object is made for a request:
 * its state lies in arrays indexed by the client's number.
 */
export interface Driver {
  /** Connects; rejects with an `Error` that says what could not be reached. */
  open(listener: DriverListener): Promise<void>;
  /**
   * Sends a request of `client`, at the latest at the end of the turn of the loop. The answer comes through the
   * listener in a later turn, once, whatever happens: a request without an answer fails by itself after a while.
   */
  submit(client: number, kind: RequestKind, key: number, scanLimit: number, nowMs: number): void;
  /** Closes all connections. Requests that are outstanding get no answer. */
  close(): void;
  /** How many requests were sent again because another node leads their shard. */
  readonly redirects: number;
}

/** What every driver is made of. */
export interface DriverParts {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly addresses: readonly Address[];
  readonly clients: number;
  /** The values that are written in turn; not empty. */
  readonly values: readonly Uint8Array[];
  readonly requestTimeoutMs?: number;
}

/** Where the answers go. `nowMs` is on the clock of the driver, read once for all that arrived together. */
export interface DriverListener {
  /** `found` is false where a read found nothing. */
  succeeded(client: number, found: boolean, nowMs: number): void;
  /** `error` is a short name to count by, `message` what exactly was said. */
  failed(client: number, error: string, message: string, nowMs: number): void;
}

/** How long a request may stay unanswered before it fails as a TIMEOUT. */
export const REQUEST_TIMEOUT_MS = 5000;
/** Time between attempts to connect to a node that is gone, and to send what has nowhere to go. */
export const RECONNECT_MS = 100;
