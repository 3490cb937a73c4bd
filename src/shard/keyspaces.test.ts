import { expect, test } from "bun:test";
import { keyspaceId } from "../../protocol/ids.ts";
import { KEYSPACES_MAX } from "../../protocol/limits.ts";
import { KeyspaceGate } from "./keyspace-gate.ts";
import { afterCommand, faultOfKeyspace, type KeyspaceFacts, keepCommand, NO_KEYSPACES } from "./keyspaces.ts";

const create = (facts: KeyspaceFacts, name: string) =>
  afterCommand(facts, { kind: "createKeyspace", name, token: 1 });
const drop = (facts: KeyspaceFacts, id: number) =>
  afterCommand(facts, { kind: "dropKeyspace", id: keyspaceId(id) });
const rows = ({ live }: KeyspaceFacts) => live.map(({ id, name }) => `${id} ${name}`);

test("a name may be used again, and a number never", () => {
  let facts = create(create(NO_KEYSPACES, "a"), "b");
  expect(rows(facts)).toEqual(["1 a", "2 b"]);
  facts = drop(facts, 1);
  expect([rows(facts), facts.drops]).toEqual([["2 b"], 1]);
  facts = create(facts, "a");
  expect(rows(facts)).toEqual(["2 b", "3 a"]);
  expect(facts.version).toBe(4);
});

test("what can't be has no effect", () => {
  const facts = create(NO_KEYSPACES, "a");
  expect(create(facts, "a")).toBe(facts);
  expect(drop(facts, 2)).toBe(facts);
  for (const name of ["default", "0", "00", "", "-a", "a b", "x".repeat(65)])
    expect(create(facts, name)).toBe(facts);
  expect(faultOfKeyspace(facts, "3")).toBeUndefined();
  let full = NO_KEYSPACES;
  for (let i = 0; i < KEYSPACES_MAX; i++) full = create(full, `k${i}`);
  expect(faultOfKeyspace(full, "more")).toBe(`there are ${KEYSPACES_MAX} keyspaces already`);
});

test("a shard learns which keyspaces are no more, and lets nobody write to them", () => {
  const gate = new KeyspaceGate();
  const id = keyspaceId;
  expect([1, 2, 99].map((number) => gate.admits(id(number)))).toEqual([true, true, true]);
  let facts = ["a", "b", "c", "d"].reduce(create, NO_KEYSPACES);
  facts = drop(facts, 2);
  expect(gate.keep(keepCommand(facts))).toEqual([[id(2), id(2)]]);
  expect([1, 2, 3, 4, 5].map((number) => gate.admits(id(number)))).toEqual([true, false, true, true, true]);
  const old = keepCommand(facts);
  facts = drop(drop(drop(facts, 1), 3), 4);
  const again = new KeyspaceGate();
  again.restore(gate.dump());
  expect(again.keep(keepCommand(facts))).toEqual([[id(1), id(4)]]);
  // What comes late says nothing new.
  expect(again.keep(old)).toEqual([]);
  expect([1, 2, 3, 4, 5].map((number) => again.admits(id(number)))).toEqual([
    false,
    false,
    false,
    false,
    true,
  ]);
});
