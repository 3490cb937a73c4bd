import { expect, test } from "bun:test";
import { groupId, type NodeId, nodeId, SYSTEM_GROUP } from "../../protocol/ids.ts";
import type { ChangeMember } from "../../protocol/messages.ts";
import type { PeerHello } from "../../protocol/peer-messages.ts";
import { NO_FACTS, type NodeState, type SystemFacts } from "../shard/system-facts.ts";
import { applied } from "../shard/system-machine.ts";
import { Founding } from "./founding.ts";
import { firstVoters, type KeptFacts, Membership, type MembershipParts } from "./membership.ts";

const [n1, n2, n3, n4] = ["n1", "n2", "n3", "n4"].map(nodeId) as [NodeId, NodeId, NodeId, NodeId];
const members = [n1, n2, n3];
const settings = { shards: 8, replicas: 3, virtualNodes: 150 };
const NO_LEASES = { leaseMs: 0, promiseMs: 0 };
const hello = (changes: Partial<PeerHello> = {}): PeerHello => ({
  ...{ node: n2, clusterId: "", incarnation: "two", members, settings, address: "n2:7001", labels: {} },
  ...NO_LEASES,
  ...changes,
});
const listed = members.map((id) => ({ id, address: `${id}:7001` }));
const fact = (id: string, state: NodeState = "member") =>
  ({ address: `${id}:7001`, labels: {}, state, successor: "" }) as const;
const NODES: SystemFacts["nodes"] = Object.fromEntries(members.map((id) => [id, fact(id)]));
const NOTHING: KeptFacts = { ...NO_FACTS, first: [] };

const foundingOf = (self: NodeId, founders: readonly NodeId[], noted: Record<string, string> = {}) =>
  new Founding({
    self,
    founders,
    state: { noted, isNotedByAll: false },
    log: { info: () => {} },
    write: () => true,
  });

const membership = (
  kept: Partial<KeptFacts> = {},
  inGroup?: NodeId,
  self = n1,
  founding?: Founding,
  listing: MembershipParts["listed"] = [],
) =>
  new Membership({
    founding: founding ?? foundingOf(self, self === n1 ? members : []),
    ...{
      self,
      incarnation: "one",
      address: `${self}:7001`,
      labels: { zone: "a" },
      settings,
      listed: listing,
    },
    founders: self === n1 ? listed : [],
    facts: { ...NOTHING, ...(kept.clusterId === undefined ? {} : { settings }), ...kept },
    place: (nodes, { shards }) => Array.from({ length: shards }, () => nodes.map(({ id }) => id)),
    lease: NO_LEASES,
    isInGroup: (node) => node === inGroup,
  });

const founded = (changes: Partial<SystemFacts> = {}): SystemFacts => ({
  ...NO_FACTS,
  ...{ version: 5, clusterId: "aa", settings, nodes: NODES, systemVoters: members },
  shards: Array.from({ length: 8 }, () => ({
    ...{ first: members, wanted: [n3, n1], copies: [], promoted: [], version: 1 },
    actual: { term: 1, index: 4, voters: [n1, n2], outgoing: [], learners: [] },
  })),
  ...changes,
});

test("a member of the same cluster is let in", () => {
  expect(membership().admit(hello())).toBeUndefined();
  const known = membership({ clusterId: "aa", incarnations: { n2: "two" } });
  expect(known.admit(hello({ clusterId: "aa" }))).toBeUndefined();
  expect(known.admit(hello({ clusterId: "" }))).toBeUndefined();
});

test("other founders, other settings or another cluster are refused", () => {
  expect(membership().admit(hello({ members: [n1, n2] }))?.error).toBe("WRONG_CLUSTER");
  const other = (change: object) => membership().admit(hello({ settings: { ...settings, ...change } }));
  expect(other({ shards: 16 })?.message).toBe("n2 was started with --shards 16, n1 with --shards 8");
  expect(other({ replicas: 5 })?.message).toBe("n2 was started with --replicas 5, n1 with --replicas 3");
  expect(other({ virtualNodes: 1 })?.message).toContain("--virtual-nodes 1");
  expect(membership({ clusterId: "aa" }).admit(hello({ clusterId: "bb" }))?.error).toBe("WRONG_CLUSTER");
});

