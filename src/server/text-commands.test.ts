import { describe, expect, test } from "bun:test";
import { ERRORS, type ErrorName } from "../../protocol/errors.ts";
import { keyspaceId } from "../../protocol/ids.ts";
import { utf8 } from "../lib/bytes.ts";
import { RawClient, serverPerTest, type TestServer } from "./test-harness.ts";
import { OWN_CASES, REDIS_CASES, type TextCase } from "./text-cases.ts";

const start = serverPerTest();

/** The commands are answered so and no further, one by one, and by a node without data all in one write. */
async function expectReplies(server: TestServer, cases: readonly TextCase[]): Promise<void> {
  const client = await RawClient.connect(server.port);
  for (const [command, reply] of cases) {
    client.write(`${command}\r\n`);
    expect([command, await client.expect(reply)]).toEqual([command, reply]);
  }
  server.handler.values.clear();
  const pipelined = await RawClient.connect(server.port);
  pipelined.write(cases.map(([command]) => `${command}\r\n`).join(""));
  const all = cases.map(([, reply]) => reply).join("");
  expect(await pipelined.expect(all)).toBe(all);
  expect(client.received.length + pipelined.received.length).toBe(0);
}

describe.each([
  ["Redis' own replies", REDIS_CASES],
  ["Flotilla's own commands", OWN_CASES],
])("%s", (_what, cases) => {
  test("one by one, and all in one write", async () => expectReplies(await start(), cases));
});

test("SELECT chooses a keyspace by its name, and nothing shows of the others", async () => {
  const server = await start();
  const all = "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nb\r\n";
  const cases: readonly TextCase[] = [
    ["set a 1", "+OK\r\n"],
    ["select orders", "+OK\r\n"],
    ["get a", "$-1\r\n"],
    ["mset a 2 b 3", "+OK\r\n"],
    ["mget a b", "*2\r\n$1\r\n2\r\n$1\r\n3\r\n"],
    ["del a", ":1\r\n"],
    ["keys *", "*1\r\n$1\r\nb\r\n"],
    ["scan 0", all],
    ["dbsize", ":1\r\n"],
    ["incr b", ":4\r\n"],
    ["set b 5 px 100499 get", "$1\r\n4\r\n"],
    ["ttl b", ":100\r\n"],
    ["select 3", "+OK\r\n"],
    ["dbsize", ":0\r\n"],
    ["select 4", "-ERR DB index is out of range\r\n"],
    ["select -1", "-ERR DB index is out of range\r\n"],
    ["select order", "-ERR value is not an integer or out of range\r\n"],
    ["set a 6", "+OK\r\n"],
    ["select 0", "+OK\r\n"],
    ["get a", "$1\r\n1\r\n"],
    ["select 3", "+OK\r\n"],
    ["get a", "$1\r\n6\r\n"],
    ["select default", "+OK\r\n"],
    ["get a", "$1\r\n1\r\n"],
    ["select 3", "+OK\r\n"],
    ["reset", "+RESET\r\n"],
    ["get a", "$1\r\n1\r\n"],
  ];
  server.handler.keyspaces = [
    { id: keyspaceId(1), name: "orders", mode: "raft" },
    { id: keyspaceId(2), name: "3", mode: "raft" },
  ];
  await expectReplies(server, cases);
});

test("SCAN goes through everything in steps, with a pattern too, and over several connections", async () => {
  const server = await start();
  for (let i = 0; i < 57; i++) server.handler.values.set(`k:${String(i).padStart(3, "0")}`, utf8("v"));
  server.handler.values.set("other", utf8("v"));
  const clients = [await RawClient.connect(server.port), await RawClient.connect(server.port)];
  for (const [options, expected] of [
    ["", 58],
    ["MATCH k:* COUNT 7", 57],
    ["MATCH *5 COUNT 9 TYPE string", 6],
    ["MATCH nothing*", 0],
  ] as const) {
    const seen: string[] = [];
    let cursor = "0";
    let steps = 0;
    do {
      const client = clients[steps++ % 2]!;
      client.write(`SCAN ${cursor} ${options}\r\n`);
      const reply = await client.until(() => wholeScanReply(client.received.toString()));
      client.received = Buffer.alloc(0);
      cursor = reply.cursor;
      seen.push(...reply.keys);
    } while (cursor !== "0");
    expect([options, seen.length, new Set(seen).size]).toEqual([options, expected, expected]);
    expect(steps).toBeGreaterThanOrEqual(Math.ceil(expected / 10));
  }
});

