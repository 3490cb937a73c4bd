import { afterEach, expect, test } from "bun:test";
import { ByteWriter } from "../../protocol/cbor.ts";
import { decodeResponse, encodeRequest } from "../../protocol/client.ts";
import type { ErrorName } from "../../protocol/errors.ts";
import { FLAG_FORWARDED, FrameReader } from "../../protocol/frame.ts";
import type { GossipMessage } from "../../protocol/gossip-messages.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import { groupId, INDEX_ZERO, logIndex, type NodeId, nodeId, term } from "../../protocol/ids.ts";
import { type ClientResponse, NO_SESSION } from "../../protocol/messages.ts";
import {
  beginBundle,
  decodeHello,
  encodeHello,
  encodePeerSignal,
  endBundle,
  PEER_TYPES,
} from "../../protocol/peer.ts";
import type { ConfigurationReport, GroupMessage, PeerHello } from "../../protocol/peer-messages.ts";
import { encodePreamble } from "../../protocol/preamble.ts";
import { written } from "../../protocol/test-frames.ts";
import { bunTransport } from "../env/bun-transport.ts";
import type { Listener } from "../env/env.ts";
import { utf8 } from "../lib/bytes.ts";
import { seededRandom } from "../lib/prng.ts";
import { DEFAULT_SERVER_LIMITS, type ServerLimits } from "./limits.ts";
import { createPeers, type PeerAddress, type Peers } from "./peers.ts";
import { createServer, type Server } from "./server.ts";
import { eventually, MapHandler, MemoryLog, pushableClock, RawClient } from "./test-harness.ts";

const A = nodeId("a");
const B = nodeId("b");

/** A node as far as its peers see it. */
class Node {
  readonly id: NodeId;
  readonly handler = new MapHandler();
  readonly log = new MemoryLog();
  readonly clock = pushableClock();
  readonly received: { group: number; message: GroupMessage }[] = [];
  /** What came, and how many messages of Raft had come before it. */
  readonly gossip: { readonly message: GossipMessage; readonly messagesBefore: number }[] = [];
  readonly reports: ConfigurationReport[] = [];
  readonly events: string[] = [];
  readonly refusals: { node: NodeId; error: ErrorName; message: string }[] = [];
  readonly addresses: Map<NodeId, readonly PeerAddress[]>;
  admit: (hello: PeerHello) => { error: ErrorName; message: string } | undefined = () => undefined;
  peers!: Peers;
  server!: Server;
  listener!: Listener;

  constructor(id: NodeId, others: readonly (readonly [NodeId, PeerAddress])[]) {
    this.id = id;
    this.addresses = new Map(others.map(([node, place]) => [node, [place]]));
  }

  async start(port: number, limits: Partial<ServerLimits> = {}): Promise<this> {
    const all = {
      ...DEFAULT_SERVER_LIMITS,
      sweepMs: 5,
      stopMsMax: 50,
      reconnectMsMin: 2,
      reconnectMsMax: 20,
      ...limits,
    };
    const env = { clock: this.clock, random: seededRandom(1), transport: bunTransport(), log: this.log };
    this.peers = createPeers({
      env,
      self: this.id,
      addresses: this.addresses,
      hello: () => helloOf(this.id),
      admit: (hello) => this.admit(hello),
      wasLetInBy: () => {},
      stranger: ({ node }) => {
        this.events.push(`stranger ${node}`);
        return { error: "WRONG_CLUSTER", message: `${node} is not a member` };
      },
      refused: (node, error, message) => this.refusals.push({ node, error, message }),
      listener: {
        received: (group, message) => this.received.push({ group, message }),
        reported: (reports) => this.reports.push(...reports),
        connected: (node) => this.events.push(`connected ${node}`),
        disconnected: (node) => this.events.push(`disconnected ${node}`),
      },
      heardGossip: (message) => this.gossip.push({ message, messagesBefore: this.received.length }),
      handler: this.handler,
      limits: all,
    });
    this.server = createServer({
      env,
      handler: this.handler,
      peers: this.peers,
      info: { node: this.id, version: "0.0.0", processId: 1 },
      limits: all,
    });
    this.listener = await this.server.listen("127.0.0.1", port);
    this.peers.start();
    return this;
  }

