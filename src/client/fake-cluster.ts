/**
 * For tests: nodes that speak the real protocol over a fake network and share one store, as if replication were
 * perfect. A test can have a node misbehave in every way that a client must survive.
 */
import { ByteWriter } from "../../protocol/cbor.ts";
import { decodeRequest, encodeResponse } from "../../protocol/client.ts";
import { FrameReader } from "../../protocol/frame.ts";
import { type KeyspaceId, keyspaceId, nodeId } from "../../protocol/ids.ts";
import { CLIENT_FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import type {
  ClientRequest,
  ClientResponse,
  InKeyspace,
  Keyspace,
  KeyValue,
} from "../../protocol/messages.ts";
import { encodePreambleReply, PREAMBLE_BYTES } from "../../protocol/preamble.ts";
import { shardOfSlot, slotOf } from "../../protocol/slots.ts";
import { topologyNode } from "../../test/support/topology-node.ts";
import type { Connection } from "../env/env.ts";
import { compareBytes, fromUtf8, utf8 } from "../lib/bytes.ts";
import type { FakeWorld } from "./fake-world.ts";

/**
 * What a node does with a request: as it should; nothing, ever; execute it and lose the connection before the answer; lose
 * the connection before it is executed; or answer something else.
 */
export type Behaviour = "serve" | "ignore" | "executeAndDrop" | "drop" | ClientResponse;

export class FakeCluster {
  readonly nodes: FakeNode[];
  /** By shard: the index of the node that leads it. */
  readonly leaders: number[];
  readonly world: FakeWorld;
  clusterId = "c1";
  /** Of the topology; a test that changes that may change this too. */
  view = 1;
  /** Of all leaders. */
  term = 1;
  /** How often each write was executed, by kind and key. */
  readonly executions = new Map<string, number>();
  /** Most entries that a scan answers with. */
  scanEntriesMax = 1000;
  /** What the store was when each was opened. */
  readonly snapshots = new Map<number, ReadonlyMap<string, Uint8Array>>();
  readonly keyspaces: Keyspace[] = [];
  #lastKeyspace = 0;
  /** By keyspace. */
  readonly #stores = new Map<KeyspaceId | undefined, Map<string, Uint8Array>>();
  readonly #results = new Map<string, ClientResponse>();
  #nextSession = 100;
  readonly sessions = new Set<number>();

  constructor(world: FakeWorld, nodes: number, shards: number) {
    this.world = world;
    this.nodes = Array.from({ length: nodes }, (_, i) => new FakeNode(this, i));
    this.leaders = Array.from({ length: shards }, (_, shard) => shard % nodes);
    for (const node of this.nodes) node.start();
  }

  get addresses(): string[] {
    return this.nodes.map(({ address }) => address);
  }

  /** The node that leads the shard of `key`. */
  leaderOf(key: string): FakeNode {
    return this.nodes[this.leaders[this.shardOf(utf8(key))]!]!;
  }

  shardOf(key: Uint8Array): number {
    return shardOfSlot(slotOf(key), this.leaders.length);
  }

  set(key: string, value: string): void {
    this.#storeOf(undefined).set(key, utf8(value));
  }

  execute(request: ClientRequest): ClientResponse {
    if (!("stamp" in request) || request.stamp.session === 0) return this.#apply(request);
    const { session, sequence } = request.stamp;
    if (!this.sessions.has(session)) return errorResponse("SESSION_EXPIRED");
    const id = `${session}/${sequence}`;
    const known = this.#results.get(id);
    if (known !== undefined) return known;
    const result = this.#apply(request);
    this.#results.set(id, result);
    return result;
  }

  #storeOf(keyspace: KeyspaceId | undefined): Map<string, Uint8Array> {
    const store = this.#stores.get(keyspace) ?? new Map<string, Uint8Array>();
    this.#stores.set(keyspace, store);
    return store;
  }

  #apply(request: ClientRequest): ClientResponse {
    if ("stamp" in request) {
      const first = request.kind === "batch" ? request.entries[0]!.key : request.key;
      const id = `${request.kind} ${fromUtf8(first)}`;
      this.executions.set(id, (this.executions.get(id) ?? 0) + 1);
    }
    const { keyspace } = request as InKeyspace;
    if (keyspace !== undefined && !this.keyspaces.some(({ id }) => id === keyspace)) {
      return errorResponse("NO_KEYSPACE");
    }
    const store = this.#storeOf(keyspace);
    switch (request.kind) {
      case "put":
        store.set(fromUtf8(request.key), new Uint8Array(request.value));
        return { kind: "boolean", value: true };
      case "delete":
        return { kind: "boolean", value: store.delete(fromUtf8(request.key)) };
      case "batch":
        for (const { key, value } of request.entries) store.set(fromUtf8(key), new Uint8Array(value));
        return { kind: "boolean", value: true };
      case "increment": {
        const key = fromUtf8(request.key);
        const sum = BigInt(fromUtf8(store.get(key) ?? utf8("0"))) + request.delta;
        store.set(key, utf8(String(sum)));
        return { kind: "integer", value: sum };
      }
      case "openSession":
        this.sessions.add(++this.#nextSession);
        return { kind: "integer", value: BigInt(this.#nextSession) };
      case "get":
        return { kind: "value", value: store.get(fromUtf8(request.key)), ageMs: 0 };
      case "explain": {
        const valueBytes = store.get(fromUtf8(request.key))?.length ?? null;
        const verdict = valueBytes === null ? "deleted" : "value";
        const table = { place: "table", level: 0, table: 7, verdict: "filtered" };
        const memtable = { place: "memtable", level: null, table: null };
        const steps = [{ ...memtable, verdict: "nothing" }, table, { ...table, level: 2, table: 3, verdict }];
        return { kind: "explanation", explanation: { steps, valueBytes, expiresAtMs: null } };
      }
      case "exists":
        return { kind: "boolean", value: store.has(fromUtf8(request.key)) };
      case "scan":
        return this.#scan(request);
      case "listKeyspaces":
        return { kind: "keyspaces", keyspaces: [...this.keyspaces] };
      case "createKeyspace": {
        if (this.keyspaces.some(({ name }) => name === request.name)) return errorResponse("BAD_REQUEST");
        const id = keyspaceId(++this.#lastKeyspace);
        this.keyspaces.push({ id, name: request.name, mode: request.mode });
        return { kind: "integer", value: BigInt(id) };
      }
      case "dropKeyspace":
        this.keyspaces.splice(0, Infinity, ...this.keyspaces.filter(({ id }) => id !== request.id));
        return { kind: "integer", value: BigInt(request.id) };
      case "closeSnapshot":
        return { kind: "boolean", value: this.snapshots.delete(request.snapshot) };
      case "ping":
        return { kind: "pong" };
      case "topology":
        return {
          kind: "topology",
          topology: {
            version: 1,
            view: this.view,
            clusterId: this.clusterId,
            nodes: this.nodes
              .filter((node) => node.isMember)
              .map(({ id, address }) => topologyNode(id, address)),
            shards: this.leaders.map((leader) => ({
              leader: this.nodes[leader]!.id,
              term: this.term,
              replicas: this.nodes.map(({ id }) => id),
              copies: [],
            })),
          },
        };
      default:
        return errorResponse("BAD_REQUEST");
    }
  }

  /** Its number tells which node it is at. */
  openSnapshot(keyspace: KeyspaceId | undefined, at: FakeNode): ClientResponse {
    const snapshot = 100 * (this.#nextSession++ + 1) + at.index;
    this.snapshots.set(snapshot, new Map(this.#storeOf(keyspace)));
    return { kind: "snapshot", snapshot, node: at.id, address: at.address };
  }

  #scan(request: Extract<ClientRequest, { kind: "scan" }>): ClientResponse {
    const { snapshot } = request;
    const store = snapshot === undefined ? this.#storeOf(request.keyspace) : this.snapshots.get(snapshot);
    if (store === undefined) return errorResponse("SNAPSHOT_GONE");
    const found: KeyValue[] = [...store]
      .map(([key, value]) => ({ key: utf8(key), value: request.keysOnly ? new Uint8Array() : value }))
      .filter(({ key }) => request.shard === undefined || this.shardOf(key) === request.shard)
      .filter(({ key }) => compareBytes(key, request.start) >= 0)
      .filter(({ key }) => request.end === undefined || compareBytes(key, request.end) < 0)
      .sort((a, b) => compareBytes(a.key, b.key));
    const count = Math.min(request.limit, this.scanEntriesMax);
    return { kind: "entries", entries: found.slice(0, count), more: found.length > count };
  }
}

export function errorResponse(
  error: Extract<ClientResponse, { kind: "error" }>["error"],
  leader?: FakeNode,
): ClientResponse {
  return { kind: "error", error, message: "as the test wants it", leader };
}

interface ConnectionState {
  readonly reader: FrameReader;
  greeted: boolean;
  /** The id of the request that subscribed. */
  subscription: number | undefined;
}

export class FakeNode {
  readonly id;
  readonly address: string;
  readonly index: number;
  /** Whether the topology has it. */
  isMember = true;
  /** Every request that arrived, in order. */
  readonly received: ClientRequest[] = [];
  /** How many times bytes arrived: what a client sends in one piece counts once. */
  chunks = 0;
  readonly #cluster: FakeCluster;
  readonly #connections = new Set<Connection>();
  #behave: (request: ClientRequest) => Behaviour = () => "serve";

  constructor(cluster: FakeCluster, index: number) {
    this.#cluster = cluster;
    this.index = index;
    this.id = nodeId(`n${index + 1}`);
    this.address = `10.0.0.${index + 1}:7001`;
  }

  get node() {
    return this.id;
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** From now on. */
  behave(behave: (request: ClientRequest) => Behaviour): void {
    this.#behave = behave;
  }

  /** For the next request of this kind; then as it should. */
  behaveOnce(kind: ClientRequest["kind"], behaviour: Behaviour): void {
    this.behave((request) => {
      if (request.kind !== kind) return "serve";
      this.behave(() => "serve");
      return behaviour;
    });
  }

  start(): void {
    this.#cluster.world.serve(this.address, {
      opened: (connection) => {
        const reader = new FrameReader(CLIENT_FRAME_BYTES_MAX);
        const state: ConnectionState = { reader, greeted: false, subscription: undefined };
        connection.state = state;
        this.#connections.add(connection);
      },
      received: (connection, bytes) => this.#received(connection, bytes),
      closed: (connection) => void this.#connections.delete(connection),
    });
  }

  /** As a killed process: connections are lost, new ones refused. */
  stop(): void {
    this.#cluster.world.unserve(this.address);
    this.dropConnections();
  }

  /** Sends the topology to all clients that have subscribed to it here. */
  pushTopology(): void {
    for (const connection of this.#connections) {
      const { subscription } = connection.state as ConnectionState;
      if (subscription === undefined) continue;
      const response = this.#cluster.execute({ kind: "topology", known: undefined, subscribe: false });
      const writer = new ByteWriter();
      encodeResponse(writer, response, subscription);
      connection.send(writer.view());
    }
  }

  dropConnections(): void {
    for (const connection of this.#connections) connection.destroy();
  }

  #received(connection: Connection, bytes: Uint8Array): void {
    const state = connection.state as ConnectionState;
    if (!state.greeted) {
      state.greeted = true;
      if (bytes.length !== PREAMBLE_BYTES)
        throw new Error("the client did not wait for the preamble's answer");
      connection.send(encodePreambleReply(undefined, 1));
      return;
    }
    this.chunks++;
    state.reader.push(bytes);
    for (let frame = state.reader.next(); frame !== undefined; frame = state.reader.next()) {
      const request = decodeRequest(frame);
      this.received.push(request);
      if (request.kind === "topology" && request.subscribe) state.subscription = frame.requestId;
      if (!this.#answer(connection, request, frame.requestId)) return;
    }
  }

  /** `false`: the connection is gone. */
  #answer(connection: Connection, request: ClientRequest, requestId: number): boolean {
    const behaviour = this.#behave(request);
    if (behaviour === "ignore") return true;
    if (behaviour === "drop" || behaviour === "executeAndDrop") {
      if (behaviour === "executeAndDrop") this.#cluster.execute(request);
      connection.destroy();
      return false;
    }
    const response = behaviour === "serve" ? this.#serve(request) : behaviour;
    const writer = new ByteWriter();
    encodeResponse(writer, response, requestId);
    connection.send(writer.view());
    return true;
  }

  #serve(request: ClientRequest): ClientResponse {
    if (request.kind === "scan" && request.snapshot !== undefined) {
      const isHere = request.snapshot % 100 === this.index;
      return isHere ? this.#cluster.execute(request) : errorResponse("SNAPSHOT_GONE");
    }
    const shard = this.#shardOf(request);
    if (shard !== undefined && this.#cluster.leaders[shard] !== this.index) {
      const leader = this.#cluster.nodes[this.#cluster.leaders[shard]!];
      return leader === undefined ? errorResponse("UNAVAILABLE") : errorResponse("NOT_LEADER", leader);
    }
    return request.kind === "openSnapshot"
      ? this.#cluster.openSnapshot(request.keyspace, this)
      : this.#cluster.execute(request);
  }

  /** The shard whose leader must serve the request. */
  #shardOf(request: ClientRequest): number | undefined {
    if (request.kind === "openSession" || request.kind === "openSnapshot") return request.shard;
    if (request.kind === "scan" && request.consistency !== "stale") return request.shard;
    if (request.kind === "batch") return this.#cluster.shardOf(request.entries[0]!.key);
    if (!("key" in request)) return undefined;
    if ("consistency" in request && request.consistency === "stale") return undefined;
    return this.#cluster.shardOf(request.key);
  }
}
