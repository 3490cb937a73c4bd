/** What the tests of this folder share: a handler over a map, a server on a free port, and a client that speaks raw bytes. */
import { afterEach } from "bun:test";
import { ByteWriter } from "../../protocol/cbor.ts";
import { decodeResponse, encodeRequest } from "../../protocol/client.ts";
import { FrameReader } from "../../protocol/frame.ts";
import type { ReplySink, RequestHandler, Routing } from "../../protocol/handler.ts";
import { nodeId } from "../../protocol/ids.ts";
import { PEER_FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import type {
  ClientRequest,
  ClientResponse,
  Expire,
  InKeyspace,
  Keyspace,
  KeyValue,
  NodeStatus,
  PutWith,
  Topology,
} from "../../protocol/messages.ts";
import { encodePreamble, parsePreambleReply } from "../../protocol/preamble.ts";
import { shardOfSlot, slotOf } from "../../protocol/slots.ts";
import { topologyNode } from "../../test/support/topology-node.ts";
import { bunTransport } from "../env/bun-transport.ts";
import type { Clock, Log, Transport } from "../env/env.ts";
import { systemClock } from "../env/system-clock.ts";
import { compareBytes, fromUtf8, utf8 } from "../lib/bytes.ts";
import { DEFAULT_SERVER_LIMITS, type ServerLimits } from "./limits.ts";
import { createServer, type PeerAcceptor, type Server } from "./server.ts";
import type { TextRedirect } from "./text-routes.ts";

export interface Executed {
  readonly request: ClientRequest;
  readonly sink: ReplySink;
  readonly requestId: number;
  readonly routing: Routing;
}

/** A store that is a map. While `held` is set, requests wait in it until a test answers them, in whatever order. */
export class MapHandler implements RequestHandler {
  readonly values = new Map<string, Uint8Array>();
  /** By key: when it is gone, by the wall clock. */
  readonly #deadlines = new Map<string, number>();
  /** Requests that were handed over. */
  executed = 0;
  held: Executed[] | undefined;
  /** Answers all requests with this instead. */
  answer: ClientResponse | undefined;
  keyspaces: Keyspace[] = [];
  /** One node, one shard. */
  topology: Topology | undefined = {
    ...{ version: 1, view: 0, clusterId: "abcd", nodes: [topologyNode(nodeId("n1"), "127.0.0.1:7001")] },
    shards: [{ leader: nodeId("n1"), term: 1, replicas: [nodeId("n1")], copies: [] }],
  };

  execute(request: ClientRequest, sink: ReplySink, requestId: number, routing: Routing): void {
    this.executed++;
    if (this.held !== undefined) this.held.push({ request, sink, requestId, routing });
    else sink.reply(requestId, this.respond(request));
  }

  /** Executes a held request now. */
  release({ request, sink, requestId }: Executed): void {
    sink.reply(requestId, this.respond(request));
  }

  respond(request: ClientRequest): ClientResponse {
    if (this.answer !== undefined && request.kind !== "topology") return this.answer;
    for (const [key, deadline] of this.#deadlines) if (deadline <= Date.now()) this.#remove(key);
    switch (request.kind) {
      case "ping":
        return { kind: "pong" };
      case "get":
        return { kind: "value", value: this.values.get(keyOf(request.key, request)), ageMs: 0 };
      case "exists":
        return { kind: "boolean", value: this.values.has(keyOf(request.key, request)) };
      case "put": {
        const exists = this.values.has(keyOf(request.key, request));
        if (request.condition === "ifAbsent" ? exists : request.condition === "ifPresent" && !exists) {
          return { kind: "boolean", value: false };
        }
        this.#set(keyOf(request.key, request), request.value.slice());
        return { kind: "boolean", value: true };
      }
      case "putWith": {
        const key = keyOf(request.key, request);
        const old = this.values.get(key);
        const holds =
          request.condition === "always" || (old !== undefined) === (request.condition === "ifPresent");
        if (holds) this.values.set(key, request.value.slice());
        if (holds && request.expiry !== "keep") this.#setDeadline(key, request);
        return request.answersOld
          ? { kind: "value", value: old, ageMs: 0 }
          : { kind: "boolean", value: holds };
      }
      case "expire": {
        const key = keyOf(request.key, request);
        const old = this.values.get(key);
        const before = this.#deadlines.get(key) ?? Number.POSITIVE_INFINITY;
        const after = request.expiry === "after" ? Date.now() + request.expiryMs : request.expiryMs;
        const { ifNone, ifSome, ifLater, ifEarlier } = request.condition;
        const hasDeadline = Number.isFinite(before);
        const holds =
          old !== undefined &&
          !(ifNone && hasDeadline) &&
          !(ifSome && !hasDeadline) &&
          !(ifLater && after <= before) &&
          !(ifEarlier && after >= before);
        if (holds) this.#setDeadline(key, request);
        return request.answersOld
          ? { kind: "value", value: old, ageMs: 0 }
          : { kind: "boolean", value: holds };
      }
      case "ttl": {
        const key = keyOf(request.key, request);
        if (!this.values.has(key)) return { kind: "integer", value: -2n };
        const deadline = this.#deadlines.get(key);
        if (deadline === undefined) return { kind: "integer", value: -1n };
        return { kind: "integer", value: BigInt(request.form === "at" ? deadline : deadline - Date.now()) };
      }
      case "delete":
        return { kind: "boolean", value: this.#remove(keyOf(request.key, request)) };
      case "batch":
        for (const { key, value } of request.entries) this.#set(keyOf(key, request), value.slice());
        return { kind: "boolean", value: true };
      case "compareAndSet": {
        const found = this.values.get(keyOf(request.key, request));
        const same =
          found === undefined || request.expected === undefined
            ? found === request.expected
            : compareBytes(found, request.expected) === 0;
        if (same && request.value === undefined) this.#remove(keyOf(request.key, request));
        else if (same) this.#set(keyOf(request.key, request), request.value!.slice());
        return { kind: "boolean", value: same };
      }
      case "increment": {
        const text = fromUtf8(this.values.get(keyOf(request.key, request)) ?? utf8("0"));
        if (!/^-?\d{1,19}$/.test(text)) return failure("NOT_AN_INTEGER", "the value is not an integer");
        const sum = BigInt(text) + request.delta;
        if (sum !== BigInt.asIntN(64, sum))
          return failure("NOT_AN_INTEGER", "the sum would overflow 64 bits");
        this.values.set(keyOf(request.key, request), utf8(String(sum)));
        return { kind: "integer", value: sum };
      }
      case "scan": {
        const shards = this.topology?.shards.length ?? 1;
        const prefix = keyOf(new Uint8Array(0), request);
        const entries: KeyValue[] = [...this.values]
          .filter(([key]) => (prefix === "" ? key.charCodeAt(0) < 256 || key === "" : key.startsWith(prefix)))
          .map(([key, value]) => ({ key: Buffer.from(key.slice(prefix.length), "latin1"), value }))
          .filter(
            ({ key }) => request.shard === undefined || shardOfSlot(slotOf(key), shards) === request.shard,
          )
          .filter(({ key }) => compareBytes(key, request.start) >= 0)
          .filter(({ key }) => request.end === undefined || compareBytes(key, request.end) < 0)
          .sort((a, b) => compareBytes(a.key, b.key));
        const more = entries.length > request.limit;
        return { kind: "entries", entries: entries.slice(0, request.limit), more };
      }
      case "status":
        return request.scope === "node"
          ? { kind: "nodeStatus", status: NODE_STATUS }
          : {
              kind: "clusterStatus",
              status: {
                clusterId: "abcd",
                nodes: [
                  {
                    id: nodeId("n1"),
                    address: "127.0.0.1:7001",
                    state: "alive",
                    standing: "member",
                    lastSeenMs: 0,
                    load: null,
                    status: NODE_STATUS,
                    error: null,
                  },
                ],
                shards: [
                  {
                    shard: 0,
                    leader: nodeId("n1"),
                    term: 3,
                    commitIndex: 9,
                    appliedIndex: 9,
                    lag: [],
                    copies: [],
                  },
                ],
                moves: [],
                outlook: { underWay: 0, toCome: 0, bytes: 0, seconds: 0 },
                available: 1,
              },
            };
      case "topology":
        if (this.topology === undefined) return failure("BAD_REQUEST", "the map has no topology");
        return request.known === this.topology.view
          ? { kind: "unchanged" }
          : { kind: "topology", topology: this.topology };
      case "listKeyspaces":
        return { kind: "keyspaces", keyspaces: this.keyspaces };
      case "createKeyspace":
      case "dropKeyspace":
      case "explain":
      case "openSnapshot":
      case "closeSnapshot":
      case "openSession":
      case "changeMember":
      case "changeReplica":
      case "join":
      case "rebalance":
      case "transferLeader":
      case "groupLog":
        return failure("BAD_REQUEST", `the map knows no ${request.kind}`);
    }
  }

  #set(key: string, value: Uint8Array): void {
    this.values.set(key, value);
    this.#deadlines.delete(key);
  }

  #remove(key: string): boolean {
    this.#deadlines.delete(key);
    return this.values.delete(key);
  }

  #setDeadline(key: string, { expiry, expiryMs }: PutWith | Expire): void {
    if (expiry === "clear") this.#deadlines.delete(key);
    else this.#deadlines.set(key, expiry === "after" ? Date.now() + expiryMs : expiryMs);
  }
}

