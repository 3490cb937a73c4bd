import { expect, test } from "bun:test";
import { nodeId } from "../../protocol/ids.ts";
import { seededRandom } from "../lib/prng.ts";
import { ProbeOrder, sample } from "./probe-order.ts";

const NODES = Array.from({ length: 7 }, (_, i) => nodeId(`n${i}`));
const everybody = () => true;

function orderOf(seed: number): ProbeOrder {
  const order = new ProbeOrder(seededRandom(seed));
  for (const node of NODES) order.add(node);
  return order;
}

test("every node comes once a round, in another order each time", () => {
  const order = orderOf(1);
  const round = () => NODES.map(() => order.next(everybody)!);
  const rounds = Array.from({ length: 20 }, round);
  for (const nodes of rounds) expect([...nodes].sort()).toEqual(NODES);
  expect(new Set(rounds.map(String)).size).toBeGreaterThan(15);
});

test("who is to be looked at comes soon, and the round goes on", () => {
  const order = orderOf(2);
  for (const node of NODES) order.hurry(node);
  const turns = Array.from({ length: 14 }, () => order.next(everybody)!);
  const hurried = turns.filter((_, turn) => turn % 2 === 0);
  const others = turns.filter((_, turn) => turn % 2 === 1);
  expect(hurried).toEqual(NODES);
  expect([...others].sort()).toEqual(NODES);
});

test("only who is wanted comes; if nobody is, nobody does", () => {
  const order = orderOf(3);
  order.hurry(NODES[4]!);
  const wanted = (node: string) => node === "n2" || node === "n5";
  const turns = Array.from({ length: 20 }, () => order.next(wanted)!);
  expect([...new Set(turns)].sort()).toEqual([NODES[2]!, NODES[5]!]);
  expect(order.next(() => false)).toBeUndefined();
});

test("newcomers get a place, and who is removed loses it, without anybody being passed over", () => {
  for (let seed = 0; seed < 50; seed++) {
    const order = orderOf(seed);
    const before = [order.next(everybody)!, order.next(everybody)!, order.next(everybody)!];
    order.remove(before[0]!);
    const rest = Array.from({ length: 4 }, () => order.next(everybody)!);
    expect([...before, ...rest].sort()).toEqual(NODES);
    order.add(nodeId("new"));
    const seen = Array.from({ length: 14 }, () => order.next(everybody)!);
    expect(seen).toContain(nodeId("new"));
    expect(seen).not.toContain(before[0]!);
  }
});

test("samples have no node twice, and none more often than another", () => {
  const random = seededRandom(4);
  const counts = new Map<string, number>();
  for (let run = 0; run < 7_000; run++) {
    const chosen = sample(random, NODES, 3, (node) => node !== NODES[0]);
    expect(new Set(chosen).size).toBe(3);
    for (const node of chosen) counts.set(node, (counts.get(node) ?? 0) + 1);
  }
  expect(counts.size).toBe(6);
  for (const count of counts.values()) expect(Math.abs(count - 3_500)).toBeLessThan(250);
  expect(sample(random, NODES, 99, everybody)).toHaveLength(7);
});
