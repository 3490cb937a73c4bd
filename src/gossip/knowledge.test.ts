import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  type LeaderHint,
  type LoadFact,
  MEMBER_STATES,
  type MemberFact,
} from "../../protocol/gossip-messages.ts";
import { type NodeId, nodeId, shardId, term } from "../../protocol/ids.ts";
import { seededRandom } from "../lib/prng.ts";
import { Knowledge } from "./knowledge.ts";
import { ANY_LOAD } from "./testing/simulated-gossip.ts";

const NODES = ["n1", "n2", "n3"].map(nodeId);
const someNode = fc.constantFrom(...NODES);
const anyMember: fc.Arbitrary<MemberFact> = fc
  .record({
    node: someNode,
    state: fc.constantFrom(...MEMBER_STATES),
    incarnation: fc.nat(3),
    suspectedBy: fc.uniqueArray(someNode, { maxLength: 2 }),
  })
  .map((fact) => (fact.state === "suspect" ? fact : { ...fact, suspectedBy: [] }));
const anyLoad: fc.Arbitrary<LoadFact> = fc
  .record({ node: someNode, incarnation: fc.nat(2), version: fc.nat(3) })
  // Of one incarnation and version there is one load.
  .map((fact) => ({ ...fact, load: { ...ANY_LOAD, shards: fact.incarnation * 10 + fact.version } }));
const anyHint: fc.Arbitrary<LeaderHint> = fc
  .record({ shard: fc.nat(2).map(shardId), term: fc.nat(4).map(term) })
  // Of one term there is one leader.
  .map((hint) => ({ ...hint, leader: NODES[(hint.shard + hint.term) % 3]! }));

function fresh(): Knowledge {
  const knowledge = new Knowledge(4);
  for (const node of NODES) knowledge.add(node);
  return knowledge;
}

function learn(knowledge: Knowledge, members: MemberFact[], loads: LoadFact[], hints: LeaderHint[]): void {
  for (const fact of members) knowledge.mergeMember(fact, 0);
  for (const fact of loads) knowledge.mergeLoad(fact);
  for (const hint of hints) knowledge.mergeHint(hint);
}

/** All that is known, whatever the order of names. */
function told(knowledge: Knowledge): unknown {
  return {
    present: knowledge.present,
    nodes: NODES.map((node) => {
      const { state, incarnation, suspectedBy } = knowledge.fact(node)!;
      return { state, incarnation, by: [...suspectedBy].sort(), load: knowledge.load(node) };
    }),
    hints: [0, 1, 2].map((shard) => knowledge.hint(shardId(shard))),
  };
}

test("in whatever order facts come, and however often, the same is believed in the end", () => {
  const many = <T>(of: fc.Arbitrary<T>) => fc.array(of, { maxLength: 12 });
  fc.assert(
    fc.property(
      many(anyMember),
      many(anyLoad),
      many(anyHint),
      fc.integer(),
      (members, loads, hints, seed) => {
        const once = fresh();
        learn(once, members, loads, hints);
        const again = fresh();
        const random = seededRandom(seed);
        const mixed = <T>(facts: T[]) =>
          [...facts, ...facts]
            .map((fact) => ({ fact, place: random.float() }))
            .sort((a, b) => a.place - b.place)
            .map(({ fact }) => fact);
        learn(again, mixed(members), mixed(loads), mixed(hints));
        expect(told(again)).toEqual(told(once));
      },
    ),
  );
});

const fact = (state: MemberFact["state"], incarnation: number, suspectedBy: NodeId[] = []): MemberFact => ({
  ...{ node: NODES[1]!, state, incarnation },
  suspectedBy,
});

test("within an incarnation the graver state wins, a higher incarnation wins over all", () => {
  const knowledge = fresh();
  const merge = (news: MemberFact) => knowledge.mergeMember(news, 10);
  expect(merge(fact("alive", 0))).toBe(false);
  expect(merge(fact("suspect", 0))).toBe(true);
  expect(merge(fact("alive", 0))).toBe(false);
  expect(merge(fact("dead", 0))).toBe(true);
  expect(merge(fact("suspect", 0))).toBe(false);
  expect(merge(fact("left", 0))).toBe(true);
  expect(merge(fact("alive", 1))).toBe(true);
  expect(merge(fact("left", 0))).toBe(false);
  expect(knowledge.state(NODES[1]!)).toBe("alive");
});

test("since when a node is dead is kept while it is, whatever else is said of it", () => {
  const knowledge = fresh();
  knowledge.mergeMember(fact("dead", 0), 100);
  knowledge.mergeMember(fact("left", 3), 200);
  expect(knowledge.deadSinceMs(NODES[1]!)).toBe(100);
  expect(knowledge.present).toBe(2);
  knowledge.mergeMember(fact("suspect", 4), 300);
  expect(knowledge.deadSinceMs(NODES[1]!)).toBeUndefined();
  expect(knowledge.present).toBe(3);
});

test("strangers are passed over", () => {
  const knowledge = fresh();
  const stranger = nodeId("n9");
  expect(knowledge.mergeMember({ ...fact("dead", 5), node: stranger }, 0)).toBe(false);
  expect(knowledge.mergeLoad({ node: stranger, incarnation: 1, version: 1, load: ANY_LOAD })).toBe(false);
  expect(knowledge.state(stranger)).toBeUndefined();
  expect(knowledge.load(stranger)).toBeUndefined();
});

test("a node hears what was said of it, and how far it was, until it has shown that it knows", () => {
  const knowledge = fresh();
  const node = NODES[1]!;
  expect(knowledge.owed(node)).toBeUndefined();
  knowledge.mergeMember(fact("alive", 5), 0);
  knowledge.heard(node, 0, 1);
  expect(knowledge.owed(node)).toEqual(fact("alive", 5));
  knowledge.heard(node, 6, 2);
  expect(knowledge.owed(node)).toBeUndefined();
  knowledge.mergeMember(fact("suspect", 6, [NODES[0]!]), 3);
  expect(knowledge.owed(node)).toEqual(fact("suspect", 6, [NODES[0]!]));
});