/** Keys are bytes: each becomes one character, so that none is lost; a keyspace is one that no byte becomes. */
const keyOf = (key: Uint8Array, { keyspace }: InKeyspace): string =>
  (keyspace === undefined ? "" : String.fromCharCode(256 + keyspace)) + Buffer.from(key).toString("latin1");

export function failure(error: "NOT_AN_INTEGER" | "BAD_REQUEST", message: string): ClientResponse {
  return { kind: "error", error, message, leader: undefined };
}

export const NODE_STATUS: NodeStatus = {
  id: nodeId("n1"),
  address: "127.0.0.1:7001",
  version: "0.0.0",
  clusterId: "abcd",
  uptimeMs: 90_500,
  readOnly: false,
  peers: [],
  shards: [
    {
      shard: 0,
      role: "leader",
      leader: nodeId("n1"),
      term: 3,
      lastIndex: 9,
      commitIndex: 9,
      appliedIndex: 9,
      voters: [nodeId("n1")],
      outgoing: [],
      learners: [],
      replicas: [],
    },
  ],
  requests: {
    ...{ reads: 4, writes: 5, errors: 0, redirected: 0, connections: 1, perSecond: 2 },
    ...{ readMs: null, writeMs: null },
  },
  storage: {
    memtableBytes: 1,
    tables: 2,
    tableBytes: 3,
    cacheHitRate: null,
    logBytes: 4,
    compactions: 5,
    syncMs: null,
    slowDisk: false,
    slowDiskSpells: 0,
  },
  memory: { residentBytes: 2 * 1024 * 1024, heapBytes: 1024 },
  queues: [{ name: "unsyncedLog", unit: "bytes", used: 7, max: 64 }],
};

