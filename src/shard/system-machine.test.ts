import { describe, expect, test } from "bun:test";
import { CONFIGURATION_NODES_MAX } from "../../protocol/configuration.ts";
import { keyspaceId, logIndex, type NodeId, nodeId } from "../../protocol/ids.ts";
import { CommandBatch, CommandBatchReader } from "./command-batch.ts";
import { EntryBuffers } from "./entry-buffers.ts";
import {
  faultOf,
  isNamed,
  NAMES_MAX,
  NO_FACTS,
  REPLICAS_MAX,
  type SystemCommand,
  type SystemFacts,
} from "./system-facts.ts";
import { applied, encodeSystemCommand, SystemMachine } from "./system-machine.ts";

function setUp() {
  const changes: SystemFacts[] = [];
  const machine = new SystemMachine((facts) => void changes.push(facts));
  const apply = (command: SystemCommand | undefined) => {
    const batch = new CommandBatch(new EntryBuffers(1024));
    if (command !== undefined) batch.addRaw(encodeSystemCommand(command));
    const reader = new CommandBatchReader();
    reader.open(batch.take(1, logIndex(0)));
    machine.apply(reader, undefined);
  };
  return { machine, changes, apply };
}

const [n1, n2, n3, n4] = ["n1", "n2", "n3", "n4"].map(nodeId) as [
  ReturnType<typeof nodeId>,
  ReturnType<typeof nodeId>,
  ReturnType<typeof nodeId>,
  ReturnType<typeof nodeId>,
];
const fact = (address: string) => ({ address, labels: {}, state: "member", successor: "" }) as const;

const FOUND = {
  kind: "found",
  clusterId: "aa",
  settings: { shards: 2, replicas: 2, virtualNodes: 10 },
  nodes: { n1: fact("n1:1"), n2: fact("n2:1"), n3: fact("n3:1") },
  incarnations: { n1: "one" },
  sets: [
    [n2, n1],
    [n3, n1],
  ],
  systemVoters: [n1, n2, n3],
} as const satisfies SystemCommand;

const admit = (node: typeof n1, incarnation: string, address = `${node}:1`, labels = {}) =>
  ({ kind: "admit", node, incarnation, address, labels }) as const;
const state = (
  node: typeof n1,
  to: "member" | "draining" | "removed",
  successor: typeof n1 | "" = "",
): SystemCommand => ({ kind: "state", node, state: to, successor });
const report = (shard: number, index: number, voters: readonly (typeof n1)[], term = 1): SystemCommand => ({
  kind: "actual",
  reports: [{ shard, term, index, voters, outgoing: [], learners: [] }],
});

/** The facts after `commands`, of which each must have an effect. */
function after(...commands: readonly SystemCommand[]): SystemFacts {
  return commands.reduce((facts, command) => {
    expect(faultOf(facts, command)).toBeUndefined();
    const next = applied(facts, command);
    expect(next).not.toBe(facts);
    return { ...next, version: facts.version + 1 };
  }, NO_FACTS);
}

test("the first to found the cluster has the say; each change makes the version one more", () => {
  const { machine, changes, apply } = setUp();
  apply(admit(n4, "four"));
  apply(FOUND);
  apply({ ...FOUND, clusterId: "bb" });
  apply(undefined);
  expect(machine.facts).toMatchObject({ version: 1, clusterId: "aa", incarnations: { n1: "one" } });
  const actual = { term: 0, index: 0, voters: [n1, n2], outgoing: [], learners: [] };
  expect(machine.facts.shards[0]).toEqual({
    ...{ first: [n1, n2], wanted: [n2, n1], copies: [], promoted: [], version: 1, actual },
  });
  apply(admit(n4, "four"));
  apply(admit(n4, "four"));
  expect(machine.facts.version).toBe(2);
  expect(changes).toHaveLength(2);
});

