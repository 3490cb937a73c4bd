import { expect, test } from "bun:test";
import { nodeId } from "../protocol/ids.ts";
import type { PeerHello } from "../protocol/peer-messages.ts";
import { Membership } from "./membership.ts";
import { NO_FACTS } from "./shard/system-machine.ts";

const [n1, n2, n3] = [nodeId("n1"), nodeId("n2"), nodeId("n3")];
const members = [n1, n2, n3];
const hello = (changes: Partial<PeerHello> = {}): PeerHello => ({
  node: n2,
  clusterId: "",
  incarnation: "two",
  members,
  shards: 8,
  ...changes,
});
const membership = (facts = NO_FACTS) => new Membership(n1, "one", members, 8, facts);

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
  expect(restarted.learn({ clusterId: "aa", incarnations: {} })).toBe(false);
  expect(restarted.learn({ clusterId: "aa", incarnations: { n1: "one" } })).toBe(false);
  expect(restarted.admit(hello({ incarnation: "other" }))?.error).toBe("WRONG_INCARNATION");
  expect(restarted.learn({ clusterId: "aa", incarnations: { n1: "one", n3: "three" } })).toBe(true);
  expect(restarted.facts.incarnations).toEqual({ n1: "one", n2: "two", n3: "three" });
  expect(membership().learn({ clusterId: "aa", incarnations: {} })).toBe(true);
});

test("the system group is told what it does not know yet", () => {
  const fresh = membership();
  fresh.admit(hello());
  expect(fresh.missingFacts(() => "id")).toEqual([
    { kind: "found", clusterId: "id" },
    { kind: "bind", node: n1, incarnation: "one" },
    { kind: "bind", node: n2, incarnation: "two" },
  ]);
  fresh.learn({ clusterId: "id", incarnations: { n1: "one", n2: "two" } });
  expect(fresh.missingFacts(() => "id")).toEqual([]);
});

test("a node is hopeless when too many refuse it for a majority, and not before", () => {
  const wiped = membership();
  expect(wiped.refused(n2, "UNAVAILABLE", "starting")).toBeUndefined();
  expect(wiped.refused(n2, "WRONG_INCARNATION", "who are you")).toBeUndefined();
  expect(wiped.refused(n2, "WRONG_INCARNATION", "who are you")).toBeUndefined();
  expect(wiped.refused(n3, "WRONG_INCARNATION", "who are you")).toContain("who are you");
});
