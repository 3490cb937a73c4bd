import { expect, test } from "bun:test";
import { nodeId } from "../../protocol/ids.ts";
import type { NodeStatus, ShardStatus } from "../../protocol/messages.ts";
import type { HeldSet } from "../placement/plan.ts";
import { NO_FACTS } from "../shard/system-facts.ts";
import { clusterStatus, membersShown } from "./cluster-status.ts";

const members = ["n1", "n2", "n3"].map((id) => ({
  ...{ id: nodeId(id), address: `${id}:7001`, load: undefined, standing: "member" as const },
  state: id === "n3" ? ("suspect" as const) : ("alive" as const),
}));

const NOTHING = { underWay: 0, toCome: 0, bytes: 0, seconds: 0 };

/** All hold every shard, and shall. */
function sets(shards: number): HeldSet[] {
  const voters = members.map(({ id }) => id);
  return Array.from({ length: shards }, () => ({
    wanted: voters,
    copies: [],
    actual: { voters, outgoing: [], learners: [] },
  }));
}

function shardView(
  role: ShardStatus["role"],
  term: number,
  replicas: [string, number, boolean][] = [],
): ShardStatus {
  return {
    shard: 0,
    role,
    leader: null,
    term,
    lastIndex: 10,
    commitIndex: 9,
    appliedIndex: 8,
    voters: members.map(({ id }) => id),
    outgoing: [],
    learners: [],
    replicas: replicas.map(([node, matchIndex, active]) => ({ node: nodeId(node), matchIndex, active })),
  };
}

function node(id: string, shard: ShardStatus, heardMs: Record<string, number> = {}): NodeStatus {
  return {
    id: nodeId(id),
    address: `${id}:7001`,
    version: "0",
    clusterId: "c",
    uptimeMs: 1,
    readOnly: false,
    peers: Object.entries(heardMs).map(([peer, lastHeardMs]) => ({
      id: nodeId(peer),
      ...{ address: "", state: "alive" },
      connected: false,
      lastHeardMs,
    })),
    shards: [{ ...shard, shard: -1 }, shard],
    requests: {
      ...{ reads: 0, writes: 0, errors: 0, redirected: 0, connections: 0, perSecond: 0 },
      ...{ readMs: null, writeMs: null },
    },
    storage: {
      memtableBytes: 0,
      tables: 0,
      tableBytes: 0,
      cacheHitRate: null,
      logBytes: 0,
      compactions: 0,
      syncMs: null,
      slowDisk: false,
      slowDiskSpells: 0,
    },
    memory: { residentBytes: 0, heapBytes: 0 },
    queues: [],
  };
}

test("a leader that reaches a majority serves; lag is measured in entries", () => {
  const leader = shardView("leader", 3, [
    ["n2", 10, true],
    ["n3", 4, false],
  ]);
  const statuses = [
    node("n1", leader, { n3: 1500 }),
    node("n2", shardView("follower", 3), { n3: 900 }),
    undefined,
  ];
  const status = clusterStatus(
    members,
    statuses,
    [undefined, undefined, "connection refused"],
    sets(1),
    NOTHING,
  );
  expect(status.available).toBe(1);
  expect(status.shards[0]).toMatchObject({ leader: nodeId("n1"), term: 3 });
  expect(status.shards[0]!.lag.map((row) => row.entries)).toEqual([0, 0, 6]);
  expect(status.nodes[2]).toMatchObject({ state: "suspect", lastSeenMs: 900, error: "connection refused" });
});

test("a leader that reaches no majority is no leader, whatever it says of itself", () => {
  const alone = shardView("leader", 3, [
    ["n2", 10, false],
    ["n3", 10, false],
  ]);
  const status = clusterStatus(members, [node("n1", alone), undefined, undefined], [], sets(1), NOTHING);
  expect(status.available).toBe(0);
  expect(status.shards[0]!.leader).toBeNull();
});

test("of two that say they lead, the one of the higher term is believed", () => {
  const replicas: [string, number, boolean][] = [
    ["n3", 10, true],
    ["n2", 10, true],
  ];
  const statuses = [
    node("n1", shardView("leader", 3, replicas)),
    node("n2", shardView("leader", 4, replicas)),
    undefined,
  ];
  expect(clusterStatus(members, statuses, [], sets(1), NOTHING).shards[0]!.leader).toBe(nodeId("n2"));
});

test("what a member lacks is not known while its leader has not heard of it", () => {
  const leader = shardView("leader", 3, [
    ["n2", 0, true],
    ["n3", 0, false],
  ]);
  const status = clusterStatus(members, [node("n1", leader), undefined, undefined], [], sets(1), NOTHING);
  expect(status.shards[0]!.lag.map((row) => row.entries)).toEqual([0, 10, null]);
});

test("a shard is told of by those that hold it, and one of whose holders nobody answers is not available", () => {
  const held = { ...shardView("leader", 3, [["n2", 10, true]]), voters: [nodeId("n1"), nodeId("n2")] };
  const status = clusterStatus(
    members,
    [node("n1", held), undefined, node("n3", { ...held, shard: 5 })],
    [],
    sets(2),
    NOTHING,
  );
  expect(status.available).toBe(0.5);
  expect(status.shards[0]!.lag.map((row) => row.node)).toEqual(["n1", "n2"].map(nodeId));
  expect(status.shards[1]).toEqual({
    ...{ shard: 1, leader: null, term: 0 },
    ...{ commitIndex: 0, appliedIndex: 0, lag: [], copies: [] },
  });
});

test("who was removed is shown until nobody counts on it any more", () => {
  const known = members.map((member) => ({ ...member, state: "member" as const }));
  const stranger = { id: nodeId("n9"), address: "n9:7001", state: "member" as const };
  const shown = (n3Holds: boolean): string[] => {
    const voters = members.slice(0, n3Holds ? 3 : 2).map(({ id }) => id);
    const set = {
      version: 1,
      first: [],
      wanted: voters.slice(0, 2),
      copies: [],
      promoted: [],
      actual: { voters, outgoing: [], learners: [] },
    };
    const facts = {
      ...NO_FACTS,
      nodes: { n3: { address: "n3:7001", labels: {}, state: "removed" as const, successor: "" as const } },
      shards: [{ ...set, actual: { ...set.actual, term: 1, index: 1 } }],
    };
    return membersShown({ facts, nodes: known.slice(0, 2), connected: [...known, stranger] }).map(
      ({ id }) => id,
    );
  };
  expect(shown(true)).toEqual(["n1", "n2", "n3"]);
  expect(shown(false)).toEqual(["n1", "n2"]);
});