test("a node that keeps other promises than leases rest on is refused, and told which flags these are", () => {
  const refusal = membership().admit(hello({ leaseMs: 352, promiseMs: 441 }));
  expect(refusal?.error).toBe("WRONG_CLUSTER");
  expect(refusal?.message).toContain(
    "n2 was started with leases of 352 ms, n1 without leases: --lease-drift-percent, --election-timeout-ms",
  );
});

test("a wiped node can't come back as its old self, and is told how it is replaced", () => {
  const known = membership({ clusterId: "aa", incarnations: { n2: "two" } });
  const refusal = known.admit(hello({ incarnation: "other" }));
  expect(refusal?.error).toBe("WRONG_INCARNATION");
  expect(refusal?.message).toContain("cli replace n2 <new name>");
});

test("a member that was let in can't come wiped before it is bound either", () => {
  const fresh = membership();
  expect(fresh.admit(hello())).toBeUndefined();
  expect(fresh.admit(hello({ incarnation: "other" }))?.error).toBe("WRONG_INCARNATION");
  expect(fresh.admit(hello())).toBeUndefined();
});

test("nor after this node was restarted; and who can't be noted is not let in yet", () => {
  const parts = {
    ...{ self: n1, founders: members },
    state: { noted: { n2: "two" }, isNotedByAll: false },
    log: { info: () => {} },
  };
  const restarted = membership({}, undefined, n1, new Founding({ ...parts, write: () => false }));
  expect(restarted.mayTakePart).toBe(false);
  expect(restarted.admit(hello({ incarnation: "other" }))?.error).toBe("WRONG_INCARNATION");
  expect(restarted.admit(hello())).toBeUndefined();
  expect(restarted.admit(hello({ node: n3 }))?.error).toBe("UNAVAILABLE");
  // What the system group has agreed on counts before what this node saw.
  restarted.learn(founded({ incarnations: { n2: "other" } }));
  expect(restarted.mayTakePart).toBe(true);
  expect(restarted.admit(hello({ incarnation: "other" }))).toBeUndefined();
  expect(restarted.admit(hello({ node: n3 }))).toBeUndefined();
});

test("what was agreed on stays known while a machine replays how it came about", () => {
  const nodes = { ...NODES, n4: fact("n4") };
  const restarted = membership({ version: 9, clusterId: "aa", incarnations: { n2: "two" }, nodes });
  const { kept } = restarted;
  expect(restarted.learn(NO_FACTS)).toBe(false);
  expect(restarted.current).toBeUndefined();
  const old = founded({ version: 5 });
  expect(restarted.learn(old)).toBe(true);
  expect(restarted.facts).toMatchObject({ version: 9, incarnations: { n2: "two" }, nodes });
  expect(restarted.facts.shards).toBe(old.shards);
  expect(restarted.current).toBe(old);
  expect(restarted.kept).toBe(kept);
  restarted.learn(founded({ version: 10, incarnations: { n1: "one" } }));
  expect(restarted.facts).toMatchObject({ version: 10, incarnations: { n1: "one" }, nodes: NODES });
  expect(restarted.kept).toMatchObject({ version: 10, nodes: NODES });
});

test("what is written beside the data changes with the nodes, not with the shards", () => {
  const known = membership();
  const facts = founded();
  known.learn(facts);
  const { kept } = known;
  expect(kept.first).toEqual(facts.shards.map(({ first }) => first));
  known.learn({ ...facts, version: 6, shards: [...facts.shards] });
  expect(known.kept).toBe(kept);
  known.learn({ ...facts, version: 7, nodes: { ...NODES, n4: fact("n4") } });
  expect(known.kept).not.toBe(kept);
});

