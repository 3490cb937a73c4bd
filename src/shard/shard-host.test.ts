import { describe, expect, test } from "bun:test";
import type { ReplySink } from "../../protocol/handler.ts";
import { groupId, logIndex, type NodeId, nodeId, shardOfGroup, term } from "../../protocol/ids.ts";
import { type ClientResponse, NO_SESSION } from "../../protocol/messages.ts";
import { FileError } from "../env/env.ts";
import { utf8 } from "../lib/bytes.ts";
import { NO_MEMBERS } from "../raft/configuration.ts";
import { metaKey, spanOfShard } from "./engine-keys.ts";
import type { Actual } from "./system-facts.ts";

import { GROUPS, Hosts, type Member, TIMINGS } from "./testing/hosts.ts";

/** Why an answer is an error, or its kind. */
const outcome = ({ answer }: { answer?: ClientResponse }) =>
  answer?.kind === "error" ? answer.error : answer?.kind;

const fillDisk = (member: Member) => {
  member.disk.onOperation = (operation) => {
    if (operation === "write") throw new FileError("ENOSPC", "no space left on device");
  };
};

test("every member leads the groups that prefer it, and what one acknowledged all have", async () => {
  const hosts = new Hosts(3);
  for (let group = 0; group < GROUPS; group++) {
    const leader = await hosts.leaderOf(group);
    expect(leader.id).toBe(nodeId(`n${(group % 3) + 1}`));
  }
  const written = hosts.of("n2").put(1, "k", "v");
  await hosts.clock.until(() => written.answer !== undefined);
  expect(outcome(written)).toBe("boolean");
  await hosts.pass(200);
  for (const member of hosts.members.values()) {
    expect(member.readStale(1, "k")).toMatchObject({ kind: "value", value: utf8("v") });
  }
});

const used = (member: Member, queue: string) => member.host.queues.find(({ name }) => name === queue)?.used;

test("a write is not acknowledged while no other member has it", async () => {
  const hosts = new Hosts(3);
  const leader = await hosts.leaderOf(1);
  hosts.passes = (message) => message.kind !== "appendReply";
  const written = leader.put(1, "k", "v");
  await hosts.pass(400);
  expect(written.answer).toBeUndefined();
  expect(used(leader, "waitingWrites")).toBe(1);
  hosts.passes = () => true;
  await hosts.clock.until(() => written.answer !== undefined);
  expect(outcome(written)).toBe("boolean");
  expect(used(leader, "waitingWrites")).toBe(0);
});

test("a leader without a majority steps down, and every waiting request is answered", async () => {
  const hosts = new Hosts(3);
  const leader = await hosts.leaderOf(1);
  hosts.passes = () => false;
  const written = leader.put(1, "k", "v");
  await hosts.pass(1200);
  expect(leader.host.shards[1]!.isLeader).toBe(false);
  await hosts.pass(TIMINGS.requestTimeoutMs);
  expect(outcome(written)).toBe("TIMEOUT");
  expect(outcome(leader.put(1, "k", "v"))).toBeUndefined();
});

test("handing over leaves a node without leaderships, and the shards with leaders", async () => {
  const hosts = new Hosts(3);
  for (let group = 0; group < GROUPS; group++) await hosts.leaderOf(group);
  const n1 = hosts.of("n1");
  let done = false;
  void n1.host.handOver().then(() => {
    done = true;
  });
  await hosts.clock.until(() => done);
  expect(n1.leads()).toEqual([]);
  for (let group = 0; group < GROUPS; group++) expect((await hosts.leaderOf(group)).id).not.toBe(n1.id);
});

