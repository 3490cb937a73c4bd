import { describe, expect, test } from "bun:test";
import { nodeId } from "../../protocol/ids.ts";
import type { ClusterStatus, NodeStatus, Topology } from "../../protocol/messages.ts";
import { topologyNode } from "../../test/support/topology-node.ts";
import { nodeStatusReply, statusReply, topologyReply } from "./status-view.ts";

const PLAIN = { tables: true, colors: false };
const [n1, n2, n3] = [nodeId("n1"), nodeId("n2"), nodeId("n3")] as const;

const nodeStatus: NodeStatus = {
  id: n1,
  address: "127.0.0.1:7001",
  version: "0.1.0",
  clusterId: "c0ffee",
  uptimeMs: 3_725_000,
  readOnly: false,
  peers: [
    { id: n2, address: "127.0.0.1:7002", state: "alive", connected: true, lastHeardMs: 12.4 },
    { id: n3, address: "127.0.0.1:7003", state: "dead", connected: false, lastHeardMs: null },
  ],
  shards: [
    {
      shard: -1,
      role: "follower",
      leader: null,
      term: 3,
      lastIndex: 9,
      commitIndex: 9,
      appliedIndex: 9,
      voters: [],
      outgoing: [],
      learners: [],
      replicas: [],
    },
    {
      shard: 0,
      role: "leader",
      leader: n1,
      term: 2,
      lastIndex: 120,
      commitIndex: 118,
      appliedIndex: 117,
      voters: [],
      outgoing: [],
      learners: [],
      replicas: [
        { node: n2, matchIndex: 118, active: true },
        { node: n3, matchIndex: 4, active: false },
      ],
    },
  ],
  requests: {
    reads: 10,
    writes: 20,
    errors: 1,
    redirected: 2,
    connections: 3,
    perSecond: 1234.4,
    readMs: { p50: 0.21, p99: 1.5, max: 4 },
    writeMs: null,
  },
  storage: {
    memtableBytes: 1536,
    tables: 4,
    tableBytes: 3 * 1024 * 1024,
    cacheHitRate: 0.9876,
    logBytes: 500,
    compactions: 2,
    syncMs: { p50: 0.8, p99: 12, max: 30 },
    slowDisk: true,
    slowDiskSpells: 2,
  },
  memory: { residentBytes: 120 * 1024 * 1024, heapBytes: 30 * 1024 * 1024 },
  queues: [
    { name: "unsyncedLog", unit: "bytes", used: 3 * 1024 * 1024, max: 64 * 1024 * 1024 },
    { name: "waitingReads", unit: "requests", used: 0, max: 65_536 },
    { name: "waitingWrites", unit: "requests", used: 12, max: 65_536 },
  ],
};

const clusterStatus: ClusterStatus = {
  clusterId: "c0ffee",
  nodes: [
    {
      ...{
        id: n1,
        address: "127.0.0.1:7001",
        state: "alive",
        standing: "draining",
        lastSeenMs: 0,
        load: null,
      },
      ...{ status: nodeStatus, error: null },
    },
    {
      id: n3,
      address: "127.0.0.1:7003",
      state: "dead",
      standing: "member",
      lastSeenMs: null,
      load: {
        ...{ shards: 2, leaders: 1, dataBytes: 1000, requestsPerSecond: 10, disk: "ok" },
        ...{ startedAtMs: 1_700_000_000_000, version: "0.0.9" },
      },
      status: null,
      error: "no answer in 1000 ms",
    },
  ],
  shards: [
    {
      shard: 0,
      leader: n1,
      term: 2,
      commitIndex: 118,
      appliedIndex: 117,
      lag: [
        { node: n1, entries: 0 },
        { node: n3, entries: null },
      ],
      copies: [n3],
    },
    { shard: 1, leader: null, term: 7, commitIndex: 0, appliedIndex: 0, lag: [], copies: [] },
  ],
  moves: [
    { shard: 1, joining: [n3], leaving: [n1], entriesBehind: 1200, bytes: 4096 },
    { shard: 0, joining: [], leaving: [n2], entriesBehind: null, bytes: 0 },
  ],
  outlook: { underWay: 2, toCome: 5, bytes: 24_576, seconds: 6.2 },
  available: 0.99996,
};