  async stop(): Promise<void> {
    this.peers.stop();
    await this.server.stop();
  }

  get connected(): boolean {
    return this.peers.status().every(({ connected }) => connected);
  }
}

function helloOf(node: NodeId): PeerHello {
  const settings = { shards: 4, replicas: 3, virtualNodes: 150 };
  const rest = { address: "127.0.0.1:1", labels: {}, leaseMs: 0, promiseMs: 0 };
  return { node, clusterId: "c1", incarnation: `i-${node}`, members: [A, B], settings, ...rest };
}

const heartbeat = (from: NodeId, to: NodeId, round: number) =>
  ({
    kind: "heartbeat",
    from,
    to,
    term: term(1),
    commit: INDEX_ZERO,
    readRound: round,
    quiesce: false,
  }) as const;
/** From A to B: the first entry of a log. */
const appendOf = (data: Uint8Array) =>
  ({
    kind: "append",
    from: A,
    to: B,
    term: term(1),
    prevIndex: INDEX_ZERO,
    prevTerm: term(0),
    commit: INDEX_ZERO,
    entries: [{ index: logIndex(1), term: term(1), kind: "commands", data }],
  }) as const;
const get = (key: string) => ({ kind: "get", key: utf8(key), consistency: "linearizable" }) as const;
const put = (key: string) =>
  ({ kind: "put", stamp: NO_SESSION, key: utf8(key), value: utf8("v"), condition: "always" }) as const;

class Answers implements ReplySink {
  readonly all = new Map<number, ClientResponse>();
  reply(requestId: number, response: ClientResponse): void {
    expect(this.all.has(requestId)).toBe(false);
    this.all.set(requestId, response);
  }
}

const nodes: Node[] = [];
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.stop()));
});

/** Two nodes that know each other. Their ports are chosen by the system, and must be known before the first connects. */
async function pair(
  limits: Partial<ServerLimits> = {},
  change: (node: Node) => void = () => {},
): Promise<[Node, Node]> {
  const a = new Node(A, [[B, { host: "127.0.0.1", port: await freePort() }]]);
  change(a);
  await a.start(0, limits);
  const b = new Node(B, [[A, { host: "127.0.0.1", port: a.listener.port }]]);
  change(b);
  await b.start(a.addresses.get(B)![0]!.port, limits);
  nodes.push(a, b);
  return [a, b];
}

async function connectedPair(limits: Partial<ServerLimits> = {}): Promise<[Node, Node]> {
  const [a, b] = await pair(limits);
  await eventually(() => a.connected && b.connected);
  return [a, b];
}

test("nodes find each other in whatever order they start, and say so", async () => {
  const [a, b] = await connectedPair();
  expect(a.events).toEqual(["connected b"]);
  expect(b.events).toEqual(["connected a"]);
  const [status] = a.peers.status();
  expect(status).toMatchObject({ id: B, address: `127.0.0.1:${b.listener.port}`, connected: true });
  expect(status!.lastHeardMs).toBeLessThan(1_000);
});

test("the messages of a turn arrive in order, all groups in one frame", async () => {
  const [a, b] = await connectedPair();
  const append = appendOf(utf8("data"));
  a.peers.send(groupId(1), heartbeat(A, B, 1));
  a.peers.send(groupId(2), append);
  a.peers.send(groupId(1), heartbeat(A, B, 2));
  a.peers.flush();
  await eventually(() => b.received.length === 3);
  expect(b.received).toEqual([
    { group: 1, message: heartbeat(A, B, 1) },
    { group: 2, message: append },
    { group: 1, message: heartbeat(A, B, 2) },
  ]);
});