test("who hands over waits for the answers to what it proposed, and is handed nothing back", async () => {
  const hosts = new Hosts(3);
  const n1 = hosts.of("n1");
  for (let group = 0; group < GROUPS; group++) {
    (await hosts.leaderOf(group)).host.group(groupId(group))!.transferLeadership(n1.id);
    await hosts.clock.until(() => n1.host.group(groupId(group))!.isLeader);
    await hosts.leaderOf(group);
  }
  // Its own disk takes so long that others have the write, and lead, before it can answer.
  n1.syncMs = 300;
  const written = n1.put(1, "k", "v");
  await hosts.pass(1);
  let answers: number | undefined;
  void n1.host.handOver().then(() => {
    answers = written.answer === undefined ? 0 : 1;
  });
  await hosts.clock.until(() => answers !== undefined);
  expect(answers).toBe(1);
  expect(outcome(written)).toBe("boolean");
  // Everybody's favourite, it leads nothing as long as it is there.
  hosts.prefers = [n1.id];
  for (let i = 0; i < 10; i++) {
    await hosts.pass(1_000);
    expect(n1.leads()).toEqual([]);
  }
});

describe("a slow disk", () => {
  async function settled(): Promise<Hosts> {
    const hosts = new Hosts(3);
    for (let group = 0; group < GROUPS; group++) await hosts.leaderOf(group);
    return hosts;
  }

  /** How long a write takes, in virtual milliseconds. */
  async function writeMs(hosts: Hosts, member: Member): Promise<number> {
    const fromMs = hosts.clock.nowMs();
    const written = member.put(3, "k", "v");
    await hosts.clock.until(() => written.answer !== undefined);
    expect(outcome(written)).toBe("boolean");
    return hosts.clock.nowMs() - fromMs;
  }

  test("of a leader makes it hand over, and it does not lead again before the disk is well for a while", async () => {
    const hosts = await settled();
    const n1 = hosts.of("n1");
    n1.syncMs = 2_000;
    const first = n1.put(3, "k", "v");
    await hosts.pass(20);
    const second = n1.put(3, "k", "v");
    await hosts.clock.until(() => n1.leads().length === 0, 700);
    expect(n1.host.diskPace).toMatchObject({ isSlow: true, spells: 1 });
    // Who came while the log was being synced need not wait for that.
    await hosts.clock.until(() => second.answer !== undefined, 100);
    expect(outcome(second)).toBe("NOT_LEADER");
    const leader = await hosts.leaderOf(3);
    expect(await writeMs(hosts, leader)).toBeLessThan(200);
    await hosts.clock.until(() => first.answer !== undefined);
    expect(outcome(first)).toBe("boolean");
    // Its disk stays slow, and whoever leads writes: nothing is handed back to it.
    for (let i = 0; i < 10; i++) {
      await hosts.pass(1_000);
      await writeMs(hosts, leader);
      expect(n1.leads()).toEqual([]);
    }
    n1.syncMs = 1;
    await hosts.clock.until(() => n1.leads().join() === "0,3");
    expect(n1.host.diskPace).toMatchObject({ isSlow: false, spells: 1 });
  });

  test("of a follower, or of a minority, keeps nobody waiting", async () => {
    const hosts = await settled();
    const leader = await hosts.leaderOf(3);
    hosts.of("n2").syncMs = 3_000;
    for (let i = 0; i < 200; i++) expect(await writeMs(hosts, leader)).toBeLessThan(200);
  });

  test("of every node is no reason to hand over, for there is nobody to take it", async () => {
    const hosts = await settled();
    for (const member of hosts.members.values()) member.syncMs = 300;
    const leader = await hosts.leaderOf(3);
    const others = [...hosts.members.values()].filter((member) => member !== leader);
    for (let i = 0; i < 3; i++) {
      const written = leader.put(3, "k", "v");
      await hosts.clock.until(() => written.answer !== undefined);
    }
    await hosts.clock.until(() => others.every((member) => member.host.diskPace.isSlow));
    await hosts.pass(3_000);
    const now = await hosts.leaderOf(3);
    const before = now.leads().length;
    await hosts.pass(500);
    expect(now.leads().length).toBe(before);
  });
});

