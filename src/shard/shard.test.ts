import { describe, expect, test } from "bun:test";
import { encodeConfiguration } from "../../protocol/configuration.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import { groupId, logIndex, nodeId, shardId, term } from "../../protocol/ids.ts";
import { type ClientResponse, NO_SESSION, type Put, type WriteRequest } from "../../protocol/messages.ts";
import type { AppendRequest, GroupMessage, Heartbeat } from "../../protocol/peer-messages.ts";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { founders, type Membership } from "../raft/configuration.ts";
import type { HardState, LogReader } from "../raft/types.ts";
import { MemoryEngine } from "../storage/memory-engine.ts";
import { ApplyBuffer } from "./apply-buffer.ts";
import { CommandBatch } from "./command-batch.ts";
import { EngineKeys } from "./engine-keys.ts";
import { EntryBuffers } from "./entry-buffers.ts";
import { KeyValueMachine } from "./key-value-machine.ts";
import { LogDamageError } from "./log-segment.ts";
import { DEFAULT_LOG_STORE_OPTIONS, LogStore } from "./log-store.ts";
import { RequestStats } from "./request-stats.ts";
import { Shard, type ShardParts } from "./shard.ts";
import { decodeMeta, encodeMeta } from "./shard-meta.ts";
import { ShardReader } from "./shard-reader.ts";
import { ShardSpace } from "./shard-space.ts";
import { DEFAULT_SNAPSHOT_SIZES } from "./snapshot-format.ts";
import { SnapshotSender } from "./snapshot-sender.ts";
import { NO_SNAPSHOTS } from "./testing/no-snapshots.ts";
import { plentiful } from "./testing/plentiful.ts";
import { entriesFrom, ScriptedCore } from "./testing/scripted-core.ts";

const GROUP = groupId(1);
const SHARD = shardId(0);

const put = (key: string, value: string): Put => ({
  kind: "put",
  stamp: NO_SESSION,
  key: utf8(key),
  value: utf8(value),
  condition: "always",
});
const OPEN_SESSION: WriteRequest = { kind: "openSession", shard: SHARD };

/** The data of an entry with these commands. */
function dataOf(timeMs: number, floor: number, ...commands: WriteRequest[]): Uint8Array {
  const batch = new CommandBatch(new EntryBuffers(1024));
  for (const command of commands) batch.add(command);
  return batch.take(timeMs, logIndex(floor));
}

/** A shard on a memory disk and engine, with a core that does what the test says. */
function setUp(
  disk = new MemoryFileSystem(),
  meta?: Uint8Array,
  flushed?: Promise<void>,
  log = DEFAULT_LOG_STORE_OPTIONS,
) {
  const time = { nowMs: 1000, wallMs: 5000 };
  const engine = new MemoryEngine();
  const buffer = new ApplyBuffer(engine);
  const logStore = LogStore.open({ fs: disk, background: inlineBackground(disk) }, "/log", log);
  const core = new ScriptedCore();
  const sent: GroupMessage[] = [];
  const awake = { count: 0 };
  const keys = new EngineKeys();
  const machine = new KeyValueMachine(SHARD, buffer, keys);
  const failures: Error[] = [];
  const parts: ShardParts = {
    self: nodeId("n1"),
    group: GROUP,
    founders: founders([nodeId("n1"), nodeId("n2")]),
    clock: { nowMs: () => time.nowMs, wallMs: () => time.wallMs },
    logStore,
    machine,
    reader: new ShardReader(SHARD, engine, keys, NO_SNAPSHOTS),
    space: new ShardSpace(SHARD, engine, keys),
    streams: plentiful(1),
    snapshots: DEFAULT_SNAPSHOT_SIZES,
    flushEngine: () => flushed ?? engine.flush(),
    log: { info: () => {}, warn: () => {} },
    fail: (error) => void failures.push(error),
    buffers: new EntryBuffers(1024),
    stats: new RequestStats(),
    limits: { entryBytesMax: 1000, waitingRequestsMax: 4, quiesceTicks: 40 },
    send: (_group, message) => void sent.push(message),
    wake: () => void awake.count++,
  };
  let built: { log: LogReader; hardState: HardState; applied: number; members: Membership } | undefined;
  const shard = Shard.recover(parts, meta, (log, hardState, applied, members) => {
    built = { log, hardState, applied, members };
    return core;
  });
  const answers: [number, ClientResponse][] = [];
  const sink: ReplySink = {
    reply: (id, response) => {
      const isValue = response.kind === "value";
      answers.push([id, isValue ? { ...response, value: response.value?.slice() } : response]);
    },
  };
  return {
    ...{ shard, core, logStore, time, sent, answers, sink, disk, machine, awake },
    built: built!,
    /** What a host does with a shard at the end of a turn. */
    turn: () => {
      shard.advance(true);
      shard.applyCommitted();
      buffer.commit();
      shard.serveReads(time.nowMs);
    },
    write: (id: number, request: WriteRequest) => shard.write(request, sink, id, time.nowMs),
    read: (id: number, key: string) =>
      shard.read({ kind: "get", key: utf8(key), consistency: "linearizable" }, sink, id, time.nowMs),
    readStale: (key: string) => {
      shard.readStale({ kind: "get", key: utf8(key), consistency: "stale" }, sink, 0, time.nowMs);
      const [, response] = answers.pop()!;
      return response.kind === "value" ? { value: response.value, ageMs: response.ageMs } : undefined;
    },
    flush: async () => {
      shard.flushStarted();
      await logStore.flush();
      shard.flushEnded();
    },
  };
}

