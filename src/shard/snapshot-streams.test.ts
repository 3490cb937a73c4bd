import { expect, test } from "bun:test";
import { groupId, type LogIndex, logIndex, nodeId, shardId, term } from "../../protocol/ids.ts";
import type { GroupMessage, SnapshotAck, SnapshotPart } from "../../protocol/peer-messages.ts";
import { utf8 } from "../lib/bytes.ts";
import { founders } from "../raft/configuration.ts";
import { MemoryEngine } from "../storage/memory-engine.ts";
import { EngineKeys } from "./engine-keys.ts";
import { ShardSpace } from "./shard-space.ts";
import { SnapshotExchange } from "./snapshot-exchange.ts";
import { DEFAULT_SNAPSHOT_SIZES, type SnapshotHead } from "./snapshot-format.ts";
import { plentiful } from "./testing/plentiful.ts";

const [n1, n2] = [nodeId("n1"), nodeId("n2")];

const head = (index: number): SnapshotHead => ({
  ...{ index: logIndex(index), term: term(1), logTimeMs: 0, floor: logIndex(0), dump: null },
  membership: { index: logIndex(0), configuration: founders([n1, n2]) },
});

/** One end, with some parts' worth of data in use. */
function end(self: typeof n1, parts: number) {
  const engine = new MemoryEngine();
  const space = new ShardSpace(shardId(0), engine, new EngineKeys());
  for (let i = 0; i < parts; i++) space.gather(utf8(`k${i}`), new Uint8Array(200_000), 0);
  space.fill();
  space.changeOver();
  const sent: GroupMessage[] = [];
  const time = { nowMs: 0 };
  const budget = plentiful(4);
  const told: string[] = [];
  const exchange = new SnapshotExchange({
    ...{ self, group: groupId(1), space, budget },
    ...{ sizes: DEFAULT_SNAPSHOT_SIZES, machine: { checkDump: () => {} } },
    log: { warn: (message, fields) => void told.push(`${message}: ${fields?.reason}`) },
    clock: { nowMs: () => time.nowMs },
    send: (_group, message) => void sent.push(message),
  });
  return { engine, exchange, sent, budget, time, told };
}

const partsOf = (sent: GroupMessage[]) =>
  sent.splice(0).filter((message): message is SnapshotPart => message.kind === "snapshotPart");
const ackOf = (sent: GroupMessage[]) => sent.pop() as SnapshotAck;

test("a node is sent one snapshot at a time: a later one ends the one before", () => {
  const sender = end(n1, 20);
  expect(sender.exchange.begin(n2, term(1), head(10))).toBe(true);
  const first = partsOf(sender.sent);
  expect(sender.exchange.begin(n2, term(2), head(20))).toBe(true);
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
  sender.exchange.begin(n2, term(1), head(10));
  const [late] = partsOf(sender.sent);
  sender.exchange.begin(n2, term(1), head(20));
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
  sender.exchange.begin(n2, term(1), head(10));
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
  sender.exchange.begin(n2, term(1), head(10));
  expect(sender.exchange.tick()).toEqual([]);
  sender.time.nowMs += DEFAULT_SNAPSHOT_SIZES.giveUpMs;
  expect(sender.exchange.tick()).toEqual([n2]);
  expect(sender.budget.active).toBe(0);
  expect(sender.exchange.oldestNeeded([])).toBeUndefined();
});