test("a node with a full disk gives its leaderships away, also those that it could not at first", async () => {
  const hosts = new Hosts(3);
  for (let group = 0; group < GROUPS; group++) await hosts.leaderOf(group);
  const n1 = hosts.of("n1");
  expect(n1.leads()).toEqual([0, 3]);
  // Only a node that has the whole log can take over: for now nobody is known to have it.
  hosts.passes = ({ kind }) => kind !== "appendReply" && kind !== "timeoutNow";
  fillDisk(n1);
  n1.put(3, "k", "v");
  await hosts.pass(300);
  expect(n1.host.readOnlyReason).toContain("full");
  hosts.passes = () => true;
  await hosts.clock.until(() => n1.leads().length === 0);
  const leader = await hosts.leaderOf(3);
  const written = leader.put(3, "k2", "v2");
  await hosts.clock.until(() => written.answer !== undefined);
  expect(outcome(written)).toBe("boolean");
  // It keeps nothing new, and does not pretend to be up to date.
  await hosts.pass(1000);
  const stale = n1.readStale(3, "k2");
  expect(stale.kind === "value" && stale.value).toBeUndefined();
  expect(stale.kind === "value" && stale.ageMs).toBeGreaterThan(900);
  // With space it catches up by itself, and leads again what prefers it.
  n1.disk.onOperation = undefined;
  await hosts.clock.until(() => n1.leads().length === 2);
  expect(n1.host.readOnlyReason).toBeUndefined();
  expect(n1.readStale(3, "k2")).toMatchObject({ value: utf8("v2") });
  expect(n1.fatal).toEqual([]);
});

test("a replica whose engine is behind takes no more than it can get rid of", async () => {
  const hosts = new Hosts(3);
  const leader = await hosts.leaderOf(1);
  const slow = hosts.of("n3");
  slow.engine.pressure = "stop";
  for (let i = 0; i < 20; i++) {
    const written = leader.put(1, `k${i}`, "v");
    await hosts.clock.until(() => written.answer !== undefined);
    expect(outcome(written)).toBe("boolean");
  }
  const behind = leader.host.shards[1]!.appliedIndex - slow.host.shards[1]!.appliedIndex;
  expect(behind).toBeGreaterThan(10);
  slow.engine.pressure = "none";
  await hosts.clock.until(
    () => slow.host.shards[1]!.appliedIndex === leader.host.shards[1]!.appliedIndex,
    2000,
  );
});

test("what waits for the log in memory is bounded", async () => {
  const hosts = new Hosts(1);
  const n1 = await hosts.leaderOf(1);
  const data = new Uint8Array(32 * 1024 * 1024);
  const entryAt = (index: number) =>
    ({ index: logIndex(index), term: term(1), kind: "commands", data }) as const;
  n1.logStore.append(groupId(9), undefined, [entryAt(1)]);
  expect(n1.host.isOverwhelmed).toBe(false);
  n1.logStore.append(groupId(9), undefined, [entryAt(2)]);
  expect(n1.host.isOverwhelmed).toBe(true);
  expect(used(n1, "unsyncedLog")).toBeGreaterThanOrEqual(2 * data.length);
  // Whatever is written next takes it to the disk.
  const written = n1.put(1, "k", "v");
  await hosts.clock.until(() => written.answer !== undefined);
  expect(n1.host.isOverwhelmed).toBe(false);
});

test("a failed sync ends the node: nothing is acknowledged after it", async () => {
  const hosts = new Hosts(1);
  const n1 = await hosts.leaderOf(1);
  n1.disk.onOperation = (operation) => {
    if (operation === "sync") throw new FileError("ENOSPC", "no space left on device");
  };
  const written = n1.put(1, "k", "v");
  await hosts.clock.until(() => n1.fatal.length > 0);
  n1.disk.onOperation = undefined;
  await hosts.pass(2000);
  expect(written.answer).toBeUndefined();
  expect(n1.fatal.map(({ name }) => name)).toEqual(["LogSyncError"]);
});

test("a node that stops lets the flush under way end", async () => {
  const hosts = new Hosts(1);
  const n1 = await hosts.leaderOf(1);
  const written = n1.put(1, "k", "v");
  await hosts.clock.until(() => written.answer !== undefined);
  let done = false;
  void n1.host.stop().then(() => {
    done = true;
  });
  await hosts.clock.until(() => done);
  n1.put(1, "k2", "v");
  await hosts.pass(500);
  expect(n1.host.shards[1]!.hasGatheredWrites).toBe(true);
});