const kinds = (answers: readonly [number, ClientResponse][]) =>
  answers.map(([id, response]) => [id, response.kind === "error" ? response.error : response.kind]);

const ENVELOPE = { from: nodeId("n2"), to: nodeId("n1"), term: term(1) };
const heartbeat = (commit: number): Heartbeat => ({
  kind: "heartbeat",
  ...ENVELOPE,
  commit: logIndex(commit),
  readRound: 0,
  quiesce: false,
});
const append = (commit: number): AppendRequest => ({
  kind: "append",
  ...ENVELOPE,
  prevIndex: logIndex(commit),
  prevTerm: term(1),
  commit: logIndex(commit),
  entries: entriesFrom(commit + 1, 1, [dataOf(1, 0)]),
});
const VOTE: GroupMessage = { kind: "voteReply", ...ENVELOPE, preVote: false, granted: true };

test("writes of one turn share an entry, and each is answered when the entry is applied", () => {
  const { core, turn, write, answers } = setUp();
  core.lead(2);
  write(1, put("a", "1"));
  write(2, { kind: "delete", stamp: NO_SESSION, key: utf8("b") });
  turn();
  expect(core.proposed).toHaveLength(1);
  expect(answers).toEqual([]);
  core.script({ committed: entriesFrom(1, 2, core.proposed) });
  turn();
  expect(answers).toEqual([
    [1, { kind: "boolean", value: true }],
    [2, { kind: "boolean", value: false }],
  ]);
});

test("an entry never becomes much larger than its limit", () => {
  const { core, turn, write } = setUp();
  core.lead(1);
  write(1, put("a", "x".repeat(900)));
  write(2, put("b", "x".repeat(900)));
  write(3, put("c", "x".repeat(900)));
  turn();
  expect(core.proposed).toHaveLength(2);
});

test("a write to a node that does not lead any more did not happen, and its answer says so", () => {
  const { turn, write, answers } = setUp();
  write(1, put("a", "1"));
  turn();
  expect(kinds(answers)).toEqual([[1, "NOT_LEADER"]]);
});

test("too many waiting writes, or reads, are refused", () => {
  const { core, write, read, answers } = setUp();
  core.lead(1);
  for (let id = 1; id <= 5; id++) write(id, put("a", "1"));
  for (let id = 11; id <= 15; id++) read(id, "a");
  expect(kinds(answers)).toEqual([
    [5, "OVERLOADED"],
    [15, "OVERLOADED"],
  ]);
});

test("writes that the log does not take are given up after a while: they did not happen", () => {
  const { shard, core, write, answers, turn } = setUp();
  core.lead(1);
  write(1, put("a", "1"));
  // The disk hangs or is full: the host lets nothing be proposed.
  shard.advance(false);
  shard.tick(1000);
  expect(answers).toEqual([]);
  shard.tick(1001);
  expect(kinds(answers)).toEqual([[1, "UNAVAILABLE"]]);
  expect(shard.hasGatheredWrites).toBe(false);
  write(2, put("b", "2"));
  turn();
  core.script({ committed: entriesFrom(1, 1, core.proposed) });
  turn();
  expect(kinds(answers).slice(1)).toEqual([[2, "boolean"]]);
});