test("a dump restores the facts, and says so", () => {
  const { machine, apply } = setUp();
  apply(FOUND);
  const { machine: other, changes } = setUp();
  other.restore(machine.dump());
  expect(other.facts).toEqual(machine.facts);
  expect(changes).toEqual([machine.facts]);
});

test("a name belongs to one data directory, and may move with it", () => {
  const facts = after(FOUND, admit(n4, "four"));
  expect(faultOf(facts, admit(n4, "other"))).toContain(
    "n4 is a member already, at n4:1, and came with another",
  );
  expect(faultOf(facts, admit(n1, "other"))).toContain("n1 is a member already");
  // A founder that nobody had met when the cluster was founded.
  expect(applied(facts, admit(n2, "two")).incarnations).toEqual({ n1: "one", n2: "two", n4: "four" });
  const moved = applied(facts, admit(n4, "four", "elsewhere:9", { zone: "b" }));
  expect(moved.nodes.n4).toEqual({ ...fact("elsewhere:9"), labels: { zone: "b" } });
  expect(faultOf(facts, admit(n4, "four", "n4:1", { "Not a name": "x" }))).toContain("Not a name");
  expect(faultOf(facts, admit(n4, "four", "n4:1", { zone: "a b" }))).toContain("without blanks");
  expect(faultOf(facts, admit(n4, "four", ""))).toContain("no address");
});

test("nodes drain and come back; who is removed never does", () => {
  const facts = after(FOUND, admit(n4, "four"), state(n4, "draining"), state(n4, "member"));
  expect(faultOf(facts, state(n4, "member"))).toBe("n4 is member already");
  const gone = after(FOUND, admit(n4, "four"), state(n4, "draining"), state(n4, "removed"));
  expect(faultOf(gone, state(n4, "member"))).toBe("n4 was removed already, for good");
  expect(faultOf(gone, admit(n4, "four"))).toContain("a name can't be used for another node");
  expect(faultOf(gone, state(nodeId("n9"), "removed"))).toBe("there is no node n9");
});

test("one node stays, and who takes another's place stays too", () => {
  const facts = after(FOUND, state(n1, "removed"), state(n2, "draining"));
  expect(faultOf(facts, state(n3, "draining"))).toContain("n3 is the only node that stays");
  expect(faultOf(facts, state(n3, "removed"))).toContain("n3 is the only node that stays");
  expect(faultOf(facts, state(n2, "removed", n1))).toContain("n1 can't take the place of n2");
  expect(faultOf(facts, state(n2, "removed", n2))).toContain("n2 can't take the place of n2");
  expect(applied(facts, state(n2, "removed", n3)).nodes.n2).toMatchObject({
    state: "removed",
    successor: n3,
  });
});

test("names and nodes are limited", () => {
  const nodes = Object.fromEntries(
    Array.from({ length: CONFIGURATION_NODES_MAX }, (_, i) => [`m${i}`, fact(`m${i}:1`)]),
  );
  const facts = { ...after(FOUND), nodes };
  expect(faultOf(facts, admit(n4, "four"))).toContain(`there are ${CONFIGURATION_NODES_MAX} nodes already`);
  expect(
    faultOf({ ...facts, nodes: { ...nodes, m0: { ...nodes.m0!, state: "removed" } } }, admit(n4, "4")),
  ).toBe(undefined);
  const former = Array.from({ length: NAMES_MAX }, (_, i) => [`o${i}`, { ...fact("x:1"), state: "removed" }]);
  expect(faultOf({ ...facts, nodes: Object.fromEntries(former) }, admit(n4, "four"))).toContain(
    "names were used",
  );
});

