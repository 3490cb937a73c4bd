/** The contract is true: every example, type, error, limit and slot of README.md is compared with the code. */
import { describe, expect, test } from "bun:test";
import { utf8 } from "../src/lib/bytes.ts";
import {
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
  REQUEST_TYPES,
  RESPONSE_TYPES,
} from "./client.ts";
import { ERRORS } from "./errors.ts";
import type { Frame } from "./frame.ts";
import { decodeGossip, encodeGossip } from "./gossip.ts";
import type { GossipMessage } from "./gossip-messages.ts";
import { groupId, keyspaceId, logIndex, nodeId, shardId, term } from "./ids.ts";
import * as limits from "./limits.ts";
import {
  ANY_DEADLINE,
  ASK_TOPOLOGY,
  type ClientRequest,
  type ClientResponse,
  NO_SESSION,
} from "./messages.ts";
import {
  appendMessage,
  beginBundle,
  decodeBundle,
  decodeHello,
  decodeReports,
  encodeHello,
  encodePeerSignal,
  encodeReports,
  endBundle,
  PEER_TYPES,
} from "./peer.ts";
import type { GroupMessage } from "./peer-messages.ts";
import { encodePreamble, encodePreambleReply, parsePreamble, parsePreambleReply } from "./preamble.ts";
import { slotOf } from "./slots.ts";
import { frameOf, written } from "./test-frames.ts";

const README = await Bun.file(new URL("README.md", import.meta.url)).text();

