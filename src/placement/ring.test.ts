import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type NodeId, nodeId } from "../../protocol/ids.ts";
import { testSeed } from "../../test/support/seed.ts";
import { FailureDomains, type RingNode } from "./failure-domains.ts";
import { placeShards, ringOwnership } from "./ring.ts";
import { RingPoints } from "./ring-points.ts";
import { replicaShares, shareOf } from "./shares.ts";

const seed = testSeed("ring.test.ts");
const numRuns = Number(process.env.RUNS ?? 40);

const OPTIONS = { virtualNodes: 150, replicas: 3 };
type Sets = readonly (readonly NodeId[])[];

const node = (id: string, labels: Partial<RingNode> = {}): RingNode => ({
  id: nodeId(id),
  host: id,
  zone: "",
  weight: 1,
  ...labels,
});
const alike = (count: number, from = 1) => Array.from({ length: count }, (_, i) => node(`n${i + from}`));

/** Clusters whose nodes share hosts and zones at random. */
const labelled = fc
  .array(fc.record({ zone: fc.nat(3), host: fc.nat(4), weight: fc.constantFrom(1, 1, 1, 2, 0.5) }), {
    minLength: 1,
    maxLength: 14,
  })
  .map((rows) =>
    rows.map(({ zone, host, weight }, i) =>
      node(`n${i}`, { zone: `z${zone}`, host: `z${zone}h${host}`, weight }),
    ),
  );

function loadsOf(sets: Sets, nodes: readonly RingNode[]): number[] {
  const loads = new Map(nodes.map(({ id }) => [id, 0]));
  for (const set of sets) for (const id of set) loads.set(id, loads.get(id)! + 1);
  return [...loads.values()];
}

/** Who is new in which set. */
function arrivals(before: Sets, after: Sets): NodeId[] {
  return after.flatMap((set, shard) => set.filter((id) => !before[shard]!.includes(id)));
}

describe("alike nodes", () => {
  test("from 3 to 100 of them hold the mean, rounded up or down, whatever the number of shards", () => {
    const cluster = fc.record({
      nodes: fc.integer({ min: 3, max: 100 }),
      shards: fc.integer({ min: 256, max: 1024 }),
    });
    fc.assert(
      fc.property(cluster, ({ nodes, shards }) => {
        const all = alike(nodes);
        const sets = placeShards(shards, all, OPTIONS);
        const loads = loadsOf(sets, all);
        expect(Math.max(...loads)).toBe(Math.ceil((3 * shards) / nodes));
        expect(Math.min(...loads)).toBe(Math.floor((3 * shards) / nodes));
        for (const set of sets) expect(new Set(set).size).toBe(3);
        const firsts = loadsOf(
          sets.map((set) => set.slice(0, 1)),
          all,
        );
        expect(Math.max(...firsts)).toBe(Math.ceil(shards / nodes));
      }),
      { seed, numRuns },
    );
  });

  test("a join moves its share to the newcomer and nothing else, and a leave hardly more than the leaver held", () => {
    const cluster = fc.record({
      nodes: fc.integer({ min: 4, max: 60 }),
      shards: fc.integer({ min: 64, max: 512 }),
      // Several in a row, so that what is changed is not always fresh from the ring.
      steps: fc.array(fc.tuple(fc.boolean(), fc.nat(1000)), { minLength: 1, maxLength: 8 }),
    });
    fc.assert(
      fc.property(cluster, ({ nodes, shards, steps }) => {
        let all = alike(nodes);
        let sets = placeShards(shards, all, OPTIONS);
        for (const [step, [joins, chosen]] of steps.entries()) {
          const leaver = joins || all.length <= 4 ? undefined : all[chosen % all.length]!.id;
          all = leaver === undefined ? [...all, node(`new${step}`)] : all.filter(({ id }) => id !== leaver);
          const after = placeShards(shards, all, OPTIONS, sets);
          const moved = arrivals(sets, after);
          const held = sets.flat().filter((id) => id === leaver).length;
          const ideal = leaver === undefined ? (3 * shards) / all.length : held;
          const most = leaver === undefined ? Math.ceil(ideal) : Math.max(ideal + 2, 1.05 * ideal);
          expect(moved.length).toBeLessThanOrEqual(most);
          if (leaver === undefined) expect(moved.filter((id) => id !== `new${step}`)).toEqual([]);
          expect(Math.max(...loadsOf(after, all))).toBe(Math.ceil((3 * shards) / all.length));
          sets = after;
        }
      }),
      { seed, numRuns },
    );
  });

  test("all hold everything while there are fewer than replicas", () => {
    expect(placeShards(2, alike(0), OPTIONS)).toEqual([[], []]);
    for (const count of [1, 2, 3]) {
      for (const set of placeShards(8, alike(count), OPTIONS))
        expect([...set].sort()).toEqual(alike(count).map(({ id }) => id));
    }
    // A second and a third node are added to the sets, and replace nobody.
    const one = placeShards(8, alike(1), OPTIONS);
    expect(placeShards(8, alike(3), OPTIONS, one).map((set) => set[0])).toEqual(one.map((set) => set[0]!));
  });
});