describe("a replica that its group can do without", () => {
  /** n3 has left group 1, and knows it or not. */
  async function left(hosts: Hosts, knows: boolean): Promise<{ n3: Member; actual: Actual }> {
    const leader = await hosts.leaderOf(1);
    const written = leader.put(1, "k", "v");
    await hosts.clock.until(() => written.answer !== undefined);
    await hosts.pass(300);
    const n3 = hosts.of("n3");
    if (!knows) hosts.passes = ({ from, to }) => from !== n3.id && to !== n3.id;
    hosts.desired = { voters: [nodeId("n1"), nodeId("n2")], learners: [] };
    const told = () =>
      [...hosts.members.values()].map(({ host }) => host.group(groupId(1))?.settledMembers).find(Boolean);
    await hosts.clock.until(() => told()?.voters.join() === "n1,n2", 20_000);
    await hosts.pass(300);
    return { n3, actual: told()! };
  }

  test.each([true, false])("goes with its data, and its promises stay: it knows %p", async (knows) => {
    const hosts = new Hosts(3);
    const { n3, actual } = await left(hosts, knows);
    const replica = n3.host.group(groupId(1))!;
    const { lastIndex, term } = replica.status();
    expect(replica.isLeftBehindBy({ ...actual, index: 0 })).toBe(!knows);
    expect(replica.isLeftBehindBy(actual)).toBe(true);
    const waiting = n3.put(1, "late", "v");
    n3.host.remove(replica);
    expect(outcome(waiting)).toBe("NOT_LEADER");
    expect(n3.host.group(groupId(1))).toBeUndefined();
    expect(n3.host.canTake(groupId(1))).toBe(false);
    await hosts.clock.until(() => n3.host.canTake(groupId(1)), 10_000);
    const [gte, lt] = spanOfShard(shardOfGroup(groupId(1)));
    expect(n3.engine.iterate({ gte, lt }).next()).toBe(false);
    expect(n3.engine.getSync(metaKey(groupId(1)))).toBeUndefined();
    const kept = n3.logStore.group(groupId(1));
    expect(Number(kept.floor.index)).toBe(lastIndex);
    expect([Number(kept.lastIndex), Number(kept.hardState.term) >= term]).toEqual([0, true]);
    expect(n3.fatal).toEqual([]);
  });

  test("goes with what a start finds of its data, where the node died before they went", async () => {
    const gone = groupId(GROUPS);
    const hosts = new Hosts(1, undefined, ({ engine, logStore }) => {
      const batch = engine.newBatch();
      batch.put(metaKey(gone), utf8("meta"));
      engine.writeUnlogged(batch);
      logStore.drop(gone);
    });
    const n1 = hosts.of("n1");
    expect(n1.host.canTake(gone)).toBe(false);
    await hosts.clock.until(() => n1.host.canTake(gone), 10_000);
    expect(n1.engine.getSync(metaKey(gone))).toBeUndefined();
    expect(n1.logStore.group(gone).mustClear).toBe(false);
  });

  test("may come back, and gets all that it had again", async () => {
    const hosts = new Hosts(3);
    const { n3 } = await left(hosts, true);
    n3.host.remove(n3.host.group(groupId(1))!);
    await hosts.clock.until(() => n3.host.canTake(groupId(1)), 10_000);
    n3.host.add(n3.build(1, NO_MEMBERS));
    hosts.desired = { voters: ["n1", "n2", "n3"].map(nodeId), learners: [] };
    const votes = () => n3.host.group(groupId(1))!.members.voters.includes(n3.id);
    await hosts.clock.until(votes, 20_000);
    expect(n3.readStale(1, "k")).toMatchObject({ value: utf8("v") });
  });

  test("is needed as long as a change that it knows of may have made it a member again", async () => {
    const hosts = new Hosts(3);
    const { n3, actual } = await left(hosts, true);
    hosts.desired = { voters: ["n1", "n2", "n3"].map(nodeId), learners: [] };
    const replica = n3.host.group(groupId(1))!;
    await hosts.clock.until(() => replica.members.voters.includes(n3.id), 20_000);
    expect(replica.isLeftBehindBy(actual)).toBe(false);
  });
});