/** Title and bytes of each example. On a line, what follows two blanks is a remark. */
const examples = new Map(
  [...README.matchAll(/^```hex\n# (.*)\n([^`]*)```$/gm)].map(([, title, lines]) => [
    title!,
    lines!
      .split("\n")
      .map((line) => line.split("  ")[0])
      .join("")
      .replaceAll(" ", ""),
  ]),
);

/** The cells of the rows below the header that begins with these cells. */
function table(...header: string[]): string[][] {
  const rows = README.split("\n").map((line) => (line.startsWith("|") ? cells(line) : []));
  const start = rows.findIndex((row) => header.every((cell, i) => row[i] === cell));
  expect(start).toBeGreaterThan(0);
  // Below the header comes the rule, and the table ends with the first line that is no row.
  const end = rows.findIndex((row, i) => i > start && row.length === 0);
  return rows.slice(start + 2, end);
}

const cells = (line: string) =>
  line
    .split("|")
    .slice(1, -1)
    .map((cell) => cell.trim());

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

const frameOfHex = (text: string): Frame => frameOf(new Uint8Array(Buffer.from(text, "hex")));

const N1 = nodeId("n1");
const N2 = nodeId("n2");
const ID = 7;

const requests: Record<string, ClientRequest> = {
  'put "color" = "blue"': {
    kind: "put",
    stamp: NO_SESSION,
    key: utf8("color"),
    value: utf8("blue"),
    condition: "always",
  },
  'put "k" = "v" if absent, as write 300 of session 7, with answers below 298 received': {
    kind: "put",
    stamp: { session: 7, sequence: 300, acknowledgedBelow: 298 },
    key: utf8("k"),
    value: utf8("v"),
    condition: "ifAbsent",
  },
  'putWith "k" = "v" if absent, gone in 10 seconds, answering with what was there': {
    kind: "putWith",
    stamp: NO_SESSION,
    key: utf8("k"),
    value: utf8("v"),
    condition: "ifAbsent",
    expiry: "after",
    expiryMs: 10_000,
    answersOld: true,
  },
  'expire "k" at the end of 2026, if that is earlier': {
    kind: "expire",
    stamp: NO_SESSION,
    key: utf8("k"),
    expiry: "at",
    expiryMs: Date.UTC(2027, 0),
    condition: { ...ANY_DEADLINE, ifEarlier: true },
    answersOld: false,
  },
  'delete "color"': { kind: "delete", stamp: NO_SESSION, key: utf8("color") },
  'increment "hits" by -1': { kind: "increment", stamp: NO_SESSION, key: utf8("hits"), delta: -1n },
  'compareAndSet "k" from "a" to none': {
    kind: "compareAndSet",
    stamp: NO_SESSION,
    key: utf8("k"),
    expected: utf8("a"),
    value: undefined,
  },
  "batch of a=1, b=2": {
    kind: "batch",
    stamp: NO_SESSION,
    entries: [
      { key: utf8("a"), value: utf8("1") },
      { key: utf8("b"), value: utf8("2") },
    ],
  },
  "openSession on shard 3": { kind: "openSession", shard: shardId(3) },
  'get "color", linearizable': { kind: "get", key: utf8("color"), consistency: "linearizable" },
  'get "color" of keyspace 3': {
    kind: "get",
    key: utf8("color"),
    consistency: "linearizable",
    keyspace: keyspaceId(3),
  },
  "createKeyspace orders": {
    kind: "createKeyspace",
    name: "orders",
    mode: "raft",
    token: 5,
    forwarded: false,
  },
  "dropKeyspace 3": { kind: "dropKeyspace", id: keyspaceId(3), forwarded: false },
  listKeyspaces: { kind: "listKeyspaces", consistency: "linearizable", forwarded: false },
  'explain "color", linearizable': { kind: "explain", key: utf8("color"), consistency: "linearizable" },
  'exists "color", stale': { kind: "exists", key: utf8("color"), consistency: "stale" },
  'ttl of "color": how long is left': {
    kind: "ttl",
    key: utf8("color"),
    form: "left",
    consistency: "linearizable",
  },
  'scan from "user:" to "user;", 100 entries': {
    kind: "scan",
    start: utf8("user:"),
    end: utf8("user;"),
    limit: 100,
    keysOnly: false,
    consistency: "linearizable",
    shard: undefined,
  },
  "openSnapshot of shard 3 for 30 s": {
    kind: "openSnapshot",
    shard: shardId(3),
    leaseMs: 30_000,
    consistency: "linearizable",
  },
  "closeSnapshot 9": { kind: "closeSnapshot", snapshot: 9 },
  ping: { kind: "ping" },
  topology: ASK_TOPOLOGY,
  "topology, if it is not the one of view 7, and its changes from now on": {
    kind: "topology",
    known: 7,
    subscribe: true,
  },
  "status of the cluster": { kind: "status", scope: "cluster" },
  "changeMember: replace n2 with n4": {
    kind: "changeMember",
    action: "replace",
    node: N2,
    successor: nodeId("n4"),
    forwarded: false,
  },
  "changeReplica: n4 gets a vote in shard 3": {
    kind: "changeReplica",
    action: "promote",
    node: nodeId("n4"),
    shard: shardId(3),
    forwarded: false,
  },
  "join of n4, in zone a": {
    kind: "join",
    node: nodeId("n4"),
    incarnation: "5eed",
    address: "10.0.0.4:7001",
    labels: { zone: "a" },
    forwarded: false,
  },
  "rebalance: what would be done": { kind: "rebalance", dryRun: true, forwarded: false },
  "transferLeader of shard 3 to n2": {
    kind: "transferLeader",
    to: N2,
    shard: shardId(3),
    forwarded: false,
  },
  "groupLog of the system group, 10 entries": { kind: "groupLog", shard: undefined, limit: 10 },
};

const responses: Record<string, ClientResponse> = {
  'value "blue"': { kind: "value", value: utf8("blue"), ageMs: 0 },
  "value: no such key, from a replica that was current 12 ms ago": {
    kind: "value",
    value: undefined,
    ageMs: 12,
  },
  "boolean true": { kind: "boolean", value: true },
  "integer -1": { kind: "integer", value: -1n },
  "entries a=1, and more": { kind: "entries", entries: [{ key: utf8("a"), value: utf8("1") }], more: true },
  pong: { kind: "pong" },
  "topology of one node and one shard": {
    kind: "topology",
    topology: {
      version: 4,
      view: 7,
      clusterId: "c1",
      nodes: [{ id: N1, address: "10.0.0.1:7001", labels: { zone: "x" }, standing: "member", isUp: true }],
      shards: [{ leader: N1, term: 2, replicas: [N1], copies: [] }],
    },
  },
  unchanged: { kind: "unchanged" },
  "snapshot 9 at n1": { kind: "snapshot", snapshot: 9, node: N1, address: "10.0.0.1:7001" },
  "keyspaces: orders": {
    kind: "keyspaces",
    keyspaces: [{ id: keyspaceId(3), name: "orders", mode: "raft" }],
  },
  "error NOT_LEADER, with a hint": {
    kind: "error",
    error: "NOT_LEADER",
    message: "n2 leads shard 3",
    leader: { node: N2, address: "10.0.0.2:7001" },
  },
};

const settings = { shards: 4, replicas: 3, virtualNodes: 150 };
const hello = {
  ...{ node: N1, clusterId: "", incarnation: "5eed", members: [N1, N2], settings },
  ...{ address: "10.0.0.1:7001", labels: {}, leaseMs: 0, promiseMs: 0 },
};
const reports = [{ shard: 2, term: 5, index: 40, voters: [N1, N2], outgoing: [], learners: [] }];
const bundle: [number, GroupMessage][] = [
  [
    0,
    { kind: "heartbeat", from: N1, to: N2, term: term(2), commit: logIndex(9), readRound: 1, quiesce: false },
  ],
  [
    3,
    {
      kind: "append",
      from: N1,
      to: N2,
      term: term(2),
      prevIndex: logIndex(41),
      prevTerm: term(1),
      commit: logIndex(41),
      entries: [{ index: logIndex(42), term: term(2), kind: "noop", data: new Uint8Array(0) }],
    },
  ],
];

const between = { from: N1, to: N2 };
const N3 = nodeId("n3");
const gossip: Record<string, GossipMessage> = {
  "gossip: ping 7, n3 is suspected": {
    ...{ kind: "ping", ...between, incarnation: 0, sequence: 7 },
    members: [{ node: N3, state: "suspect", incarnation: 2, suspectedBy: [N1, N2] }],
    ...{ loads: [], leaders: [] },
  },
  "gossip: pingRequest 300 about n3": {
    ...{ kind: "pingRequest", ...between, incarnation: 2, sequence: 300, target: N3 },
    ...{ members: [], loads: [], leaders: [] },
  },
  "gossip: sync with a load and a leader": {
    ...{ kind: "sync", ...between, incarnation: 1, ask: true, members: [] },
    loads: [
      {
        ...{ node: N1, incarnation: 1, version: 9 },
        load: {
          ...{ shards: 8, leaders: 3, dataBytes: 1_048_576, requestsPerSecond: 100 },
          ...{ disk: "ok", startedAtMs: 1_700_000_000_000, version: "0.1.0" },
        },
      },
    ],
    leaders: [{ shard: shardId(5), term: term(12), leader: N2 }],
  },
};

const others: Record<string, Uint8Array> = {
  "client preamble": encodePreamble("client"),
  "peer preamble": encodePreamble("peer"),
  "preamble accepted": encodePreambleReply(undefined, 1),
  "preamble refused": encodePreambleReply("UNSUPPORTED_VERSION", 0, "this node speaks only version 1."),
  "hello of n1": written((writer) => encodeHello(writer, hello)),
  "raft: group 0 heartbeat, and group 3 append of one entry": written((writer) => {
    const mark = beginBundle(writer);
    for (const [group, message] of bundle) appendMessage(writer, groupId(group), message);
    endBundle(writer, mark);
  }),
  "report: shard 2 has n1 and n2": written((writer) => encodeReports(writer, reports)),
  "peer ping": written((writer) => encodePeerSignal(writer, "ping", 0)),
};

describe("examples", () => {
  for (const [title, request] of Object.entries(requests)) {
    test(title, () => {
      expect(hex(written((writer) => encodeRequest(writer, request, ID)))).toBe(examples.get(title)!);
      expect(decodeRequest(frameOfHex(examples.get(title)!))).toEqual(request);
    });
  }
  for (const [title, response] of Object.entries(responses)) {
    test(title, () => {
      expect(hex(written((writer) => encodeResponse(writer, response, ID)))).toBe(examples.get(title)!);
      expect(decodeResponse(frameOfHex(examples.get(title)!))).toEqual(response);
    });
  }
  for (const [title, message] of Object.entries(gossip)) {
    test(title, () => {
      expect(hex(written((writer) => encodeGossip(writer, message)))).toBe(examples.get(title)!);
      expect(decodeGossip(frameOfHex(examples.get(title)!), N1, N2)).toEqual(message);
    });
  }
  for (const [title, bytes] of Object.entries(others)) {
    test(title, () => expect(hex(bytes)).toBe(examples.get(title)!));
  }

  test("of preambles, hello and bundle are read, too", () => {
    const bytes = (title: string) => new Uint8Array(Buffer.from(examples.get(title)!, "hex"));
    expect(parsePreamble(bytes("client preamble"), 0)).toMatchObject({ role: "client", low: 1, high: 1 });
    expect(parsePreamble(bytes("peer preamble"), 0)).toMatchObject({ role: "peer" });
    expect(parsePreambleReply(bytes("preamble accepted"), 0)).toMatchObject({ error: undefined, version: 1 });
    expect(parsePreambleReply(bytes("preamble refused"), 0)).toMatchObject({ error: "UNSUPPORTED_VERSION" });
    expect(decodeHello(frameOfHex(examples.get("hello of n1")!))).toEqual(hello);
    expect(decodeReports(frameOfHex(examples.get("report: shard 2 has n1 and n2")!))).toEqual(reports);
    const read: [number, GroupMessage][] = [];
    const frame = frameOfHex(examples.get("raft: group 0 heartbeat, and group 3 append of one entry")!);
    decodeBundle(frame, N1, N2, (group, message) => read.push([group, message]));
    expect(read).toEqual(bundle);
  });

  test("are all known here, and every array body has one", () => {
    expect([...examples.keys()].sort()).toEqual(
      [requests, responses, gossip, others].flatMap((known) => Object.keys(known)).sort(),
    );
    const shown = new Set([...Object.values(requests), ...Object.values(responses)].map(({ kind }) => kind));
    const maps = ["nodeStatus", "clusterStatus", "groupLog", "explanation", "joined", "placement"];
    const all = [...Object.keys(REQUEST_TYPES), ...Object.keys(RESPONSE_TYPES)];
    expect(all.filter((kind) => !shown.has(kind as never) && !maps.includes(kind))).toEqual([]);
  });
});

describe("tables", () => {
  const numbered = (rows: string[][]) =>
    Object.fromEntries(rows.map(([number, name]) => [name!, Number(number)]));

  test("types", () => {
    expect(numbered(table("type", "request"))).toEqual({ ...REQUEST_TYPES });
    expect(numbered(table("type", "answer"))).toEqual({ ...RESPONSE_TYPES });
    expect(numbered(table("type", "frame"))).toEqual({ ...PEER_TYPES });
  });

  test("kinds of Raft messages", () => {
    const anyMessage = {
      from: N1,
      to: N2,
      term: term(1),
      preVote: false,
      lastIndex: logIndex(0),
      lastTerm: term(0),
      transfer: false,
      granted: false,
      prevIndex: logIndex(0),
      prevTerm: term(0),
      commit: logIndex(0),
      entries: [],
      accepted: false,
      index: logIndex(0),
      hintIndex: logIndex(0),
      hintTerm: term(0),
      readRound: 0,
      quiesce: false,
      stream: 0,
      part: 0,
      last: false,
      digest: 0,
      data: new Uint8Array(0),
      next: 0,
      refused: false,
    };
    for (const [number, kind] of table("kind", "message")) {
      const bytes = written((writer) =>
        appendMessage(writer, groupId(0), { ...anyMessage, kind } as GroupMessage),
      );
      expect(`${kind} ${bytes[2]}`).toBe(`${kind} ${number}`);
    }
    expect(table("kind", "message")).toHaveLength(9);
  });

  test("kinds of gossip messages", () => {
    const anyMessage = {
      ...{ ...between, incarnation: 0, sequence: 0, target: N3, ask: false },
      ...{ members: [], loads: [], leaders: [] },
    };
    for (const [number, kind] of table("kind", "gossip")) {
      const bytes = written((writer) => encodeGossip(writer, { ...anyMessage, kind } as GossipMessage));
      expect(`${kind} ${frameOf(bytes).body[1]}`).toBe(`${kind} ${number}`);
    }
    expect(table("kind", "gossip")).toHaveLength(5);
  });

  test("errors", () => {
    const stated = table("number", "name").map(([code, name, retryable, outcome]) => [
      name,
      { code: Number(code), retryable: retryable === "yes", outcome },
    ]);
    expect(Object.fromEntries(stated)).toEqual(ERRORS);
  });

  test("limits", () => {
    const stated = table("limit", "value").map(([name, value]) => [name, Number(value)]);
    expect(Object.fromEntries(stated)).toEqual({ ...limits });
  });

  test("slots", () => {
    const rows = table("key", "slot");
    expect(rows.length).toBeGreaterThan(3);
    for (const [key, slot] of rows) expect(slotOf(utf8(key!.slice(1, -1)))).toBe(Number(slot));
  });
});