test("HELLO has the shapes that clients ask for, and changes how a missing value reads", async () => {
  const { port } = await start();
  const client = await RawClient.connect(port);
  const fields = (version: number): string =>
    `$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.0\r\n$5\r\nproto\r\n:${version}\r\n` +
    "$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n";
  for (const [command, reply] of [
    ["HELLO", `*14\r\n${fields(2)}`],
    ["HELLO 3 AUTH default secret SETNAME me", `%7\r\n${fields(3)}`],
    ["CLIENT GETNAME", "$2\r\nme\r\n"],
    ["GET none", "_\r\n"],
    ["MGET none none", "*2\r\n_\r\n_\r\n"],
    ["CONFIG GET save", "%1\r\n$4\r\nsave\r\n$0\r\n\r\n"],
    ["HELLO", `%7\r\n${fields(3)}`],
    ["HELLO 2", `*14\r\n${fields(2)}`],
    ["GET none", "$-1\r\n"],
    ["HELLO 3", `%7\r\n${fields(3)}`],
    ["RESET", "+RESET\r\n"],
    ["GET none", "$-1\r\n"],
    ["CLIENT GETNAME", "$-1\r\n"],
  ] as const) {
    client.write(`${command}\r\n`);
    expect([command, await client.expect(reply)]).toEqual([command, reply]);
  }
});

test("INFO tells the sections that were asked for", async () => {
  const { port } = await start();
  const client = await RawClient.connect(port);
  client.write("INFO\r\n");
  await client.until(() => client.received.toString().includes("# Keyspace"));
  const text = client.received.toString();
  for (const line of [
    "redis_version:7.2.0",
    "redis_mode:standalone",
    `tcp_port:${port}`,
    "uptime_in_seconds:90",
    "flotilla_version:0.0.0",
    "flotilla_node:n1",
    "connected_clients:1",
    "used_memory_human:1.00K",
    "used_memory_rss_human:2.00M",
    "loading:0",
    "total_commands_processed:9",
    "role:master",
    "flotilla_shards_led:1",
    "cluster_enabled:0",
  ]) {
    expect(text).toContain(`${line}\r\n`);
  }
  client.received = Buffer.alloc(0);
  client.write("INFO cluster REPLICATION\r\n");
  await client.until(() => client.received.toString().includes("cluster_enabled"));
  expect(client.received.toString()).not.toContain("# Server");
  expect(client.received.toString()).toContain("# Replication");
});

test("STATUS shows nodes and shards", async () => {
  const { port } = await start();
  const client = await RawClient.connect(port);
  client.write("STATUS\r\n");
  await client.until(() => client.received.toString().includes("shard  leader"));
  expect(client.received.toString()).toContain("100 % of the key space is available");
  expect(client.received.toString()).toContain("n1    127.0.0.1:7001  alive  seen 0 ms ago");
});

test("CLIENT LIST and CLIENT INFO describe connections", async () => {
  const { port } = await start();
  const first = await RawClient.connect(port);
  first.write("CLIENT SETNAME first\r\n");
  await first.expect("+OK\r\n");
  const second = await RawClient.connect(port);
  second.write("HELLO 3 SETNAME second\r\nCLIENT SETINFO lib-name mine\r\n");
  await second.until(() => second.received.toString().endsWith("+OK\r\n"));
  first.write("CLIENT LIST\r\n");
  await first.until(() => first.received.toString().includes("\n\r\n"));
  const lines = first.received
    .toString()
    .split("\n")
    .filter((line) => line.startsWith("id="));
  expect(lines[0]).toMatch(/^id=1 addr=127\.0\.0\.1:\d+ name=first age=0 idle=0 .*cmd=client .*resp=2 /);
  expect(lines[1]).toMatch(/^id=2 addr=127\.0\.0\.1:\d+ name=second .*resp=3 lib-name=mine/);
  first.received = Buffer.alloc(0);
  first.write("CLIENT LIST ID 2 17\r\n");
  await first.until(() => first.received.toString().includes("\n\r\n"));
  expect(first.received.toString()).not.toContain("id=1 ");
});