describe("labelled nodes", () => {
  test("a set is spread over hosts and zones as well as any set of these nodes could be", () => {
    fc.assert(
      fc.property(
        labelled,
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 64 }),
        (nodes, replicas, shards) => {
          const sets = placeShards(shards, nodes, { ...OPTIONS, replicas });
          for (const set of sets)
            expect(spreadOf(set, nodes)).toEqual(bestSpread(nodes, Math.min(replicas, nodes.length)));
        },
      ),
      { seed, numRuns },
    );
  });

  test("shares are exhausted, follow weights where spread allows it, and are kept to, rounded", () => {
    fc.assert(
      fc.property(
        labelled,
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 8, max: 256 }),
        (nodes, replicas, shards) => {
          const size = Math.min(replicas, nodes.length);
          const shares = replicaShares(new FailureDomains(nodes), shards, size);
          expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(size * shards, 4);
          expect(Math.max(...shares)).toBeLessThanOrEqual(shards + 1e-6);
          const sorted = [...nodes].sort((a, b) => (a.id < b.id ? -1 : 1));
          const sharesOfSorted = replicaShares(new FailureDomains(sorted), shards, size);
          const loads = loadsOf(placeShards(shards, nodes, { ...OPTIONS, replicas }), sorted);
          for (const [at, load] of loads.entries()) {
            const { low, high } = shareOf(sharesOfSorted[at]!);
            expect(load).toBeGreaterThanOrEqual(low);
            expect(load).toBeLessThanOrEqual(high);
          }
        },
      ),
      { seed, numRuns },
    );
  });

  test("whatever was there before, the answer is as good, and stays when it is asked again", () => {
    fc.assert(
      fc.property(labelled, labelled, fc.integer({ min: 1, max: 4 }), (before, after, replicas) => {
        const options = { ...OPTIONS, replicas };
        const previous = placeShards(48, before, options);
        const sets = placeShards(48, after, options, previous);
        for (const set of sets)
          expect(spreadOf(set, after)).toEqual(bestSpread(after, Math.min(replicas, after.length)));
        expect(placeShards(48, after, options, sets)).toEqual(sets);
        expect(placeShards(48, [...after].reverse(), options, sets)).toEqual(sets);
      }),
      { seed, numRuns },
    );
  });

  test("three zones of unlike size: each has one replica of everything", () => {
    const nodes = [
      node("a1", { zone: "a" }),
      ...["b1", "b2"].map((id) => node(id, { zone: "b" })),
      ...["c1", "c2", "c3"].map((id) => node(id, { zone: "c" })),
    ];
    const loads = loadsOf(placeShards(60, nodes, OPTIONS), nodes);
    expect(loads[0]).toBe(60);
    for (const load of loads.slice(1, 3)) expect(Math.abs(load - 30)).toBeLessThanOrEqual(0);
    for (const load of loads.slice(3)) expect(Math.abs(load - 20)).toBeLessThanOrEqual(0);
  });

  test("a node of twice the weight holds twice as much", () => {
    const nodes = [...alike(9), node("big", { weight: 2 })];
    const loads = loadsOf(placeShards(512, nodes, OPTIONS), nodes);
    expect(loads[9]! / (1536 / 11)).toBeWithin(2 / 1.1 - 0.02, 2 * 1.1 + 0.02);
  });
});

