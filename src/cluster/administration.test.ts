import { describe, expect, test } from "bun:test";
import { type NodeId, nodeId, shardId } from "../../protocol/ids.ts";
import type { ChangeMember, ChangeReplica, ClientResponse, Join } from "../../protocol/messages.ts";
import { decodePlain } from "../../protocol/plain.ts";
import { VirtualClock } from "../../test/support/virtual-clock.ts";
import {
  NO_FACTS,
  REPLICAS_MAX,
  type ReplicaSet,
  type SystemCommand,
  type SystemFacts,
} from "../shard/system-facts.ts";
import { applied } from "../shard/system-machine.ts";
import { Administration, type AdministrationParts } from "./administration.ts";
import type { DrivenFacts } from "./placement-driver.ts";

const [n1, n2] = [nodeId("n1"), nodeId("n2")];
const DRAIN: ChangeMember = {
  ...{ kind: "changeMember", action: "drain", node: n2, successor: "", forwarded: true },
};
const JOIN: Join = {
  ...{ kind: "join", node: nodeId("n3"), incarnation: "aa", address: "n3:7001", labels: {}, forwarded: true },
};

/** A node that leads the system group, whose log takes commands or, while it hands over, does not. */
function setUp(takes: boolean) {
  const clock = new VirtualClock();
  const systemShard = {
    ...{ isLeader: true, leader: n1, term: 1, appliedIndex: 1 },
    proposeRaw: () => (takes ? 1 : undefined),
  };
  let isDone = false;
  const parts = {
    ...{ self: n1, clock, timeoutMs: 1000 },
    host: { systemShard },
    membership: {
      facts: { clusterId: "c" },
      isDone: () => isDone,
      change: () => ({ kind: "state", node: n2, state: "draining", successor: "" }),
      admission: ({ node, incarnation, address, labels }: Join) => {
        return { kind: "admit", node, incarnation, address, labels };
      },
      joined: () => undefined,
    },
  } as unknown as AdministrationParts;
  const answers: ClientResponse[] = [];
  const administration = new Administration(parts);
  return {
    ...{ clock, answers, systemShard },
    ask: (request: ChangeMember | ChangeReplica | Join) =>
      administration.execute(request, { reply: (_, response) => void answers.push(response) }, 1),
    apply: () => {
      isDone = true;
    },
  };
}

test("a change is answered when it has come about, and after a while that it has not", async () => {
  const { clock, answers, ask, apply } = setUp(true);
  ask(DRAIN);
  await clock.until(() => answers.length > 0);
  expect(answers.splice(0)).toMatchObject([{ error: "TIMEOUT" }]);
  ask(DRAIN);
  expect(answers).toEqual([]);
  apply();
  await clock.until(() => answers.length > 0);
  expect(answers).toEqual([{ kind: "boolean", value: true }]);
});

test("a leader that hands over takes nothing, and says so at once: who asked asks the next one", () => {
  const { answers, ask } = setUp(false);
  ask(DRAIN);
  ask(JOIN);
  expect(answers).toMatchObject([{ error: "UNAVAILABLE" }, { error: "UNAVAILABLE" }]);
});

describe("what this node knows may be old when it is asked", () => {
  const ADD: ChangeReplica = {
    ...{ kind: "changeReplica", action: "add", node: n2, shard: shardId(0), forwarded: true },
  };

  test("so it says nothing of the cluster, yes or no, before it has applied an entry of its own", async () => {
    const { clock, answers, systemShard, ask, apply } = setUp(true);
    apply();
    systemShard.appliedIndex = 0;
    ask(DRAIN);
    const startMs = clock.nowMs();
    await clock.until(() => clock.nowMs() > startMs + 500);
    expect(answers).toEqual([]);
    systemShard.appliedIndex = 1;
    await clock.until(() => answers.length > 0);
    expect(answers).toEqual([{ kind: "boolean", value: true }]);
  });

  test.each([
    ["in another term", { appliedIndex: 7, term: 2 }],
    ["and does not any more", { appliedIndex: 7, isLeader: false }],
    ["without a majority that hears it", {}],
  ])("and refuses for now if it led %s", async (_how, after) => {
    for (const request of [DRAIN, ADD, JOIN]) {
      const { clock, answers, systemShard, ask, apply } = setUp(true);
      apply();
      systemShard.appliedIndex = 0;
      ask(request);
      Object.assign(systemShard, after);
      await clock.until(() => answers.length > 0);
      expect(answers).toMatchObject([{ error: "UNAVAILABLE" }]);
    }
  });
});