test("what leaders tell of members arrives in order with their messages", async () => {
  const [a, b] = await connectedPair();
  const report = { shard: 3, term: 2, index: 9, voters: [A], outgoing: [], learners: [B] };
  a.peers.send(groupId(1), heartbeat(A, B, 1));
  a.peers.report(B, [report]);
  a.peers.send(groupId(1), heartbeat(A, B, 2));
  a.peers.flush();
  await eventually(() => b.received.length === 2);
  expect(b.reports).toEqual([report]);
});

test("a node that is somewhere else now is found there", async () => {
  const [a, b] = await connectedPair();
  await b.stop();
  const moved = new Node(B, [[A, { host: "127.0.0.1", port: a.listener.port }]]);
  nodes.splice(nodes.indexOf(b), 1, moved);
  await moved.start(0);
  const there = { host: "127.0.0.1", port: moved.listener.port };
  a.addresses.set(B, [there]);
  a.peers.membersChanged();
  await eventually(() => a.connected && moved.connected);
  expect(a.peers.status()).toMatchObject([{ address: `127.0.0.1:${there.port}` }]);
  // A place where it may be as well is no reason to leave it; nor does it matter which is named first.
  const connections = a.events.length;
  const elsewhere = { host: "127.0.0.1", port: await freePort() };
  a.addresses.set(B, [elsewhere, there]);
  a.peers.membersChanged();
  expect(a.connected).toBe(true);
  expect(a.events).toHaveLength(connections);
});

test("of several places where a node may be all are tried", async () => {
  const [a, b] = await connectedPair();
  const { port } = b.listener;
  const wrong = { host: "127.0.0.1", port: await freePort() };
  await b.stop();
  a.addresses.set(B, [wrong, { host: "127.0.0.1", port: await freePort() }]);
  a.peers.membersChanged();
  a.addresses.set(B, [wrong, a.addresses.get(B)![1]!, { host: "127.0.0.1", port }]);
  a.peers.membersChanged();
  const back = new Node(B, [[A, { host: "127.0.0.1", port: a.listener.port }]]);
  nodes.splice(nodes.indexOf(b), 1, back);
  await back.start(port);
  await eventually(() => a.connected);
  expect(a.peers.status()).toMatchObject([{ address: `127.0.0.1:${port}` }]);
});

test("more than fits into one bundle arrives all the same", async () => {
  const [a, b] = await connectedPair({ peerBundleBytes: 100 });
  for (let round = 1; round <= 200; round++) a.peers.send(groupId(1), heartbeat(A, B, round));
  a.peers.flush();
  await eventually(() => b.received.length === 200);
  expect(b.received.at(-1)!.message).toEqual(heartbeat(A, B, 200));
});

test("requests are forwarded between messages, executed where they are sent to, and answered once", async () => {
  const [a, b] = await connectedPair();
  b.handler.values.set("k", utf8("v"));
  const answers = new Answers();
  a.peers.send(groupId(1), heartbeat(A, B, 1));
  a.peers.forward(B, get("k"), answers, 70);
  a.peers.send(groupId(1), heartbeat(A, B, 2));
  a.peers.forward(B, put("new"), answers, 71);
  await eventually(() => answers.all.size === 2 && b.received.length === 2);
  expect(answers.all.get(70)).toMatchObject({ kind: "value", value: utf8("v") });
  expect(answers.all.get(71)).toEqual({ kind: "boolean", value: true });
  expect(b.handler.values.has("new")).toBe(true);
  b.handler.held = [];
  a.peers.forward(B, get("k"), answers, 72);
  await eventually(() => b.handler.held?.length === 1);
  expect(b.handler.held[0]!.routing).toBe("redirect");
  b.handler.release(b.handler.held[0]!);
  await eventually(() => answers.all.has(72));
});

test("what is forwarded to a node that is not connected is refused at once; messages are dropped and counted", async () => {
  const a = await new Node(A, [[B, { host: "127.0.0.1", port: await freePort() }]]).start(0);
  nodes.push(a);
  const answers = new Answers();
  a.peers.forward(B, put("k"), answers, 1);
  expect(answers.all.get(1)).toMatchObject({ kind: "error", error: "UNAVAILABLE" });
  a.peers.send(groupId(1), heartbeat(A, B, 1));
  expect(a.peers.droppedMessages).toBe(1);
  expect(a.peers.status()).toMatchObject([{ id: B, connected: false, lastHeardMs: null }]);
});

