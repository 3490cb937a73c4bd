import { expect, test } from "bun:test";
import { type NodeId, nodeId } from "../protocol/ids.ts";
import type { PeerHello } from "../protocol/peer-messages.ts";
import { Membership } from "./membership.ts";
import { NO_FACTS, type SystemFacts } from "./shard/system-machine.ts";

const [n1, n2, n3] = [nodeId("n1"), nodeId("n2"), nodeId("n3")];
const members = [n1, n2, n3];
const NO_LEASES = { leaseMs: 0, promiseMs: 0 };
const hello = (changes: Partial<PeerHello> = {}): PeerHello => ({
  node: n2,
  clusterId: "",
  incarnation: "two",
  members,
  shards: 8,
  ...NO_LEASES,
  ...changes,
});
const listed = members.map((id) => ({ id, address: `${id}:7001` }));
const NODES: SystemFacts["nodes"] = Object.fromEntries(
  listed.map(({ id, address }) => [id, { address, role: "voter" }]),
);
const membership = (facts: Partial<SystemFacts> = {}, joins = false, inGroup?: NodeId) =>
  new Membership({
    ...{ self: n1, incarnation: "one", listed, joins, shards: 8 },
    facts: { ...NO_FACTS, ...facts },
    lease: NO_LEASES,
    isInGroup: (node) => node === inGroup,
  });

test("a member of the same cluster is let in", () => {
  expect(membership().admit(hello())).toBeUndefined();
  const founded = membership({ clusterId: "aa", incarnations: { n2: "two" } });
  expect(founded.admit(hello({ clusterId: "aa" }))).toBeUndefined();
  expect(founded.admit(hello({ clusterId: "" }))).toBeUndefined();
});

test("other members, another number of shards or another cluster are refused", () => {
  expect(membership().admit(hello({ members: [n1, n2] }))?.error).toBe("WRONG_CLUSTER");
  expect(membership().admit(hello({ shards: 16 }))?.error).toBe("WRONG_CLUSTER");
  expect(membership({ clusterId: "aa", incarnations: {} }).admit(hello({ clusterId: "bb" }))?.error).toBe(
    "WRONG_CLUSTER",
  );
});

test("a node that keeps other promises than leases rest on is refused, and told which flags these are", () => {
  const refusal = membership().admit(hello({ leaseMs: 352, promiseMs: 441 }));
  expect(refusal?.error).toBe("WRONG_CLUSTER");
  expect(refusal?.message).toContain(
    "n2 was started with leases of 352 ms, n1 without leases: --lease-drift-percent, --election-timeout-ms",
  );
});

test("a wiped node can't come back as its old self", () => {
  const facts = { clusterId: "aa", incarnations: { n2: "two" } };
  expect(membership(facts).admit(hello({ incarnation: "other" }))?.error).toBe("WRONG_INCARNATION");
});

test("a member that was let in can't come wiped before it is bound either", () => {
  const fresh = membership();
  expect(fresh.admit(hello())).toBeUndefined();
  expect(fresh.admit(hello({ incarnation: "other" }))?.error).toBe("WRONG_INCARNATION");
  expect(fresh.admit(hello())).toBeUndefined();
});

test("what was agreed on stays known while a machine replays how it came about", () => {
  const restarted = membership({ clusterId: "aa", incarnations: { n1: "one", n2: "two" } });
  expect(restarted.learn({ ...NO_FACTS, clusterId: "aa", incarnations: {} })).toBe(false);
  expect(restarted.learn({ ...NO_FACTS, clusterId: "aa", incarnations: { n1: "one" } })).toBe(false);
  expect(restarted.admit(hello({ incarnation: "other" }))?.error).toBe("WRONG_INCARNATION");
  expect(restarted.learn({ ...NO_FACTS, clusterId: "aa", incarnations: { n1: "one", n3: "three" } })).toBe(
    true,
  );
  expect(restarted.facts.incarnations).toEqual({ n1: "one", n2: "two", n3: "three" });
  expect(membership().learn({ ...NO_FACTS, clusterId: "aa", incarnations: {} })).toBe(true);
});

test("the system group is told what it does not know yet", () => {
  const fresh = membership();
  fresh.admit(hello());
  expect(fresh.missingFacts(() => "id")).toEqual([
    { kind: "found", clusterId: "id", nodes: NODES },
    { kind: "bind", node: n1, incarnation: "one" },
    { kind: "bind", node: n2, incarnation: "two" },
  ]);
  fresh.learn({ ...NO_FACTS, clusterId: "id", incarnations: { n1: "one", n2: "two" } });
  expect(fresh.missingFacts(() => "id")).toEqual([]);
});

