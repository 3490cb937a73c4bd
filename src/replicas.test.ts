import { expect, test } from "bun:test";
import { groupId, type NodeId, nodeId } from "../protocol/ids.ts";
import { seededRandom } from "./lib/prng.ts";
import { type ReplicaParts, Replicas } from "./replicas.ts";
import type { Actual, ReplicaSet } from "./shard/system-facts.ts";

const [N1, N2, N3] = ["n1", "n2", "n3"].map(nodeId) as [NodeId, NodeId, NodeId];
const G1 = groupId(1);

/** n1, whose facts are these, has a replica of shard 0 that its group can do without, or not. Whether it destroys it. */
function destroys(
  wanted: readonly NodeId[],
  actual: Partial<Actual>,
  { isLeftBehind = true, isKept = true } = {},
): boolean {
  const nobody = { voters: [], outgoing: [], learners: [] };
  const set: ReplicaSet = {
    ...{ first: [N1, N2, N3], wanted, version: 1 },
    actual: { ...nobody, term: 2, index: 7, ...actual },
  };
  const asked: Actual[] = [];
  const replica = {
    group: G1,
    isLeftBehindBy(by: Actual): boolean {
      asked.push(by);
      return isLeftBehind;
    },
  };
  const removed: unknown[] = [];
  const parts = {
    env: { clock: { nowMs: () => 0 }, random: seededRandom(1), log: { info: () => {} } },
    ...{ self: N1, address: "host:1", isKept: () => isKept, engine: {} },
    membership: { current: { shards: [set] } },
    host: {
      group: (group: number) => (group === G1 ? replica : undefined),
      canTake: () => false,
      remove: (gone: unknown) => void removed.push(gone),
    },
  };
  new Replicas(parts as unknown as ReplicaParts).follow();
  for (const by of asked) expect(by).toEqual(set.actual);
  return removed.length > 0;
}

test("a replica goes once nobody names its node and its group has let it go, and not before", () => {
  const others = { voters: [N2, N3] };
  expect(destroys([N2, N3], others)).toBe(true);
  expect(destroys([N2, N3], others, { isLeftBehind: false })).toBe(false);
  expect(destroys([N2, N3], others, { isKept: false })).toBe(false);
  expect(destroys([N1, N2], others)).toBe(false);
  expect(destroys([N2, N3], { voters: [N1, N2] })).toBe(false);
  expect(destroys([N2, N3], { ...others, outgoing: [N1] })).toBe(false);
  expect(destroys([N2, N3], { ...others, learners: [N1] })).toBe(false);
});