test("no answer in time: a write is unknown, a read is unavailable, and a late answer finds nobody", async () => {
  const [a, b] = await connectedPair({ forwardMsMax: 20 });
  b.handler.held = [];
  const answers = new Answers();
  a.peers.forward(B, put("k"), answers, 1);
  a.peers.forward(B, get("k"), answers, 2);
  await eventually(() => answers.all.size === 2);
  expect(answers.all.get(1)).toMatchObject({ kind: "error", error: "TIMEOUT" });
  expect(answers.all.get(2)).toMatchObject({ kind: "error", error: "UNAVAILABLE" });
  await eventually(() => b.handler.held?.length === 2);
  for (const executed of b.handler.held) b.handler.release(executed);
  b.handler.held = undefined;
  a.peers.forward(B, get("k"), answers, 3);
  await eventually(() => answers.all.has(3));
  expect(answers.all.get(3)).toMatchObject({ kind: "value" });
});

test("a connection that breaks fails what was forwarded, and is made again", async () => {
  const [a, b] = await connectedPair();
  b.handler.held = [];
  const answers = new Answers();
  a.peers.forward(B, put("k"), answers, 1);
  a.peers.forward(B, get("k"), answers, 2);
  await eventually(() => b.handler.held?.length === 2);
  const { port } = b.listener;
  await b.stop();
  await eventually(() => answers.all.size === 2);
  expect(answers.all.get(1)).toMatchObject({ kind: "error", error: "TIMEOUT" });
  expect(answers.all.get(2)).toMatchObject({ kind: "error", error: "UNAVAILABLE" });
  await eventually(() => a.events.includes("disconnected b"));
  const again = await new Node(B, [[A, { host: "127.0.0.1", port: a.listener.port }]]).start(port);
  nodes.push(again);
  await eventually(() => a.connected && again.connected);
  a.peers.send(groupId(3), heartbeat(A, B, 1));
  a.peers.flush();
  await eventually(() => again.received.length === 1);
  expect(a.events).toEqual(["connected b", "disconnected b", "connected b"]);
});

test("what a node that stops has not read was not done, be it a write", async () => {
  const [a, b] = await connectedPair();
  const answers = new Answers();
  // B's end of the connection stops before what A sends now can be there.
  const stopped = b.server.stop();
  a.peers.forward(B, put("k"), answers, 1);
  a.peers.flush();
  await eventually(() => answers.all.has(1));
  expect(answers.all.get(1)).toMatchObject({ kind: "error", error: "UNAVAILABLE" });
  expect(b.handler.values.has("k")).toBe(false);
  b.peers.stop();
  await stopped;
});

test("a node that stops answers what it has begun, and hears messages until then, but begins nothing more", async () => {
  const [a, b] = await connectedPair();
  b.handler.held = [];
  const answers = new Answers();
  a.peers.forward(B, put("k"), answers, 1);
  await eventually(() => b.handler.held?.length === 1);
  const stopped = b.server.stop();
  a.peers.forward(B, put("late"), answers, 2);
  a.peers.send(groupId(1), heartbeat(A, B, 1));
  await eventually(() => answers.all.has(2) && b.received.length === 1);
  expect(answers.all.get(2)).toMatchObject({ kind: "error", error: "SHUTTING_DOWN" });
  b.handler.release(b.handler.held[0]!);
  await eventually(() => a.events.includes("disconnected b"));
  expect(answers.all.get(1)).toEqual({ kind: "boolean", value: true });
  expect([...b.handler.values.keys()]).toEqual(["k"]);
  b.peers.stop();
  await stopped;
});