describe("status", () => {
  test("shows nodes, shards and what is available, rounded down", () => {
    expect(`\n${statusReply(clusterStatus).text(PLAIN)}\n`).toMatchInlineSnapshot(`
      "
      cluster c0ffee: 1 of 2 nodes alive, 1 of 2 shards led, 99.9% available, 2 shards are moving

      ┌──────┬────────────────┬──────────┬───────────┬───────────┬─────────┬───────┬───────┬─────────────┬──────────────────────────┐
      │ node │ address        │ state    │ last seen │    up for │ version │ holds │ leads │ of the keys │ note                     │
      ├──────┼────────────────┼──────────┼───────────┼───────────┼─────────┼───────┼───────┼─────────────┼──────────────────────────┤
      │ n1   │ 127.0.0.1:7001 │ draining │ now       │ 1 h 2 min │ 0.1.0   │     1 │     1 │         50% │ slow disk: does not lead │
      │ n3   │ 127.0.0.1:7003 │ dead     │ never     │         - │ 0.0.9   │     2 │     0 │        100% │ no answer in 1000 ms     │
      └──────┴────────────────┴──────────┴───────────┴───────────┴─────────┴───────┴───────┴─────────────┴──────────────────────────┘

      ┌──────┬────────────┬────────────────┬───────────────┬────────────┬─────────┬───────┬───────────┐
      │ node │ requests/s │   read p50/p99 │ write p50/p99 │ cache hits │    data │   log │    memory │
      ├──────┼────────────┼────────────────┼───────────────┼────────────┼─────────┼───────┼───────────┤
      │ n1   │       1234 │ 0.21 / 1.50 ms │             - │      98.7% │ 3.0 MiB │ 500 B │ 120.0 MiB │
      └──────┴────────────┴────────────────┴───────────────┴────────────┴─────────┴───────┴───────────┘

      ┌──────────────┬──────────┬────────┬────────────────┬─────────┐
      │ moving shard │ comes to │ leaves │ entries behind │   about │
      ├──────────────┼──────────┼────────┼────────────────┼─────────┤
      │            1 │ n3       │ n1     │           1200 │ 4.0 KiB │
      │            0 │          │ n2     │              - │     0 B │
      └──────────────┴──────────┴────────┴────────────────┴─────────┘
      moves: 2 under way, 5 to come; about 24.0 KiB in 6.2 s

      ┌───────┬────────┬──────┬────────┬─────────┬──────────────────────┐
      │ shard │ leader │ term │ commit │ applied │ entries behind       │
      ├───────┼────────┼──────┼────────┼─────────┼──────────────────────┤
      │     0 │ n1     │    2 │    118 │     117 │ n1 0, n3 ? (no vote) │
      │     1 │ none   │    7 │      0 │       0 │                      │
      └───────┴────────┴──────┴────────┴─────────┴──────────────────────┘
      "
    `);
  });

  test("is not ok as long as a shard has no leader", () => {
    expect(statusReply(clusterStatus).ok).toBe(false);
    const outlook = { underWay: 0, toCome: 0, bytes: 0, seconds: 0 };
    const shards = clusterStatus.shards.slice(0, 1);
    const led = { ...clusterStatus, shards, moves: [], outlook, available: 1 };
    expect(statusReply(led).ok).toBe(true);
    expect(statusReply(led).text(PLAIN)).toContain("1 of 2 nodes alive, 1 of 1 shards led, 100% available\n");
    expect(statusReply(led).text(PLAIN)).not.toContain("moves:");
  });

  test("a node that is dead and shall go is both, and one that was removed is not missed", () => {
    const [first, second] = clusterStatus.nodes;
    const nodes = [
      { ...first!, standing: "removed" as const },
      { ...second!, standing: "draining" as const },
    ];
    const text = statusReply({ ...clusterStatus, nodes }).text(PLAIN);
    expect(text).toContain("0 of 1 nodes alive");
    expect(text).toContain("│ removed ");
    expect(text).toContain("│ dead, draining ");
    expect(text).not.toContain("holds nothing");
    const shards = nodeStatus.shards.filter(({ shard }) => shard < 0);
    const storage = { ...nodeStatus.storage, slowDisk: false };
    const empty = { ...first!, standing: "draining" as const, status: { ...nodeStatus, shards, storage } };
    const drained = statusReply({ ...clusterStatus, nodes: [empty] }).text(PLAIN);
    expect(drained).toContain("│ holds nothing any more │");
  });

  test("is given whole to programs", () => {
    expect(JSON.parse(JSON.stringify(statusReply(clusterStatus).json()))).toEqual(clusterStatus as never);
  });
});

