import {
  type ClientRequest,
  type ClientResponse,
  type ErrorResponse,
  NO_SESSION,
} from "../../protocol/messages.ts";
import { shardOfSlot, slotOf } from "../../protocol/slots.ts";
import type { Clock } from "../../src/env/env.ts";
import { parseAddress } from "../../src/lib/address.ts";
import { BinaryConnection, type BinaryConnectionOwner } from "./binary-connection.ts";
import { fetchTopology } from "./bootstrap.ts";
import {
  type Driver,
  type DriverListener,
  type DriverParts,
  REQUEST_TIMEOUT_MS,
  type RequestKind,
} from "./driver.ts";
import { KEY_BYTES, writeKey } from "./keys.ts";

/** The addresses are nodes to ask for the topology; all nodes that it names are then used. */
export interface BinaryDriverParts extends DriverParts {
  readonly connectionsPerNode: number;
}

/** What has nowhere to go (no leader is known, or it can't be reached) is tried again after so long. */
const PARK_MS = 20;
/** So often in a row a request follows hints at once; nodes that point at each other are given time to agree. */
const REDIRECTS_AT_ONCE_MAX = 3;
/** How long `open` waits for nodes that neither accept nor refuse. */
const OPEN_MS_MAX = 2000;

/** Request ids are 16 bits of how often the client has sent, and 16 bits of the client's number. */
const CLIENT_MASK = 0xffff;

/**
 * Requests in the binary protocol, many clients over few connections. Writes and linearizable reads go straight to the
 * leader of the key's shard; stale reads and scans to all nodes in turn. NOT_LEADER is followed, not reported: a request
 * fails only if no leader took it in time.
 */
export class BinaryDriver implements Driver, BinaryConnectionOwner {
  redirects = 0;
  readonly #parts: BinaryDriverParts;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #listener!: DriverListener;
  #nodes: Node[] = [];
  /** By shard: index of the node that leads it, or -1. */
  #leaders = new Int16Array(0);
  #turn = 0;
  #closed = false;
  /** Connections that have neither opened nor failed yet; `open` waits for them. */
  readonly #unsettled = new Set<BinaryConnection>();
  #allSettled: (() => void) | undefined;

  // By client: what it asks for, since when, how often it has sent, and over which connection it waits.
  readonly #kind: RequestKind[];
  readonly #key: Float64Array;
  readonly #scanLimit: Int32Array;
  readonly #begunMs: Float64Array;
  readonly #sends: Uint16Array;
  readonly #redirectsInARow: Uint8Array;
  readonly #waitsOn: (BinaryConnection | undefined)[];
  #parked: number[] = [];

