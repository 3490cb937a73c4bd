import { expect, test } from "bun:test";
import { type Deadlined, Deadlines } from "./deadlines.ts";
import { FakeWorld } from "./fake-world.ts";

class Item implements Deadlined {
  earlier: Deadlined | undefined = undefined;
  later: Deadlined | undefined = undefined;
  deadlineMs: number;
  constructor(deadlineMs: number) {
    this.deadlineMs = deadlineMs;
  }
}

test("items expire in the order of their deadlines, whatever the order they came in", async () => {
  const world = new FakeWorld();
  const startMs = world.clock.nowMs();
  const expired: number[] = [];
  const list = new Deadlines<Item>(world.clock, (item) => expired.push(item.deadlineMs - startMs));
  for (const delayMs of [30, 10, 20, 40, 10]) list.add(new Item(startMs + delayMs));
  await world.pass(35);
  expect(expired).toEqual([10, 10, 20, 30]);
  await world.pass(10);
  expect(expired).toEqual([10, 10, 20, 30, 40]);
});

test("what was removed does not expire, from either end or the middle", async () => {
  const world = new FakeWorld();
  const startMs = world.clock.nowMs();
  const expired: Item[] = [];
  const list = new Deadlines<Item>(world.clock, (item) => expired.push(item));
  const items = [1, 2, 3, 4, 5].map((delayMs) => new Item(startMs + delayMs));
  for (const item of items) list.add(item);
  for (const i of [0, 2, 4]) list.remove(items[i]!);
  await world.pass(10);
  expect(expired).toEqual([items[1]!, items[3]!]);
  expect(list.takeFirst()).toBeUndefined();
});

test("an item that is added while another expires gets its time", async () => {
  const world = new FakeWorld();
  const startMs = world.clock.nowMs();
  const expired: number[] = [];
  const list: Deadlines<Item> = new Deadlines<Item>(world.clock, (item) => {
    expired.push(item.deadlineMs - startMs);
    if (expired.length < 3) list.add(new Item(item.deadlineMs + 10));
  });
  list.add(new Item(startMs + 10));
  await world.pass(50);
  expect(expired).toEqual([10, 20, 30]);
});