test("info shows one node in full", () => {
  expect(`\n${nodeStatusReply(nodeStatus).text(PLAIN)}\n`).toMatchInlineSnapshot(`
    "
    node      n1 at 127.0.0.1:7001, version 0.1.0
    cluster   c0ffee
    up for    1 h 2 min
    serves    reads and writes
    requests  10 reads, 20 writes, 1 errors, 2 redirected; 1234 a second on 3 connections
    latency   reads p50 0.21, p99 1.50, max 4.00 ms; writes -
    storage   4 tables of 3.0 MiB, memtable 1.5 KiB, log 500 B, 2 compactions, cache hits 98.7%
    disk      log syncs p50 0.80, p99 12.00, max 30.00 ms; slow now: it does not lead, 2 times slow
    memory    120.0 MiB resident, 30.0 MiB heap
    queues    unsynced log 3.0 MiB of 64.0 MiB, waiting writes 12 of 65536

    ┌──────┬────────────────┬───────┬───────────┬────────────┐
    │ peer │ address        │ state │ connected │ last heard │
    ├──────┼────────────────┼───────┼───────────┼────────────┤
    │ n2   │ 127.0.0.1:7002 │ alive │ yes       │ 12 ms ago  │
    │ n3   │ 127.0.0.1:7003 │ dead  │ no        │ never      │
    └──────┴────────────────┴───────┴───────────┴────────────┘

    ┌────────┬──────────┬────────┬──────┬──────┬────────┬─────────┬───────────────────────┐
    │  shard │ role     │ leader │ term │ last │ commit │ applied │ replicas              │
    ├────────┼──────────┼────────┼──────┼──────┼────────┼─────────┼───────────────────────┤
    │ system │ follower │ none   │    3 │    9 │      9 │       9 │                       │
    │      0 │ leader   │ n1     │    2 │  120 │    118 │     117 │ n2 118, n3 4 (silent) │
    └────────┴──────────┴────────┴──────┴──────┴────────┴─────────┴───────────────────────┘
    "
  `);
});

test("topology shows who leads what, in runs, and what nobody leads", () => {
  const topology: Topology = {
    version: 3,
    view: 7,
    clusterId: "c0ffee",
    nodes: [
      topologyNode(n1, "127.0.0.1:7001"),
      { ...topologyNode(n2, "127.0.0.1:7002"), standing: "draining", isUp: false },
    ],
    shards: [n1, n1, n1, n2, null, n1].map((leader, i) => ({
      leader,
      term: 1,
      replicas: i === 0 ? [n1] : [n1, n2],
      copies: i === 2 ? [n2] : [],
    })),
  };
  expect(`\n${topologyReply(topology).text(PLAIN)}\n`).toMatchInlineSnapshot(`
    "
    cluster c0ffee, 6 shards

    ┌──────┬────────────────┬────────────────┬───────┬────────────────┬───────┬────────────────┐
    │ node │ address        │ state          │ holds │ without a vote │ leads │ which it leads │
    ├──────┼────────────────┼────────────────┼───────┼────────────────┼───────┼────────────────┤
    │ n1   │ 127.0.0.1:7001 │ alive          │     6 │              0 │     4 │ 0-2, 5         │
    │ n2   │ 127.0.0.1:7002 │ dead, draining │     5 │              1 │     1 │ 3              │
    └──────┴────────────────┴────────────────┴───────┴────────────────┴───────┴────────────────┘
    without a leader: 4
    "
  `);
});

test("a cluster that serves but takes no writes on a node says so in its first line", () => {
  const [first, ...others] = clusterStatus.nodes;
  const full = { ...first!, status: { ...nodeStatus, readOnly: true } };
  const text = statusReply({ ...clusterStatus, moves: [], nodes: [full, ...others] }).text(PLAIN);
  expect(text.split("\n")[0]).toEndWith("99.9% available, 1 read-only: disk full");
});
