import { expect, test } from "bun:test";
import { groupId, type LogIndex, logIndex, type NodeId, nodeId, shardId, term } from "../../protocol/ids.ts";
import type { GroupMessage, SnapshotAck, SnapshotPart } from "../../protocol/peer-messages.ts";
import { utf8 } from "../lib/bytes.ts";
import { founders } from "../raft/configuration.ts";
import { MemoryEngine } from "../storage/memory-engine.ts";
import { EngineKeys } from "./engine-keys.ts";
import { ShardSpace } from "./shard-space.ts";
import { SnapshotExchange } from "./snapshot-exchange.ts";
import { DEFAULT_SNAPSHOT_SIZES, type SnapshotHead } from "./snapshot-format.ts";
import { plentiful } from "./testing/plentiful.ts";

const [n1, n2, n3, n4] = [nodeId("n1"), nodeId("n2"), nodeId("n3"), nodeId("n4")];

const head = (index: number): SnapshotHead => ({
  ...{ index: logIndex(index), term: term(1), logTimeMs: 0, floor: logIndex(0), dump: null },
  membership: { index: logIndex(0), configuration: founders([n1, n2]) },
});

/** One end, with some parts' worth of data in use. */
function end(self: typeof n1, parts: number, streams = 4) {
  const engine = new MemoryEngine();
  const space = new ShardSpace(shardId(0), engine, new EngineKeys());
  for (let i = 0; i < parts; i++) space.gather(utf8(`k${i}`), new Uint8Array(200_000), 0);
  space.fill();
  space.changeOver();
  const sent: GroupMessage[] = [];
  const time = { nowMs: 0 };
  const budget = plentiful(streams);
  const told: string[] = [];
  const asked: number[] = [];
  const state = { index: 10 };
  const exchange = new SnapshotExchange({
    ...{ self, group: groupId(1), space, budget },
    ...{ sizes: DEFAULT_SNAPSHOT_SIZES, machine: { checkDump: () => {} } },
    log: { info: () => {}, warn: (message, fields) => void told.push(`${message}: ${fields?.reason}`) },
    head: () => {
      asked.push(state.index);
      return head(state.index);
    },
    clock: { nowMs: () => time.nowMs },
    send: (_group, message) => void sent.push(message),
  });
  return { engine, exchange, sent, budget, time, told, asked, state };
}

type Replica = ReturnType<Parameters<SnapshotExchange["tick"]>[1]>[number];
const lacking = (node: NodeId): Replica => ({ node, active: true, state: "snapshot" });
const tick = ({ exchange }: ReturnType<typeof end>, replicas: readonly Replica[]) =>
  exchange.tick(term(1), () => replicas);

const partsOf = (sent: GroupMessage[]) =>
  sent.splice(0).filter((message): message is SnapshotPart => message.kind === "snapshotPart");
const ackOf = (sent: GroupMessage[]) => sent.pop() as SnapshotAck;

test("a node is sent one snapshot at a time: a later one ends the one before", () => {
  const sender = end(n1, 20);
  sender.exchange.begin(n2, term(1));
  const first = partsOf(sender.sent);
  sender.state.index = 20;
  sender.exchange.begin(n2, term(2));
  const second = partsOf(sender.sent);
  expect(sender.budget.active).toBe(1);
  const receiver = end(n2, 0);
  receiver.exchange.receive(first[0]!);
  receiver.sent.length = 0;
  receiver.exchange.receive(second[0]!);
  // The receiver knows the first stream no more: that says nothing of the second one.
  receiver.exchange.receive(first[1]!);
  const refusal = ackOf(receiver.sent);
  expect(refusal).toMatchObject({ stream: first[0]!.stream, refused: true });
  expect(sender.exchange.acknowledged(refusal)).toBeUndefined();
  expect(sender.exchange.isSending).toBe(true);
});

test("a stream is not taken back for an earlier one whose beginning comes again", () => {
  const sender = end(n1, 20);
  sender.exchange.begin(n2, term(1));
  const [late] = partsOf(sender.sent);
  sender.exchange.begin(n2, term(1));
  const second = partsOf(sender.sent);
  const receiver = end(n2, 0);
  receiver.exchange.receive(second[0]!);
  receiver.exchange.receive(late!);
  expect(ackOf(receiver.sent)).toMatchObject({ stream: late!.stream, refused: true });
  receiver.exchange.receive(second[1]!);
  expect(ackOf(receiver.sent)).toMatchObject({ next: 2, refused: false });
});

