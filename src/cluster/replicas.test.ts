import { expect, test } from "bun:test";
import { encodeConfiguration } from "../../protocol/configuration.ts";
import { groupId, INDEX_ZERO, logIndex, type NodeId, nodeId, TERM_ZERO, term } from "../../protocol/ids.ts";
import type { Entry, GroupMessage } from "../../protocol/peer-messages.ts";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { seededRandom } from "../lib/prng.ts";
import { founders } from "../raft/configuration.ts";
import { ApplyBuffer } from "../shard/apply-buffer.ts";
import { LogStore } from "../shard/log-store.ts";
import { RequestStats } from "../shard/request-stats.ts";
import type { Shard } from "../shard/shard.ts";
import { DEFAULT_SNAPSHOT_SIZES } from "../shard/snapshot-format.ts";
import type { Actual, ReplicaSet } from "../shard/system-facts.ts";
import { MemoryEngine } from "../storage/memory-engine.ts";
import { DEFAULT_TIMING_OPTIONS, timingsOf } from "../timings.ts";
import { type ReplicaParts, Replicas } from "./replicas.ts";

const [N1, N2, N3] = ["n1", "n2", "n3"].map(nodeId) as [NodeId, NodeId, NodeId];
const G1 = groupId(1);

/** n1, whose facts are these, has a replica of shard 0 that its group can do without, or not. Whether it destroys it. */
function destroys(
  wanted: readonly NodeId[],
  actual: Partial<Actual>,
  { isLeftBehind = true, isKept = true } = {},
): boolean {
  const nobody = { voters: [], outgoing: [], learners: [] };
  const set: ReplicaSet = {
    ...{ first: [N1, N2, N3], wanted, copies: [], promoted: [], version: 1 },
    actual: { ...nobody, term: 2, index: 7, ...actual },
  };
  const asked: Actual[] = [];
  const replica = {
    group: G1,
    isLeftBehindBy(by: Actual): boolean {
      asked.push(by);
      return isLeftBehind;
    },
  };
  const removed: unknown[] = [];
  const parts = {
    env: { clock: { nowMs: () => 0 }, random: seededRandom(1), log: { info: () => {} } },
    ...{
      self: N1,
      address: "host:1",
      isKept: () => isKept,
      engine: {},
      timings: timingsOf(DEFAULT_TIMING_OPTIONS),
    },
    membership: { current: { shards: [set] } },
    host: {
      group: (group: number) => (group === G1 ? replica : undefined),
      canTake: () => false,
      remove: (gone: unknown) => void removed.push(gone),
    },
  };
  new Replicas(parts as unknown as ReplicaParts).follow();
  for (const by of asked) expect(by).toEqual(set.actual);
  return removed.length > 0;
}

test("a replica goes once nobody names its node and its group has let it go, and not before", () => {
  const others = { voters: [N2, N3] };
  expect(destroys([N2, N3], others)).toBe(true);
  expect(destroys([N2, N3], others, { isLeftBehind: false })).toBe(false);
  expect(destroys([N2, N3], others, { isKept: false })).toBe(false);
  expect(destroys([N1, N2], others)).toBe(false);
  expect(destroys([N2, N3], { voters: [N1, N2] })).toBe(false);
  expect(destroys([N2, N3], { ...others, outgoing: [N1] })).toBe(false);
  expect(destroys([N2, N3], { ...others, learners: [N1] })).toBe(false);
});

/**
 * n1 gets a replica of shard 0, and with it an entry of term 3 that says that n1, n2 and n3 vote; then n2 asks for its vote
 * with just that entry. Whether it gets it. `dropped`: n1 had a replica before, with a second entry of term 3.
 */
