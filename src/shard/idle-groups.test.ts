/** Groups that fall asleep, and what wakes them. */
import { describe, expect, test } from "bun:test";
import type { NodeId } from "../../protocol/ids.ts";
import type { ClientResponse } from "../../protocol/messages.ts";
import { GROUPS, Hosts, type Member, TIMINGS } from "./testing/hosts.ts";

const membersOf = (hosts: Hosts) => [...hosts.members.values()];

async function atRest(hosts: Hosts): Promise<void> {
  const rests = () => membersOf(hosts).every(({ host }) => [...host.active].length === 0);
  await hosts.clock.until(rests, 60_000);
}

/** Nothing reaches a node any more, or comes from it, and all know. */
function cutOff(hosts: Hosts, { id, host }: Member): void {
  hosts.passes = ({ from, to }) => from !== id && to !== id;
  for (const other of membersOf(hosts)) {
    if (other.id === id) continue;
    other.host.disconnected(id);
    host.disconnected(other.id);
  }
}

function letBack(hosts: Hosts, { id, host }: Member): void {
  hosts.passes = () => true;
  for (const other of membersOf(hosts)) {
    if (other.id === id) continue;
    other.host.connected(id);
    host.connected(other.id);
  }
}

describe("groups in which nothing happens", () => {
  async function asleep(): Promise<Hosts> {
    const hosts = new Hosts(3);
    for (let group = 0; group < GROUPS; group++) await hosts.leaderOf(group);
    const members = [...hosts.members.values()];
    await hosts.clock.until(() => members.every(({ host }) => host.shards.every((s) => s.isAsleep)), 10_000);
    return hosts;
  }

  test("send nothing, until somebody writes", async () => {
    const hosts = await asleep();
    let messages = 0;
    hosts.passes = () => {
      messages++;
      return true;
    };
    await hosts.pass(20_000);
    expect(messages).toBe(0);
    // Nor do they cost anything.
    for (const { host } of hosts.members.values()) expect([...host.active]).toEqual([]);
    const leader = await hosts.leaderOf(1);
    const written = leader.put(1, "k", "v");
    await hosts.clock.until(() => written.answer !== undefined, 500);
    expect(written.answer?.kind).toBe("boolean");
  });

  test("have their leaders watched, as long as they sleep", async () => {
    const hosts = await asleep();
    const members = [...hosts.members.values()];
    hosts.watched.clear();
    await hosts.pass(4 * TIMINGS.tickMs);
    expect(hosts.watched.size).toBe(new Set(members[0]!.host.shards.map(({ leader }) => leader)).size);
    for (const { host } of members) for (const id of hosts.members.keys()) host.connected(id);
    await hosts.clock.until(() => members.every(({ host }) => host.shards.every((s) => !s.isAsleep)), 1000);
    await hosts.pass(TIMINGS.tickMs);
    hosts.watched.clear();
    await hosts.pass(4 * TIMINGS.tickMs);
    expect([...hosts.watched]).toEqual([]);
  });

  test("are told who leads when a connection comes", async () => {
    const hosts = await asleep();
    await hosts.pass(1000);
    const leader = await hosts.leaderOf(1);
    const follower = [...hosts.members.values()].find((member) => member !== leader)!;
    let isTold = false;
    hosts.passes = ({ kind, to }) => {
      isTold ||= kind === "heartbeat" && to === follower.id;
      return true;
    };
    leader.host.connected(follower.id);
    await hosts.clock.until(() => isTold, 10 * TIMINGS.tickMs);
    // And they fall asleep again.
    await hosts.clock.until(() => [...leader.host.active].length === 0, 10_000);
  });

  test("have another leader within an election timeout where the leader's node is silent", async () => {
    const hosts = await asleep();
    const dead = await hosts.leaderOf(1);
    hosts.passes = ({ from, to }) => from !== dead.id && to !== dead.id;
    hosts.diedAtMs.set(dead.id, hosts.clock.nowMs());
    const others = [...hosts.members.values()].filter((member) => member !== dead);
    const leads = () => others.find(({ host }) => host.shards[1]!.isLeader);
    await hosts.clock.until(() => leads() !== undefined, 20 * TIMINGS.tickMs);
    const written = leads()!.put(1, "k", "v");
    await hosts.clock.until(() => written.answer !== undefined, 500);
    expect(written.answer?.kind).toBe("boolean");
  });

  test("keep their leaders when the others lose each other", async () => {
    const hosts = await asleep();
    const ids = [...hosts.members.keys()];
    const terms = () => hosts.of(ids[0]!).host.shards.map((shard) => shard.status().term);
    const before = terms();
    for (let round = 0; round < 5; round++) {
      for (const one of ids) {
        const [a, b] = ids.filter((id) => id !== one) as [NodeId, NodeId];
        hosts.of(a).host.disconnected(b);
        hosts.of(b).host.disconnected(a);
        await hosts.pass(2000);
      }
      await hosts.pass(5000);
    }
    expect(terms()).toEqual(before);
  });

  test("tell the age of a stale read as it is, and know better the next time", async () => {
    const hosts = await asleep();
    await hosts.pass(10_000);
    const leader = await hosts.leaderOf(1);
    const follower = [...hosts.members.values()].find((member) => member !== leader)!;
    const ageOf = (answer: ClientResponse) => (answer.kind === "value" ? answer.ageMs : -1);
    expect(ageOf(follower.readStale(1, "k"))).toBeGreaterThan(9000);
    await hosts.pass(300);
    expect(ageOf(follower.readStale(1, "k"))).toBeLessThan(250);
  });

  test("have another leader where theirs is cut off, which does not believe to lead for long", async () => {
    const hosts = await asleep();
    const old = await hosts.leaderOf(1);
    cutOff(hosts, old);
    const leads = () => membersOf(hosts).find((m) => m !== old && m.host.shards[1]!.isLeader);
    await hosts.clock.until(() => leads() !== undefined, 2_000);
    const written = leads()!.put(1, "k", "v");
    await hosts.clock.until(() => written.answer !== undefined, 2_000);
    await hosts.pass(11 * TIMINGS.tickMs);
    expect(old.leads()).toEqual([]);
    await hosts.pass(10_000);
    const ageOf = (answer: ClientResponse) => (answer.kind === "value" ? answer.ageMs : -1);
    expect(ageOf(old.readStale(1, "k"))).toBeGreaterThan(10_000);
  });

  test("do not fall asleep again without a voter that died, at whatever moment", async () => {
    for (let moment = 0; moment < 10; moment++) {
      const hosts = await asleep();
      await hosts.pass(moment * 7);
      const leader = await hosts.leaderOf(1);
      const dead = membersOf(hosts).find((member) => member !== leader)!;
      cutOff(hosts, dead);
      await hosts.pass(3_000);
      const { isAsleep, isLeader } = leader.host.shards[1]!;
      expect({ isAsleep, isLeader }).toEqual({ isAsleep: false, isLeader: true });
      expect(leader.host.shards[1]!.caughtUpMembers()).not.toContain(dead.id);
      letBack(hosts, dead);
      await atRest(hosts);
    }
  });

  /** n4 has a copy of everything, and no vote. */
  async function withCopy(): Promise<Hosts> {
    const hosts = new Hosts(4);
    const [n1, n2, n3, n4] = [...hosts.members.keys()] as [NodeId, NodeId, NodeId, NodeId];
    hosts.desired = { voters: [n1, n2, n3], learners: [n4] };
    const has = () =>
      membersOf(hosts).flatMap(({ host }) => host.shards.map((s) => s.members.learners.length));
    await hosts.clock.until(() => has().every((learners) => learners === 1), 20_000);
    await atRest(hosts);
    return hosts;
  }

  test("do so without a copy that is away, which gets what it lacks when it is back", async () => {
    const hosts = await withCopy();
    const copy = hosts.of("n4");
    cutOff(hosts, copy);
    const others = membersOf(hosts).filter((member) => member !== copy);
    const rest = () => others.every(({ host }) => [...host.active].length === 0);
    await hosts.pass(TIMINGS.tickMs);
    expect(rest()).toBe(false);
    await hosts.clock.until(rest, 10_000);
    const leader = others.find(({ host }) => host.shards[1]!.isLeader)!;
    const written = leader.put(1, "k", "v");
    await hosts.clock.until(() => written.answer !== undefined, 2_000);
    await hosts.clock.until(rest, 10_000);
    letBack(hosts, copy);
    const hasValue = () => {
      const answer = copy.readStale(1, "k");
      return answer.kind === "value" && answer.value !== undefined;
    };
    await hosts.pass(1_000);
    expect(hasValue()).toBe(true);
    await atRest(hosts);
  });

  test("change their members as soon as others do", async () => {
    const hosts = await withCopy();
    const [n1, n2, n3, n4] = [...hosts.members.keys()] as [NodeId, NodeId, NodeId, NodeId];
    hosts.desired = { voters: [n1, n2, n3, n4], learners: [] };
    await hosts.clock.until(
      () => membersOf(hosts).every(({ host }) => host.shards.every((s) => s.members.voters.length === 4)),
      TIMINGS.maintenanceMs + 1_000,
    );
    await atRest(hosts);
  });
});