test("the leader founds the cluster with those it has met, and notes the others, and who moved, later", () => {
  const fresh = membership();
  fresh.admit(hello({ labels: { zone: "b" } }));
  const [found, ...more] = fresh.missingFacts(() => "id");
  expect(more).toEqual([]);
  expect(found).toMatchObject({
    ...{ kind: "found", clusterId: "id", settings, incarnations: { n1: "one", n2: "two" } },
    nodes: { n1: { labels: { zone: "a" } }, n2: { labels: { zone: "b" } }, n3: { labels: {} } },
    systemVoters: members,
  });
  const facts = { ...applied(NO_FACTS, found!), version: 1 };
  fresh.learn(facts);
  expect(fresh.missingFacts(() => "id")).toEqual([]);
  const third = { node: n3, incarnation: "three", address: "n3:7001", labels: {} };
  fresh.admit(hello(third));
  expect(fresh.missingFacts(() => "id")).toEqual([{ kind: "admit", ...third }]);
  fresh.learn({ ...applied(facts, { kind: "admit", ...third }), version: 2 });
  fresh.admit(hello({ ...third, address: "elsewhere:1" }));
  expect(fresh.missingFacts(() => "id")).toEqual([{ kind: "admit", ...third, address: "elsewhere:1" }]);
});

test("a node is hopeless when too many refuse it for a majority, and not before", () => {
  const wiped = membership();
  expect(wiped.refused(n2, "UNAVAILABLE", "starting")).toBeUndefined();
  expect(wiped.refused(n2, "WRONG_INCARNATION", "who are you")).toBeUndefined();
  expect(wiped.refused(n2, "WRONG_INCARNATION", "who are you")).toBeUndefined();
  expect(wiped.refused(n3, "WRONG_INCARNATION", "who are you")).toContain("who are you");
  expect(membership().refused(n2, "REMOVED", "gone")).toContain("gone");
});

test("the members of a shard's group are those that are wanted; in the system group all others learn", () => {
  const known = membership();
  expect(known.desired(SYSTEM_GROUP)).toBeUndefined();
  known.learn(founded({ nodes: { ...NODES, n4: fact("n4", "draining") } }));
  expect(known.desired(groupId(1))).toEqual({ voters: [n1, n3], learners: [] });
  expect(known.desired(groupId(9))).toBeUndefined();
  // Who waits for its vote is a learner by itself.
  const shards = founded().shards.map((set) => ({ ...set, copies: [n3, n2] }));
  known.learn(founded({ version: 6, shards, nodes: { ...NODES, n4: fact("n4", "draining") } }));
  expect(known.desired(groupId(1))).toEqual({ voters: [n1, n3], learners: [n2] });
  expect(known.desired(SYSTEM_GROUP)).toEqual({ voters: members, learners: [n4] });
});

test("who is removed hears of it in the system group, until no shard has it", () => {
  const known = membership();
  const nodes = { ...NODES, n2: fact("n2", "removed") };
  known.learn(founded({ nodes }));
  expect(known.desired(SYSTEM_GROUP)).toEqual({ voters: members, learners: [] });
  known.learn(founded({ nodes, systemVoters: [n1, n3] }));
  expect(known.desired(SYSTEM_GROUP)).toEqual({ voters: [n1, n3], learners: [n2] });
  expect(known.nodes.map(({ id }) => id)).toEqual([n1, n3]);
  expect(known.connected.map(({ id }) => id)).toEqual(members);
  expect(known.admit(hello())).toBeUndefined();
  const without = founded({ nodes, version: 6 }).shards.map((set) => ({
    ...set,
    actual: { ...set.actual, voters: [n1, n3] },
  }));
  known.learn(founded({ nodes, version: 6, shards: without, systemVoters: [n1, n3] }));
  expect(known.desired(SYSTEM_GROUP)).toEqual({ voters: [n1, n3], learners: [] });
  expect(known.connected.map(({ id }) => id)).toEqual([n1, n3]);
  expect(known.admit(hello())?.error).toBe("REMOVED");
  // One of this node's groups has not let it go, as far as this node knows.
  const needs = membership({ clusterId: "aa", nodes }, n2);
  expect(needs.connected.map(({ id }) => id)).toEqual(members);
  expect(needs.admit(hello())).toBeUndefined();
});