describe("a replica", () => {
  const [n3, n4, n5] = ["n3", "n4", "n5"].map(nodeId) as [NodeId, NodeId, NodeId];
  const change = (action: ChangeReplica["action"], node: NodeId): ChangeReplica => ({
    ...{ kind: "changeReplica", action, node, shard: shardId(0), forwarded: true },
  });
  const fact = { labels: {}, state: "member", successor: "" } as const;
  const members = (voters: readonly NodeId[], learners: readonly NodeId[]) => ({
    ...{ term: 1, index: 1, voters, outgoing: [], learners },
  });

  /** A node that leads the system group, of a cluster of four nodes and a shard of three of them. */
  function setUpReplicas() {
    const clock = new VirtualClock();
    const nodes = Object.fromEntries([n1, n2, n3, n4].map((id) => [id, { ...fact, address: `${id}:1` }]));
    const set: ReplicaSet = {
      ...{ first: [n1, n2, n3], wanted: [n1, n2, n3], copies: [], promoted: [], version: 7 },
      actual: members([n1, n2, n3], []),
    };
    let facts: SystemFacts = { ...NO_FACTS, version: 9, clusterId: "c", nodes, shards: [set] };
    const proposed: SystemCommand[] = [];
    let silent: NodeId | undefined;
    const view = (): Partial<DrivenFacts> => ({
      nodes: [n1, n2, n3, n4].map((id) => ({
        ...{ id, host: id, zone: "", weight: 1, isLeaving: false },
        health: id === silent ? "down" : "up",
      })),
      shards: facts.shards.map((row) => ({ ...row, bytes: 1 })),
      ring: { virtualNodes: 10, replicas: 3 },
    });
    const answers: ClientResponse[] = [];
    const administration = new Administration({
      ...{ self: n1, clock, timeoutMs: 1000, placement: { view } },
      host: {
        systemShard: {
          ...{ isLeader: true, leader: n1, term: 1, appliedIndex: 1 },
          proposeRaw: (bytes: Uint8Array | undefined) => {
            if (bytes !== undefined) proposed.push(decodePlain(bytes) as SystemCommand);
            return 1;
          },
        },
      },
      membership: {
        get facts() {
          return facts;
        },
      },
    } as unknown as AdministrationParts);
    return {
      ...{ clock, answers, proposed },
      ask: (action: ChangeReplica["action"], node: NodeId) =>
        administration.execute(
          change(action, node),
          { reply: (_, response) => void answers.push(response) },
          1,
        ),
      look: () => administration.look(),
      silence: (id: NodeId) => {
        silent = id;
      },
      become: (changes: Partial<ReplicaSet>) => {
        facts = { ...facts, shards: [{ ...facts.shards[0]!, ...changes }] };
      },
      /** Applies what was proposed last. */
      apply: () => {
        facts = { ...applied(facts, proposed.at(-1)!), version: facts.version + 1 };
      },
    };
  }

  test("is wished of the set that was looked at, and answered when its shard's leader says that it is there", async () => {
    const { clock, answers, proposed, ask, apply, become } = setUpReplicas();
    ask("add", n4);
    expect(proposed).toEqual([
      {
        kind: "wanted",
        changes: [{ shard: 0, version: 7, wanted: [n1, n2, n3], copies: [n4], promoted: [] }],
      },
    ]);
    apply();
    const startMs = clock.nowMs();
    await clock.until(() => clock.nowMs() > startMs + 500);
    expect(answers).toEqual([]);
    become({ actual: members([n1, n2, n3], [n4]) });
    await clock.until(() => answers.length > 0);
    expect(answers.splice(0)).toEqual([{ kind: "boolean", value: true }]);
    // Sent twice.
    ask("add", n4);
    await clock.until(() => answers.length > 0);
    expect(answers).toEqual([{ kind: "boolean", value: true }]);
    expect(proposed).toHaveLength(1);
  });

  test("that has not come about may do so yet, and one that was overtaken is asked for again", async () => {
    const { clock, answers, ask, apply, become } = setUpReplicas();
    ask("add", n4);
    apply();
    await clock.until(() => answers.length > 0);
    expect(answers.splice(0)).toMatchObject([
      { error: "TIMEOUT", message: expect.stringContaining("still may") },
    ]);
    become({ copies: [], version: 20 });
    ask("add", n4);
    // The driver was first.
    become({ version: 21 });
    apply();
    await clock.until(() => answers.length > 0);
    expect(answers).toMatchObject([
      { error: "UNAVAILABLE", message: expect.stringContaining("shard 0 were changed otherwise meanwhile") },
    ]);
  });

  test("has come about in one shard when it did so once, whatever placement makes of it while others follow", () => {
    const { answers, ask, apply, become, look } = setUpReplicas();
    ask("add", n4);
    apply();
    become({ actual: members([n1, n2, n3], [n4]) });
    look();
    expect(answers.splice(0)).toEqual([{ kind: "boolean", value: true }]);
    ask("promote", n4);
    apply();
    become({ actual: members([n1, n2, n4], []), copies: [] });
    look();
    // The driver may have it undone at once.
    become({ wanted: [n1, n2, n3], version: 30 });
    look();
    expect(answers).toEqual([{ kind: "boolean", value: true }]);
  });

  test("that can't be is refused with the reason, and one that can't be now may be asked for again", () => {
    const { answers, proposed, ask, become, silence } = setUpReplicas();
    ask("promote", n4);
    ask("add", n5);
    become({ copies: [n4], actual: members([n1, n2, n3], [n4]) });
    silence(n4);
    ask("promote", n4);
    become({ copies: Array.from({ length: REPLICAS_MAX }, (_, i) => nodeId(`m${i}`)) });
    ask("add", n4);
    expect(answers).toMatchObject([
      { error: "BAD_REQUEST", message: "n4 has no copy of shard 0" },
      { error: "BAD_REQUEST", message: "there is no node n5" },
      { error: "UNAVAILABLE", message: "n4 is not heard: it gets no vote in shard 0 before it is there" },
      { error: "BAD_REQUEST", message: expect.stringContaining(`at most ${REPLICAS_MAX} are possible`) },
    ]);
    expect(proposed).toEqual([]);
  });
});
