import { expect, test } from "bun:test";
import { type KeyspaceId, keyspaceId, shardId } from "../../protocol/ids.ts";
import { compareBytes, utf8 } from "../lib/bytes.ts";
import { EngineKeys } from "./engine-keys.ts";

const SHARD = shardId(3);
const IDS: readonly (KeyspaceId | undefined)[] = [
  undefined,
  ...[1, 2, 0xee, 0xef, 0xf0, 0xf1, 0xff, 0x100, 65_535, 2 ** 32 - 2, 2 ** 32 - 1].map(keyspaceId),
];

test("each keyspace's keys lie together and in order, and no keyspace's lie in another one's span", () => {
  const keys = new EngineKeys();
  const names = ["", "a", "\u0000", "zz", "\uffff"].map(utf8).sort(compareBytes);
  const all = IDS.flatMap((id) => names.map((name) => keys.of(SHARD, id, name).slice()));
  for (const [i, key] of all.entries()) if (i > 0) expect(compareBytes(all[i - 1]!, key)).toBe(-1);
  for (const [number, id] of IDS.entries()) {
    const [gte, lt] = keys.keyspaceSpan(SHARD, id);
    const inside = all.filter((key) => compareBytes(key, gte) >= 0 && compareBytes(key, lt) < 0);
    expect(inside).toEqual(all.slice(number * names.length, (number + 1) * names.length));
    for (const [at, key] of inside.entries())
      expect(key.slice(gte.length)).toEqual(new Uint8Array(names[at]!));
  }
});

test("all keyspaces are within the half of their shard", () => {
  const keys = new EngineKeys();
  const [gte, lt] = keys.span(SHARD, 0);
  for (const id of IDS) {
    const [first, end] = keys.keyspaceSpan(SHARD, id);
    expect([compareBytes(gte, first), compareBytes(end, lt)]).toEqual([-1, -1]);
  }
  keys.use(SHARD, 1);
  expect(compareBytes(keys.of(SHARD, undefined, utf8("a")), lt)).toBe(1);
});

test("what a snapshot has behind the half is the same key in the other one", () => {
  const keys = new EngineKeys();
  for (const id of IDS) {
    const tail = keys.of(SHARD, id, utf8("key")).slice(4);
    const moved = keys.in(SHARD, 1, tail).slice();
    keys.use(SHARD, 1);
    expect(keys.of(SHARD, id, utf8("key"))).toEqual(moved);
    keys.use(SHARD, 0);
  }
});