test("what is wanted of a shard changes from what was looked at only", () => {
  const facts = after(FOUND, { kind: "wanted", changes: [{ shard: 1, version: 1, wanted: [n2, n3] }] });
  expect(facts.shards.map(({ wanted, version }) => [wanted, version])).toEqual([
    [[n2, n1], 1],
    [[n2, n3], 2],
  ]);
  const late: SystemCommand = { kind: "wanted", changes: [{ shard: 1, version: 1, wanted: [n1] }] };
  expect(applied(facts, late)).toBe(facts);
  const wanted = (shard: number, list: readonly (typeof n1)[]) =>
    faultOf(facts, { kind: "wanted", changes: [{ shard, version: 1, wanted: list }] });
  expect(wanted(2, [n1])).toBe("there is no shard 2");
  expect(wanted(0, [])).toContain("0 nodes");
  expect(wanted(0, [n1, n1])).toContain("n1 is named twice");
  expect(wanted(0, [n4])).toContain("there is no node n4");
  expect(faultOf(facts, { kind: "systemVoters", voters: [n1, n2, n3, n4, n1, n2] })).toContain("6 nodes");
});

describe("copies without a vote", () => {
  const wish = (version: number, copies: readonly NodeId[], wanted: readonly NodeId[] = [n2, n1]) =>
    ({ kind: "wanted", changes: [{ shard: 0, version, wanted, copies }] }) as const;
  const vote = (version: number, wanted: readonly NodeId[]) =>
    ({ kind: "wanted", changes: [{ shard: 0, version, wanted }] }) as const;
  const FOUR = after(FOUND, admit(n4, "four"));
  /** The first shard after n4 and n3 were given copies, which makes its version 3, and after `more`. */
  const setAfter = (...more: readonly SystemCommand[]) =>
    after(FOUND, admit(n4, "four"), wish(1, [n4, n3]), ...more).shards[0]!;

  test("are wished from what was looked at only, and stay while voters change", () => {
    expect(setAfter()).toMatchObject({ wanted: [n2, n1], copies: [n4, n3], version: 3 });
    const copied = after(FOUND, admit(n4, "four"), wish(1, [n4]));
    expect(applied(copied, wish(1, []))).toBe(copied);
    expect(isNamed(copied.shards[0]!, n4)).toBe(true);
    expect(setAfter(vote(3, [n1]))).toMatchObject({ wanted: [n1], copies: [n4, n3], version: 4 });
    expect(setAfter(wish(3, [n4]))).toMatchObject({ copies: [n4], version: 4 });
  });

  test("end where the vote comes to which a node was promoted, and not before", () => {
    const promotion: SystemCommand = {
      kind: "wanted",
      changes: [{ shard: 0, version: 3, wanted: [n2, n4], copies: [n4, n3], promoted: [n4] }],
    };
    expect(setAfter(promotion)).toMatchObject({ wanted: [n2, n4], copies: [n4, n3], version: 4 });
    const waiting = [promotion, report(0, 7, [n1, n2], 2)];
    expect(setAfter(...waiting)).toMatchObject({ copies: [n4, n3], version: 4 });
    // It votes: no older wish counts any more.
    const promoted = [...waiting, report(0, 8, [n2, n4], 2)];
    expect(setAfter(...promoted)).toMatchObject({ copies: [n3], promoted: [], version: 6 });
    // Taken back, it is no promotion any more, whatever vote comes later.
    const takenBack = [promotion, vote(4, [n2, n1]), vote(5, [n2, n4]), report(0, 8, [n2, n4], 2)];
    expect(setAfter(...takenBack)).toMatchObject({ copies: [n4, n3], promoted: [], version: 6 });
  });

  test("stay where a vote comes that nobody has asked for, and where a vote is not given up after all", () => {
    const given = [vote(3, [n2, n4]), report(0, 8, [n2, n4], 2)];
    expect(setAfter(...given)).toMatchObject({ wanted: [n2, n4], copies: [n4, n3], version: 4 });
    expect(setAfter(...given, vote(4, [n2, n1]))).toMatchObject({ wanted: [n2, n1], copies: [n4, n3] });
    const demotion = [...given, wish(4, [n4, n3, n2], [n1, n4])];
    expect(setAfter(...demotion, vote(6, [n2, n4])).copies).toEqual([n4, n3, n2]);
    // A promotion of who votes already ends it at once.
    const promotion: SystemCommand = {
      kind: "wanted",
      changes: [{ shard: 0, version: 4, wanted: [n2, n4], promoted: [n4] }],
    };
    expect(setAfter(...given, promotion)).toMatchObject({ copies: [n3], promoted: [], version: 6 });
  });

  test("go with the node, to who takes its place", () => {
    const drained = [state(n4, "draining")];
    expect(setAfter(...drained)).toMatchObject({ copies: [n3], version: 4 });
    expect(setAfter(...drained, state(n4, "member")).copies).toEqual([n3]);
    // What was proposed before it was known counts for the others.
    expect(setAfter(...drained, wish(4, [n4], [n2, n1])).copies).toEqual([]);
    expect(setAfter(wish(3, [n4]), state(n4, "removed", n3)).copies).toEqual([n3]);
    // The successor has a vote, or a copy.
    expect(setAfter(wish(3, [n4]), state(n4, "removed", n2)).copies).toEqual([]);
    expect(setAfter(state(n4, "removed", n3)).copies).toEqual([n3]);
  });

  test("are limited, and of nodes that there are", () => {
    const many = Array.from({ length: REPLICAS_MAX + 1 }, (_, i) => nodeId(`m${i}`));
    expect(faultOf(FOUR, wish(1, many))).toBe(
      `shard 0: ${REPLICAS_MAX + 1} copies without a vote, at most ${REPLICAS_MAX} are possible`,
    );
    expect(faultOf(FOUR, wish(1, [nodeId("n9")]))).toBe("shard 0: there is no node n9");
    expect(faultOf(FOUR, wish(1, [n4, n4]))).toBe("shard 0: n4 is named twice");
    expect(faultOf(FOUR, wish(1, []))).toBe(undefined);
  });
});

