import { expect, test } from "bun:test";
import { Client } from "../client/cluster-client.ts";
import { FakeCluster } from "../client/fake-cluster.ts";
import { FakeWorld } from "../client/fake-world.ts";
import { Repl } from "./repl.ts";

function conversation() {
  const world = new FakeWorld();
  const cluster = new FakeCluster(world, 3, 4);
  let said = "";
  const print = (text: string) => {
    said += text;
  };
  const repl = new Repl({
    address: "127.0.0.1:7001",
    look: { tables: true, colors: false },
    connect: () => Client.open({ addresses: cluster.addresses }, world),
    nowMs: () => world.clock.nowMs(),
    print,
    printError: print,
  });
  const say = async (line: string) => {
    said = "";
    await world.until(repl.run(line));
    return `\n${said}\n`;
  };
  return { cluster, say };
}

test("ring shows what each node holds and leads", async () => {
  const { say } = conversation();
  expect(await say("ring")).toMatchInlineSnapshot(`
    "
    4 shards of 4096 slots

    ┌──────┬───────────────┬───────┬─────────────┬───────┬─────────────┐
    │ node │ address       │ holds │ of the keys │ leads │ of the keys │
    ├──────┼───────────────┼───────┼─────────────┼───────┼─────────────┤
    │ n1   │ 10.0.0.1:7001 │     4 │      100.0% │     2 │       50.0% │
    │ n2   │ 10.0.0.2:7001 │     4 │      100.0% │     1 │       25.0% │
    │ n3   │ 10.0.0.3:7001 │     4 │      100.0% │     1 │       25.0% │
    └──────┴───────────────┴───────┴─────────────┴───────┴─────────────┘
    "
  `);
});

test("ring key shows where a key belongs, whether it is there or not", async () => {
  const { say } = conversation();
  expect(await say("ring key user:1")).toMatchInlineSnapshot(`
    "
    key       "user:1"
    slot      10778
    shard     2 of 4
    leader    n3
    replicas  n1 at 10.0.0.1:7001, n2 at 10.0.0.2:7001, n3 at 10.0.0.3:7001
    "
  `);
  expect(await say("ring kye user:1")).toContain("ring takes nothing, or the word key and a key");
  expect(await say("ring key")).toContain("ring takes nothing, or the word key and a key");
});

test("explain shows where the engine looked for a key, and what it found", async () => {
  const { cluster, say } = conversation();
  cluster.set("user:1", "Ada");
  expect(await say("explain user:1")).toMatchInlineSnapshot(`
    "
    key       "user:1"
    slot      10778
    shard     2 of 4
    leader    n3
    replicas  n1 at 10.0.0.1:7001, n2 at 10.0.0.2:7001, n3 at 10.0.0.3:7001
    value     3 bytes

    ┌───┬──────────┬───────┬───────┬──────────────────────────────────┐
    │   │ place    │ level │ table │ what it says                     │
    ├───┼──────────┼───────┼───────┼──────────────────────────────────┤
    │ 1 │ memtable │       │       │ not there                        │
    │ 2 │ table    │     0 │     7 │ not there, says the bloom filter │
    │ 3 │ table    │     2 │     3 │ found                            │
    └───┴──────────┴───────┴───────┴──────────────────────────────────┘
    "
  `);
  expect(await say("explain user:2")).toContain("value     none: it is deleted");
});