test("a proposal without an answer times out, and is not answered again when it is applied after all", () => {
  const { shard, core, write, turn, answers } = setUp();
  core.lead(1);
  write(1, put("a", "1"));
  turn();
  shard.tick(1001);
  core.script({ committed: entriesFrom(1, 1, core.proposed) });
  turn();
  expect(kinds(answers)).toEqual([[1, "TIMEOUT"]]);
});

test("nothing that depends on a log write is sent, or told to the core, before the write is durable", async () => {
  const { core, turn, flush, sent, shard } = setUp();
  core.script({
    entries: entriesFrom(1, 1, [dataOf(1, 0)]),
    messages: [heartbeat(0)],
    messagesAfterSync: [VOTE],
  });
  turn();
  expect(sent.map(({ kind }) => kind)).toEqual(["heartbeat"]);
  expect(core.persistedUpTo).toEqual([]);
  await flush();
  expect(sent.map(({ kind }) => kind)).toEqual(["heartbeat", "voteReply"]);
  expect(core.persistedUpTo).toEqual([[1, 1]]);
  // With nothing to wait for, such messages leave at once.
  core.script({ messagesAfterSync: [VOTE] });
  shard.advance(true);
  expect(sent).toHaveLength(3);
});

test("what comes while a flush is under way waits for it, and what writes itself, for the next", async () => {
  const { shard, core, logStore, sent } = setUp();
  core.script({ entries: entriesFrom(1, 1, [dataOf(1, 0)]) });
  shard.advance(true);
  shard.flushStarted();
  const flushing = logStore.flush();
  core.script({ messagesAfterSync: [VOTE] });
  shard.advance(true);
  core.script({ entries: entriesFrom(2, 1, [dataOf(1, 0)]), messagesAfterSync: [VOTE] });
  shard.advance(true);
  expect(sent).toHaveLength(0);
  await flushing;
  shard.flushEnded();
  expect(sent).toHaveLength(1);
  expect(core.persistedUpTo).toEqual([[1, 1]]);
  shard.flushStarted();
  await logStore.flush();
  shard.flushEnded();
  expect(sent).toHaveLength(2);
  expect(core.persistedUpTo).toEqual([
    [1, 1],
    [2, 1],
  ]);
});

test("a read waits for its round, and then for what was committed to be applied", () => {
  const { core, turn, read, answers } = setUp();
  core.lead(1);
  read(1, "a");
  turn();
  core.script({ reads: [{ round: 1, index: logIndex(1) }] });
  turn();
  expect(answers).toEqual([]);
  core.script({ committed: entriesFrom(1, 1, [dataOf(1, 0, put("a", "new"))]) });
  turn();
  expect(answers).toEqual([[1, { kind: "value", value: utf8("new"), ageMs: 0 }]]);
});

const putUntil = (key: string, ttlMs: number): WriteRequest => ({
  ...{ kind: "putWith", stamp: NO_SESSION, key: utf8(key), value: utf8("1"), condition: "always" },
  ...{ expiry: "after", expiryMs: ttlMs, answersOld: false },
});

/** A leader whose key "a" has expired by its clock, and not by its log. */
function setUpOverdue() {
  const world = setUp();
  const { core, turn, time } = world;
  core.script({ committed: entriesFrom(1, 1, [dataOf(5000, 0, putUntil("a", 100), put("b", "2"))]) });
  turn();
  core.lead(2);
  core.lastIndex = logIndex(1);
  time.wallMs = 5100;
  return world;
}