test("what was queued before stopping still arrives", async () => {
  const [a, b] = await connectedPair();
  a.peers.send(groupId(1), heartbeat(A, B, 5));
  a.peers.stop();
  await eventually(() => b.received.length === 1);
  expect(a.events).toEqual(["connected b", "disconnected b"]);
});

test("a node that is not admitted is told why, on both ways", async () => {
  const [a, b] = await pair({}, (node) => {
    if (node.id === A) node.admit = () => ({ error: "WRONG_CLUSTER", message: "another cluster" });
  });
  await eventually(() => b.refusals.length >= 2);
  expect(b.refusals[0]).toEqual({ node: A, error: "WRONG_CLUSTER", message: "another cluster" });
  expect(a.refusals).toEqual([]);
  expect(a.events).toEqual([]);
  expect(a.connected || b.connected).toBe(false);
  a.admit = () => undefined;
  await eventually(() => a.connected && b.connected);
});

test("a node at the wrong address is not taken for another", async () => {
  const b = await new Node(B, [[A, { host: "127.0.0.1", port: await freePort() }]]).start(0);
  const c = nodeId("c");
  const a = await new Node(A, [[c, { host: "127.0.0.1", port: b.listener.port }]]).start(0);
  nodes.push(a, b);
  await eventually(() => a.log.lines.some((line) => line.includes("is b, not c")));
  expect(a.connected).toBe(false);
});

test("a peer that falls silent is noticed, and found again", async () => {
  // Stands in for the other node: accepts, greets, and then says nothing more, as a stopped process does.
  let greetings = 0;
  let pings = 0;
  let answering = false;
  const silent = Bun.listen<{ reader: FrameReader; greeted: boolean }>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        socket.data = { reader: new FrameReader(1 << 20), greeted: false };
      },
      data(socket, bytes) {
        let rest: Uint8Array = bytes;
        if (!socket.data.greeted) {
          socket.data.greeted = true;
          socket.write(Uint8Array.of(0xf1, 0x46, 0x4c, 0x54, 0, 1, 0, 0));
          rest = bytes.subarray(8);
        }
        socket.data.reader.push(rest);
        for (let frame = socket.data.reader.next(); frame !== undefined; frame = socket.data.reader.next()) {
          const writer = new ByteWriter();
          if (frame.type === PEER_TYPES.hello) {
            greetings++;
            encodeHello(writer, helloOf(B));
          } else if (frame.type === PEER_TYPES.ping && answering) {
            pings++;
            encodePeerSignal(writer, "pong", frame.requestId);
          }
          socket.write(writer.view());
        }
      },
    },
  });
  const a = await new Node(A, [[B, { host: "127.0.0.1", port: silent.port }]]).start(0, {
    peerPingMs: 100,
    peerIdlePingMs: 1_000,
    peerSilentMsMax: 5_000,
  });
  nodes.push(a);
  await eventually(() => a.connected);
  a.clock.push(6_000);
  await eventually(() => a.events.includes("disconnected b"));
  expect(a.log.lines.join("\n")).toContain("nothing was heard for");
  answering = true;
  await eventually(() => a.connected);
  // Much longer than it may be silent, but each ping is answered.
  const before = greetings;
  for (let step = 0; step < 10; step++) {
    const heard = pings;
    a.clock.push(1_200);
    await eventually(() => pings > heard && a.peers.status()[0]!.lastHeardMs! < 1_000);
  }
  expect(greetings).toBe(before);
  expect(a.connected).toBe(true);
  // Who is asked about is pinged sooner, and counts as silent only from when it is.
  a.clock.push(900);
  expect(a.peers.silentMs(B)).toBe(0);
  const unwatched = pings;
  a.clock.push(200);
  expect(a.peers.silentMs(B)).toBeGreaterThanOrEqual(200);
  await eventually(() => pings > unwatched && a.peers.silentMs(B) < 100);
  a.clock.push(200);
  await eventually(() => a.peers.silentMs(B) < 100);
  expect(pings).toBeGreaterThanOrEqual(unwatched + 2);
  silent.stop(true);
});

