import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { nodeId } from "../../protocol/ids.ts";
import { testSeed } from "../../test/support/seed.ts";
import {
  afterMove,
  estimateOf,
  isMoving,
  MOVE_LIMITS,
  neededMoves,
  nextMoves,
  type PlacementView,
  type PlanNode,
  reportOf,
} from "./plan.ts";
import { type Happening, SimulatedPlacement } from "./testing/simulated-placement.ts";

const seed = testSeed("plan.test.ts");
const numRuns = Number(process.env.RUNS ?? 40);

const LIMITS = { movesPerNode: 2, bytesPerNode: 300, moves: 6, bytesPerSecond: 400, moveSeconds: 1 };

function setUp(nodes: number, shards = 24) {
  const cluster = new SimulatedPlacement({ shards, replicas: 3, limits: LIMITS, chance: () => 0 });
  for (let i = 1; i <= nodes; i++) cluster.happen({ kind: "join", zone: 0, host: i });
  cluster.found();
  return cluster;
}

/** One shard with three replicas, on nodes in these conditions. */
function viewOf(
  health: Readonly<Record<string, PlanNode["health"]>>,
  wanted: readonly string[],
  voters: readonly string[],
  outgoing: readonly string[] = [],
  leaving: readonly string[] = [],
  copies: readonly string[] = [],
): PlacementView {
  const nodes = Object.keys(health).map((id) => {
    const isLeaving = leaving.includes(id);
    return { id: nodeId(id), host: id, zone: "", weight: 1, isLeaving, health: health[id]! };
  });
  const actual = { voters: voters.map(nodeId), outgoing: outgoing.map(nodeId), learners: copies.map(nodeId) };
  return {
    nodes,
    shards: [{ wanted: wanted.map(nodeId), copies: copies.map(nodeId), actual, bytes: 1 }],
    ring: { virtualNodes: 10, replicas: 3 },
  };
}

const zones = fc.record({ kind: fc.constant("join" as const), zone: fc.nat(2), host: fc.nat(3) });
const happening: fc.Arbitrary<Happening> = fc.oneof(
  { weight: 3, arbitrary: zones },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("drain" as const), node: fc.nat(30) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("remove" as const), node: fc.nat(30) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("replace" as const), node: fc.nat(30), by: fc.nat(30) }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("kill" as const), node: fc.nat(30) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("restart" as const), node: fc.nat(30) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("wish" as const),
      action: fc.constantFrom("add" as const, "promote" as const, "demote" as const, "remove" as const),
      node: fc.nat(30),
      shard: fc.nat(30),
    }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("pass" as const), seconds: fc.nat(30) }) },
);

describe("the plan, carried out move by move", () => {
  test("comes to rest whatever happens meanwhile, and keeps to limits and majorities on the way", () => {
    const story = fc.record({
      shards: fc.integer({ min: 1, max: 24 }),
      replicas: fc.integer({ min: 1, max: 5 }),
      founders: fc.array(zones, { minLength: 1, maxLength: 8 }),
      happenings: fc.array(happening, { maxLength: 30 }),
      chances: fc.infiniteStream(fc.nat(99)),
      comeBack: fc.boolean(),
    });
    fc.assert(
      fc.property(story, ({ shards, replicas, founders, happenings, chances, comeBack }) => {
        const chance = () => chances.next().value;
        const cluster = new SimulatedPlacement({ shards, replicas, limits: LIMITS, chance });
        for (const founder of founders) cluster.happen(founder);
        cluster.found();
        for (const what of happenings) cluster.happen(what);
        cluster.heal(comeBack);
        const seconds = cluster.settle(20_000);
        expect(seconds).toBeLessThan(20_000);
        cluster.checkRest();
      }),
      { seed, numRuns },
    );
  });

  test("a join, a leave and a death move about the ideal", () => {
    const cluster = setUp(6);
    const ideal = (24 * 3) / 7;
    cluster.happen({ kind: "join", zone: 0, host: 7 });
    cluster.settle(1000);
    expect(cluster.copies).toBeLessThanOrEqual(Math.ceil(ideal));
    const before = cluster.copies;
    cluster.happen({ kind: "drain", node: 0 });
    cluster.settle(1000);
    expect(cluster.copies - before).toBeLessThanOrEqual(Math.ceil(ideal) + 1);
    const afterDrain = cluster.copies;
    cluster.happen({ kind: "kill", node: 3 });
    cluster.setLost(3);
    cluster.settle(1000);
    expect(cluster.copies - afterDrain).toBeLessThanOrEqual(12 + 1);
    cluster.checkRest();
  });

  test("of a hundred nodes one comes, one dies and one goes: each moves its share of 1024 shards, in seconds", () => {
    const limits = { ...MOVE_LIMITS, bytesPerNode: 1e9, bytesPerSecond: 1e9 };
    const cluster = new SimulatedPlacement({ shards: 1024, replicas: 3, limits, chance: () => 0 });
    for (let i = 0; i < 100; i++) cluster.happen({ kind: "join", zone: i % 3, host: i });
    cluster.found();
    const changes: Happening[] = [
      { kind: "join", zone: 0, host: 100 },
      { kind: "kill", node: 5 },
      { kind: "drain", node: 7 },
    ];
    for (const change of changes) {
      const before = cluster.copies;
      cluster.happen(change);
      if (change.kind === "kill") cluster.setLost(change.node);
      // A move takes a few steps, and eight of them are made at a time.
      expect(cluster.settle(1000)).toBeLessThan(40);
      // In a zone of 33 to 35 nodes each holds 29 to 32 of the 1024 replicas that the zone has.
      expect(cluster.copies - before).toBeWithin(29, 34);
    }
    cluster.checkRest();
  });

  test("a node that was away for a short while costs nothing", () => {
    const cluster = setUp(5);
    cluster.happen({ kind: "kill", node: 1 });
    cluster.happen({ kind: "pass", seconds: 20 });
    cluster.happen({ kind: "restart", node: 1 });
    cluster.settle(1000);
    expect(cluster.copies).toBe(0);
  });
});