test("COMMAND lists every command with its arity, flags and keys", async () => {
  const { port } = await start();
  const client = await RawClient.connect(port);
  client.write("COMMAND INFO get nope\r\n");
  const get = "*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n";
  expect(await client.expect(`*2\r\n${get}`)).toBe(`*2\r\n${get}`);
  await client.until(() => client.received.toString().endsWith("$5\r\nlimit\r\n:0\r\n*0\r\n$-1\r\n"));
  client.received = Buffer.alloc(0);
  client.write("COMMAND COUNT\r\n");
  await client.until(() => client.received.toString().endsWith("\r\n"));
  const count = client.received.toString().slice(1, -2);
  expect(Number(count)).toBeGreaterThan(30);
  client.received = Buffer.alloc(0);
  client.write("COMMAND\r\nPING\r\n");
  await client.until(() => client.received.toString().endsWith("+PONG\r\n"));
  expect(client.received.toString()).toStartWith(`*${count}\r\n*10\r\n`);
});

test("every error of the node has its first word", async () => {
  const server = await start();
  const client = await RawClient.connect(server.port);
  const words: Partial<Record<ErrorName, string>> = {
    NOT_LEADER: "CLUSTERDOWN why",
    UNAVAILABLE: "CLUSTERDOWN why",
    SHUTTING_DOWN: "CLUSTERDOWN why",
    TIMEOUT: "TIMEOUT why",
    OVERLOADED: "TRYAGAIN why",
    READ_ONLY: "MISCONF why",
    CROSS_SHARD: "CROSSSLOT Keys in request don't hash to the same slot",
    NOT_AN_INTEGER: "ERR value is not an integer or out of range",
  };
  for (const error of Object.keys(ERRORS) as ErrorName[]) {
    server.handler.answer = { kind: "error", error, message: "why", leader: undefined };
    for (const command of [
      "GET a",
      "SET a 1",
      "INCR a",
      "MGET a b",
      "MSET a 1 b 2",
      "SCAN 0",
      "DBSIZE",
      "INFO",
    ]) {
      const reply = `-${words[error] ?? "ERR why"}\r\n`;
      client.write(`${command}\r\n`);
      expect([error, command, await client.expect(reply)]).toEqual([error, command, reply]);
    }
  }
});

test("a command over more keys than may be under way goes in rounds", async () => {
  const server = await start({ requestsInFlightMax: 8 });
  const client = await RawClient.connect(server.port);
  const keys = Array.from({ length: 100 }, (_, i) => `k${i}`);
  client.write(`MSET ${keys.map((key) => `${key} ${key}`).join(" ")}\r\nMGET ${keys.join(" ")}\r\n`);
  const reply = `+OK\r\n*100\r\n${keys.map((key) => `$${key.length}\r\n${key}\r\n`).join("")}`;
  expect(await client.expect(reply)).toBe(reply);
});

/** The parts of a reply to SCAN, once it is there as a whole. Keys hold no line breaks here. */
function wholeScanReply(text: string): { cursor: string; keys: string[] } | undefined {
  const lines = text.split("\r\n");
  const count = Number(lines[3]?.slice(1));
  if (!text.endsWith("\r\n") || !(lines.length >= 4 + 2 * count + 1)) return undefined;
  return { cursor: lines[2]!, keys: Array.from({ length: count }, (_, i) => lines[5 + 2 * i]!) };
}