/** Pairs on one host, and pairs in one zone: fewer are better, the first number first. */
function spreadOf(set: readonly NodeId[], nodes: readonly RingNode[]): [number, number] {
  const members = set.map((id) => nodes.find((other) => other.id === id)!);
  let hosts = 0;
  let zones = 0;
  for (const [at, a] of members.entries()) {
    for (const b of members.slice(0, at)) {
      if (a.zone === b.zone) zones++;
      if (a.zone === b.zone && a.host === b.host) hosts++;
    }
  }
  return [hosts, zones];
}

/** The same of the best of all sets, found by trying them all. */
function bestSpread(nodes: readonly RingNode[], size: number): [number, number] {
  let best: [number, number] = [1e9, 1e9];
  const choose = (set: readonly NodeId[], from: number): void => {
    if (set.length === size) {
      const spread = spreadOf(set, nodes);
      if (spread[0] < best[0] || (spread[0] === best[0] && spread[1] < best[1])) best = spread;
      return;
    }
    for (let at = from; at < nodes.length; at++) choose([...set, nodes[at]!.id], at + 1);
  };
  choose([], 0);
  return best;
}

describe("who is closed", () => {
  test("keeps what it has and gets nothing, and the others are evened out without it", () => {
    const a = Array.from({ length: 6 }, (_, i) => node(`a${i}`, { zone: "a" }));
    const b = [node("b1", { zone: "b", isClosed: true }), node("b2", { zone: "b", isClosed: true })];
    const before = placeShards(
      60,
      [...a, ...b.slice(0, 1).map((each) => ({ ...each, isClosed: false }))],
      OPTIONS,
    );
    const sets = placeShards(60, [...a, ...b], OPTIONS, before);
    expect(sets).toEqual(before);
    // Every set could be spread better, if that zone were there.
    const onlyA = placeShards(60, a.slice(0, 5), OPTIONS);
    const joined = placeShards(60, [...a, ...b], OPTIONS, onlyA);
    expect(loadsOf(joined, [...a, ...b])).toEqual([30, 30, 30, 30, 30, 30, 0, 0]);
    expect(placeShards(2, [...a.slice(0, 1), ...b], OPTIONS)).toEqual(
      [["a0"], ["a0"]].map((set) => set.map(nodeId)),
    );
  });
});

describe("the ring", () => {
  test("what nodes own of it is all of it, each about as much as its weight says", () => {
    const nodes = [...alike(9), node("big", { weight: 3 })];
    const owned = ringOwnership(nodes, 150);
    expect([...owned.values()].reduce((sum, part) => sum + part, 0)).toBeCloseTo(1, 9);
    expect(owned.get(nodeId("big"))).toBeWithin(0.2, 0.3);
    expect(owned.get(nodeId("n1"))).toBeWithin(0.06, 0.11);
    expect(ringOwnership([], 150).size).toBe(0);
    expect(ringOwnership(alike(1), 1).get(nodeId("n1"))).toBeCloseTo(1, 9);
  });

  test("most replicas are where the ring alone would have them", () => {
    const nodes = alike(12);
    const points = new RingPoints(nodes, 150);
    const sets = placeShards(512, nodes, OPTIONS);
    let first = 0;
    for (const [shard, set] of sets.entries()) {
      const ranks = points.ranks(shard);
      for (const id of set) if (ranks[nodes.findIndex((other) => other.id === id)]! < 3) first++;
    }
    // By chance alone it were a quarter.
    expect(first / (3 * 512)).toBeGreaterThan(0.7);
  });
});