test("a node that has just started does not know yet that nobody needs one that was removed", () => {
  const nodes = { ...NODES, n2: fact("n2", "removed") };
  const restarted = membership({ version: 6, clusterId: "aa", nodes });
  const without = founded().shards.map((set) => ({ ...set, actual: { ...set.actual, voters: [n1, n3] } }));
  expect(restarted.admit(hello())).toBeUndefined();
  restarted.learn(founded({ version: 5, nodes: NODES, shards: without }));
  expect(restarted.admit(hello())).toBeUndefined();
  restarted.learn(founded({ version: 6, nodes, shards: without }));
  expect(restarted.admit(hello())?.error).toBe("REMOVED");
  expect(restarted.admit(hello({ clusterId: "bb" }))?.error).toBe("WRONG_CLUSTER");
});

test("a stranger is one of another cluster, or has not been heard of yet, or was removed", () => {
  const known = membership({ clusterId: "aa", nodes: { ...NODES, n3: fact("n3", "removed") } });
  expect(known.refusalOf(hello({ node: n4, clusterId: "bb" })).error).toBe("WRONG_CLUSTER");
  expect(known.refusalOf(hello({ node: n4, clusterId: "aa" })).error).toBe("UNAVAILABLE");
  expect(known.refusalOf(hello({ node: n3, clusterId: "aa" })).error).toBe("REMOVED");
  expect(known.refusalOf(hello({ node: n3, clusterId: "" })).error).toBe("REMOVED");
  // Another cluster has a node of that name, too.
  expect(known.refusalOf(hello({ node: n3, clusterId: "bb" })).error).toBe("WRONG_CLUSTER");
});

test("a node that joins is noted once, under its own name and directory", () => {
  const known = membership();
  known.learn(founded({ incarnations: { n2: "two" }, nodes: { ...NODES, n3: fact("n3", "removed") } }));
  const join = {
    kind: "join",
    node: n4,
    incarnation: "four",
    address: "n4:7001",
    labels: {},
    forwarded: false,
  } as const;
  expect(known.joined(join)).toBeUndefined();
  const command = known.admission(join);
  expect(command).toMatchObject({ kind: "admit", node: n4 });
  known.learn({ ...applied(known.facts, command as never), version: 6 });
  expect(known.joined(join)).toMatchObject({ clusterId: "aa", shards: 8, replicas: 3 });
  expect(known.joined(join)?.nodes.map(({ id }) => id)).toEqual([n1, n2, n4]);
  expect(known.joined({ ...join, address: "elsewhere:1" })).toBeUndefined();
  expect(known.admission({ ...join, node: n2 })).toMatchObject({ error: "WRONG_INCARNATION" });
  expect(known.admission({ ...join, node: n3 })).toMatchObject({ error: "REMOVED" });
  expect(known.admission({ ...join, labels: { A: "b" } })).toMatchObject({ error: "BAD_REQUEST" });
});

test("a node that has joined founds nothing, and knows what it was told", () => {
  const joiner = membership({ clusterId: "aa", nodes: { ...NODES, n4: fact("n4") } }, undefined, n4);
  expect(joiner.hello()).toMatchObject({ node: n4, clusterId: "aa", members: [], settings });
  expect(joiner.connected.map(({ id }) => id)).toEqual([n1, n2, n3, n4]);
  expect(joiner.admit(hello({ clusterId: "aa" }))).toBeUndefined();
});

