/**
 * A client of a simulated cluster that is what programs use: the client library, over connections of its own, on a host of
 * its own. Its requests go the whole way: through its topology, redirects, sessions and retries, the binary protocol, and the
 * server's connections. Now and then its connections break, and one side may not be told.
 */
import type { ErrorName } from "../../protocol/errors.ts";
import { Client } from "../../src/client/cluster-client.ts";
import { FlotillaError } from "../../src/client/errors.ts";
import { fromUtf8 } from "../../src/lib/bytes.ts";
import { type Random, seededRandom } from "../../src/lib/prng.ts";
import type { Action } from "../support/history.ts";
import { isRow, nameOf, ROW_PARTS } from "./keys.ts";
import type { MemoryNetwork } from "./network.ts";
import { SimulatedProcess } from "./process.ts";

export interface WireClientParts {
  readonly network: MemoryNetwork;
  readonly random: Random;
  /** Its own host, which no node is on. */
  readonly host: string;
  /** The hosts of nodes. */
  readonly nodes: readonly string[];
  /** The port of all of them. */
  readonly port: number;
  /** What its code throws and nobody catches. */
  readonly fail: (problem: string) => void;
}

/** What a client was told of an action: the action with its result, or an error. */
export type Told =
  | { readonly action: Action; readonly outcome: "done" }
  | {
      readonly action: Action;
      readonly outcome: "unknown" | "failed";
      readonly error: ErrorName;
      readonly message: string;
    };

/** One chance in so many that a connection breaks before an operation. */
const BREAK_CHANCE = 40;
/** Longest time that it gives a request, with all retries. */
const REQUEST_MS_MAX = 4_000;

export class WireClient {
  readonly #parts: WireClientParts;
  readonly #process: SimulatedProcess;
  #client: Client | undefined;

  constructor(parts: WireClientParts) {
    this.#parts = parts;
    const uncaught = (error: unknown) => parts.fail(`${parts.host}: ${(error as Error).stack ?? error}`);
    this.#process = new SimulatedProcess(parts.network.clock, uncaught);
  }

  /** Does `action` on a key of the history, and says what came of it. Never rejects. */
  async act(key: string, action: Action): Promise<Told> {
    this.#breakConnections();
    return this.#told(action, async (client) => perform(client, key, action, this.#parts.random));
  }

  /** Reads all keys from `start` on, as each shard was at one moment, or page by page; by their names in the store. */
  async scan(start: string, isSnapshot: boolean): Promise<ReadonlyMap<string, string> | undefined> {
    this.#breakConnections();
    const found = new Map<string, string>();
    const told = await this.#told({ kind: "get" }, async (client) => {
      for await (const { key, value } of client.scan({ start, snapshot: isSnapshot })) {
        found.set(fromUtf8(key), fromUtf8(value));
      }
      return { kind: "get" };
    });
    return told.outcome === "done" ? found : undefined;
  }

  /** No more requests. */
  close(): void {
    this.#client?.close();
    this.#client = undefined;
  }

  async #told(action: Action, work: (client: Client) => Promise<Action>): Promise<Told> {
    try {
      this.#client ??= await this.#open();
      return { action: await work(this.#client), outcome: "done" };
    } catch (error) {
      if (!(error instanceof FlotillaError)) {
        this.#parts.fail(`${this.#parts.host}: ${(error as Error).stack ?? error}`);
        return { action, outcome: "unknown", error: "INTERNAL", message: String(error) };
      }
      const { code, message, outcome } = error;
      return { action, outcome: outcome === "unknown" ? "unknown" : "failed", error: code, message };
    }
  }

  #open(): Promise<Client> {
    const { network, random, host, nodes, port } = this.#parts;
    const first = random.below(nodes.length);
    const addresses = [...nodes.slice(first), ...nodes.slice(0, first)].map((node) => `${node}:${port}`);
    return Client.open(
      {
        addresses: addresses.slice(0, 1 + random.below(addresses.length)),
        requestTimeoutMs: 500 + random.below(REQUEST_MS_MAX - 500),
        sessions: random.below(3) > 0,
        sessionWindow: 1 + random.below(4),
      },
      {
        clock: this.#process,
        transport: network.attach(host, this.#process),
        random: seededRandom(random.below(2 ** 31)),
      },
    );
  }

  #breakConnections(): void {
    const { network, random, host, nodes } = this.#parts;
    if (random.below(BREAK_CHANCE) > 0) return;
    const node = nodes[random.below(nodes.length)]!;
    const [told, other] = random.below(2) === 0 ? [host, node] : [node, host];
    network.breakConnections(told, other, random.below(2) === 0 ? "both" : "one");
  }
}

/** Has the library do it. Resolves to the action with its result. */
async function perform(client: Client, key: string, action: Action, random: Random): Promise<Action> {
  const name = nameOf(key, ROW_PARTS[0]);
  switch (action.kind) {
    case "get": {
      const part = nameOf(key, ROW_PARTS[random.below(ROW_PARTS.length)]);
      const consistency = random.below(2) === 0 ? "linearizable" : "lease";
      return { kind: "get", result: await client.getText(part, { consistency }) };
    }
    case "put": {
      if (isRow(key)) {
        const entries = ROW_PARTS.map((part) => [nameOf(key, part), action.value] as const);
        await client.batch(entries, { atomic: true });
        return action;
      }
      const { expiry, value } = action;
      const options =
        expiry === undefined ? {} : expiry === "keep" ? { keepTtl: true } : { ttlMs: Math.ceil(expiry) };
      if (!(await client.put(name, value, options))) throw new Error(`a put of ${name} was not done`);
      return action;
    }
    case "delete":
      return { kind: "delete", result: await client.delete(name) };
    case "increment":
      return { ...action, result: await client.increment(name, action.delta) };
    case "cas":
      return { ...action, result: await client.compareAndSet(name, action.expected, action.value) };
  }
}
