import { expect, test } from "bun:test";
import fc from "fast-check";
import { type NodeId, nodeId } from "../../protocol/ids.ts";
import { testSeed } from "../../test/support/seed.ts";
import type { ConditionedNode } from "./conditions.ts";
import { systemVoters } from "./system-voters.ts";

const seed = testSeed("system-voters.test.ts");
const numRuns = Number(process.env.RUNS ?? 200);

const node = (id: string, other: Partial<ConditionedNode> = {}): ConditionedNode => ({
  id: nodeId(id),
  host: id,
  zone: "",
  weight: 1,
  isLeaving: false,
  health: "up",
  ...other,
});
const ids = (...names: string[]) => names.map(nodeId);
const alike = (count: number) => Array.from({ length: count }, (_, i) => node(`n${i + 1}`));
const except = (nodes: ConditionedNode[], id: string, other: Partial<ConditionedNode>) =>
  nodes.map((each) => (each.id === id ? { ...each, ...other } : each));

test("the founders choose an odd number, at most five, over hosts and zones", () => {
  expect(systemVoters([], [])).toEqual([]);
  expect([1, 2, 3, 4, 5, 6, 9].map((count) => systemVoters([], alike(count)).length)).toEqual([
    1, 1, 3, 3, 5, 5, 5,
  ]);
  const zones = ["a", "a", "a", "b", "c"].map((zone, i) => node(`n${i + 1}`, { zone }));
  expect(systemVoters([], zones.slice(0, 4)).filter((id) => id === "n4")).toHaveLength(1);
  const hosts = ["x", "x", "y", "z"].map((host, i) => node(`n${i + 1}`, { host }));
  expect(systemVoters([], hosts)).toEqual(ids("n1", "n3", "n4"));
});

test("more nodes bring two more voters at a time, and fewer two less", () => {
  expect(systemVoters(ids("n1"), alike(2))).toEqual(ids("n1"));
  expect(systemVoters(ids("n1"), alike(3))).toEqual(ids("n1", "n2", "n3"));
  expect(systemVoters(ids("n1", "n2", "n3"), alike(4))).toEqual(ids("n1", "n2", "n3"));
  expect(systemVoters(ids("n1", "n2", "n3"), alike(9))).toEqual(ids("n1", "n2", "n3", "n4", "n5"));
  const five = ids("n1", "n2", "n3", "n4", "n5");
  expect(systemVoters(five, except(alike(5), "n2", { isLeaving: true }))).toEqual(ids("n1", "n3", "n4"));
});

test("who leaves or is lost is replaced, one at a time; who is down keeps the vote, and gets none", () => {
  const voters = ids("n1", "n2", "n3");
  const nodes = alike(4);
  expect(systemVoters(voters, except(nodes, "n2", { isLeaving: true }))).toEqual(ids("n1", "n3", "n4"));
  expect(systemVoters(voters, except(nodes, "n2", { health: "lost" }))).toEqual(ids("n1", "n3", "n4"));
  expect(systemVoters(voters, except(nodes, "n2", { health: "down" }))).toEqual(voters);
  const noSpare = except(except(nodes, "n2", { health: "lost" }), "n4", { health: "down" });
  expect(systemVoters(voters, noSpare)).toEqual(voters);
  const twoLeave = except(except(alike(7), "n1", { isLeaving: true }), "n2", { isLeaving: true });
  expect(systemVoters(ids("n1", "n2", "n3", "n4", "n5"), twoLeave)).toEqual(
    ids("n2", "n3", "n4", "n5", "n6"),
  );
});

test("a node in a new zone takes the place of one of two in another", () => {
  const nodes = [...alike(5).map((each) => ({ ...each, zone: "a" })), node("n6", { zone: "b" })];
  expect(systemVoters(ids("n1", "n2", "n3", "n4", "n5"), nodes)).toEqual(ids("n2", "n3", "n4", "n5", "n6"));
});

test("nothing is done that would leave less than a majority alive", () => {
  const nodes = except(except(alike(4), "n1", { health: "lost" }), "n3", { health: "down" });
  // n4 for n1: two of three are up.
  expect(systemVoters(ids("n1", "n2", "n3"), nodes)).toEqual(ids("n2", "n3", "n4"));
  expect(systemVoters(ids("n1", "n2", "n3"), except(nodes, "n2", { health: "down" }))).toEqual(
    ids("n1", "n2", "n3"),
  );
});

test("whatever happens to the nodes, the vote comes to rest: odd, alive, spread, and without who left", () => {
  const cluster = fc.array(
    fc.record({
      zone: fc.constantFrom("a", "b", "c"),
      isLeaving: fc.boolean(),
      health: fc.constantFrom("up", "up", "up", "down", "lost"),
      votes: fc.boolean(),
    }),
    { minLength: 1, maxLength: 12 },
  );
  fc.assert(
    fc.property(cluster, (rows) => {
      const nodes = rows.map(({ votes: _, ...row }, i) => node(`n${i + 1}`, row as Partial<ConditionedNode>));
      let voters: readonly NodeId[] = nodes
        .filter((_, i) => rows[i]!.votes)
        .slice(0, 5)
        .map(({ id }) => id);
      const isUp = (id: NodeId) => nodes.find((each) => each.id === id)!.health === "up";
      const alive = (set: readonly NodeId[]) => 2 * set.filter(isUp).length > set.length;
      if (!alive(voters)) return;
      for (let changes = 0; ; changes++) {
        expect(changes).toBeLessThan(20);
        const next = systemVoters(voters, nodes);
        if (next.join() === voters.join()) break;
        expect(alive(next)).toBe(true);
        const added = next.filter((id) => !voters.includes(id));
        expect(added.every(isUp)).toBe(true);
        const removed = voters.filter((id) => !next.includes(id));
        expect(added.length + removed.length).toBeLessThanOrEqual(Math.max(removed.length, 2));
        voters = next;
      }
      const useful = nodes.filter(({ isLeaving, health }) => !isLeaving && health === "up");
      if (nodes.every(({ isLeaving, health }) => isLeaving || health === "up") && useful.length > 0) {
        expect(voters.length).toBe(Math.min(5, useful.length - 1 + (useful.length % 2)));
        expect(voters.every((id) => useful.some((each) => each.id === id))).toBe(true);
        const zones = new Set(useful.map(({ zone }) => zone)).size;
        const held = new Set(voters.map((id) => nodes.find((each) => each.id === id)!.zone)).size;
        expect(held).toBe(Math.min(zones, voters.length));
      }
    }),
    { seed, numRuns },
  );
});