test("changes of nodes are what the cluster is asked for, and known when they are done", () => {
  const known = membership();
  known.learn(founded());
  const change = { kind: "changeMember", node: n2, successor: "", forwarded: false } as const;
  const after = (action: ChangeMember["action"], successor: NodeId | "" = "") => {
    const request = { ...change, action, successor };
    expect(known.isDone(request)).toBe(false);
    const command = known.change(request);
    if (typeof command === "string") return command;
    known.learn({ ...applied(known.facts, command), version: known.facts.version + 1 });
    expect(known.isDone(request)).toBe(true);
    return known.facts.nodes.n2!.state;
  };
  expect([after("drain"), after("undrain")]).toEqual(["draining", "member"]);
  expect(after("replace")).toContain("takes the node to replace it with");
  expect(after("replace", n4)).toContain("n4 can't take the place of n2");
  expect(after("replace", n3)).toBe("removed");
  expect(known.facts.nodes.n2!.successor).toBe(n3);
  expect(after("remove")).toContain("n2 was removed already");
  expect(known.isRemoved).toBe(false);
});

test("nodes that others tell of are talked to, and members only when the system group says so", () => {
  const behind = membership({ clusterId: "aa", nodes: NODES });
  const told = { id: n4, address: "n4:7001" };
  behind.hearOf("bb", [told]);
  expect(behind.connected).toHaveLength(3);
  behind.hearOf("aa", [{ id: n1, address: "n1:7001" }, told]);
  expect(behind.connected.map(({ id }) => String(id))).toEqual(["n1", "n2", "n3", "n4"]);
  expect(behind.nodes).toHaveLength(3);
  behind.learn(founded({ nodes: { ...NODES, n4: fact("n4", "removed") } }));
  expect(behind.connected).toHaveLength(3);
});

test("what the command line says of a place holds until the node is elsewhere than agreed", () => {
  const listing = membership({}, undefined, n1, undefined, [{ id: n2, address: "proxy:2" }]);
  listing.learn(founded({ incarnations: { n2: "two" } }));
  listing.admit(hello({ clusterId: "aa" }));
  expect(listing.placesOf(n2)).toEqual(["proxy:2"]);
  listing.admit(hello({ clusterId: "aa", address: "elsewhere:1" }));
  expect(listing.placesOf(n2)).toEqual(["elsewhere:1", "proxy:2"]);
  listing.admit(hello({ clusterId: "aa" }));
  expect(listing.placesOf(n2)[0]).toBe("n2:7001");
});

test("who has moved is found where it says it is, also before the cluster can agree on that", () => {
  const known = membership();
  known.learn(founded({ incarnations: { n2: "two" } }));
  expect(known.addressOf(n2)).toBe("n2:7001");
  known.admit(hello({ clusterId: "aa", address: "elsewhere:1" }));
  expect(known.addressOf(n2)).toBe("elsewhere:1");
  expect(known.connected.find(({ id }) => id === n2)?.address).toBe("elsewhere:1");
  // What others tell may be old: it is tried too, and overrules nothing.
  known.hearOf("aa", [{ id: n3, address: "moved:3" }]);
  expect(known.addressOf(n3)).toBe("n3:7001");
  expect(known.placesOf(n3)).toEqual(["n3:7001", "moved:3"]);
  const there = { ...NODES, n2: { ...fact("n2"), address: "third:1" } };
  known.learn(founded({ version: 6, nodes: there }));
  expect([n2, n3, n1, n4].map((id) => known.addressOf(id))).toEqual([
    ...["third:1", "n3:7001", "n1:7001", undefined],
  ]);
  expect(known.placesOf(n2)).toEqual(["third:1", "elsewhere:1", "n2:7001"]);
  known.admit(hello({ clusterId: "aa", address: "n2:7001" }));
  known.hearOf("aa", [{ id: n2, address: "elsewhere:1" }]);
  expect(known.placesOf(n2)).toEqual(["n2:7001", "elsewhere:1", "third:1"]);
});

test("an odd number of founders votes in the system group, five at most", () => {
  const voters = (count: number) =>
    firstVoters(Array.from({ length: count }, (_, i) => nodeId(`n${i}`))).length;
  expect([1, 2, 3, 4, 5, 6, 9].map(voters)).toEqual([1, 2, 3, 3, 5, 5, 5]);
});
