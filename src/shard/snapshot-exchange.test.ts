/** A snapshot on its way from one shard to another, through a network that the test plays. */
import { describe, expect, test } from "bun:test";
import { ProtocolError } from "../../protocol/errors.ts";
import { logIndex, nodeId, shardId, term } from "../../protocol/ids.ts";
import type { SnapshotAck, SnapshotPart } from "../../protocol/peer-messages.ts";
import { utf8 } from "../lib/bytes.ts";
import { xxh32 } from "../lib/hash.ts";
import { founders } from "../raft/configuration.ts";
import { MemoryEngine } from "../storage/memory-engine.ts";
import { EngineKeys } from "./engine-keys.ts";
import { ShardSpace } from "./shard-space.ts";
import { DEFAULT_SNAPSHOT_SIZES, encodeHeadSlice, type SnapshotHead } from "./snapshot-format.ts";
import { HEAD_BYTES_MAX } from "./snapshot-head.ts";
import { SnapshotReceiver } from "./snapshot-receiver.ts";
import { SnapshotSender } from "./snapshot-sender.ts";
import { StreamBudget } from "./stream-budget.ts";
import { plentiful } from "./testing/plentiful.ts";

const [n1, n2] = [nodeId("n1"), nodeId("n2")];
const SHARD = shardId(3);
const sizes = DEFAULT_SNAPSHOT_SIZES;
const WINDOW_BYTES = sizes.windowBytes;
const sound = (): void => {};

class Side {
  readonly engine = new MemoryEngine();
  readonly keys = new EngineKeys();
  readonly space = new ShardSpace(SHARD, this.engine, this.keys);

  put(key: string, value: string, half = this.keys.half(SHARD)): void {
    const batch = this.engine.newBatch();
    batch.put(this.keys.in(SHARD, half, utf8(key)), utf8(value));
    this.engine.writeUnlogged(batch);
  }

  contents(half: number): string[] {
    const [gte, lt] = this.keys.span(SHARD, half as 0 | 1);
    const found: string[] = [];
    using iterator = this.engine.iterate({ gte, lt });
    while (iterator.next()) found.push(`${Buffer.from(iterator.key.subarray(4))}=${iterator.value.length}`);
    return found;
  }
}

const HEAD: SnapshotHead = {
  index: logIndex(40),
  term: term(2),
  membership: { index: logIndex(7), configuration: founders([n1, n2]) },
  logTimeMs: 1234.5,
  floor: logIndex(30),
  dump: [7, [[1, 2, 3, []]]],
};

function send(
  from: Side,
  head = HEAD,
  budget = plentiful(),
): { sender: SnapshotSender; sent: SnapshotPart[]; time: { nowMs: number } } {
  const sent: SnapshotPart[] = [];
  const time = { nowMs: 0 };
  const sender = new SnapshotSender({
    ...{ self: n1, to: n2, term: term(5), stream: 77, head, sizes, space: from.space },
    budget,
    send: (part) => void sent.push(part),
    nowMs: () => time.nowMs,
  });
  sender.fill();
  return { sender, sent, time };
}

const ack = (next: number): SnapshotAck => ({
  ...{ kind: "snapshotAck", from: n2, to: n1, term: term(5), stream: 77, next, refused: false },
});

/** A side with `count` values of 10 kB, and what else a snapshot should not contain. */
function full(count: number): Side {
  const side = new Side();
  for (let i = 0; i < count; i++) side.put(`k${String(i).padStart(3, "0")}`, "v".repeat(10_000));
  side.put("other half", "x", 1);
  return side;
}

/** Everything that is sent, in order, with all of it acknowledged. */
function allParts(from: Side, head = HEAD): SnapshotPart[] {
  const { sender, sent } = send(from, head);
  while (!sender.isDone) sender.acknowledged(ack(sent.length));
  return sent;
}