test("a read that finds what has expired by the clock waits until the log's time is there", () => {
  const { core, turn, read, time, answers } = setUpOverdue();
  time.wallMs = 5099;
  read(1, "a");
  turn();
  core.script({ reads: [{ round: 1, index: logIndex(1) }] });
  turn();
  expect(answers).toEqual([[1, { kind: "value", value: utf8("1"), ageMs: 0 }]]);
  time.wallMs = 5100;
  for (const [id, key] of ["a", "b", "none"].entries()) read(id + 2, key);
  turn();
  core.script({ reads: [{ round: 2, index: logIndex(1) }] });
  turn();
  // The others need no entry.
  expect(kinds(answers.slice(1))).toEqual([
    [3, "value"],
    [4, "value"],
  ]);
  expect(core.proposed).toHaveLength(1);
  turn();
  expect(answers).toHaveLength(3);
  core.script({ committed: entriesFrom(2, 2, core.proposed) });
  turn();
  expect(answers[3]).toEqual([2, { kind: "value", value: undefined, ageMs: 0 }]);
});

test("a leader that leads no more answers no read with what has expired by the clock", () => {
  const { core, turn, read, answers } = setUpOverdue();
  read(1, "a");
  turn();
  core.role = "follower";
  core.script({ reads: [{ round: 1, index: logIndex(1) }] });
  turn();
  expect(kinds(answers)).toEqual([[1, "NOT_LEADER"]]);
  expect(core.proposed).toEqual([]);
});

test("a leader gives the log its time now and then, sooner while keys wait to expire", () => {
  const stampedAt = (command: WriteRequest, ...wallMs: number[]) => {
    const { shard, core, turn, time } = setUp();
    core.script({ committed: entriesFrom(1, 1, [dataOf(5000, 0, command)]) });
    turn();
    core.lead(2);
    return wallMs.map((now) => {
      time.wallMs = now;
      shard.maintain(logIndex(0), 0, false);
      return core.proposed.length;
    });
  };
  expect(stampedAt(put("a", "1"), 604_999, 605_000)).toEqual([0, 1]);
  expect(stampedAt(putUntil("a", 9_999_999), 64_999, 65_000)).toEqual([0, 1]);
});

test("reads of a round that leadership was lost in are refused", () => {
  const { core, turn, read, answers } = setUp();
  core.lead(1);
  read(1, "a");
  turn();
  core.script({ lostReadsUpTo: 1 });
  turn();
  expect(kinds(answers)).toEqual([[1, "UNAVAILABLE"]]);
});

test("a read that was granted is served, though leadership was lost in the same turn", () => {
  const { core, turn, read, answers } = setUp();
  core.lead(1);
  read(1, "a");
  turn();
  read(2, "a");
  turn();
  core.script({ reads: [{ round: 1, index: logIndex(0) }], lostReadsUpTo: 2 });
  turn();
  expect(kinds(answers)).toEqual([
    [2, "UNAVAILABLE"],
    [1, "value"],
  ]);
});

test("a stale read says how long ago this replica had everything", () => {
  const { shard, core, turn, readStale, time } = setUp();
  expect(readStale("a")?.ageMs).toBe(Number.MAX_SAFE_INTEGER);
  core.script({ committed: entriesFrom(1, 1, [dataOf(1, 0, put("a", "1"))]) });
  turn();
  shard.receive(heartbeat(1));
  time.nowMs += 40;
  expect(readStale("a")).toEqual({ value: utf8("1"), ageMs: 40 });
  // The leader is ahead: what this replica has gets older.
  shard.receive(append(2));
  time.nowMs += 40;
  shard.receive(heartbeat(1));
  expect(readStale("a")?.ageMs).toBe(80);
});

test("a replica is introduced when it has applied what made it a member", () => {
  const { shard, core, turn } = setUp();
  expect(shard.isIntroduced).toBe(false);
  core.script({ committed: entriesFrom(1, 1, [dataOf(1, 0)]) });
  turn();
  expect(shard.isIntroduced).toBe(true);
  const data = encodeConfiguration(founders([nodeId("n2")]));
  core.script({ committed: [{ ...entriesFrom(2, 1, [data])[0]!, kind: "config" }] });
  turn();
  expect(shard.isIntroduced).toBe(false);
});

test("a replica that has to refuse what its leader sends does not call itself up to date", () => {
  const { shard, core, turn, readStale, time } = setUp();
  core.script({ committed: entriesFrom(1, 1, [dataOf(1, 0)]) });
  turn();
  shard.receive(heartbeat(1));
  shard.refuse(append(2));
  time.nowMs += 70;
  // A heartbeat's commit index is never above what this node is known to have.
  shard.receive(heartbeat(1));
  expect(readStale("a")?.ageMs).toBe(70);
  expect(core.stepped.map(({ kind }) => kind)).toEqual(["heartbeat", "heartbeat"]);
});