describe("one step", () => {
  test("who leaves comes before who is lost, and both before balance", () => {
    const cluster = setUp(6);
    cluster.happen({ kind: "join", zone: 0, host: 7 });
    cluster.happen({ kind: "kill", node: 1 });
    cluster.setLost(1);
    cluster.happen({ kind: "drain", node: 2 });
    const reasons = neededMoves(cluster.view).map(({ reason }) => reason);
    expect([...new Set<string>(reasons)].join()).toMatch(/^drain,repair(,balance)?$/);
    const moves = nextMoves(cluster.view, LIMITS);
    expect(moves.length).toBeGreaterThan(0);
    expect(moves.every(({ add }) => add !== undefined)).toBe(true);
  });

  test("a replacement gets what the leaver had, and nobody else anything", () => {
    const cluster = setUp(5);
    cluster.happen({ kind: "join", zone: 0, host: 9 });
    cluster.happen({ kind: "replace", node: 1, by: 5 });
    const had = cluster.view.shards.filter(({ wanted }) => wanted.includes(nodeId("n2"))).length;
    const moves = neededMoves(cluster.view);
    expect(moves).toHaveLength(had);
    for (const { add, remove, reason } of moves)
      expect([add, remove, reason]).toEqual([nodeId("n6"), nodeId("n2"), "drain"]);
  });

  test("the newcomer is silent: the move is taken back, and nothing is brought to it", () => {
    const cluster = setUp(4);
    cluster.happen({ kind: "join", zone: 0, host: 5 });
    cluster.happen({ kind: "pass", seconds: 1 });
    const moving = cluster.view.shards.filter(({ wanted }) => wanted.includes(nodeId("n5"))).length;
    expect(moving).toBe(LIMITS.movesPerNode);
    cluster.happen({ kind: "kill", node: 4 });
    const moves = nextMoves(cluster.view, LIMITS);
    expect(moves.map(({ reason, remove }) => [reason, remove])).toEqual(
      Array.from({ length: moving }, () => ["stop", nodeId("n5")]),
    );
  });

  test("a set is not made smaller when what is left could not decide, nor where nobody could take the place", () => {
    const cluster = setUp(3, 4);
    cluster.happen({ kind: "kill", node: 1 });
    cluster.happen({ kind: "drain", node: 2 });
    expect(nextMoves(cluster.view, LIMITS)).toEqual([]);
    cluster.happen({ kind: "restart", node: 1 });
    expect(nextMoves(cluster.view, LIMITS).map(({ add, remove }) => [add, remove])).toEqual(
      Array.from({ length: 4 }, () => [undefined, nodeId("n3")]),
    );
    // A lost member stays while there is nobody in its place.
    const other = setUp(3, 4);
    other.happen({ kind: "kill", node: 1 });
    other.setLost(1);
    expect(neededMoves(other.view)).toEqual([]);
  });

  test("a shard that needs two moves gets one after the other", () => {
    const cluster = setUp(1, 2);
    for (let i = 0; i < 2; i++) cluster.happen({ kind: "join", zone: 0, host: 10 + i });
    expect(neededMoves(cluster.view).map(({ shard }) => shard)).toEqual([0, 0, 1, 1]);
    expect(nextMoves(cluster.view, LIMITS).map(({ shard }) => shard)).toEqual([0, 1]);
  });

  test("what is lost goes to those who are up, at once", () => {
    const cluster = setUp(5);
    cluster.happen({ kind: "join", zone: 0, host: 6 });
    cluster.happen({ kind: "kill", node: 5 });
    cluster.happen({ kind: "kill", node: 0 });
    cluster.setLost(0);
    const moves = neededMoves(cluster.view);
    const held = cluster.view.shards.filter(({ wanted }) => wanted.includes(nodeId("n1"))).length;
    expect(moves.filter(({ remove }) => remove === nodeId("n1"))).toHaveLength(held);
    expect(moves.map(({ add }) => add)).not.toContain(nodeId("n6"));
  });

  test("a replacement that is not there is waited for", () => {
    const cluster = setUp(5);
    cluster.happen({ kind: "join", zone: 0, host: 9 });
    cluster.happen({ kind: "replace", node: 1, by: 5 });
    cluster.happen({ kind: "kill", node: 5 });
    expect(neededMoves(cluster.view).length).toBeGreaterThan(0);
    expect(nextMoves(cluster.view, LIMITS)).toEqual([]);
  });

  test("nothing is begun that the voters can't decide", () => {
    const view = viewOf({ a: "up", b: "lost", c: "down", d: "up" }, ["a", "b", "c"], ["a", "b", "c"]);
    expect(neededMoves(view)).toMatchObject([{ add: "d", remove: "b", reason: "repair" }]);
    expect(nextMoves(view, LIMITS)).toEqual([]);
    const alive = viewOf({ a: "up", b: "lost", c: "up", d: "up" }, ["a", "b", "c"], ["a", "b", "c"]);
    expect(nextMoves(alive, LIMITS)).toHaveLength(1);
  });

  test("nobody goes before the newcomer that waits for its turn, and of two who leave the silent one goes first", () => {
    const set = ["a", "b", "c"];
    const view = viewOf({ a: "up", b: "down", c: "up", d: "up" }, set, set, [], ["a", "b"]);
    expect(nextMoves(view, LIMITS)).toMatchObject([{ add: "d", remove: "b" }]);
    // The first turn of a driver has no bytes to give away. Without d the set would hang on both who stay.
    expect(nextMoves(view, LIMITS, 0)).toEqual([]);
    expect(nextMoves(view, { ...LIMITS, moves: 0 })).toEqual([]);
  });

  test("who is removed while it is to hold a shard alone is waited for: it may hold all there is already", () => {
    const moved = (health: PlanNode["health"]) =>
      nextMoves(viewOf({ a: "up", b: health, c: "up" }, ["b"], ["a"], [], ["b"]), LIMITS);
    expect([moved("up"), moved("down")]).toEqual([[], []]);
    expect(moved("lost")).toMatchObject([{ add: "a", remove: "b", reason: "stop" }]);
    // Of several one is not needed for what the others hold.
    const set = viewOf({ a: "up", b: "up", c: "up", d: "up" }, ["a", "b", "d"], ["a", "b", "c"], [], ["d"]);
    expect(nextMoves(set, LIMITS)).toMatchObject([{ add: "c", remove: "d", reason: "stop" }]);
  });

  test("a smaller set whose others fall silent is given up, and nothing that has its vote already", () => {
    const smaller = viewOf({ a: "up", b: "down", c: "up" }, ["a", "b"], ["a", "b", "c"]);
    expect(nextMoves(smaller, LIMITS)).toMatchObject([{ add: "c", remove: undefined, reason: "stop" }]);
    const joint = viewOf({ a: "up", b: "up", c: "down" }, ["a", "b", "c"], ["a", "b"], ["a"]);
    expect(nextMoves(joint, LIMITS)).toEqual([]);
    // Neither can decide: whoever comes back first may finish it.
    const none = viewOf({ a: "up", b: "down", c: "down" }, ["a", "b"], ["a", "b", "c"]);
    expect(nextMoves(none, LIMITS)).toEqual([]);
  });

  test("a copy without a vote is at its place, and gets a vote only where nobody else can", () => {
    const set = ["a", "b", "c"];
    const kept = viewOf({ a: "up", b: "up", c: "up", d: "up", e: "up" }, set, set, [], [], ["d"]);
    expect(isMoving(kept.shards[0]!)).toBe(false);
    expect(reportOf(kept, LIMITS)).toMatchObject({ underWay: [], toCome: [] });
    // Any other learner comes for a vote, or is to go.
    expect(isMoving({ ...kept.shards[0]!, copies: [] })).toBe(true);
    expect(isMoving({ ...kept.shards[0]!, copies: [nodeId("e")] })).toBe(true);
    const drained = viewOf({ a: "up", b: "up", c: "up", d: "up", e: "up" }, set, set, [], ["b"], ["d"]);
    expect(nextMoves(drained, LIMITS)).toMatchObject([{ add: "e", remove: "b" }]);
    const nobodyElse = viewOf({ a: "up", b: "up", c: "up", d: "up", e: "down" }, set, set, [], ["b"], ["d"]);
    expect(nextMoves(nobodyElse, LIMITS)).toMatchObject([{ add: "d", remove: "b" }]);
  });

  test("a vote that came to who shall have but a copy goes to the first other node that can have it", () => {
    const UP = { a: "up", b: "up", c: "up", d: "up" } as const;
    const voting = (health: Readonly<Record<string, PlanNode["health"]>>) =>
      viewOf(health, ["a", "d", "c"], ["a", "d", "c"], [], [], ["d"]);
    expect(nextMoves(voting({ ...UP, b: "lost" }), LIMITS)).toEqual([]);
    expect(nextMoves(voting({ ...UP, b: "down" }), LIMITS)).toEqual([]);
    expect(nextMoves(voting(UP), LIMITS)).toMatchObject([{ add: "b", remove: "d" }]);
    // Of two who shall have but copies one votes: that is not changed for the other one.
    const both = viewOf(UP, ["a", "d", "c"], ["a", "d", "c"], [], [], ["b", "d"]);
    expect(nextMoves(both, LIMITS)).toEqual([]);
  });

  test("who takes the place of another one does not where it shall have but a copy, if somebody else can", () => {
    const replaced = (e: PlanNode["health"]) => {
      const view = viewOf(
        { a: "up", b: "up", c: "up", d: "up", e },
        ["a", "b", "c"],
        ["a", "b", "c"],
        [],
        [],
        ["d"],
      );
      const nodes = view.nodes.map((node) => {
        return node.id === "a" ? { ...node, isLeaving: true, replacement: nodeId("d") } : node;
      });
      return nextMoves({ ...view, nodes }, LIMITS);
    };
    expect(replaced("up")).toMatchObject([{ add: "e", remove: "a" }]);
    expect(replaced("down")).toMatchObject([{ add: "d", remove: "a" }]);
  });

  test("votes are evened out around those who shall have none in a shard", () => {
    const cluster = setUp(3);
    cluster.happen({ kind: "join", zone: 0, host: 9 });
    const newcomer = nodeId("n4");
    const copies = (shard: number) => (shard < 12 ? [newcomer] : []);
    const { view } = cluster;
    const shards = view.shards.map((row, shard) => ({ ...row, copies: copies(shard) }));
    const gets = neededMoves({ ...view, shards }).filter(({ add }) => add === newcomer);
    expect(gets.map(({ shard }) => shard)).toEqual(Array.from({ length: 12 }, (_, i) => 12 + i));
  });

  test("the budget ends what is begun, but one copy may be longer than it", () => {
    const cluster = setUp(3);
    for (let i = 0; i < 3; i++) cluster.happen({ kind: "join", zone: 0, host: 10 + i });
    expect(nextMoves(cluster.view, LIMITS, 0)).toEqual([]);
    expect(nextMoves(cluster.view, LIMITS, 1)).toHaveLength(1);
    expect(nextMoves(cluster.view, LIMITS).length).toBeLessThanOrEqual(LIMITS.moves);
  });

  test("the estimate counts bytes at their limit and moves in the rows they have to wait in", () => {
    const to = (id: string, bytes: number) => ({ add: nodeId(id), bytes });
    expect(estimateOf([], MOVE_LIMITS)).toEqual({ moves: 0, bytes: 0, seconds: 0 });
    const four = [to("a", 100), to("a", 100), to("a", 100), to("b", 100)];
    expect(estimateOf(four, LIMITS)).toEqual({ moves: 4, bytes: 400, seconds: 1 + 2 });
    expect(estimateOf([to("a", 4000)], LIMITS)).toEqual({ moves: 1, bytes: 4000, seconds: 11 });
  });

  test("who comes stands where the one who goes stood", () => {
    const [a, b, c, d] = ["a", "b", "c", "d"].map(nodeId);
    const set = [a!, b!, c!];
    expect(afterMove(set, { add: d, remove: b })).toEqual([a!, d!, c!]);
    expect(afterMove(set, { add: d, remove: undefined })).toEqual([a!, b!, c!, d!]);
    expect(afterMove(set, { add: undefined, remove: b })).toEqual([a!, c!]);
  });
});
