import { expect, test } from "bun:test";
import { type GroupId, groupId, keyspaceId, type NodeId, nodeId } from "../../protocol/ids.ts";
import type {
  ClientRequest,
  ClientResponse,
  CreateKeyspace,
  KeyspaceRequest,
} from "../../protocol/messages.ts";
import { decodePlain } from "../../protocol/plain.ts";
import { VirtualClock } from "../../test/support/virtual-clock.ts";
import { afterCommand, type KeyspaceCommand, type KeyspaceFacts, NO_KEYSPACES } from "../shard/keyspaces.ts";
import type { Shard } from "../shard/shard.ts";
import { Keyspaces } from "./keyspaces.ts";

const [n1, n2] = [nodeId("n1"), nodeId("n2")];

/** A node of two shards, of which it leads the first; the system group does what it proposes when the test says so. */
function setUp(leader: NodeId | undefined = n1, handsOver = false) {
  const clock = new VirtualClock();
  const proposed: KeyspaceCommand[] = [];
  const told: GroupId[] = [];
  const sentOn: [NodeId, ClientRequest][] = [];
  const systemShard = {
    group: groupId(0),
    leader,
    isLeader: leader === n1,
    proposeRaw: (command: Uint8Array) => {
      if (handsOver) return undefined;
      proposed.push(decodePlain(command.slice()) as KeyspaceCommand);
      return proposed.length;
    },
  };
  const shard = (group: number, isLeader: boolean) => ({
    ...{ group: groupId(group), isLeader },
    proposeRaw: () => void told.push(groupId(group)),
  });
  const shards = [systemShard, shard(1, true), shard(2, false)] as unknown as readonly Shard[];
  /** By group: how many drops its shard knows of. */
  const drops = new Map([1, 2].map((group) => [groupId(group), 0]));
  const keyspaces = new Keyspaces({
    ...{ self: n1, clock, timeoutMs: 1000 },
    host: { systemShard: shards[0]!, shards },
    network: { forward: (to, request) => void sentOn.push([to, request]) },
    machineOf: (group) => ({
      missingOf: (facts) => (facts.drops > drops.get(group)! ? new Uint8Array(1) : undefined),
    }),
  });
  let facts = NO_KEYSPACES;
  const answers: ClientResponse[] = [];
  const sink = { reply: (_id: number, response: ClientResponse) => void answers.push(response) };
  return {
    ...{ clock, proposed, told, sentOn, drops, keyspaces, answers },
    ask: (request: KeyspaceRequest) => keyspaces.execute(request, sink, 1),
    /** What was proposed is applied. */
    apply: (): KeyspaceFacts => {
      for (const command of proposed.splice(0)) facts = afterCommand(facts, command);
      keyspaces.learn(facts);
      return facts;
    },
  };
}

const create = (name: string, token = 1): CreateKeyspace => ({
  ...{ kind: "createKeyspace", name, mode: "raft", token, forwarded: false },
});
const LIST = { kind: "listKeyspaces", consistency: "linearizable", forwarded: false } as const;
const drop = (id: number) => ({ kind: "dropKeyspace", id: keyspaceId(id), forwarded: false }) as const;

test("what was asked for is answered when it has come about, and asked for again it is there", async () => {
  const { clock, ask, apply, answers, proposed, keyspaces } = setUp();
  ask(create("a"));
  expect(answers).toEqual([]);
  apply();
  await clock.until(() => answers.length > 0);
  expect(answers.splice(0)).toEqual([{ kind: "integer", value: 1n }]);
  ask(create("a"));
  expect([answers.splice(0), proposed]).toEqual([[{ kind: "integer", value: 1n }], []]);
  ask(create("a", 2));
  expect(answers.splice(0)).toMatchObject([
    { error: "BAD_REQUEST", message: "there is a keyspace a already" },
  ]);
  ask({ ...create("b"), mode: "quorum" });
  expect(answers.splice(0)).toMatchObject([{ error: "BAD_REQUEST" }]);
  ask(LIST);
  expect(answers.splice(0)).toEqual([
    { kind: "keyspaces", keyspaces: [{ id: keyspaceId(1), name: "a", mode: "raft" }] },
  ]);
  expect(keyspaces.refusal(keyspaceId(1))).toBeUndefined();
  expect(keyspaces.refusal(keyspaceId(2))?.error).toBe("UNAVAILABLE");
  ask(drop(1));
  apply();
  await clock.until(() => answers.length > 0);
  expect(answers.splice(0)).toEqual([{ kind: "integer", value: 1n }]);
  expect(keyspaces.refusal(keyspaceId(1))?.error).toBe("NO_KEYSPACE");
  ask(drop(2));
  expect(answers.splice(0)).toMatchObject([{ error: "NO_KEYSPACE" }]);
});

test("what does not come about in time may still do so", async () => {
  const { clock, ask, answers } = setUp();
  ask(create("a"));
  await clock.until(() => answers.length > 0);
  expect(answers).toMatchObject([{ error: "TIMEOUT" }]);
});

test("what a leader that hands over does not take is answered at once: nothing comes of it", () => {
  const { ask, answers } = setUp(n1, true);
  ask(create("a"));
  expect(answers).toMatchObject([{ error: "UNAVAILABLE" }]);
});

test("a node that does not lead the system group asks who does, once", () => {
  const follower = setUp(n2);
  follower.ask(create("a"));
  expect(follower.sentOn).toEqual([[n2, { ...create("a"), forwarded: true }]]);
  follower.ask({ ...create("a"), forwarded: true });
  expect(follower.answers.splice(0)).toMatchObject([{ error: "UNAVAILABLE" }]);
  follower.ask({ ...LIST, consistency: "stale" });
  expect(follower.answers.splice(0)).toEqual([{ kind: "keyspaces", keyspaces: [] }]);
});

test("the shards that this node leads are told of drops until they know", () => {
  const { ask, apply, keyspaces, told, drops } = setUp();
  ask(create("a"));
  apply();
  keyspaces.carryOut();
  expect(told).toEqual([]);
  ask(drop(1));
  apply();
  keyspaces.carryOut();
  keyspaces.carryOut();
  expect(told.splice(0)).toEqual([groupId(1), groupId(1)]);
  drops.set(groupId(1), 1);
  keyspaces.carryOut();
  expect(told).toEqual([]);
});

test("facts of an earlier time, as a log that is replayed has them, change nothing", () => {
  const { ask, apply, keyspaces } = setUp();
  ask(create("a"));
  const before = apply();
  ask(drop(1));
  apply();
  keyspaces.learn(before);
  expect(keyspaces.refusal(keyspaceId(1))?.error).toBe("NO_KEYSPACE");
});
