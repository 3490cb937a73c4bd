import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "../client/cluster-client.ts";
import { FakeCluster } from "../client/fake-cluster.ts";
import { FakeWorld } from "../client/fake-world.ts";
import { readHistory, writeHistory } from "./history.ts";
import { Repl } from "./repl.ts";

function conversation(tables = false) {
  const world = new FakeWorld();
  const cluster = new FakeCluster(world, 3, 4);
  let said: string[] = [];
  const repl = new Repl({
    address: "127.0.0.1:7001",
    look: { tables, colors: false },
    connect: () => Client.open({ addresses: cluster.addresses, requestTimeoutMs: 500 }, world),
    nowMs: () => world.clock.nowMs(),
    print: (text) => void said.push(text),
    printError: (text) => void said.push(text),
  });
  const say = async (line: string) => {
    said = [];
    const result = await world.until(repl.run(line));
    return { result, said: said.join("\n") };
  };
  return { world, cluster, repl, say };
}

test("commands are executed and answered", async () => {
  const { say } = conversation();
  expect(await say('put "a key" "\\x00\\xff"')).toEqual({ result: "done", said: "OK" });
  expect(await say('get "a key"')).toEqual({ result: "done", said: '"\\x00\\xff"' });
  expect(await say("get none")).toEqual({ result: "done", said: "(nil)" });
  expect(await say("   ")).toEqual({ result: "done", said: "" });
  expect((await say("exit")).result).toBe("exit");
});

test("a wrong line is refused with a reason, and the conversation goes on", async () => {
  const { say } = conversation();
  expect(await say('get "a')).toEqual({ result: "failed", said: 'error: the " at column 5 is not closed.' });
  expect((await say("gte a")).said).toContain("Did you mean get?");
  expect((await say("timing maybe")).result).toBe("failed");
  expect((await say("get a")).result).toBe("done");
});

test("use goes on in another keyspace, which the prompt names, also after the connection was lost", async () => {
  const { say, repl } = conversation();
  expect((await say("put a 1")).said).toBe("OK");
  expect((await say("keyspace create orders")).said).toBe("created orders (number 1, raft)");
  expect(await say("use orders")).toEqual({ result: "done", said: "keyspace orders" });
  expect(repl.prompt).toBe("127.0.0.1:7001/orders> ");
  expect((await say("get a")).said).toBe("(nil)");
  expect((await say("put a 2")).said).toBe("OK");
  repl.close();
  expect((await say("get a")).said).toBe('"2"');
  expect(await say("use order")).toEqual({
    result: "failed",
    said: expect.stringContaining('there is no keyspace "order"'),
  });
  expect((await say("get a")).said).toBe('"2"');
  expect((await say("use default")).result).toBe("done");
  expect((await say("get a")).said).toBe('"1"');
  expect((await say("keyspace drop orders")).said).toContain("dropped orders");
  expect((await say("use orders")).result).toBe("failed");
  expect((await say("use")).result).toBe("failed");
});

test("help knows the commands that only a conversation has", async () => {
  const { say } = conversation();
  expect((await say("help timing")).said).toContain("Usage: timing [on|off]");
  expect((await say("help quit")).said).toContain("Usage: exit");
  expect((await say("help put")).said).toContain("Usage: put|set");
});

test("it outlives the nodes it talks to, and says so in its prompt", async () => {
  const { say, cluster, repl, world } = conversation();
  for (const node of cluster.nodes) node.stop();
  await world.until(repl.connect());
  expect(repl.prompt).toBe("127.0.0.1:7001 (not connected)> ");
  expect((await say("get a")).said).toContain("Is a node running there?");
  for (const node of cluster.nodes) node.start();
  expect(await say("put a 1")).toEqual({ result: "done", said: "OK" });
  expect(repl.prompt).toBe("127.0.0.1:7001> ");
  for (const node of cluster.nodes) node.stop();
  expect((await say("get a")).result).toBe("failed");
  for (const node of cluster.nodes) node.start();
  expect(await say("get a")).toEqual({ result: "done", said: '"1"' });
});

test("timing shows how long a command took", async () => {
  const { say } = conversation();
  await say("timing on");
  expect((await say("get a")).said).toMatch(/^\(nil\)\n\(\d+\.\d\d ms\)$/);
  await say("timing off");
  expect((await say("get a")).said).toBe("(nil)");
});

test("a scan is a table for a person", async () => {
  const { say } = conversation(true);
  await say("mput k1 a k2 b");
  expect(`\n${(await say("scan k")).said}\n`).toMatchInlineSnapshot(`
    "
    ┌──────┬───────┐
    │ key  │ value │
    ├──────┼───────┤
    │ "k1" │ "a"   │
    │ "k2" │ "b"   │
    └──────┴───────┘
    "
  `);
});

test("Tab completes commands, and keys of commands that take keys", async () => {
  const { say, repl, world } = conversation();
  const complete = (line: string) => world.until(repl.complete(line));
  expect(await complete("sc")).toEqual([["scan "], "sc"]);
  expect(await complete("e")).toEqual([["exists ", "exit ", "expire ", "explain "], "e"]);
  expect(await complete("get us")).toEqual([[], "us"]);
  await say('mput user:1 a user:2 b "us er" c other d');
  expect(await complete("get us")).toEqual([['"us er" ', "user:1 ", "user:2 "], "us"]);
  expect(await complete('get "us ')).toEqual([['"us er" '], '"us ']);
  expect(await complete("ping us")).toEqual([[], "us"]);
});

test("the history is kept in order, bounded, and for its owner alone", () => {
  const directory = mkdtempSync(join(tmpdir(), "flotilla-history-"));
  const path = join(directory, "history");
  try {
    expect(readHistory(path)).toEqual([]);
    writeHistory(path, ["newest", "older"]);
    expect(readHistory(path)).toEqual(["newest", "older"]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    writeHistory(
      path,
      Array.from({ length: 3000 }, (_, i) => `line ${i}`),
    );
    expect(readHistory(path)).toHaveLength(1000);
    expect(readHistory(path)[0]).toBe("line 0");
    writeHistory(join(directory, "no", "such", "directory"), ["x"]);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
