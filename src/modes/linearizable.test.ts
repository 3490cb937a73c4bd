/** Nodes in one process, whose text clients write without waiting for answers while the leaders of shards change. */
import { expect, test } from "bun:test";
import type { ReplySink } from "../../protocol/handler.ts";
import { groupOfShard, type NodeId, nodeId, shardId } from "../../protocol/ids.ts";
import { type ClientResponse, NO_SESSION } from "../../protocol/messages.ts";
import { testSeed } from "../../test/support/seed.ts";
import { VirtualClock } from "../../test/support/virtual-clock.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { seededRandom } from "../lib/prng.ts";
import { GROUPS, Hosts } from "../shard/testing/hosts.ts";
import type { ShardRequest } from "./forwarder.ts";
import { LinearizableMode, type LinearizableParts } from "./linearizable.ts";

const SEED = testSeed("linearizable mode");
const LATENCY_MS_MAX = 5;
/** How many writes of a writer are under way at the most. */
const AHEAD_MAX = 16;
const SHARDS = GROUPS - 1;

type Random = ReturnType<typeof seededRandom>;

/** A mode for each node, and a network in which what one node sends another arrives in its order. */
function modesOf(hosts: Hosts, random: Random): Map<NodeId, LinearizableMode> {
  const { clock } = hosts;
  const busyUntilMs = new Map<string, number>();
  const later = (way: string, deliver: () => void): void => {
    const atMs = Math.max(clock.nowMs() + random.float() * LATENCY_MS_MAX, busyUntilMs.get(way) ?? 0);
    busyUntilMs.set(way, atMs);
    clock.timer(atMs - clock.nowMs(), deliver);
  };
  const modes = new Map<NodeId, LinearizableMode>();
  for (const { id, host } of hosts.members.values()) {
    const forward = (at: NodeId, request: { kind: string }, sink: ReplySink, requestId: number): void => {
      const back: ReplySink = {
        reply: (_id, response) => {
          const owned = structuredClone(response);
          later(`${at}>${id}`, () => sink.reply(requestId, owned));
        },
      };
      later(`${id}>${at}`, () => {
        const asked = request as ShardRequest;
        modes.get(at)!.execute(shardOf(asked), asked, back, 0, "redirect");
      });
    };
    modes.set(
      id,
      new LinearizableMode({
        ...{ self: id, clock, host, network: { forward }, stats: { redirected: 0 } },
        leaders: { leaderOf: (shard) => host.group(groupOfShard(shard))!.leader, refused: () => {} },
        forwarding: { waitMs: 2_500, retryMs: 20, waitingMax: 1_000, bytesMax: 1_000_000 },
        addressOf: (node) => `${node}:1`,
      }),
    );
  }
  return modes;
}

/** Keys begin with the number of their shard here. */
const shardOf = (request: ShardRequest) => shardId(Number(fromUtf8((request as { key: Uint8Array }).key)[0]));

/** Writes 1, 2, 3, ... to a key of its own, and asks what was there before. */
class Writer implements ReplySink {
  readonly key: string;
  readonly #mode: LinearizableMode;
  readonly #answers = new Map<number, string>();
  #last = 0;

  constructor(key: string, mode: LinearizableMode) {
    this.key = key;
    this.#mode = mode;
  }

  get answered(): boolean {
    return this.#answers.size === this.#last;
  }

  write(): void {
    if (this.#last - this.#answers.size >= AHEAD_MAX) return;
    const number = ++this.#last;
    const request = {
      ...({ kind: "putWith", stamp: NO_SESSION, condition: "always", answersOld: true } as const),
      ...({ key: utf8(this.key), value: utf8(String(number)), expiry: "clear", expiryMs: 0 } as const),
    };
    this.#mode.execute(shardOf(request), request, this, number, "forward");
  }

  reply(number: number, response: ClientResponse): void {
    expect(this.#answers.has(number)).toBe(false);
    if (response.kind === "value") this.#answers.set(number, fromUtf8(response.value ?? utf8("0")));
    else this.#answers.set(number, response.kind === "error" ? response.error : response.kind);
  }

  /** What was found by each write that was done, and the refused ones. */
  check(): { written: number; refused: string[] } {
    const refused: string[] = [];
    let before = "0";
    for (let number = 1; number <= this.#last; number++) {
      const answer = this.#answers.get(number)!;
      if (answer === "UNAVAILABLE") refused.push(answer);
      else {
        expect(`${this.key} ${number}: ${answer}`).toBe(`${this.key} ${number}: ${before}`);
        before = String(number);
      }
    }
    return { written: this.#last - refused.length, refused };
  }
}

test.each([
  ["all go through", 0],
  ["some are given up", 0.5],
])("pipelined writes keep their order while leaders hand over, of which %s", async (_what, lost) => {
  const random = seededRandom(SEED);
  const hosts = new Hosts(3);
  for (let group = 0; group < GROUPS; group++) await hosts.leaderOf(group);
  const modes = modesOf(hosts, random);
  const writers = [...modes].flatMap(([id, mode]) =>
    Array.from({ length: SHARDS }, (_, shard) => new Writer(`${shard} ${id}`, mode)),
  );
  hosts.passes = (message) => message.kind !== "timeoutNow" || random.float() >= lost;
  for (let step = 0; step < 1_200; step++) {
    for (const writer of writers) if (random.below(3) === 0) writer.write();
    if (random.below(100) === 0) {
      const members = [...hosts.members.values()];
      const group = groupOfShard(shardId(random.below(SHARDS)));
      const leader = members.map(({ host }) => host.group(group)!).find(({ isLeader }) => isLeader);
      leader?.transferLeadership(members[random.below(3)]!.id);
    }
    await hosts.pass(random.below(4));
  }
  await hosts.clock.until(() => writers.every(({ answered }) => answered), 20_000);
  const sums = writers.map((writer) => writer.check());
  for (const { written } of sums) expect(written).toBeGreaterThan(100);
  if (lost === 0) expect(sums.flatMap(({ refused }) => refused)).toEqual([]);
});

test("a stale read is answered by a copy that has come to be a member, and else goes to the leader", () => {
  const [n1, n2] = [nodeId("n1"), nodeId("n2")];
  const shard = {
    ...{ isIntroduced: false, isLeader: false },
    readStale: (_request: unknown, sink: ReplySink, requestId: number) =>
      sink.reply(requestId, { kind: "value", value: undefined, ageMs: 0 }),
  };
  const mode = new LinearizableMode({
    ...{ self: n1, clock: new VirtualClock(), network: { forward: () => {} }, stats: { redirected: 0 } },
    host: { shard: () => shard },
    leaders: { leaderOf: () => n2, refused: () => {} },
    forwarding: { waitMs: 2_500, retryMs: 20, waitingMax: 1_000, bytesMax: 1_000_000 },
    addressOf: (node: NodeId) => `${node}:1`,
  } as unknown as LinearizableParts);
  const answers: ClientResponse[] = [];
  const ask = () =>
    mode.execute(
      shardId(0),
      { kind: "get", key: utf8("a"), consistency: "stale" },
      { reply: (_, response) => void answers.push(response) },
      1,
      "redirect",
    );
  ask();
  shard.isIntroduced = true;
  ask();
  expect(answers).toMatchObject([{ error: "NOT_LEADER", leader: { node: n2 } }, { kind: "value" }]);
});
