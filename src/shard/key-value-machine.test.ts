import { expect, test } from "bun:test";
import { type KeyspaceId, keyspaceId, logIndex, shardId } from "../../protocol/ids.ts";
import {
  type ClientResponse,
  NO_SESSION,
  type PutCondition,
  type SessionStamp,
  type WriteRequest,
} from "../../protocol/messages.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { MemoryEngine } from "../storage/memory-engine.ts";
import { ApplyBuffer } from "./apply-buffer.ts";
import { CommandBatch, CommandBatchReader } from "./command-batch.ts";
import { EngineKeys } from "./engine-keys.ts";
import { EntryBuffers } from "./entry-buffers.ts";
import { KeyValueMachine } from "./key-value-machine.ts";
import type { KeyspaceFacts } from "./keyspaces.ts";
import { ShardReader } from "./shard-reader.ts";
import { NO_SNAPSHOTS } from "./testing/no-snapshots.ts";

const LIMITS = { idleMs: 1000, sessionsMax: 3, answersMax: 1e6 };

/** Shared by all machines, as in a node. */
const keys = new EngineKeys();

function setUp(engine = new MemoryEngine()) {
  const buffer = new ApplyBuffer(engine);
  const machine = new KeyValueMachine(shardId(2), buffer, keys, LIMITS);
  const reader = new CommandBatchReader();
  return {
    machine,
    engine,
    /** Applies one entry of these commands. */
    apply: (timeMs: number, ...commands: WriteRequest[]) => {
      const batch = new CommandBatch(new EntryBuffers(1024));
      for (const command of commands) batch.add(command);
      reader.open(batch.take(timeMs, logIndex(0)));
      const answers: ClientResponse[] = [];
      machine.apply(reader, { answer: (response) => void answers.push(response) });
      return answers.map(outcome);
    },
    get: (key: string) => {
      const value = buffer.get(Uint8Array.of(1, 0, 2, 0, 0, ...utf8(key)), 0);
      return value && fromUtf8(value);
    },
  };
}

const outcome = (answer: ClientResponse) => {
  if (answer.kind === "error") return answer.error;
  return "value" in answer ? answer.value : answer.kind;
};
const put = (key: string, value: string, condition: PutCondition = "always", stamp = NO_SESSION) =>
  ({ kind: "put", stamp, key: utf8(key), value: utf8(value), condition }) as const;
const remove = (key: string) => ({ kind: "delete", stamp: NO_SESSION, key: utf8(key) }) as const;
const add = (key: string, delta: bigint, stamp: SessionStamp = NO_SESSION) =>
  ({ kind: "increment", stamp, key: utf8(key), delta }) as const;
const swap = (key: string, expected: string | undefined, value: string | undefined) =>
  ({
    kind: "compareAndSet",
    stamp: NO_SESSION,
    key: utf8(key),
    expected: expected === undefined ? undefined : utf8(expected),
    value: value === undefined ? undefined : utf8(value),
  }) as const;
const OPEN = { kind: "openSession", shard: shardId(2) } as const;

test("puts, and puts with conditions, see what came before them in the same entry", () => {
  const { apply, get } = setUp();
  expect(apply(1, put("a", "1", "ifPresent"), put("a", "2", "ifAbsent"), put("a", "3", "ifAbsent"))).toEqual([
    false,
    true,
    false,
  ]);
  expect(get("a")).toBe("2");
  expect(apply(2, put("a", "4", "ifPresent"), put("a", "5"))).toEqual([true, true]);
  expect(get("a")).toBe("5");
});

test("a delete tells whether there was something", () => {
  const { apply, get } = setUp();
  expect(apply(1, remove("a"), put("a", "1"), remove("a"), remove("a"))).toEqual([false, true, true, false]);
  expect(get("a")).toBeUndefined();
});

test("a counter begins at 0, and never leaves 64 bits", () => {
  const { apply, get } = setUp();
  expect(apply(1, add("n", 5n), add("n", -7n))).toEqual([5n, -2n]);
  apply(2, put("n", "9223372036854775806"));
  expect(apply(3, add("n", 1n), add("n", 1n))).toEqual([9223372036854775807n, "NOT_AN_INTEGER"]);
  expect(get("n")).toBe("9223372036854775807");
  apply(4, put("n", " 1"));
  expect(apply(5, add("n", 1n))).toEqual(["NOT_AN_INTEGER"]);
  expect(get("n")).toBe(" 1");
});

test("compare and set knows values, and keys that are not there, on either side", () => {
  const { apply, get } = setUp();
  expect(apply(1, swap("a", "1", "2"), swap("a", undefined, "1"), swap("a", undefined, "3"))).toEqual([
    false,
    true,
    false,
  ]);
  expect(apply(2, swap("a", "1", "2"), swap("a", "1", "3"))).toEqual([true, false]);
  expect(get("a")).toBe("2");
  expect(apply(3, swap("a", "2", undefined), swap("a", undefined, undefined))).toEqual([true, true]);
  expect(get("a")).toBeUndefined();
});

