/** Nodes that come and go while clients write and read all the time. */
import { expect, test } from "bun:test";
import type { ClusterStatus } from "../../protocol/messages.ts";
import { fromUtf8 } from "../../src/lib/bytes.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { assertLinearizable } from "../support/linearizability.ts";
import { testSeed } from "../support/seed.ts";
import { startWorkload } from "../support/workload.ts";

const SEED = testSeed("members");
const SHARDS = 4;
const CLIENTS = 4;
const CHANGE_MS_MAX = 20_000;

/** Waits until the leaders of all groups say that exactly these vote and these don't. */
async function untilMembers(
  cluster: TestCluster,
  voters: readonly string[],
  learners: readonly string[],
): Promise<ClusterStatus> {
  const what = `voters ${voters}, learners ${learners}`;
  return await eventually(what, CHANGE_MS_MAX, async () => {
    const status = await cluster.status();
    const views = status.nodes.flatMap((node) => node.status?.shards ?? []);
    const led = views.filter(({ role }) => role === "leader");
    const fits = led.every(
      (view) =>
        view.voters.join() === voters.join() &&
        view.learners.join() === learners.join() &&
        view.outgoing.length === 0,
    );
    return fits && led.length === SHARDS + 1 ? status : undefined;
  });
}

test("a node that is lost is replaced by another one: nothing is lost, and writes go on", async () => {
  await withCluster({ shards: SHARDS }, async (cluster) => {
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => cluster.connect()));
    const workload = startWorkload(clients, { seed: SEED });
    const operator = await cluster.connect();
    for (let i = 0; i < 200; i++) await operator.put(`kept:${i}`, `value ${i}`);

    const n4 = cluster.joiner("n4", SHARDS);
    await n4.start();
    // It is nobody yet, and gets nothing before it is added; an address that is none is no address.
    await expect(operator.addMember("n4", "nowhere")).rejects.toThrow("no host:port");
    expect(await operator.addMember("n4", n4.address)).toBe(true);
    await untilMembers(cluster, ["n1", "n2", "n3"], ["n4"]);
    await expect(operator.addMember("n4", "127.0.0.1:1")).rejects.toThrow("is a member already");
    expect(await operator.promoteMember("n4")).toBe(true);
    await untilMembers(cluster, ["n1", "n2", "n3", "n4"], []);

    await cluster.node("n3").kill("SIGKILL");
    expect(await operator.removeMember("n3")).toBe(true);
    const status = await untilMembers(cluster, ["n1", "n2", "n4"], []);
    expect(status.nodes.map(({ id }) => String(id))).toEqual(["n1", "n2", "n4"]);
    await expect(operator.addMember("n3", n4.address)).rejects.toThrow("was removed, for good");

    // Of the three that are left any one may go: n4 is as good as the others.
    await cluster.node("n1").kill("SIGKILL");
    await cluster.untilServing();
    const n4Only = await cluster.connect();
    for (let i = 0; i < 200; i++) {
      expect(fromUtf8((await n4Only.get(`kept:${i}`))!)).toBe(`value ${i}`);
    }
    await workload.stop();
    await workload.readAll(operator);
    assertLinearizable(workload.history);
  });
}, 120_000);

test("leadership is handed over on demand, and a group's log can be looked at", async () => {
  await withCluster({ shards: SHARDS }, async (cluster) => {
    const operator = await cluster.connect();
    for (const to of ["n1", "n2", "n3"]) {
      expect(await operator.transferLeader(to, { shard: 2 })).toBe(true);
      expect((await operator.groupLog({ shard: 2 })).leader).toBe(to as never);
    }
    await operator.put("a", "b");
    const log = await operator.groupLog({ shard: 1, limit: 3, address: cluster.node("n2").address });
    expect(log).toMatchObject({ node: "n2", shard: 1, voters: ["n1", "n2", "n3"], learners: [] });
    expect(log.entries.at(-1)?.index).toBe(log.lastIndex);
    await expect(operator.transferLeader("n9", { shard: 2 })).rejects.toThrow("has no vote");
    await expect(operator.groupLog({ shard: 99 })).rejects.toThrow("there is no shard 99");
  });
}, 60_000);