async function votesFor(dropped: boolean): Promise<boolean> {
  const disk = new MemoryFileSystem();
  const logStore = LogStore.open({ fs: disk, background: inlineBackground(disk) }, "/log");
  const members = encodeConfiguration(founders([N1, N2, N3]));
  const entries = [1, 2].map(
    (index): Entry => ({ index: logIndex(index), term: term(3), kind: "config", data: members }),
  );
  if (dropped) {
    logStore.append(G1, { term: term(3), votedFor: undefined, commit: INDEX_ZERO }, entries);
    logStore.drop(G1);
    logStore.cleared(G1);
    await logStore.flush();
  }
  const engine = new MemoryEngine();
  const sent: GroupMessage[] = [];
  let replica: Shard | undefined;
  const set = { first: [N2, N3], wanted: [N1, N2, N3], copies: [], promoted: [], version: 1 };
  const actual = { term: 3, index: 0, voters: [N2, N3], outgoing: [], learners: [] };
  const silent = () => {};
  const parts = {
    env: {
      clock: { nowMs: () => 0, wallMs: () => 0 },
      random: seededRandom(1),
      log: { info: silent, warn: silent },
    },
    ...{ self: N1, address: "host:1", isKept: () => true, engine, logStore, buffer: new ApplyBuffer(engine) },
    ...{ stats: new RequestStats(), snapshots: DEFAULT_SNAPSHOT_SIZES, pauses: undefined, fail: silent },
    timings: timingsOf(DEFAULT_TIMING_OPTIONS),
    replication: { appendBytesMax: 1000, inflightAppendsMax: 1, inflightBytesMax: 1000 },
    membership: { current: { shards: [{ ...set, actual }] }, kept: { first: [set.first] } },
    host: {
      group: () => undefined,
      canTake: () => true,
      add: (shard: Shard) => {
        replica = shard;
      },
      wake: silent,
    },
    send: (_group: number, message: GroupMessage) => void sent.push(message),
  };
  new Replicas(parts as unknown as ReplicaParts).follow();
  const shard = replica!;
  const turn = async (): Promise<void> => {
    shard.advance(true);
    shard.flushStarted();
    await logStore.flush();
    shard.flushEnded();
  };
  const envelope = { from: N2, to: N1, term: term(4) };
  const log = {
    prevIndex: INDEX_ZERO,
    prevTerm: TERM_ZERO,
    entries: entries.slice(0, 1),
    commit: INDEX_ZERO,
  };
  shard.receive({ kind: "append", ...envelope, ...log });
  await turn();
  // It still hears a leader; a transfer is asked for by that one.
  const asked = { lastIndex: logIndex(1), lastTerm: term(3), preVote: false, transfer: true };
  shard.receive({ kind: "vote", ...envelope, term: term(5), ...asked });
  await turn();
  return sent.some((message) => message.kind === "voteReply" && message.granted);
}

test("a replica that comes back votes for nobody who lacks what the one before it had", async () => {
  expect(await votesFor(false)).toBe(true);
  expect(await votesFor(true)).toBe(false);
});

test("a leader tells of members that are news, and of the others once a term, when it has led for a while", () => {
  const actual: Actual = { term: 2, index: 7, voters: [N1, N2], outgoing: [], learners: [] };
  const known: { actual: Actual } = { actual };
  const replica = {
    ...{ group: G1, isLeader: true, membersIndex: 8, term: 2 },
    get settledMembers(): Actual {
      return { ...actual, index: this.membersIndex, term: this.term };
    },
  };
  const parts = {
    env: { clock: { nowMs: () => 0 }, random: seededRandom(1), log: { info: () => {} } },
    ...{ self: N1, address: "host:1", engine: {}, snapshots: DEFAULT_SNAPSHOT_SIZES },
    timings: timingsOf(DEFAULT_TIMING_OPTIONS),
    membership: { facts: { shards: [known] } },
    // At rest: it is looked at once a second.
    host: { shards: [replica], active: [] as unknown[] },
  };
  const replicas = new Replicas(parts as unknown as ReplicaParts);
  const told = (atMs: number) => replicas.takeReports(atMs).map(({ index, term }) => [index, Number(term)]);
  expect(told(0)).toEqual([[8, 2]]);
  expect(told(500)).toEqual([]);
  expect(told(1000)).toEqual([[8, 2]]);
  // News come of who is not at rest, and are told at once.
  replica.membersIndex = 9;
  expect(told(1100)).toEqual([]);
  parts.host.active = [replica];
  expect(told(1200)).toEqual([[9, 2]]);
  replica.membersIndex = 8;
  known.actual = { ...actual, index: 8 };
  expect(told(20_000)).toEqual([]);
  // It was begun anew: whoever was to be taken in meanwhile has to hear that this will never be.
  replica.term = 3;
  expect(told(30_000)).toEqual([]);
  expect(told(39_999)).toEqual([]);
  expect(told(40_000)).toEqual([[8, 3]]);
  expect(told(40_500)).toEqual([]);
  known.actual = { ...actual, index: 8, term: 3 };
  expect(told(60_000)).toEqual([]);
  // A leader of old knows less than the facts do.
  replica.membersIndex = 7;
  replica.term = 4;
  expect([told(70_000), told(90_000)]).toEqual([[], []]);
});