test("the log stays behind a snapshot until who got it has caught up, or has had time enough", () => {
  const sender = end(n1, 0);
  const match = (index: number) => [{ node: n2, matchIndex: logIndex(index) }];
  const needed = (index: number): LogIndex | undefined => sender.exchange.oldestNeeded(match(index));
  expect(needed(3)).toBeUndefined();
  sender.exchange.begin(n2, term(1));
  expect(needed(3)).toBe(logIndex(10));
  const receiver = end(n2, 0);
  const parts = partsOf(sender.sent);
  let done: LogIndex | "failed" | undefined;
  for (const part of parts) {
    receiver.exchange.receive(part);
    done = sender.exchange.acknowledged(ackOf(receiver.sent));
  }
  expect(done).toBe(logIndex(10));
  expect(sender.exchange.isSending).toBe(false);
  expect(needed(3)).toBe(logIndex(10));
  expect(needed(15)).toBe(logIndex(15));
  sender.time.nowMs += DEFAULT_SNAPSHOT_SIZES.giveUpMs;
  expect(needed(15)).toBeUndefined();
});

test("what is given up keeps nothing of the engine", () => {
  const sender = end(n1, 20);
  sender.exchange.begin(n2, term(1));
  expect(tick(sender, [])).toEqual([]);
  sender.time.nowMs += DEFAULT_SNAPSHOT_SIZES.giveUpMs;
  expect(tick(sender, [])).toEqual([n2]);
  expect(sender.budget.active).toBe(0);
  expect(sender.exchange.oldestNeeded([])).toBeUndefined();
});

test("what is too much at a time waits for its turn, costs nothing until then, and is of then", () => {
  const sender = end(n1, 20, 1);
  sender.exchange.begin(n2, term(1));
  sender.exchange.begin(n3, term(1));
  expect(sender.asked).toEqual([10]);
  const replicas = [lacking(n2), lacking(n3)];
  for (let i = 0; i < 100; i++) expect(tick(sender, replicas)).toEqual([]);
  expect(sender.asked).toEqual([10]);
  const [part] = partsOf(sender.sent);
  sender.state.index = 20;
  const refusal: SnapshotAck = {
    ...{ kind: "snapshotAck", from: n2, to: n1, term: term(1), stream: part!.stream, next: 0, refused: true },
  };
  expect(sender.exchange.acknowledged(refusal)).toBe("failed");
  // Nothing is being sent: the one that waits has to be thought of all the same.
  expect(sender.exchange.isSending).toBe(true);
  expect(tick(sender, replicas)).toEqual([]);
  expect(sender.asked).toEqual([10, 20]);
  expect(partsOf(sender.sent).every(({ to }) => to === n3)).toBe(true);
  expect(sender.budget.active).toBe(1);
  sender.exchange.stopSending();
  expect(sender.exchange.isSending).toBe(false);
  expect(sender.budget.active).toBe(0);
});

test("a turn is not spent on who is away, or has no need of it any more; all others keep theirs", () => {
  const sender = end(n1, 20, 1);
  const [n5, n6] = [nodeId("n5"), nodeId("n6")];
  sender.budget.begin();
  for (const node of [n2, n3, n4, n5, n6]) sender.exchange.begin(node, term(1));
  expect(partsOf(sender.sent)).toEqual([]);
  sender.budget.end();
  // n2 is away, n3 has got on, n4 is no member any more.
  const replicas: Replica[] = [
    { ...lacking(n2), active: false },
    { ...lacking(n3), state: "replicate" },
    lacking(n5),
    lacking(n6),
  ];
  expect(tick(sender, replicas)).toEqual([n2]);
  expect(new Set(partsOf(sender.sent).map(({ to }) => to))).toEqual(new Set([n5]));
  sender.time.nowMs += DEFAULT_SNAPSHOT_SIZES.giveUpMs;
  expect(tick(sender, replicas)).toEqual([n5]);
  expect(new Set(partsOf(sender.sent).map(({ to }) => to))).toEqual(new Set([n6]));
});