test("a peer that does not take what is sent gets no more: messages are dropped, requests refused", async () => {
  const [a, b] = await connectedPair({ peerQueuedBytesMax: 200_000, peerBundleBytes: 50_000 });
  const append = appendOf(new Uint8Array(40_000));
  // Within one turn nothing can leave that the kernel does not take.
  for (let i = 0; i < 20; i++) a.peers.send(groupId(1), append);
  expect(a.peers.droppedMessages).toBeGreaterThan(10);
  const answers = new Answers();
  a.peers.forward(B, get("k"), answers, 1);
  expect(answers.all.get(1)).toMatchObject({ kind: "error", error: "OVERLOADED" });
  a.peers.flush();
  await eventually(() => b.received.length === 20 - a.peers.droppedMessages);
});

const ping = (from: NodeId, to: NodeId, sequence: number): GossipMessage => ({
  ...{ kind: "ping", from, to, incarnation: 0, sequence },
  ...{ members: [], loads: [], leaders: [] },
});

test("gossip comes to the other side, before what is gathered for the end of the turn", async () => {
  const [a, b] = await connectedPair();
  a.peers.send(groupId(1), heartbeat(A, B, 1));
  a.peers.gossip(ping(A, B, 7));
  await eventually(() => b.gossip.length === 1);
  expect(b.gossip).toEqual([{ message: ping(A, B, 7), messagesBefore: 0 }]);
  a.peers.flush();
  await eventually(() => b.received.length === 1);
  // To nobody: nothing happens.
  a.peers.gossip(ping(A, nodeId("z"), 8));
});

test("gossip goes over the other connection where this one has much to carry", async () => {
  const [a, b] = await connectedPair({ gossipQueuedBytesMax: 100_000 });
  a.peers.send(groupId(1), appendOf(new Uint8Array(20_000_000)));
  a.peers.flush();
  a.peers.gossip(ping(A, B, 1));
  await eventually(() => b.gossip.length === 1 && b.received.length === 1);
  expect(b.gossip[0]).toEqual({ message: ping(A, B, 1), messagesBefore: 0 });
});

/** Dials a node as peer `b` would, with raw bytes. */
async function dial(
  node: Node,
): Promise<{ raw: RawClient; reader: FrameReader; next: () => Promise<ReturnType<FrameReader["next"]>> }> {
  const raw = await RawClient.connect(node.listener.port);
  raw.write(encodePreamble("peer"));
  await raw.take(8);
  const reader = new FrameReader(1 << 20);
  const next = () =>
    raw.until(() => {
      reader.push(raw.received);
      raw.received = Buffer.alloc(0);
      return reader.next() ?? (raw.over ? null : undefined);
    }) as Promise<ReturnType<FrameReader["next"]>>;
  return { raw, reader, next };
}

const lonely = async (limits: Partial<ServerLimits> = {}): Promise<Node> => {
  const node = await new Node(A, [[B, { host: "127.0.0.1", port: await freePort() }]]).start(0, limits);
  nodes.push(node);
  return node;
};

test.each([
  ["itself", helloOf(A), "itself"],
  ["no member", helloOf(nodeId("z")), "not a member"],
])("a caller that says it is %s is refused", async (_what, hello, part) => {
  const node = await lonely();
  const { raw, next } = await dial(node);
  raw.write(written((writer) => encodeHello(writer, hello)));
  const response = decodeResponse((await next())!);
  expect(response).toMatchObject({ kind: "error", error: "WRONG_CLUSTER" });
  expect(response.kind === "error" && response.message).toContain(part);
  await raw.end();
});

test.each([
  [
    "a request before the hello",
    written((writer) => encodeRequest(writer, { kind: "ping" }, 1, FLAG_FORWARDED)),
    "before the hello",
  ],
  ["an oversized hello", Uint8Array.of(0, 2, 0, 0), "131072"],
  ["a corrupt hello", written((writer) => encodeHello(writer, helloOf(B))).fill(0, 12, 20), "checksum"],
])("%s ends the connection with a reason", async (_what, bytes, part) => {
  const node = await lonely();
  const { raw, next } = await dial(node);
  raw.write(bytes);
  const response = decodeResponse((await next())!);
  expect(response.kind === "error" && response.message).toContain(part);
  await raw.end();
  expect(node.log.lines.join("\n")).toContain(part);
});