/** A log that keeps its lines. */
export class MemoryLog implements Log {
  readonly lines: string[] = [];
  readonly #line = (message: string, fields?: Readonly<Record<string, unknown>>): void => {
    this.lines.push(`${message} ${JSON.stringify(fields ?? {})}`);
  };
  readonly debug = this.#line;
  readonly info = this.#line;
  readonly warn = this.#line;
  readonly error = this.#line;
}

export interface TestServer {
  readonly server: Server;
  readonly handler: MapHandler;
  readonly log: MemoryLog;
  readonly port: number;
}

export const NO_PEERS: PeerAcceptor = {
  accept() {
    throw new Error("this test has no peers");
  },
};

/** A server on a free port. The caller stops it. */
export async function startServer(
  limits: Partial<ServerLimits> = {},
  parts: { clock?: Clock; transport?: Transport; peers?: PeerAcceptor; redirect?: TextRedirect } = {},
): Promise<TestServer> {
  const handler = new MapHandler();
  const log = new MemoryLog();
  const server = createServer({
    env: { clock: parts.clock ?? systemClock(), transport: parts.transport ?? bunTransport(), log },
    handler,
    peers: parts.peers ?? NO_PEERS,
    info: { node: nodeId("n1"), version: "0.0.0", processId: 1 },
    redirect: parts.redirect ?? "forward",
    limits: { ...DEFAULT_SERVER_LIMITS, sweepMs: 5, stopMsMax: 200, ...limits },
  });
  const { port } = await server.listen("127.0.0.1", 0);
  return { server, handler, log, port };
}

/** For a test file: what starts servers, one at a time; each is stopped after its test. */
export function serverPerTest(): typeof startServer {
  let running: TestServer | undefined;
  afterEach(async () => {
    await running?.server.stop();
    running = undefined;
  });
  return async (...args) => {
    running = await startServer(...args);
    return running;
  };
}

/** A TCP client that sends what it is told and keeps what comes. */
export class RawClient {
  received: Buffer = Buffer.alloc(0);
  /** The other side sent its FIN, or the connection broke. */
  over = false;
  readonly #socket: Bun.Socket<undefined>;
  #wake = Promise.withResolvers<void>();

  private constructor(socket: Bun.Socket<undefined>) {
    this.#socket = socket;
  }

