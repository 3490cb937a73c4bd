import { expect, test } from "bun:test";
import { CONFIGURATION_NODES_MAX } from "../../protocol/configuration.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { logIndex, nodeId, shardId, term } from "../../protocol/ids.ts";
import { encodePlain } from "../../protocol/plain.ts";
import { testSeed } from "../../test/support/seed.ts";
import { seededRandom } from "../lib/prng.ts";
import { MemoryEngine } from "../storage/memory-engine.ts";
import { ApplyBuffer } from "./apply-buffer.ts";
import { EngineKeys } from "./engine-keys.ts";
import { KeyValueMachine } from "./key-value-machine.ts";
import { decodeMeta, encodeMeta } from "./shard-meta.ts";
import { decodeHead, encodeHead, type SnapshotHead } from "./snapshot-head.ts";
import { SystemMachine } from "./system-machine.ts";

const [n1, n2, n3] = [nodeId("n1"), nodeId("n2"), nodeId("n3")];
const LEADER_TERM = term(5);

const HEAD: SnapshotHead = {
  ...{ index: logIndex(40), term: term(2), logTimeMs: 1234.5, floor: logIndex(30) },
  membership: { index: logIndex(7), configuration: { voters: [n1, n2], outgoing: [n1, n3], learners: [n3] } },
  dump: [[7, [[1, 2, 3, [[3, true]]]]], 99, [2, 5, [1, 4]]],
};

const keyValueMachine = () =>
  new KeyValueMachine(shardId(0), new ApplyBuffer(new MemoryEngine()), new EngineKeys());

function decode(bytes: Uint8Array, machine = keyValueMachine()): SnapshotHead {
  return decodeHead(bytes, LEADER_TERM, (dump) => machine.checkDump(dump));
}

test("a head comes back as it was, with a dump or without one", () => {
  expect(decode(encodeHead(HEAD))).toEqual(HEAD);
  expect(decode(encodeHead({ ...HEAD, dump: null }))).toEqual({ ...HEAD, dump: null });
});

test("what can't be the head of this leader's snapshot is refused", () => {
  const good = [40, 2, 7, ["n1", "n2"], [], ["n3"], 1234.5, 30, null];
  decode(encodePlain(good));
  const bad: readonly (readonly [field: number, value: unknown])[] = [
    ...([0, -1, 1.5, "40", null, 2 ** 60].map((value) => [0, value]) as [number, unknown][]),
    ...([0, 6, -2, "2"].map((value) => [1, value]) as [number, unknown][]),
    ...([41, -1, "7"].map((value) => [2, value]) as [number, unknown][]),
    ...([[], ["n2", "n1"], ["n1", "n1"], ["n 1"], [1], "n1", null].map((value) => [3, value]) as [
      number,
      unknown,
    ][]),
    [4, ["n1", "n1"]],
    [5, Array.from({ length: CONFIGURATION_NODES_MAX + 1 }, (_, at) => `n${100 + at}`)],
    ...([-1, "1", Number.NaN, Number.POSITIVE_INFINITY].map((value) => [6, value]) as [number, unknown][]),
    ...([41, -1].map((value) => [7, value]) as [number, unknown][]),
    ...(["x", [1], {}, [[7, []], -1], [[7, []]], [[7], 0]].map((value) => [8, value]) as [number, unknown][]),
  ];
  for (const [field, value] of bad) {
    const plain = good.with(field, value as never);
    expect(() => decode(encodePlain(plain))).toThrow(ProtocolError);
  }
  for (const plain of [good.slice(1), [...good, 1], {}, 1, null]) {
    expect(() => decode(encodePlain(plain))).toThrow(ProtocolError);
  }
});

test("of a damaged head nothing is believed that a replica could not be", () => {
  const random = seededRandom(testSeed("snapshot-head"));
  const actual = { term: 1, index: 4, voters: ["n1"], outgoing: [], learners: [] };
  const facts = {
    ...{ version: 7, clusterId: "c", settings: { shards: 1, replicas: 3, virtualNodes: 150 } },
    incarnations: { n1: "i" },
    nodes: { n1: { address: "a:1", labels: { zone: "z" }, state: "member", successor: "" } },
    shards: [{ first: ["n1"], wanted: ["n1"], copies: [], promoted: [], version: 2, actual }],
    systemVoters: ["n1"],
    keyspaces: { version: 3, next: 3, drops: 1, live: [{ id: 2, name: "b", mode: "raft", token: 9 }] },
  };
  let believed = 0;
  for (let round = 0; round < 4000; round++) {
    const isSystem = random.below(2) === 0;
    const machine = isSystem ? new SystemMachine(() => {}) : keyValueMachine();
    const bytes = encodeHead(isSystem ? { ...HEAD, dump: facts } : HEAD);
    for (let changes = 1 + random.below(3); changes > 0; changes--) {
      bytes[random.below(bytes.length)] = random.below(256);
    }
    const cut = random.below(8) === 0 ? bytes.subarray(0, random.below(bytes.length)) : bytes;
    let head: SnapshotHead;
    try {
      head = decodeHead(cut, LEADER_TERM, (dump) => machine.checkDump(dump));
    } catch (error) {
      expect(error).toBeInstanceOf(ProtocolError);
      continue;
    }
    believed++;
    if (head.dump !== null) machine.restore(head.dump);
    const { index: applied, term: baseTerm, ...rest } = head;
    const meta = {
      ...rest,
      applied,
      half: 0 as const,
      base: { index: applied, term: baseTerm },
      dump: machine.dump(),
    };
    const { configuration } = head.membership;
    expect(decodeMeta(encodeMeta(meta).slice(), configuration).membership).toEqual(head.membership);
  }
  expect(believed).toBeGreaterThan(20);
});