test("a group follows who its members should be", async () => {
  const hosts = new Hosts(3);
  for (let group = 0; group < GROUPS; group++) await hosts.leaderOf(group);
  const [n1, n2, n3] = [...hosts.members.keys()] as [NodeId, NodeId, NodeId];
  const led = (group: number) =>
    [...hosts.members.values()].find(({ host }) => host.shards[group]!.isLeader)?.host.shards[group];
  const untilMembers = async (voters: readonly NodeId[], learners: readonly NodeId[]): Promise<void> => {
    hosts.desired = { voters, learners };
    const isSo = (group: number) =>
      String(led(group)?.members.voters) === String(voters) &&
      String(led(group)?.members.learners) === String(learners);
    await hosts.clock.until(() => [0, 1, 2, 3].every(isSo), 20_000);
  };
  await untilMembers([n2, n3], [n1]);
  await untilMembers([n2], [n3]);
  await untilMembers([n3], []);
});

test("who the members are is told once that is committed, and not before", async () => {
  const hosts = new Hosts(3);
  await hosts.leaderOf(1);
  const [n1, n2, n3] = [...hosts.members.keys()] as [NodeId, NodeId, NodeId];
  const led = () =>
    [...hosts.members.values()].map(({ host }) => host.group(groupId(1))).find((shard) => shard?.isLeader);
  hosts.desired = { voters: [n1, n2], learners: [] };
  await hosts.clock.until(() => led()?.settledMembers?.voters.join() === `${n1},${n2}`, 20_000);
  // Nobody acknowledges anything. The entry that takes n3 in as a learner holds as soon as it is in the leader's log.
  hosts.passes = ({ kind }) => kind !== "appendReply";
  hosts.desired = { voters: [n1, n2], learners: [n3] };
  await hosts.clock.until(() => led()?.members.learners.join() === n3, 20_000);
  expect(led()!.settledMembers).toBeUndefined();
  hosts.passes = () => true;
  await hosts.clock.until(() => led()?.settledMembers?.learners.join() === n3, 20_000);
});

test("a group waits for nobody who does not come, whatever else its members should be", async () => {
  const hosts = new Hosts(3);
  for (let group = 0; group < GROUPS; group++) await hosts.leaderOf(group);
  const [n1, n2, n3] = [...hosts.members.keys()] as [NodeId, NodeId, NodeId];
  const members = () =>
    [...hosts.members.values()].map(({ host }) => host.group(groupId(1))?.settledMembers).find(Boolean);
  const until = (voters: readonly NodeId[], learners: readonly NodeId[]): Promise<void> =>
    hosts.clock.until(
      () => String(members()?.voters) === String(voters) && String(members()?.learners) === String(learners),
      20_000,
    );
  hosts.desired = { voters: [n1], learners: [] };
  await until([n1], []);
  // n3 is dead.
  hosts.passes = ({ from, to }) => from !== n3 && to !== n3;
  hosts.desired = { voters: [n1, n2, n3], learners: [] };
  await until([n1, n2], [n3]);
  // n1 has to stay until there is somebody in its place.
  hosts.desired = { voters: [n2, n3], learners: [n1] };
  await hosts.pass(5_000);
  expect(members()).toMatchObject({ voters: [n1, n2], learners: [n3] });
  hosts.desired = { voters: [n2], learners: [n1] };
  await until([n2], [n1]);
});