  static async connect(port: number): Promise<RawClient> {
    let client: RawClient | undefined;
    const touch = (change: (client: RawClient) => void): void => {
      if (client === undefined) return;
      change(client);
      client.#wake.resolve();
      client.#wake = Promise.withResolvers<void>();
    };
    const socket = await Bun.connect<undefined>({
      hostname: "127.0.0.1",
      port,
      allowHalfOpen: true,
      socket: {
        data: (_socket, bytes) =>
          touch((it) => {
            it.received = Buffer.concat([it.received, bytes]);
          }),
        end: (socket) => {
          touch((it) => {
            it.over = true;
          });
          socket.end();
        },
        close: () =>
          touch((it) => {
            it.over = true;
          }),
        drain: () => touch((it) => it.#writeRest()),
      },
    });
    client = new RawClient(socket);
    return client;
  }

  #rest: Buffer = Buffer.alloc(0);

  write(bytes: string | Uint8Array): void {
    this.#rest = Buffer.concat([this.#rest, Buffer.from(bytes as Uint8Array)]);
    this.#writeRest();
  }

  /** Bytes that were written and not taken by the operating system. */
  get unsentBytes(): number {
    return this.#rest.length;
  }

  #writeRest(): void {
    if (this.#rest.length === 0) return;
    const taken = this.#socket.write(this.#rest);
    if (taken > 0) this.#rest = this.#rest.subarray(taken);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Sends FIN and goes on reading. */
  shutdown(): void {
    this.#socket.shutdown();
  }

  close(): void {
    this.#socket.terminate();
  }

  /** Waits until `check` gives something, looking again whenever something happened on the connection. */
  async until<T>(check: () => T | undefined | false): Promise<T> {
    for (;;) {
      const result = check();
      if (result !== undefined && result !== false) return result;
      await this.#wake.promise;
    }
  }

  /** Waits for exactly `count` bytes, and takes them. */
  async take(count: number): Promise<Buffer> {
    await this.until(() => this.received.length >= count || this.over);
    const taken = this.received.subarray(0, count);
    this.received = this.received.subarray(count);
    return taken;
  }

  /** Waits for what begins with `expected`, takes as much, and returns what came instead if it differs. */
  async expect(expected: string): Promise<string> {
    return (await this.take(Buffer.byteLength(expected))).toString();
  }

  /** Waits for the connection's end, and returns what came before it. */
  async end(): Promise<string> {
    await this.until(() => this.over);
    return this.received.toString();
  }
}

/** A client of the binary protocol, on top of raw bytes. */
export class BinaryClient {
  readonly raw: RawClient;
  readonly #reader = new FrameReader(PEER_FRAME_BYTES_MAX);
  readonly #responses: { id: number; response: ClientResponse }[] = [];

  private constructor(raw: RawClient) {
    this.raw = raw;
  }

  static async connect(port: number): Promise<BinaryClient> {
    const raw = await RawClient.connect(port);
    raw.write(encodePreamble("client"));
    const reply = parsePreambleReply(await raw.take(8), 0);
    if (reply.kind !== "reply" || reply.error !== undefined) throw new Error(JSON.stringify(reply));
    return new BinaryClient(raw);
  }

  send(request: ClientRequest, id: number): void {
    const writer = new ByteWriter();
    encodeRequest(writer, request, id);
    this.raw.write(writer.view());
  }

  /** The next response, in the order of arrival. */
  next(): Promise<{ id: number; response: ClientResponse }> {
    return this.raw.until(() => {
      this.#reader.push(this.raw.received);
      this.raw.received = Buffer.alloc(0);
      for (let frame = this.#reader.next(); frame !== undefined; frame = this.#reader.next()) {
        this.#responses.push({ id: frame.requestId, response: decodeResponse(frame) });
      }
      const first = this.#responses.shift();
      if (first === undefined && this.raw.over) throw new Error("the connection ended");
      return first;
    });
  }
}

/** Turns of the loop, until `check` holds: for what no event of a client tells. */
export async function eventually(check: () => boolean): Promise<void> {
  while (!check()) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** A clock whose monotonic time a test can push forward; all else is the system's. */
export function pushableClock(): Clock & { push(ms: number): void } {
  const clock = systemClock();
  let pushedMs = 0;
  return {
    nowMs: () => clock.nowMs() + pushedMs,
    wallMs: () => clock.wallMs(),
    timer: (delayMs, callback) => clock.timer(delayMs, callback),
    endOfTurn: (callback) => clock.endOfTurn(callback),
    push: (ms) => {
      pushedMs += ms;
    },
  };
}