  // One request of each kind, filled in again for each send.
  readonly #keyBytes = new Uint8Array(KEY_BYTES);
  readonly #get: ClientRequest = { kind: "get", key: this.#keyBytes, consistency: "linearizable" };
  readonly #staleGet: ClientRequest = { kind: "get", key: this.#keyBytes, consistency: "stale" };
  readonly #puts: readonly ClientRequest[];
  readonly #scan = {
    kind: "scan" as const,
    start: this.#keyBytes,
    end: undefined,
    limit: 0,
    keysOnly: false,
    consistency: "linearizable" as const,
    shard: undefined,
  };
  #nextPut = 0;

  constructor(parts: BinaryDriverParts) {
    const { clients } = parts;
    this.#parts = parts;
    this.#clock = parts.clock;
    this.#timeoutMs = parts.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
    this.#kind = new Array<RequestKind>(clients).fill("get");
    this.#key = new Float64Array(clients);
    this.#scanLimit = new Int32Array(clients);
    this.#begunMs = new Float64Array(clients);
    this.#sends = new Uint16Array(clients);
    this.#redirectsInARow = new Uint8Array(clients);
    this.#waitsOn = new Array<BinaryConnection | undefined>(clients).fill(undefined);
    this.#puts = parts.values.map((value) => ({
      kind: "put",
      stamp: NO_SESSION,
      key: this.#keyBytes,
      value,
      condition: "always",
    }));
  }

  async open(listener: DriverListener): Promise<void> {
    this.#listener = listener;
    const { transport, clock, addresses, connectionsPerNode } = this.#parts;
    const topology = await fetchTopology(transport, clock, addresses);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#allSettled = resolve;
    this.#nodes = topology.nodes.map(({ id, address: text }) => {
      const address = parseAddress(text);
      if (address === undefined)
        throw new Error(`the topology has ${JSON.stringify(text)} as the address of ${id}`);
      const connect = () => new BinaryConnection(transport, clock, address, this);
      return { id, connections: Array.from({ length: connectionsPerNode }, connect) };
    });
    this.#leaders = Int16Array.from(topology.shards, ({ leader }) => this.#indexOf(leader));
    for (const node of this.#nodes) for (const each of node.connections) this.#unsettled.add(each);
    const timer = clock.timer(OPEN_MS_MAX, resolve);
    await promise;
    timer.cancel();
    if (!this.#nodes.some((node) => node.connections.some((connection) => connection.isOpen))) {
      const tried = topology.nodes.map(({ address }) => address).join(", ");
      throw new Error(`no node can be reached at the addresses that the topology has: ${tried}`);
    }
    this.#watch();
  }

  submit(client: number, kind: RequestKind, key: number, scanLimit: number, nowMs: number): void {
    this.#kind[client] = kind;
    this.#key[client] = key;
    this.#scanLimit[client] = scanLimit;
    this.#begunMs[client] = nowMs;
    this.#redirectsInARow[client] = 0;
    this.#send(client);
  }

  close(): void {
    this.#closed = true;
    for (const node of this.#nodes) for (const connection of node.connections) connection.close();
  }

  opened(connection: BinaryConnection): void {
    this.#settled(connection);
  }

  answered(requestId: number, response: ClientResponse, nowMs: number): void {
    const client = requestId & CLIENT_MASK;
    // An answer to what was given up: the client has sent something else since.
    if (this.#waitsOn[client] === undefined || requestId >>> 16 !== this.#sends[client]) return;
    this.#waitsOn[client] = undefined;
    switch (response.kind) {
      case "value":
        this.#listener.succeeded(client, response.value !== undefined, nowMs);
        return;
      case "error":
        this.#refused(client, response, nowMs);
        return;
      default:
        this.#listener.succeeded(client, true, nowMs);
    }
  }

  lost(connection: BinaryConnection, error: string, message: string): void {
    this.#settled(connection);
    const now = this.#clock.nowMs();
    for (let client = 0; client < this.#waitsOn.length; client++) {
      if (this.#waitsOn[client] !== connection) continue;
      this.#waitsOn[client] = undefined;
      this.#listener.failed(client, error, message, now);
    }
  }

  #settled(connection: BinaryConnection): void {
    if (this.#unsettled.delete(connection) && this.#unsettled.size === 0) this.#allSettled?.();
  }

  #refused(client: number, response: ErrorResponse, nowMs: number): void {
    if (response.error !== "NOT_LEADER") {
      this.#listener.failed(client, response.error, response.message, nowMs);
      return;
    }
    this.redirects++;
    const leader = this.#indexOf(response.leader?.node ?? null);
    this.#leaders[this.#shardOf(client)] = leader;
    const follow = leader >= 0 && this.#connectionTo(leader, client) !== undefined;
    if (follow && this.#redirectsInARow[client]! < REDIRECTS_AT_ONCE_MAX) {
      this.#redirectsInARow[client]!++;
      this.#send(client);
    } else {
      this.#park(client);
    }
  }

  #send(client: number): void {
    const connection = this.#choose(client);
    if (connection === undefined) {
      this.#park(client);
      return;
    }
    const sends = (this.#sends[client]! + 1) & 0xffff;
    this.#sends[client] = sends;
    this.#waitsOn[client] = connection;
    writeKey(this.#keyBytes, 0, this.#key[client]!);
    connection.send(this.#request(client), ((sends << 16) | client) >>> 0);
  }

  #request(client: number): ClientRequest {
    switch (this.#kind[client]!) {
      case "get":
        return this.#get;
      case "staleGet":
        return this.#staleGet;
      case "put":
        if (++this.#nextPut >= this.#puts.length) this.#nextPut = 0;
        return this.#puts[this.#nextPut]!;
      case "scan":
        this.#scan.limit = this.#scanLimit[client]!;
        return this.#scan;
    }
  }

  /** Over which connection to ask: the leader's, or where any node will do or none is known, the next node's that is open. */
  #choose(client: number): BinaryConnection | undefined {
    const kind = this.#kind[client];
    if (kind === "get" || kind === "put") {
      const leader = this.#leaders[this.#shardOf(client)]!;
      const connection = leader < 0 ? undefined : this.#connectionTo(leader, client);
      if (connection !== undefined) return connection;
    }
    for (let tried = 0; tried < this.#nodes.length; tried++) {
      this.#turn = (this.#turn + 1) % this.#nodes.length;
      const connection = this.#connectionTo(this.#turn, client);
      if (connection !== undefined) return connection;
    }
    return undefined;
  }

  #connectionTo(node: number, client: number): BinaryConnection | undefined {
    const { connections } = this.#nodes[node]!;
    const connection = connections[client % connections.length]!;
    return connection.isOpen ? connection : undefined;
  }

  #shardOf(client: number): number {
    writeKey(this.#keyBytes, 0, this.#key[client]!);
    return shardOfSlot(slotOf(this.#keyBytes), this.#leaders.length);
  }

  /** Index of a node; -1 for none, or for one that the topology did not have. */
  #indexOf(id: string | null): number {
    return id === null ? -1 : this.#nodes.findIndex((node) => node.id === id);
  }

  #park(client: number): void {
    if (this.#parked.length === 0) this.#clock.timer(PARK_MS, this.#unpark);
    this.#parked.push(client);
  }

  readonly #unpark = (): void => {
    const parked = this.#parked;
    this.#parked = [];
    const now = this.#clock.nowMs();
    for (const client of parked) {
      if (now - this.#begunMs[client]! > this.#timeoutMs) {
        this.#listener.failed(client, "TIMEOUT", `no leader took it in ${this.#timeoutMs} ms`, now);
      } else {
        this.#redirectsInARow[client] = 0;
        this.#send(client);
      }
    }
  };

  #watch(): void {
    this.#clock.timer(this.#timeoutMs / 10, () => {
      if (this.#closed) return;
      const now = this.#clock.nowMs();
      for (let client = 0; client < this.#waitsOn.length; client++) {
        const connection = this.#waitsOn[client];
        if (connection === undefined || now - this.#begunMs[client]! <= this.#timeoutMs) continue;
        this.#waitsOn[client] = undefined;
        this.#listener.failed(
          client,
          "TIMEOUT",
          `no answer from ${connection.remote} in ${this.#timeoutMs} ms`,
          now,
        );
      }
      this.#watch();
    });
  }
}

interface Node {
  readonly id: string;
  readonly connections: readonly BinaryConnection[];
}