test("a node is hopeless when too many refuse it for a majority, and not before", () => {
  const wiped = membership();
  expect(wiped.refused(n2, "UNAVAILABLE", "starting")).toBeUndefined();
  expect(wiped.refused(n2, "WRONG_INCARNATION", "who are you")).toBeUndefined();
  expect(wiped.refused(n2, "WRONG_INCARNATION", "who are you")).toBeUndefined();
  expect(wiped.refused(n3, "WRONG_INCARNATION", "who are you")).toContain("who are you");
});

test("who is added and removed is known from then on, and what a node is only ever goes on", () => {
  const known = membership({ clusterId: "aa", nodes: NODES });
  const n4 = nodeId("n4");
  const n4Joins = hello({ node: n4, members: [], incarnation: "four" });
  expect(known.nodes.map(({ id }) => id)).toEqual(members);
  expect(known.desired).toEqual({ voters: members, learners: [] });
  const add = {
    kind: "changeMember",
    action: "add",
    node: n4,
    address: "n4:7001",
    forwarded: false,
  } as const;
  expect(known.isDone(add)).toBe(false);
  const learner = { address: "n4:7001", role: "learner" } as const;
  expect(known.change(add)).toEqual({ kind: "member", node: n4, fact: learner });
  expect(known.learn({ ...NO_FACTS, nodes: { ...NODES, n4: learner } })).toBe(true);
  expect(known.isDone(add)).toBe(true);
  expect(known.desired).toEqual({ voters: members, learners: [n4] });
  expect(known.admit(n4Joins)).toBeUndefined();
  expect(known.change({ ...add, action: "promote", address: "" })).toMatchObject({
    fact: { address: "n4:7001", role: "voter" },
  });
  expect(
    known.learn({
      ...NO_FACTS,
      nodes: { n4: { ...learner, role: "voter" }, n2: { address: "n2:7001", role: "removed" } },
    }),
  ).toBe(true);
  expect(known.desired).toEqual({ voters: [n1, n3, n4], learners: [] });
  expect(known.admit(hello())?.message).toContain("was removed");
  // A machine that replays its log says again what was true earlier.
  expect(known.learn({ ...NO_FACTS, nodes: { ...NODES, n4: learner } })).toBe(false);
  expect(known.desired?.voters).toEqual([n1, n3, n4]);
});

test("a node that joins waits until it is let in, and founds nothing", () => {
  const joiner = membership({}, true);
  expect(joiner.hello().members).toEqual([]);
  expect(joiner.desired).toBeUndefined();
  for (const node of [n2, n3]) expect(joiner.refused(node, "WRONG_CLUSTER", "not yet")).toBeUndefined();
  expect(joiner.admit(hello({ clusterId: "aa" }))).toBeUndefined();
});

test("a node that was removed is talked to as long as a group has it", () => {
  const gone = { n2: { address: "n2:7001", role: "removed" } } as const;
  const facts = { clusterId: "aa", incarnations: { n2: "two" }, nodes: { ...NODES, ...gone } };
  const without2 = membership(facts);
  expect(without2.connected.map(({ id }) => id)).toEqual([n1, n3]);
  expect(without2.admit(hello())?.error).toBe("WRONG_CLUSTER");
  const needs2 = membership(facts, false, n2);
  expect(needs2.nodes.map(({ id }) => id)).toEqual([n1, n3]);
  expect(needs2.connected.map(({ id }) => id)).toEqual([n1, n2, n3]);
  expect(needs2.admit(hello())).toBeUndefined();
  expect(needs2.admit(hello({ incarnation: "other" }))?.error).toBe("WRONG_INCARNATION");
});

test("nodes that others tell of are talked to, and members only when the system group says so", () => {
  const behind = membership({ clusterId: "aa", nodes: NODES });
  const n4 = { id: nodeId("n4"), address: "n4:7001" };
  behind.hearOf("bb", [n4]);
  expect(behind.connected).toHaveLength(3);
  behind.hearOf("aa", [{ id: n1, address: "n1:7001" }, n4]);
  expect(behind.connected.map(({ id }) => String(id))).toEqual(["n1", "n2", "n3", "n4"]);
  expect(behind.nodes).toHaveLength(3);
  behind.learn({ clusterId: "aa", incarnations: {}, nodes: { n4: { address: "n4:7001", role: "removed" } } });
  expect(behind.connected).toHaveLength(3);
});