describe("a sender", () => {
  test("sends what the shard was, though it changes meanwhile, and never more than a window ahead", () => {
    const from = full(300);
    const { sender, sent } = send(from);
    for (let i = 0; i < 300; i++) from.put(`k${String(i).padStart(3, "0")}`, "changed");
    let unacknowledged = sent.reduce((sum, { data }) => sum + data.length, 0);
    expect(unacknowledged).toBeGreaterThanOrEqual(WINDOW_BYTES);
    expect(unacknowledged).toBeLessThan(WINDOW_BYTES + 256 * 1024);
    const first = sent.length;
    sender.acknowledged(ack(2));
    unacknowledged = sent.slice(2).reduce((sum, { data }) => sum + data.length, 0);
    expect(sent.length).toBeGreaterThan(first);
    expect(unacknowledged).toBeLessThan(WINDOW_BYTES + 256 * 1024);
    while (!sender.isDone) sender.acknowledged(ack(sent.length));
    expect(sent.map(({ part }) => part)).toEqual(sent.map((_, at) => at));
    expect(sent.filter(({ last }) => last)).toEqual([sent.at(-1)!]);
    const to = new Side();
    const receiver = new SnapshotReceiver(n2, to.space, sound);
    for (const part of sent) receiver.receive(part);
    expect(to.contents(1)).toHaveLength(300);
    expect(to.contents(1).every((entry) => entry.endsWith("=10000"))).toBe(true);
    sender.close();
  });

  test("sends no faster than it may, however long that takes", () => {
    const clock = { nowMs: () => 0 };
    const budget = new StreamBudget(
      { streams: 1, bytesPerSecond: 1000, burstMs: 100 },
      { nowMs: () => clock.nowMs() },
    );
    const { sender, sent, time } = send(full(30), HEAD, budget);
    clock.nowMs = () => time.nowMs;
    for (; !sender.isDone; time.nowMs += 50) {
      const before = sent.length;
      expect(sender.tick()).toBe(true);
      sender.acknowledged(ack(sent.length));
      // Three parts of 100 kB take minutes; each is sent at once when its turn has come.
      expect(sent.length - before).toBeLessThanOrEqual(1);
    }
    const bytes = sent.reduce((sum, { data }) => sum + data.length, 0);
    expect(bytes).toBeGreaterThan(300_000);
    expect(time.nowMs).toBeGreaterThan(bytes - 150_000);
    expect(time.nowMs).toBeLessThan(bytes);
    sender.close();
  });

  test("sends again what is not acknowledged in time, and gives up in the end", () => {
    const { sender, sent, time } = send(full(30));
    const first = sent.length;
    time.nowMs = 999;
    expect(sender.tick()).toBe(true);
    expect(sent.length).toBe(first);
    time.nowMs = 1000;
    sender.tick();
    expect(sent.slice(first)).toEqual(sent.slice(0, first));
    sender.acknowledged(ack(1));
    time.nowMs = 2000;
    sender.tick();
    expect(sent.at(-first)?.part).not.toBe(0);
    time.nowMs = 30_999;
    expect(sender.tick()).toBe(true);
    time.nowMs = 31_000;
    expect(sender.tick()).toBe(false);
    sender.close();
  });
});