test("log time never goes back, whatever the clocks of the leaders", () => {
  const { core, turn, machine } = setUp();
  const committed = entriesFrom(1, 1, [dataOf(9000, 0, OPEN_SESSION), dataOf(4000, 0, OPEN_SESSION)]);
  core.script({ committed });
  turn();
  const [[, sessions]] = machine.dump() as [[number, [id: number, lastUsedMs: number][]]];
  expect(sessions.map(([, lastUsedMs]) => lastUsedMs)).toEqual([9000, 9000]);
});

test("a leader gives later times than any it has applied or given, though its clock goes back", () => {
  const { core, turn, write, time } = setUp();
  const timeOf = (data: Uint8Array) => Number(new DataView(data.buffer, data.byteOffset).getBigUint64(0));
  core.script({ committed: entriesFrom(1, 1, [dataOf(7000, 0)]) });
  turn();
  core.lead(2);
  for (const wallMs of [5000, 8000, 6000]) {
    time.wallMs = wallMs;
    write(1, put("a", "1"));
    turn();
  }
  expect(core.proposed.map(timeOf)).toEqual([7000, 8000, 8000]);
});

test("what is sealed is exactly what was applied, not what was only proposed", async () => {
  const { shard, core, turn, flush, write, disk, time } = setUp();
  const data = dataOf(3000, 0, OPEN_SESSION);
  core.script({ entries: entriesFrom(1, 1, [data]) });
  turn();
  await flush();
  core.script({ committed: entriesFrom(1, 1, [data]) });
  turn();
  const meta = shard.metaForSeal().slice();
  core.lead(2);
  time.wallMs = 99_000;
  write(1, put("a", "1"));
  turn();
  expect(shard.metaForSeal()).toEqual(meta);

  const again = setUp(disk.copy(), meta);
  expect(again.shard.appliedIndex).toBe(logIndex(1));
  expect(again.built.applied).toBe(1);
  expect(again.machine.dump()).toEqual([[3001, [[3000, 3000, 1, []]]], 0, [0, 1, []]]);
  expect(again.shard.metaForSeal()).toEqual(meta);
});

test("data that was built from entries which the log does not have is refused", async () => {
  const { shard, core, turn } = setUp();
  core.script({ committed: entriesFrom(1, 1, [dataOf(1, 0), dataOf(1, 0)]) });
  turn();
  const meta = shard.metaForSeal().slice();
  expect(() => setUp(new MemoryFileSystem(), meta)).toThrow(LogDamageError);
});

test("one Output a turn: what is committed is applied before more of it is read", () => {
  const { shard, core, turn, awake } = setUp();
  core.script({ committed: entriesFrom(1, 1, [dataOf(1, 0)]) });
  core.script({ committed: entriesFrom(2, 1, [dataOf(1, 0)]) });
  turn();
  expect(shard.appliedIndex).toBe(logIndex(1));
  const before = awake.count;
  shard.tick(0);
  expect(awake.count).toBe(before + 1);
  turn();
  expect(shard.appliedIndex).toBe(logIndex(2));
});

test("the log is forgotten up to what is in tables, applied, and with every member", async () => {
  const { shard, core, turn, flush, logStore } = setUp();
  const data = [dataOf(1, 0), dataOf(1, 0), dataOf(1, 2), dataOf(1, 0)];
  core.script({ entries: entriesFrom(1, 1, data) });
  turn();
  await flush();
  core.script({ committed: entriesFrom(1, 1, data) });
  shard.maintain(logIndex(4), 1, false);
  expect(logStore.group(GROUP).firstIndex).toBe(logIndex(1));
  turn();
  shard.maintain(logIndex(1), 1, false);
  expect(logStore.group(GROUP).firstIndex).toBe(logIndex(2));
  shard.maintain(logIndex(4), 1, false);
  expect(logStore.group(GROUP).firstIndex).toBe(logIndex(3));
});