test("a hello that comes ever so slowly is no sign of life", async () => {
  const node = await lonely();
  const { raw } = await dial(node);
  const hello = written((writer) => encodeHello(writer, helloOf(B)));
  let sent = 0;
  await eventually(() => {
    if (sent < hello.length - 1) raw.write(hello.subarray(sent, ++sent));
    node.clock.push(500);
    return node.server.connections === 0;
  });
  expect(sent).toBeLessThan(hello.length - 1);
  await raw.end();
});

test.each([
  [
    "a malformed bundle",
    written((writer) => {
      const mark = beginBundle(writer);
      writer.uint(3);
      endBundle(writer, mark);
    }),
    "malformed body",
  ],
  [
    "a request that is not marked as forwarded",
    written((writer) => encodeRequest(writer, { kind: "ping" }, 1)),
    "not marked",
  ],
  ["a length beyond the limit", Uint8Array.of(0xff, 0xff, 0xff, 0xff), "4294967295"],
])("%s from an admitted peer ends its connection, never the node", async (_what, bytes, part) => {
  const node = await lonely();
  const { raw, next } = await dial(node);
  raw.write(written((writer) => encodeHello(writer, helloOf(B))));
  expect(decodeHello((await next())!).node).toBe(A);
  raw.write(bytes);
  const response = decodeResponse((await next())!);
  expect(response.kind === "error" && response.message).toContain(part);
  await raw.end();
  expect(node.log.lines.join("\n")).toContain(part);
  const again = await dial(node);
  again.raw.write(written((writer) => encodeHello(writer, helloOf(B))));
  expect(decodeHello((await again.next())!).node).toBe(A);
  again.raw.write(written((writer) => encodePeerSignal(writer, "ping", 8)));
  expect(await again.next()).toMatchObject({ type: PEER_TYPES.pong, requestId: 8 });
});

test("a forwarded request that does not decode is answered, and the connection lives", async () => {
  const node = await lonely();
  const { raw, next } = await dial(node);
  raw.write(written((writer) => encodeHello(writer, helloOf(B))));
  await next();
  const bad = written((writer) => encodeRequest(writer, get("k"), 5, FLAG_FORWARDED));
  // Another body under a good checksum.
  bad[10] = 0xff;
  new DataView(bad.buffer).setUint32(bad.length - 4, Bun.hash.crc32(bad.subarray(4, bad.length - 4)));
  raw.write(bad);
  const frame = (await next())!;
  expect(frame.requestId).toBe(5);
  expect(decodeResponse(frame)).toMatchObject({ kind: "error", error: "BAD_REQUEST" });
  raw.write(written((writer) => encodePeerSignal(writer, "ping", 9)));
  expect(await next()).toMatchObject({ type: PEER_TYPES.pong, requestId: 9 });
});

test("a peer that dials again replaces its old connection; one that is silent is cut", async () => {
  const node = await lonely({ peerPingMs: 20, peerSilentMsMax: 5_000 });
  const first = await dial(node);
  first.raw.write(written((writer) => encodeHello(writer, helloOf(B))));
  await first.next();
  const second = await dial(node);
  second.raw.write(written((writer) => encodeHello(writer, helloOf(B))));
  await second.next();
  await first.raw.end();
  expect(node.peers.status()[0]!.lastHeardMs).toBeLessThan(2_000);
  node.clock.push(10_000);
  await second.raw.end();
  await eventually(() => node.server.connections === 0);
});

async function freePort(): Promise<number> {
  const listener = await bunTransport().listen("127.0.0.1", 0, {
    opened: (connection) => connection.destroy(),
    received() {},
    closed() {},
  });
  listener.close();
  return listener.port;
}