test("the newest report of a shard's members counts, whatever comes late", () => {
  const facts = after(FOUND, report(0, 7, [n1, n3], 2));
  expect(facts.shards[0]!.actual).toEqual({
    term: 2,
    index: 7,
    voters: [n1, n3],
    outgoing: [],
    learners: [],
  });
  expect(applied(facts, report(0, 6, [n2], 3))).toBe(facts);
  expect(applied(facts, report(0, 7, [n1, n3], 2))).toBe(facts);
  // A later leader says that nothing has come of what others may have begun since.
  expect(applied(facts, report(0, 7, [n1, n3], 3)).shards[0]!.actual).toMatchObject({ index: 7, term: 3 });
  expect([n1, n2, n3, n4].map((node) => isNamed(facts.shards[0]!, node))).toEqual([true, true, true, false]);
});

test("keyspaces are a part of the facts", () => {
  const facts = after(FOUND, { kind: "createKeyspace", name: "a", token: 1 });
  expect(facts.keyspaces.live).toMatchObject([{ id: 1, name: "a" }]);
  expect(faultOf(facts, { kind: "createKeyspace", name: "a", token: 2 })).toContain("a keyspace a already");
  const dropped = applied(facts, { kind: "dropKeyspace", id: keyspaceId(1) });
  expect(dropped.keyspaces.live).toEqual([]);
  expect(applied(dropped, { kind: "dropKeyspace", id: keyspaceId(1) })).toBe(dropped);
});

test.each([
  [{ settings: { ...FOUND.settings, shards: 3 } }, "3 shards: a power of two"],
  [{ settings: { ...FOUND.settings, replicas: 0 } }, "0 replicas"],
  [{ settings: { ...FOUND.settings, virtualNodes: 0 } }, "0 virtual nodes"],
  [{ sets: [[n1]] }, "1 replica sets of 2 shards"],
  [{ sets: [[n1], [n4]] }, "there is no node n4"],
  [{ systemVoters: [] }, "0 nodes"],
])("a cluster is not founded with %p", (change, fault) => {
  expect(faultOf(NO_FACTS, { ...FOUND, ...change } as SystemCommand)).toContain(fault);
});
