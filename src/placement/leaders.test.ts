import { expect, test } from "bun:test";
import fc from "fast-check";
import { type NodeId, nodeId } from "../../protocol/ids.ts";
import { testSeed } from "../../test/support/seed.ts";
import { type LeaderCandidate, preferredLeaders } from "./leaders.ts";
import { placeShards } from "./ring.ts";

const seed = testSeed("leaders.test.ts");
const numRuns = Number(process.env.RUNS ?? 30);

const candidate = (id: string, weight = 1, mayLead = true): LeaderCandidate => ({
  id: nodeId(id),
  weight,
  mayLead,
});
const names = (count: number) => Array.from({ length: count }, (_, i) => `n${i + 1}`);
const setsOf = (shards: number, ids: readonly string[], previous?: readonly (readonly NodeId[])[]) =>
  placeShards(
    shards,
    ids.map((id) => ({ id: nodeId(id), host: id, zone: "", weight: 1 })),
    { virtualNodes: 150, replicas: 3 },
    previous,
  );
const led = (leaders: readonly (NodeId | undefined)[], id: string) =>
  leaders.filter((leader) => leader === id).length;

test("from 3 to 100 nodes lead the mean, rounded up or down, and only what they hold", () => {
  const cluster = fc.record({
    nodes: fc.integer({ min: 3, max: 100 }),
    shards: fc.integer({ min: 256, max: 1024 }),
  });
  fc.assert(
    fc.property(cluster, ({ nodes, shards }) => {
      const ids = names(nodes);
      const sets = setsOf(shards, ids);
      const leaders = preferredLeaders(
        sets.map((voters) => ({ voters })),
        ids.map((id) => candidate(id)),
      );
      for (const [shard, leader] of leaders.entries()) expect(sets[shard]).toContain(leader!);
      for (const id of ids)
        expect(led(leaders, id)).toBeWithin(Math.floor(shards / nodes), Math.ceil(shards / nodes) + 1);
    }),
    { seed, numRuns },
  );
});

test("who may not lead leads nothing, the others stay where they are but for what evens it out", () => {
  const cluster = fc.record({
    nodes: fc.integer({ min: 4, max: 30 }),
    gone: fc.nat(29),
    shards: fc.integer({ min: 64, max: 512 }),
  });
  fc.assert(
    fc.property(cluster, ({ nodes, gone, shards }) => {
      const ids = names(nodes);
      const sets = setsOf(shards, ids);
      const before = preferredLeaders(
        sets.map((voters) => ({ voters })),
        ids.map((id) => candidate(id)),
      );
      const away = ids[gone % nodes]!;
      const withPreferred = sets.map((voters, shard) => ({ voters, preferred: before[shard] }));
      const after = preferredLeaders(
        withPreferred,
        ids.map((id) => candidate(id, 1, id !== away)),
      );
      expect(led(after, away)).toBe(0);
      for (const id of ids)
        if (id !== away) expect(led(after, id)).toBeLessThanOrEqual(Math.ceil(shards / (nodes - 1)));
      const moved = after.filter((leader, shard) => leader !== before[shard]).length;
      expect(moved).toBeLessThanOrEqual(3 * led(before, away));
      // Asked again with its own answer it changes nothing.
      const again = sets.map((voters, shard) => ({ voters, preferred: after[shard] }));
      expect(
        preferredLeaders(
          again,
          ids.map((id) => candidate(id, 1, id !== away)),
        ),
      ).toEqual(after);
    }),
    { seed, numRuns },
  );
});

test("a join gives the newcomer its leaders and moves less than as many others", () => {
  const sets = setsOf(512, names(10));
  const all = names(10).map((id) => candidate(id));
  const before = preferredLeaders(
    sets.map((voters) => ({ voters })),
    all,
  );
  const moved = setsOf(512, names(11), sets);
  const after = preferredLeaders(
    moved.map((voters, shard) => ({ voters, preferred: before[shard] })),
    [...all, candidate("n11")],
  );
  expect(led(after, "n11")).toBeWithin(46, 48);
  expect(after.filter((leader, shard) => leader !== before[shard]).length).toBeLessThanOrEqual(80);
});

test("weights count, as far as a node holds enough", () => {
  const sets = setsOf(300, names(3));
  const leaders = preferredLeaders(
    sets.map((voters) => ({ voters })),
    [candidate("n1", 2), candidate("n2"), candidate("n3")],
  );
  expect(["n1", "n2", "n3"].map((id) => led(leaders, id))).toEqual([150, 75, 75]);
});

test("a shard of which nobody may lead prefers nobody; one that a single node can lead has it", () => {
  const [n1, n2, n3] = names(3).map(nodeId) as [NodeId, NodeId, NodeId];
  const leaders = preferredLeaders(
    [{ voters: [n1] }, { voters: [n1, n2] }, { voters: [n2, n1] }, { voters: [n3] }, { voters: [] }],
    [candidate("n1"), candidate("n2"), candidate("n3", 1, false)],
  );
  expect(leaders).toEqual([n1, n1, n2, undefined, undefined]);
});

test("nodes that have all their shards in common still share them evenly when nobody else has room", () => {
  const [a, b, c] = ["a", "b", "c"].map(nodeId) as [NodeId, NodeId, NodeId];
  const voters = Array.from({ length: 30 }, (_, shard) => (shard < 20 ? [a, b] : [c]));
  const leaders = preferredLeaders(
    voters.map((set) => ({ voters: set })),
    [candidate("a"), candidate("b"), candidate("c")],
  );
  expect([led(leaders, "a"), led(leaders, "b"), led(leaders, "c")]).toEqual([10, 10, 10]);
  // `c` could lead more only where it has no replica.
  const few = preferredLeaders(
    voters.slice(0, 21).map((set) => ({ voters: set })),
    [candidate("a"), candidate("b"), candidate("c", 50)],
  );
  expect([led(few, "a"), led(few, "b"), led(few, "c")]).toEqual([10, 10, 1]);
});

test("leaderships go by way of others where nobody who has room can take them", () => {
  const [a, b, c, d] = ["a", "b", "c", "d"].map(nodeId) as [NodeId, NodeId, NodeId, NodeId];
  const all = ["a", "b", "c", "d"].map((id) => candidate(id));
  const ab = { voters: [a, b], preferred: a };
  const bc = { voters: [b, c], preferred: b };
  const onlyD = { voters: [d], preferred: d };
  // Of three nodes one leads too much; of four with five shards one too little.
  expect(preferredLeaders([ab, ab, bc], all.slice(0, 3)).toSorted()).toEqual([a, b, c]);
  expect(preferredLeaders([ab, ab, bc, onlyD, onlyD], all).toSorted()).toEqual([a, b, c, d, d]);
  // `c` and `d` have only two shards between them: what is left for the others is still shared evenly.
  const shards = Array.from({ length: 12 }, (_, at) => (at < 10 ? ab : { voters: [c, d], preferred: c }));
  const leaders = preferredLeaders(shards, all);
  expect(["a", "b", "c", "d"].map((id) => led(leaders, id))).toEqual([5, 5, 1, 1]);
});