describe("a member that needs what is compacted", () => {
  /** n3 was away while so much was written that the others forgot it. */
  async function away(
    values: number,
    valueBytes = 10,
  ): Promise<{ hosts: Hosts; leader: Member; n3: Member }> {
    const hosts = new Hosts(3, 0);
    const leader = await hosts.leaderOf(1);
    const before = leader.put(1, "old", "value");
    await hosts.clock.until(() => before.answer !== undefined);
    await hosts.pass(300);
    const n3 = hosts.of("n3");
    expect(n3.readStale(1, "old")).toMatchObject({ value: utf8("value") });
    hosts.passes = ({ from, to }) => from !== n3.id && to !== n3.id;
    for (let i = 0; i < values; i++) {
      const written = leader.put(1, `k${i}`, `${i}`.padEnd(valueBytes, "."));
      await hosts.clock.until(() => written.answer !== undefined);
    }
    const sink: ReplySink = { reply: () => {} };
    const deleted = { kind: "delete", stamp: NO_SESSION, key: utf8("old") } as const;
    leader.host.shards[1]!.write(deleted, sink, 1, leader.clock.nowMs());
    await hosts.pass(200);
    for (const member of hosts.members.values()) if (member !== n3) await member.engine.flush();
    await hosts.pass(TIMINGS.maintenanceMs * 2);
    expect(leader.logStore.group(groupId(1)).firstIndex).toBeGreaterThan(values);
    return { hosts, leader, n3 };
  }

  const valueIn = (member: Member, key: string): Buffer | undefined => {
    const answer = member.readStale(1, key);
    return answer.kind === "value" && answer.value !== undefined ? Buffer.from(answer.value) : undefined;
  };

  const isEqual = (a: Member, b: Member, keys: number): boolean => {
    for (let i = keys - 1; i >= 0; i--) {
      const [one, other] = [valueIn(a, `k${i}`), valueIn(b, `k${i}`)];
      if (one === undefined || other === undefined || !one.equals(other)) return false;
    }
    return true;
  };

  test("gets a snapshot, in the place of all it had, and goes on from there", async () => {
    const { hosts, leader, n3 } = await away(40);
    hosts.passes = () => true;
    await hosts.clock.until(() => isEqual(n3, leader, 40), 10_000);
    expect(hosts.told).toContain("n3 installed a snapshot");
    expect(n3.readStale(1, "old")).toMatchObject({ value: undefined });
    const written = leader.put(1, "more", "value");
    await hosts.clock.until(() => written.answer !== undefined);
    await hosts.clock.until(() => valueIn(n3, "more") !== undefined, 5000);
    expect(n3.logStore.group(groupId(1)).firstIndex).toBeGreaterThan(40);
    expect(n3.fatal).toEqual([]);
  });

  test("gets one of many parts through a connection that breaks, never more than a window at a time", async () => {
    const { hosts, leader, n3 } = await away(60, 50_000);
    let parts = 0;
    let inFlight = 0;
    let inFlightMax = 0;
    hosts.passes = (message) => {
      if (message.kind === "snapshotPart") {
        parts++;
        inFlight += message.data.length;
        inFlightMax = Math.max(inFlightMax, inFlight);
        // Two of the parts, and all that was behind them, are lost once.
        if (parts === 5 || parts === 17) {
          inFlight = 0;
          return false;
        }
      }
      if (message.kind === "snapshotAck") inFlight = 0;
      return true;
    };
    await hosts.clock.until(() => isEqual(n3, leader, 60), 60_000);
    expect(parts).toBeGreaterThan(24);
    expect(inFlightMax).toBeLessThan(3 * 1024 * 1024);
  });

  test("keeps what it has until all of the snapshot is there", async () => {
    const { hosts, leader, n3 } = await away(60, 50_000);
    let parts = 0;
    hosts.passes = ({ kind }) => kind !== "snapshotPart" || ++parts < 10;
    await hosts.pass(5000);
    expect(parts).toBeGreaterThan(10);
    expect(n3.readStale(1, "old")).toMatchObject({ value: utf8("value") });
    expect(n3.readStale(1, "k0")).toMatchObject({ value: undefined });
    // The leader that sent it goes, and the next one begins anew.
    leader.host.shards[1]!.transferLeadership(nodeId(leader.id === "n2" ? "n1" : "n2"));
    await hosts.clock.until(() => !leader.host.shards[1]!.isLeader);
    hosts.passes = () => true;
    await hosts.clock.until(() => isEqual(n3, leader, 60), 60_000);
    expect(n3.readStale(1, "old")).toMatchObject({ value: undefined });
  });

  test("takes nothing while its engine is behind", async () => {
    const { hosts, leader, n3 } = await away(10);
    n3.engine.pressure = "stop";
    hosts.passes = () => true;
    await hosts.pass(5000);
    expect(hosts.told).toContain(`${leader.id} sends a snapshot`);
    expect(hosts.told).not.toContain("n3 installed a snapshot");
    n3.engine.pressure = "none";
    await hosts.clock.until(() => isEqual(n3, leader, 10), 10_000);
  });
});