test("commands of the group's own are alone in their entry", () => {
  const { shard, core, write } = setUp();
  expect(shard.proposeRaw(utf8("nobody leads"))).toBeUndefined();
  core.lead(1);
  write(1, put("a", "1"));
  expect(shard.proposeRaw(utf8("raw"))).toBe(logIndex(2));
  expect(core.proposed).toHaveLength(2);
  expect(fromUtf8(core.proposed[1]!.subarray(16))).toBe("raw");
});

describe("a node that died when the engine had a snapshot, and the log knew nothing of it", () => {
  const membership = { index: logIndex(7), configuration: founders([nodeId("n1"), nodeId("n3")]) };
  const base = { index: logIndex(9), term: term(4) };
  const meta = () =>
    encodeMeta({
      ...{ applied: base.index, logTimeMs: 5, floor: logIndex(0), dump: null, half: 1, membership, base },
    }).slice();

  test("begins its log behind the snapshot, in a term that is not older", async () => {
    const disk = new MemoryFileSystem();
    const before = LogStore.open({ fs: disk, background: inlineBackground(disk) }, "/log");
    before.append(GROUP, { term: term(3), votedFor: nodeId("n2"), commit: logIndex(2) }, [
      ...entriesFrom(
        1,
        3,
        Array.from({ length: 20 }, () => dataOf(1, 0)),
      ),
    ]);
    await before.flush();
    const { built } = setUp(disk, meta());
    expect([built.log.firstIndex, built.log.lastIndex]).toEqual([logIndex(10), logIndex(9)]);
    expect(built.log.term(logIndex(9))).toBe(term(4));
    // Its vote of term 3 is not one of term 4.
    expect(built.hardState).toMatchObject({ term: term(4), votedFor: undefined });
    expect(built).toMatchObject({ applied: 9, members: membership });
  });

  test("keeps a log that has the snapshot's last entry, and what it has voted since", async () => {
    const disk = new MemoryFileSystem();
    const before = LogStore.open({ fs: disk, background: inlineBackground(disk) }, "/log");
    before.restart(GROUP, base.index, base.term);
    before.append(GROUP, { term: term(6), votedFor: nodeId("n2"), commit: logIndex(9) }, [
      ...entriesFrom(10, 6, [dataOf(1, 0)]),
    ]);
    await before.flush();
    const { built } = setUp(disk, meta());
    expect(built.log.lastIndex).toBe(logIndex(10));
    expect(built.hardState).toMatchObject({ term: term(6), votedFor: nodeId("n2") });
  });
});

test("nobody hears of a snapshot, and the log stays, before the engine has it in tables; but the leader hears of its replica", async () => {
  const { promise: flushed, resolve } = Promise.withResolvers<void>();
  const { shard, core, turn, flush, sent, logStore, readStale } = setUp(undefined, undefined, flushed);
  const log = logStore.group(GROUP);
  core.script({ entries: entriesFrom(1, 1, [dataOf(1, 0)]) });
  turn();
  const membership = { index: logIndex(7), configuration: founders([nodeId("n1"), nodeId("n3")]) };
  const head = {
    ...{ index: logIndex(9), term: term(4), membership, logTimeMs: 77, floor: logIndex(5) },
    dump: [[8, [[1, 2, 1, []]]], 0, [0, 1, []]],
  };
  const from = { engine: new MemoryEngine(), keys: new EngineKeys() };
  const batch = from.engine.newBatch();
  batch.put(from.keys.of(SHARD, undefined, utf8("k")), utf8("v"));
  from.engine.writeUnlogged(batch);
  const sender = new SnapshotSender({
    ...{ self: nodeId("n2"), to: nodeId("n1"), term: term(5), stream: 1, head },
    sizes: DEFAULT_SNAPSHOT_SIZES,
    budget: plentiful(),
    space: new ShardSpace(SHARD, from.engine, from.keys),
    send: (part) => shard.receive(part),
    nowMs: () => 0,
  });
  core.script({
    install: { index: head.index, term: head.term, membership },
    hardState: { term: term(5), votedFor: undefined, commit: head.index },
    messagesAfterSync: [VOTE],
  });
  sender.fill();
  turn();
  // It is what this replica is from here on, as the next seal will say; but nothing that a crash could undo is said.
  expect(readStale("k")?.value).toEqual(utf8("v"));
  expect(decodeMeta(shard.metaForSeal(), membership.configuration)).toMatchObject({
    ...{
      applied: 9,
      half: 1,
      membership,
      base: { index: 9, term: 4 },
      logTimeMs: 77,
      floor: 5,
      dump: head.dump,
    },
  });
  await flush();
  shard.receive({ ...heartbeat(9), readRound: 3 });
  shard.receive({ ...heartbeat(9), term: term(0) });
  shard.receive({ ...heartbeat(9), term: term(2) });
  turn();
  expect([log.firstIndex, log.lastIndex]).toEqual([logIndex(1), logIndex(1)]);
  const [self, to] = [nodeId("n1"), nodeId("n2")];
  expect(sent.filter(({ kind }) => kind !== "snapshotAck")).toEqual([
    { kind: "heartbeatReply", from: self, to, term: term(1), readRound: 3 },
  ]);
  expect(core.stepped).toEqual([]);
  resolve();
  await flushed;
  await Promise.resolve();
  turn();
  expect([log.firstIndex, log.lastIndex]).toEqual([logIndex(10), logIndex(9)]);
  expect(log.hardState.term).toBe(term(5));
  expect(sent).not.toContain(VOTE);
  await flush();
  expect(sent).toContain(VOTE);
});

