/** A node's part in a shard as an operator changes it with the command line: a copy, a vote, nothing. */
import { expect, test } from "bun:test";
import { utf8 } from "../../src/lib/bytes.ts";
import { cli } from "../support/cli.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { askNode } from "../support/raw-connection.ts";

const CHANGE_MS_MAX = 30_000;

/** What a node has of a key by itself; `undefined`: nothing, or no copy of its shard. */
async function staleAt(node: NodeProcess, key: string): Promise<Uint8Array | undefined> {
  const answer = await askNode(node.port, { kind: "get", key: utf8(key), consistency: "stale" });
  return answer.kind === "value" ? answer.value : undefined;
}

/** Who votes in the one shard, and who has a copy of it without a vote, as its leader says. */
async function holders(
  cluster: TestCluster,
): Promise<{ voters: readonly string[]; copies: readonly string[] }> {
  const { nodes } = await cluster.status();
  const leaders = nodes.flatMap(({ status }) =>
    (status?.shards ?? []).filter(({ shard, role }) => shard === 0 && role === "leader"),
  );
  const [last] = leaders.sort((a, b) => b.term - a.term);
  return { voters: last?.voters ?? [], copies: last?.learners ?? [] };
}

/** Waits until these vote, and have copies without a vote: who leads may have changed. */
async function untilHeld(
  cluster: TestCluster,
  voters: readonly string[],
  copies: readonly string[],
): Promise<void> {
  await eventually(`voters ${voters}, copies ${copies}`, CHANGE_MS_MAX, async () => {
    const found = await holders(cluster);
    return found.voters.join() === voters.join() && found.copies.join() === copies.join();
  });
}

test("a node gets a copy and serves stale reads, gets a vote, gives it up, and has nothing any more", async () => {
  await withCluster({ nodes: 4, shards: 1 }, async (cluster) => {
    const at = cluster.addresses();
    expect((await cli(at, "put", "a", "1")).code).toBe(0);
    const { voters } = await eventually("the shard has three voters", CHANGE_MS_MAX, async () => {
      const found = await holders(cluster);
      return found.voters.length === 3 && found.copies.length === 0 ? found : undefined;
    });
    const fourth = cluster.nodes.find(({ id }) => !voters.includes(id))!;
    const { id } = fourth;
    expect(await staleAt(fourth, "a")).toBeUndefined();

    expect(await cli(at, "member", "add", id, "0")).toMatchObject({
      ...{ code: 0, output: `${id} gets a copy of shard 0\n` },
    });
    await untilHeld(cluster, voters, [id]);
    await eventually(
      `${id} serves stale reads`,
      CHANGE_MS_MAX,
      async () => (await staleAt(fourth, "a")) !== undefined,
    );
    // That is nothing that moves, and every node may be asked for the latest.
    expect((await cluster.status()).moves).toEqual([]);
    expect((await cli(at, "rebalance", "--dry-run")).output).toContain("every replica is where it belongs");
    expect((await cli(at, "topology", "--json")).output).toContain(`"copies":["${id}"]`);
    expect((await cli([fourth.address], "get", "a")).output).toBe('"1"\n');

    expect(await cli(at, "member", "promote", id, "0")).toMatchObject({
      ...{ code: 0, output: `${id} has a vote in shard 0\n` },
    });
    await eventually(`${id} votes, in the place of another`, CHANGE_MS_MAX, async () => {
      const found = await holders(cluster);
      return found.voters.length === 3 && found.voters.includes(id) && found.copies.length === 0;
    });

    expect(await cli(at, "member", "demote", id, "0")).toMatchObject({
      ...{ code: 0, output: `${id} keeps a copy without a vote of shard 0\n` },
    });
    await untilHeld(cluster, voters, [id]);
    expect((await cli(at, "put", "a", "2")).code).toBe(0);
    await eventually(`${id} has the latest`, CHANGE_MS_MAX, async () => {
      return (await staleAt(fourth, "a"))?.[0] === utf8("2")[0];
    });

    expect(await cli(at, "member", "remove", id)).toMatchObject({
      ...{ code: 0, output: `${id} has no copy any more of any shard in which it has no vote\n` },
    });
    await untilHeld(cluster, voters, []);
    await eventually(
      `${id} has nothing`,
      CHANGE_MS_MAX,
      async () => (await staleAt(fourth, "a")) === undefined,
    );

    // What can't be is said, and nothing has come of it.
    for (const [args, why] of [
      [["promote", id, "0"], `${id} has no copy of shard 0`],
      [["add", voters[0]!, "0"], `${voters[0]} has a vote in shard 0`],
      [["add", "n9", "0"], "there is no node n9"],
      [["add", id, "1"], "there is no shard 1"],
    ] as const) {
      const ran = await cli(at, "member", ...args);
      expect([ran.code, ran.errors]).toEqual([1, expect.stringContaining(why)]);
    }
    for (const wrong of [["add"], ["bless", id], ["add", id, "one"]]) {
      expect((await cli(at, "member", ...wrong)).code).toBe(2);
    }
    await untilHeld(cluster, voters, []);
  });
}, 120_000);