test("the puts of a batch happen together", () => {
  const { apply, get } = setUp();
  const entries = ["a", "b"].map((key) => ({ key: utf8(key), value: utf8(`value of ${key}`) }));
  expect(apply(1, { kind: "batch", stamp: NO_SESSION, entries })).toEqual([true]);
  expect([get("a"), get("b")]).toEqual(["value of a", "value of b"]);
});

test("a write of a session happens once, however often it comes", () => {
  const { apply, get } = setUp();
  const [session] = apply(100, OPEN) as [bigint];
  const stamp = { session: Number(session), sequence: 1, acknowledgedBelow: 1 };
  expect(apply(101, add("n", 1n, stamp), add("n", 1n, stamp))).toEqual([1n, 1n]);
  expect(apply(102, add("n", 1n, stamp))).toEqual([1n]);
  expect(apply(103, add("n", 1n, { ...stamp, sequence: 2, acknowledgedBelow: 2 }))).toEqual([2n]);
  // The client has said that it has the answer to the first: what became of a late copy can't be told.
  expect(apply(104, add("n", 1n, stamp))).toEqual(["SESSION_EXPIRED"]);
  expect(get("n")).toBe("2");
});

test("a session that is not known does nothing, and says that it can't tell", () => {
  const { apply, get } = setUp();
  const stamp = { session: 77, sequence: 1, acknowledgedBelow: 1 };
  expect(apply(1, put("a", "1", "always", stamp))).toEqual(["SESSION_EXPIRED"]);
  expect(get("a")).toBeUndefined();
});

test("what was dumped remembers the same answers", () => {
  const first = setUp();
  const [session] = first.apply(100, OPEN) as [bigint];
  const stamp = { session: Number(session), sequence: 1, acknowledgedBelow: 1 };
  first.apply(101, put("n", "x"), add("n", 1n, stamp), add("m", 4n, { ...stamp, sequence: 2 }));
  const second = setUp(first.engine);
  second.machine.restore(first.machine.dump());
  expect(second.apply(102, add("n", 1n, stamp), add("m", 4n, { ...stamp, sequence: 2 }))).toEqual([
    "NOT_AN_INTEGER",
    4n,
  ]);
  expect(second.machine.dump()).toEqual(first.machine.dump());
});

test("shards do not see each other's keys", () => {
  const engine = new MemoryEngine();
  const { apply } = setUp(engine);
  apply(1, put("a", "1"));
  const other = new KeyValueMachine(shardId(3), new ApplyBuffer(engine), keys, LIMITS);
  const batch = new CommandBatch(new EntryBuffers(1024));
  batch.add(remove("a"));
  const reader = new CommandBatchReader();
  reader.open(batch.take(2, logIndex(0)));
  const answers: ClientResponse[] = [];
  other.apply(reader, { answer: (response) => void answers.push(response) });
  expect(answers).toEqual([{ kind: "boolean", value: false }]);
});

test("keyspaces do not see each other's keys, and one that was dropped leaves nothing behind", () => {
  const { apply, machine, engine, get: commit } = setUp();
  const [first, second] = [keyspaceId(1), keyspaceId(2)];
  apply(1, put("a", "0"), { ...put("a", "1"), keyspace: first }, { ...put("a", "2"), keyspace: second });
  const shared = new ShardReader(shardId(2), engine, keys, NO_SNAPSHOTS);
  const read = (keyspace: KeyspaceId | undefined) => {
    const get = { kind: "get", key: utf8("a"), consistency: "linearizable", keyspace } as const;
    commit("a");
    const answer = shared.read(get, 0, { logMs: 1, clockMs: 1, heedsClock: false });
    return answer?.kind === "value" ? answer.value && fromUtf8(answer.value) : answer?.kind;
  };
  expect([undefined, first, second].map(read)).toEqual(["0", "1", "2"]);
  expect(apply(2, { ...remove("a"), keyspace: first }, { ...add("a", 5n), keyspace: second })).toEqual([
    true,
    7n,
  ]);
  expect([undefined, first, second].map(read)).toEqual(["0", undefined, "7"]);

  const facts: KeyspaceFacts = { version: 3, next: keyspaceId(3), drops: 1, live: [] };
  expect(machine.missingOf({ ...facts, drops: 0 })).toBeUndefined();
  const command = machine.missingOf(facts)!.slice();
  const batch = new CommandBatch(new EntryBuffers(1024));
  batch.addRaw(command);
  const reader = new CommandBatchReader();
  reader.open(batch.take(3, logIndex(0)));
  machine.apply(reader, undefined);
  expect(machine.missingOf(facts)).toBeUndefined();
  expect(apply(4, { ...put("a", "3"), keyspace: second })).toEqual(["NO_KEYSPACE"]);
  expect([undefined, second].map(read)).toEqual(["0", undefined]);
  expect(apply(5, { ...put("a", "4"), keyspace: keyspaceId(3) })).toEqual([true]);
});