test("a log write that the disk did not take yet is never found behind the snapshot that replaced the log", async () => {
  const disk = new MemoryFileSystem();
  const log = { segmentBytes: 1, cacheBytes: 1024 };
  const { shard, core, turn, logStore } = setUp(disk, undefined, undefined, log);
  const entries = entriesFrom(
    1,
    1,
    Array.from({ length: 12 }, () => dataOf(1, 0)),
  );
  core.script({ entries });
  turn();
  shard.flushStarted();
  disk.capacityBytes = disk.usedBytes;
  await expect(logStore.flush()).rejects.toThrow();
  const membership = { index: logIndex(7), configuration: founders([nodeId("n1"), nodeId("n3")]) };
  const head = {
    index: logIndex(9),
    term: term(4),
    membership,
    logTimeMs: 77,
    floor: logIndex(5),
    dump: null,
  };
  core.script({ install: { index: head.index, term: head.term, membership } });
  const sender = new SnapshotSender({
    ...{
      self: nodeId("n2"),
      to: nodeId("n1"),
      term: term(5),
      stream: 1,
      head: { ...head, dump: [[8, []], 0, [0, 1, []]] },
    },
    sizes: DEFAULT_SNAPSHOT_SIZES,
    budget: plentiful(),
    space: new ShardSpace(SHARD, new MemoryEngine(), new EngineKeys()),
    send: (part) => shard.receive(part),
    nowMs: () => 0,
  });
  sender.fill();
  turn();
  await Promise.resolve();
  turn();
  // There is room again, and the write that waited goes to a new segment.
  disk.capacityBytes = Number.POSITIVE_INFINITY;
  const found = (): number[] => {
    const files = disk.copy();
    const group = LogStore.open({ fs: files, background: inlineBackground(files) }, "/log", log).group(GROUP);
    return [group.firstIndex, group.lastIndex];
  };
  await logStore.flush();
  expect(found()).toEqual([1, 12]);
  shard.flushEnded();
  turn();
  shard.flushStarted();
  await logStore.flush();
  shard.flushEnded();
  expect(found()).toEqual([10, 9]);
});

test("the log behind a snapshot that is being sent stays, however long the log has become", async () => {
  const { shard, core, turn, flush, logStore } = setUp();
  const entries = entriesFrom(
    1,
    1,
    Array.from({ length: 8 }, () => dataOf(1, 0)),
  );
  core.lead(1);
  core.script({ entries });
  turn();
  await flush();
  core.script({ committed: entries.slice(0, 3) });
  turn();
  core.script({ snapshots: [{ to: nodeId("n2"), index: logIndex(0) }] });
  turn();
  core.script({ committed: entries.slice(3) });
  turn();
  shard.maintain(logIndex(8), 1, true);
  expect(logStore.group(GROUP).firstIndex).toBe(logIndex(4));
  // Nobody leads here any more, and nobody waits for the snapshot.
  core.role = "follower";
  shard.tick(0);
  shard.maintain(logIndex(8), 1, true);
  expect(logStore.group(GROUP).firstIndex).toBe(logIndex(9));
});
