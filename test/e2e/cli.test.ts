/** The one-shot commands as a shell meets them: what they print, and their exit codes. */
import { expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CLI, cli } from "../support/cli.ts";
import { withCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";

test("a command that prints nothing leaves the file that its output is added to as it was", async () => {
  const directory = mkdtempSync(join(tmpdir(), "flotilla-cli-"));
  try {
    const path = join(directory, "out");
    writeFileSync(path, "kept\n");
    const file = openSync(path, "a");
    const child = Bun.spawn([process.execPath, CLI, "gett", "k"], {
      stdin: "ignore",
      stdout: file,
      stderr: "ignore",
    });
    expect(await child.exited).toBe(2);
    closeSync(file);
    expect(readFileSync(path, "utf8")).toBe("kept\n");
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("a slow reader gets all of a long answer, once", async () => {
  await withCluster({ nodes: 1, shards: 1 }, async (cluster) => {
    const value = Array.from({ length: 20_000 }, (_, i) => i).join(",");
    await (await cluster.connect()).put("k", value);
    const command = `"${process.execPath}" "${CLI}" --addr ${cluster.addresses().join()} get k | (sleep 0.3; cat)`;
    for (let round = 0; round < 3; round++) {
      const child = Bun.spawn(["sh", "-c", command], { stdin: "ignore", stdout: "pipe", timeout: 20_000 });
      expect((await child.stdout.text()) === `"${value}"\n`).toBe(true);
    }
  });
});

test("put, get and status, with a majority and without", async () => {
  await withCluster({ shards: 4 }, async (cluster) => {
    const [left, ...others] = cluster.nodes as [(typeof cluster.nodes)[0], ...(typeof cluster.nodes)[0][]];
    const at = cluster.addresses([left]);
    expect(await cli(at, "put", "k", "v")).toMatchObject({ code: 0, errors: "" });
    expect(await cli(at, "get", "k")).toMatchObject({ code: 0, output: '"v"\n' });
    const got = await cli(at, "get", "k", "--json");
    expect(JSON.parse(got.output)).toEqual({ found: true, value: "v" });
    expect(await cli(at, "get", "none")).toMatchObject({ code: 1, output: "(nil)\n" });
    expect((await cli(at, "pud", "k", "v")).code).toBe(2);
    expect((await cli(at, "put", "k")).code).toBe(2);

    const healthy = await cli(at, "status");
    expect(healthy.code).toBe(0);
    for (const { id, address } of cluster.nodes) {
      expect(healthy.output).toContain(id);
      expect(healthy.output).toContain(address);
    }
    const json = JSON.parse((await cli(at, "status", "--json")).output);
    expect(json.shards).toHaveLength(4);
    expect(json.available).toBe(1);

    await Promise.all(others.map((node) => node.kill("SIGKILL")));
    const broken = await cli(at, "status", "--json");
    expect(broken.code).toBe(1);
    // A leader whose fellows have just died holds on to its office until it misses them; and who is alone calls nobody dead
    // before long, since it may be the one that is deaf.
    await eventually("status says that nothing is available", 15_000, async () => {
      const { code, output } = await cli(at, "status", "--json");
      const { nodes, available } = JSON.parse(output);
      return (
        code === 1 &&
        available === 0 &&
        nodes
          .map((node: { state: string }) => node.state)
          .sort()
          .join() === "alive,dead,dead"
      );
    });
    const refused = await cli(at, "put", "k", "w", "--timeout", "1000");
    expect(refused.code).toBe(1);
    expect(refused.errors).toMatch(/^error: put of "k" failed.*the shard has no leader now/);

    await left.kill("SIGKILL");
    const nobody = await cli(at, "get", "k", "--timeout", "1000");
    expect(nobody.code).toBe(1);
    expect(nobody.errors).toContain("Is a node running there?");
  });
}, 60_000);

test("members, changes of them and of leaders, and a group's log", async () => {
  await withCluster({ shards: 2 }, async (cluster) => {
    const at = cluster.addresses();
    const members = JSON.parse((await cli(at, "members", "--json")).output);
    expect(members).toMatchObject({ groups: 3, changing: 0 });
    expect(members.members.map(({ node, votes }: { node: string; votes: number }) => [node, votes])).toEqual([
      ["n1", 3],
      ["n2", 3],
      ["n3", 3],
    ]);
    expect((await cli(at, "members")).output).toContain("copies without a vote in");
    expect(await cli(at, "transfer-leader", "n2", "1")).toMatchObject({ code: 0, output: "OK\n" });
    const log = await cli(at, "log", "1", cluster.node("n2").address);
    expect(log.output).toMatch(/^shard 1 on n2: leader in term \d+, leader n2\n/);
    expect(log.output).toContain("voters n1, n2, n3");
    expect(JSON.parse((await cli(at, "log", "--limit", "2", "--json")).output)).toMatchObject({ shard: -1 });

    expect((await cli(at, "drain")).code).toBe(2);
    expect((await cli(at, "replace", "n1")).code).toBe(2);
    expect((await cli(at, "log", "one")).code).toBe(2);
    const refused = await cli(at, "remove", "n4");
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.errors).toContain("there is no node n4");
    await cluster.joiner("n4").start();
    await eventually("n4 is a node", 10_000, async () => {
      const { members: rows } = JSON.parse((await cli(at, "members", "--json")).output);
      return rows.some(({ node }: { node: string }) => node === "n4");
    });
    expect((await cli(at, "replace", "n3", "n4")).code).toBe(0);
    await eventually("n3 is gone, and n4 holds what it held", 20_000, async () => {
      const { members: rows } = JSON.parse((await cli(at, "members", "--json")).output);
      const has = (node: string) => rows.find((row: { node: string }) => row.node === node);
      return has("n3") === undefined && has("n4").votes >= 2;
    });
    expect((await cli(at, "drain", "n4")).code).toBe(0);
    expect((await cli(at, "drain", "n4", "--undo")).code).toBe(0);
  });
}, 60_000);
