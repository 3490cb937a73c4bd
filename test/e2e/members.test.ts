/** Nodes that join, are lost, replaced and restarted, while clients write and read. `elastic.test.ts` grows and shrinks a cluster. */
import { expect, test } from "bun:test";
import type { ClusterStatus } from "../../protocol/messages.ts";
import { fromUtf8 } from "../../src/lib/bytes.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { assertLinearizable } from "../support/linearizability.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { testSeed } from "../support/seed.ts";
import { startWorkload } from "../support/workload.ts";

const SEED = testSeed("members");
const SHARDS = 4;
const REPLICAS = 3;
const CLIENTS = 4;
const CHANGE_MS_MAX = 60_000;

/** Waits until every shard is on as many of `nodes` as it should be, and on nobody else. */
async function untilOn(
  cluster: TestCluster,
  nodes: readonly string[],
  asked?: NodeProcess,
): Promise<ClusterStatus> {
  return await eventually(`shards on ${nodes}`, CHANGE_MS_MAX, async () => {
    const status = await cluster.status(asked);
    const views = status.nodes.flatMap((node) => node.status?.shards ?? []);
    const led = views.filter(({ role, shard }) => role === "leader" && shard >= 0);
    const size = Math.min(REPLICAS, nodes.length);
    const fits = led.every(
      ({ voters, learners, outgoing }) =>
        voters.length === size &&
        voters.every((id) => nodes.includes(id)) &&
        learners.length + outgoing.length === 0,
    );
    return fits && led.length === SHARDS && status.moves.length === 0 ? status : undefined;
  });
}

test("a node joins by itself, and takes the place of one that is lost; nothing is lost, and writes go on", async () => {
  await withCluster({ shards: SHARDS }, async (cluster) => {
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => cluster.connect()));
    const workload = startWorkload(clients, { seed: SEED });
    const operator = await cluster.connect();
    for (let i = 0; i < 200; i++) await operator.put(`kept:${i}`, `value ${i}`);

    const n4 = cluster.joiner("n4", "--label", "zone=x");
    await n4.start();
    await cluster.node("n3").kill("SIGKILL");
    await expect(operator.replaceNode("n3", "n9")).rejects.toThrow("n9 can't take the place of n3");
    expect(await operator.replaceNode("n3", "n4")).toBe(true);
    const status = await untilOn(cluster, ["n1", "n2", "n4"]);
    expect(status.nodes.map(({ id }) => String(id))).toEqual(["n1", "n2", "n4"]);

    // A name that was removed is told so, and does not come back.
    const again = cluster.node("n3");
    await again.start();
    await eventually("n3 is told, and ends", CHANGE_MS_MAX, () => {
      const isTold = again.lines.some((line) => line.endsWith("n3 was removed from the cluster, for good"));
      return isTold && again.lines.includes("--- n3 ended: exit code 1");
    });
    expect((await cluster.status()).nodes.map(({ id }) => String(id))).toEqual(["n1", "n2", "n4"]);

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
}, 180_000);

test("what a dead node held is made elsewhere after a while; when it is back it gets its share again", async () => {
  await withCluster({ nodes: 4, shards: SHARDS, flags: ["--lost-after-ms", "2000"] }, async (cluster) => {
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => cluster.connect()));
    const workload = startWorkload(clients, { seed: SEED + 1 });
    const operator = await cluster.connect();
    expect(await operator.rebalance({ dryRun: true })).toMatchObject({ underWay: [], toCome: [], bytes: 0 });
    await cluster.node("n2").kill("SIGKILL");
    await untilOn(cluster, ["n1", "n3", "n4"]);
    await cluster.node("n2").start();
    // Twelve replicas on four nodes.
    await eventually("n2 holds three shards again, and leads one", CHANGE_MS_MAX, async () => {
      const { nodes } = await cluster.status();
      const views = nodes.map(({ status }) => status?.shards.filter(({ shard }) => shard >= 0) ?? []);
      const leads = views.map((shards) => shards.some(({ role }) => role === "leader"));
      // A machine that has much else to do is slow to write: such a node leads nothing for a while.
      const isSlow = nodes.map(({ status }) => status?.storage.slowDisk === true);
      return views.every(({ length }) => length === 3) && leads.every((any, i) => any || isSlow[i]);
    });
    expect(await operator.rebalance({ dryRun: false })).toMatchObject({ underWay: [], toCome: [] });
    await workload.stop();
    await workload.readAll(operator);
    assertLinearizable(workload.history);
  });
}, 180_000);

test("a node that was away while all others went elsewhere finds them; one whose disk is lost is told how it is replaced", async () => {
  await withCluster({ nodes: 1, shards: SHARDS }, async (cluster) => {
    const operator = await cluster.connect();
    const [n2, n3] = [cluster.joiner("n2"), cluster.joiner("n3")];
    await Promise.all([n2.start(), n3.start()]);
    await operator.put("a", "b");
    await untilOn(cluster, ["n1", "n2", "n3"]);
    await n3.kill("SIGKILL");
    // n2 comes back at another port, and n1 is gone for good.
    await n2.kill("SIGTERM");
    const moved = cluster.moved("n2");
    await moved.start();
    await cluster.untilServing();
    const n4 = cluster.joiner("n4");
    await n4.start();
    await operator.replaceNode("n1", "n4");
    await n3.start();
    await untilOn(cluster, ["n2", "n3", "n4"], n4);
    await cluster.node("n1").kill("SIGKILL");
    await n3.kill("SIGKILL");
    await n4.kill("SIGKILL");
    await moved.kill("SIGKILL");
    const first = cluster.moved("n2");
    const others = ["n3", "n4"].map((id) => cluster.moved(id, "--join", first.address));
    const [back] = others as [NodeProcess, NodeProcess];
    await Promise.all([first, ...others].map((node) => node.start()));
    await cluster.untilServing();
    expect(fromUtf8((await (await cluster.connect()).get("a"))!)).toBe("b");

    await back.kill("SIGKILL");
    cluster.wipe("n3");
    await expect(back.start()).rejects.toThrow("cli replace n3 <new name>");
  });
}, 180_000);

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
    await expect(operator.transferLeader("n9", { shard: 2 })).rejects.toThrow("there is no node n9");
    await expect(operator.groupLog({ shard: 99 })).rejects.toThrow("there is no shard 99");
  });
}, 60_000);