describe("a receiver", () => {
  test("has it all in the half that is not in use, and what the group is beside", () => {
    const to = new Side();
    to.put("mine", "1");
    to.put("of a snapshot that broke off", "1", 1);
    const receiver = new SnapshotReceiver(n2, to.space, sound);
    const parts = allParts(full(40));
    expect(parts.length).toBeGreaterThan(3);
    const results = parts.map((part) => receiver.receive(part));
    expect(results.map(({ ack: answer }) => answer?.next)).toEqual(parts.map((_, at) => at + 1));
    expect(results.map(({ whole }) => whole !== undefined)).toEqual(parts.map(({ last }) => last));
    expect(results.at(-1)!.whole).toEqual({ from: n1, leaderTerm: term(5), head: HEAD });
    expect(to.contents(0)).toEqual(["mine=1"]);
    expect(to.contents(1)).toHaveLength(40);
    // The last acknowledgement was lost: it is said again, and nothing else happens.
    expect(receiver.receive(parts.at(-1)!)).toMatchObject({ ack: { next: parts.length }, whole: undefined });
  });

  test("takes no part twice, and none before its turn", () => {
    const receiver = new SnapshotReceiver(n2, new Side().space, sound);
    const parts = allParts(full(40));
    receiver.receive(parts[0]!);
    expect(receiver.receive(parts[2]!).ack).toMatchObject({ next: 1, refused: false });
    expect(receiver.receive(parts[0]!).ack).toMatchObject({ next: 1, refused: false });
    expect(receiver.receive(parts[1]!).ack).toMatchObject({ next: 2, refused: false });
  });

  test("refuses a part whose digest is not that of all until here, and a stream without a beginning", () => {
    const to = new Side();
    const receiver = new SnapshotReceiver(n2, to.space, sound);
    const parts = allParts(full(40));
    expect(receiver.receive(parts[1]!).ack).toMatchObject({ refused: true });
    receiver.receive(parts[0]!);
    const [, second] = parts as [SnapshotPart, SnapshotPart];
    // Sound by itself, but not behind what came before.
    const alone = { ...second, digest: xxh32(second.data) };
    expect(receiver.receive(alone).ack).toMatchObject({ refused: true });
    expect(receiver.receive(parts[1]!).ack).toMatchObject({ refused: true });
    expect(to.contents(1)).toEqual([]);
  });

  test("refuses what is no part, and begins anew with another stream", () => {
    const to = new Side();
    const receiver = new SnapshotReceiver(n2, to.space, sound);
    const parts = allParts(full(20));
    for (const part of parts.slice(0, -1)) receiver.receive(part);
    expect(to.contents(1).length).toBeGreaterThan(0);
    const data = utf8("no part");
    const broken = { ...parts[0]!, stream: 78, data, digest: xxh32(data) };
    expect(receiver.receive(broken).ack).toMatchObject({ stream: 78, refused: true });
    expect(to.contents(1)).toEqual([]);
  });

  test("puts a head together that takes several parts, and does without data", () => {
    const dump = "x".repeat(300_000);
    const sent: SnapshotPart[] = [];
    const sender = new SnapshotSender({
      ...{ self: n1, to: n2, term: term(5), stream: 77, head: { ...HEAD, dump }, sizes, space: undefined },
      budget: plentiful(),
      send: (part) => void sent.push(part),
      nowMs: () => 0,
    });
    sender.fill();
    expect(sent).toHaveLength(3);
    const receiver = new SnapshotReceiver(n2, undefined, sound);
    const results = sent.map((part) => receiver.receive(part));
    expect(results.at(-1)!.whole?.head).toEqual({ ...HEAD, dump });
  });

  test("refuses a head that can't be before it takes any data, and says why", () => {
    const to = new Side();
    const strict = new SnapshotReceiver(n2, to.space, () => {
      throw new ProtocolError("BAD_REQUEST", "no such dump");
    });
    const parts = allParts(full(40));
    expect(strict.receive(parts[0]!)).toMatchObject({ ack: { refused: false }, fault: undefined });
    const second = strict.receive(parts[1]!);
    expect(second).toMatchObject({ ack: { refused: true }, fault: "no such dump" });
    expect(to.contents(1)).toEqual([]);
    // Nor is anything left of it for the next stream.
    const next = allParts(full(2), { ...HEAD, dump: null }).map((part) => ({ ...part, stream: 78 }));
    for (const part of next) expect(strict.receive(part).ack).toMatchObject({ refused: false });
    expect(to.contents(1)).toEqual(["k000=10000", "k001=10000"]);
  });

  test("takes nothing of the head behind the data, and no head that is too long", () => {
    const receiver = new SnapshotReceiver(n2, new Side().space, sound);
    const parts = allParts(full(40));
    receiver.receive(parts[0]!);
    receiver.receive(parts[1]!);
    const { data } = parts[0]!;
    const late = { ...parts[2]!, data, digest: xxh32(data, parts[1]!.digest) };
    expect(receiver.receive(late)).toMatchObject({ ack: { refused: true }, whole: undefined });
    const slice = encodeHeadSlice(new Uint8Array(HEAD_BYTES_MAX + 1), 0, HEAD_BYTES_MAX + 1);
    const long = { ...parts[0]!, stream: 79, data: slice, digest: xxh32(slice) };
    expect(receiver.receive(long).fault).toContain(`of more than ${HEAD_BYTES_MAX} bytes`);
  });

  test("goes on with no stream of another term, though it has the same number", () => {
    const to = new Side();
    const receiver = new SnapshotReceiver(n2, to.space, sound);
    const parts = allParts(full(40));
    receiver.receive(parts[0]!);
    const later = parts.map((part) => ({ ...part, term: term(6) }));
    expect(receiver.receive(later[1]!).ack).toMatchObject({ refused: true, term: term(6) });
    expect(receiver.receive(later[0]!).ack).toMatchObject({ refused: false, next: 1 });
    expect(receiver.receive(parts[1]!).ack).toMatchObject({ refused: true, term: term(5) });
    expect(receiver.receive(later[1]!).ack).toMatchObject({ refused: false, next: 2 });
  });
});
