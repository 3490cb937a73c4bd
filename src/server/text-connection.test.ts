import { expect, test } from "bun:test";
import { KEY_BYTES_MAX, VALUE_BYTES_MAX } from "../../protocol/limits.ts";
import { utf8 } from "../lib/bytes.ts";
import { seededRandom } from "../lib/prng.ts";
import {
  type Executed,
  eventually,
  pushableClock,
  RawClient,
  serverPerTest,
  type TestServer,
} from "./test-harness.ts";

const start = serverPerTest();
const hold = (server: TestServer): Executed[] => {
  const held: Executed[] = [];
  server.handler.held = held;
  return held;
};

test("replies keep the order of their commands, in whatever order answers come", async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  console.log(`answers in random order: SEED=${seed}`);
  const random = seededRandom(seed);
  const server = await start();
  const held = hold(server);
  for (let i = 0; i < 100; i++) server.handler.values.set(`k${i}`, utf8(`v${i}`));
  const client = await RawClient.connect(server.port);
  let sent = "";
  let expected = "";
  let asked = 0;
  for (let i = 0; i < 100; i++) {
    const kind = random.below(5);
    if (kind === 0) {
      sent += `ECHO e${i}\r\n`;
      expected += `$${`e${i}`.length}\r\ne${i}\r\n`;
    } else if (kind === 1) {
      sent += `nonsense ${i}\r\n`;
      expected += `-ERR unknown command 'nonsense', with args beginning with: '${i}' \r\n`;
    } else if (kind === 2) {
      sent += `EXISTS k${i} nothing k${i}\r\n`;
      expected += ":2\r\n";
      asked += 3;
    } else {
      sent += `GET k${i}\r\n`;
      expected += `$${`v${i}`.length}\r\nv${i}\r\n`;
      asked += 1;
    }
  }
  client.write(sent);
  await eventually(() => held.length === asked);
  expect(held.every(({ routing }) => routing === "forward")).toBe(true);
  while (held.length > 0) server.handler.release(held.splice(random.below(held.length), 1)[0]!);
  expect(await client.expect(expected)).toBe(expected);
});

test("an answer that comes before its turn does not leave before its turn", async () => {
  const server = await start();
  const held = hold(server);
  const client = await RawClient.connect(server.port);
  client.write("GET a\r\nPING\r\n");
  await eventually(() => held.length === 1);
  const witness = await RawClient.connect(server.port);
  witness.write("PING\r\n");
  await witness.expect("+PONG\r\n");
  expect(client.received.length).toBe(0);
  server.handler.release(held[0]!);
  expect(await client.expect("$-1\r\n+PONG\r\n")).toBe("$-1\r\n+PONG\r\n");
});

test("a read waits for the writes of its key before it, a write for the reads of its key; others overtake", async () => {
  const server = await start();
  const held = hold(server);
  const client = await RawClient.connect(server.port);
  client.write("SET a 1\r\nSET a 2\r\nGET b\r\nGET a\r\nGET c\r\n");
  await eventually(() => held.length === 3);
  expect(held.map(({ request }) => request.kind)).toEqual(["put", "put", "get"]);
  server.handler.release(held[2]!);
  server.handler.release(held[0]!);
  server.handler.release(held[1]!);
  await eventually(() => held.length === 5);
  server.handler.release(held[3]!);
  server.handler.release(held[4]!);
  expect(await client.expect("+OK\r\n+OK\r\n$-1\r\n$1\r\n2\r\n$-1\r\n")).toBe(
    "+OK\r\n+OK\r\n$-1\r\n$1\r\n2\r\n$-1\r\n",
  );

  held.length = 0;
  client.write("GET a\r\nSET a 3\r\nMGET a b\r\nDEL a b\r\n");
  const kinds: string[] = [];
  for (const count of [1, 1, 2, 2]) {
    await eventually(() => held.length === count);
    kinds.push(held.map(({ request }) => request.kind).join("+"));
    for (const executed of held.splice(0)) server.handler.release(executed);
  }
  expect(kinds).toEqual(["get", "put", "get+get", "delete+delete"]);
  const expected = "$1\r\n2\r\n+OK\r\n*2\r\n$1\r\n3\r\n$-1\r\n:1\r\n";
  expect(await client.expect(expected)).toBe(expected);
});

test("a change of protocol waits for the replies before it", async () => {
  const server = await start();
  const held = hold(server);
  const client = await RawClient.connect(server.port);
  client.write("GET a\r\nHELLO 3\r\nGET a\r\n");
  await eventually(() => held.length === 1);
  server.handler.release(held[0]!);
  await eventually(() => held.length === 2);
  server.handler.release(held[1]!);
  await client.until(() => client.received.toString().endsWith("_\r\n"));
  expect(client.received.toString()).toStartWith("$-1\r\n%7\r\n");
});

test("commands one byte at a time", async () => {
  const { port } = await start();
  const client = await RawClient.connect(port);
  for (const byte of utf8("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nva\r\nl\r\nGET k\r\n")) {
    client.write(Uint8Array.of(byte));
    await eventually(() => client.unsentBytes === 0);
  }
  expect(await client.expect("+OK\r\n$5\r\nva\r\nl\r\n")).toBe("+OK\r\n$5\r\nva\r\nl\r\n");
});

test.each([
  ["a number as argument", "*1\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"],
  ["too many arguments", "*99999999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"],
  ["no number", "*x\r\n", "-ERR Protocol error: invalid multibulk length\r\n"],
  [
    "too long an argument",
    `*1\r\n$${VALUE_BYTES_MAX + 1}\r\n`,
    "-ERR Protocol error: invalid bulk length\r\n",
  ],
  ["a missing argument", "*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length\r\n"],
  ["an open quote", "set a 'b\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"],
  ["a line without end", "x".repeat(70_000), "-ERR Protocol error: too big inline request\r\n"],
])(
  "what can't be read (%s) ends the connection, after the replies before it",
  async (_what, bytes, expected) => {
    const { port, log } = await start();
    const client = await RawClient.connect(port);
    client.write(`PING\r\n${bytes}`);
    expect(await client.end()).toBe(`+PONG\r\n${expected}`);
    expect(log.lines.join("\n")).toContain("Protocol error");
  },
);

test.each(["POST / HTTP/1.1\r\n", "Host: here\r\n", "GET / HTTP/1.1\r\nHost: here\r\n\r\n"])(
  "somebody who speaks HTTP (%j) is not served",
  async (bytes) => {
    const { port, handler } = await start();
    const client = await RawClient.connect(port);
    client.write(`${bytes}SET k v\r\n`);
    expect(await client.end()).not.toContain("OK");
    expect(handler.values.size).toBe(0);
  },
);

test("QUIT answers what came before it, says OK and closes", async () => {
  const server = await start();
  const held = hold(server);
  const client = await RawClient.connect(server.port);
  client.write("GET a\r\nQUIT\r\nPING\r\n");
  await eventually(() => held.length === 1);
  server.handler.release(held[0]!);
  expect(await client.end()).toBe("$-1\r\n+OK\r\n");
});

test("a client that sends FIN behind its commands still gets all replies", async () => {
  const server = await start({ requestsInFlightMax: 3 });
  const held = hold(server);
  const client = await RawClient.connect(server.port);
  client.write("GET a\r\n".repeat(10));
  client.shutdown();
  for (let i = 0; i < 10; i++) {
    await eventually(() => held.length > i);
    server.handler.release(held[i]!);
  }
  expect(await client.end()).toBe("$-1\r\n".repeat(10));
});

test("CLIENT REPLY OFF, ON and SKIP leave out the replies that they should", async () => {
  const server = await start();
  const held = hold(server);
  const client = await RawClient.connect(server.port);
  client.write("CLIENT REPLY SKIP\r\nGET a\r\nGET b\r\nCLIENT REPLY OFF\r\nPING\r\nnonsense\r\nGET c\r\n");
  client.write("CLIENT REPLY ON\r\nECHO on\r\n");
  await eventually(() => held.length === 3);
  for (const executed of held.reverse()) server.handler.release(executed);
  expect(await client.expect("$-1\r\n+OK\r\n$2\r\non\r\n")).toBe("$-1\r\n+OK\r\n$2\r\non\r\n");
  client.write("CLIENT REPLY OFF\r\nRESET\r\nPING\r\n");
  expect(await client.expect("+RESET\r\n+PONG\r\n")).toBe("+RESET\r\n+PONG\r\n");
});

test("more commands under way than one connection may have: the rest waits its turn", async () => {
  const server = await start({ requestsInFlightMax: 5 });
  const held = hold(server);
  const client = await RawClient.connect(server.port);
  client.write(Array.from({ length: 50 }, (_, i) => `GET k${i}\r\n`).join(""));
  await eventually(() => held.length >= 5);
  expect(held.length).toBeLessThanOrEqual(7);
  for (let i = 0; i < 50; i++) {
    await eventually(() => held.length > i);
    server.handler.release(held[i]!);
  }
  expect(await client.expect("$-1\r\n".repeat(50))).toBe("$-1\r\n".repeat(50));
});

test("a client that never reads is not served on, and is cut when its time is over", async () => {
  const clock = pushableClock();
  const { port, handler, server, log } = await start({ unreadReplyMsMax: 10_000 }, { clock });
  handler.values.set("big", new Uint8Array(64 * 1024));
  const lazy = await RawClient.connect(port);
  lazy.pause();
  lazy.write("GET big\r\n".repeat(2_000));
  let seen = -1;
  await eventually(() => {
    const stands = handler.executed === seen && seen > 0;
    seen = handler.executed;
    return stands;
  });
  expect(handler.executed).toBeLessThan(2_000);
  const witness = await RawClient.connect(port);
  witness.write("PING\r\n");
  expect(await witness.expect("+PONG\r\n")).toBe("+PONG\r\n");
  await eventually(() => {
    clock.push(1_000);
    return server.connections === 1;
  });
  expect(log.lines.join("\n")).toContain("were not read for");
  lazy.close();
});

test("a client that reads late gets everything, in order", async () => {
  const { port, handler } = await start({ replyBytesPause: 64 * 1024 });
  for (let i = 0; i < 300; i++) handler.values.set(`k${i}`, new Uint8Array(20_000).fill(i & 0xff));
  const client = await RawClient.connect(port);
  client.pause();
  client.write(Array.from({ length: 300 }, (_, i) => `GET k${i}\r\n`).join(""));
  await eventually(() => handler.executed > 5);
  client.resume();
  for (let i = 0; i < 300; i++) {
    expect(await client.expect("$20000\r\n")).toBe("$20000\r\n");
    const value = await client.take(20_002);
    expect([value[0], value[19_999]]).toEqual([i & 0xff, i & 0xff]);
  }
});

test("values that come all at once, in any order, arrive whole and in order however late they are read", async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  console.log(`values in random order: SEED=${seed}`);
  const random = seededRandom(seed);
  const server = await start({ replyBytesPause: 64 * 1024, replyBytesMax: 65 * 1024 * 1024 });
  const { handler } = server;
  const bytes = 512 * 1024;
  for (let i = 0; i < 200; i++) handler.values.set(`k${i}`, new Uint8Array(bytes).fill(i));
  const held = hold(server);
  const client = await RawClient.connect(server.port);
  client.pause();
  client.write(Array.from({ length: 200 }, (_, i) => `GET k${i}\r\nEXISTS k${i}\r\n`).join(""));
  await eventually(() => held.length === 400);
  handler.held = undefined;
  while (held.length > 0) handler.release(held.splice(random.below(held.length), 1)[0]!);
  client.write("PING\r\n");
  client.resume();
  for (let i = 0; i < 200; i++) {
    expect(await client.expect(`$${bytes}\r\n`)).toBe(`$${bytes}\r\n`);
    const value = await client.take(bytes + 2);
    expect([value[0], value[bytes - 1]]).toEqual([i, i]);
    expect(await client.expect(":1\r\n")).toBe(":1\r\n");
  }
  expect(await client.expect("+PONG\r\n")).toBe("+PONG\r\n");
});

test("a write behind a value that found no room waits until that was read again", async () => {
  const server = await start({ replyBytesPause: 64 * 1024 });
  const { handler } = server;
  const first = new Uint8Array(8 * 1024 * 1024).fill(1);
  handler.values.set("a", first);
  handler.values.set("b", utf8("old"));
  const held = hold(server);
  const client = await RawClient.connect(server.port);
  client.pause();
  client.write("GET a\r\nGET b\r\nSET b new\r\nGET b\r\n");
  await eventually(() => held.length === 2);
  handler.held = undefined;
  for (const executed of held) handler.release(executed);
  client.resume();
  await client.take(`$${first.length}\r\n`.length + first.length + 2);
  const expected = "$3\r\nold\r\n+OK\r\n$3\r\nnew\r\n";
  expect(await client.expect(expected)).toBe(expected);
});

test("a reply that would gather too much is an error instead", async () => {
  const { port, handler } = await start({ replyBytesPause: 50_000, gatherBytesMax: 100_000 });
  handler.values.set("a", new Uint8Array(60_000));
  handler.values.set("b", new Uint8Array(60_000));
  const client = await RawClient.connect(port);
  const refusal = "-ERR the replies of this connection would be larger than 100000 bytes";
  for (let i = 0; i < 2; i++) {
    client.write("MGET a b\r\nSCANPREFIX ''\r\n");
    const expected = `${refusal}\r\n${refusal}; ask for less with SCAN or LIMIT\r\n`;
    expect(await client.expect(expected)).toBe(expected);
  }
  // What was given up does not count any more.
  client.write("MGET a\r\n");
  expect(await client.expect("*1\r\n$60000\r\n")).toBe("*1\r\n$60000\r\n");
});

test("many commands over many keys at once gather no more than one may", async () => {
  const server = await start({ replyBytesPause: 50_000, gatherBytesMax: 100_000 });
  server.handler.values.set("a", new Uint8Array(60_000));
  const held = hold(server);
  const client = await RawClient.connect(server.port);
  client.write("MGET a none\r\n".repeat(3));
  await eventually(() => held.length === 6);
  for (const executed of held) {
    if (executed.request.kind === "get" && executed.request.key.length === 1)
      server.handler.release(executed);
  }
  for (const executed of held) {
    if (executed.request.kind === "get" && executed.request.key.length > 1) server.handler.release(executed);
  }
  await client.take("*2\r\n$60000\r\n".length + 60_002 + "$-1\r\n".length);
  const refusal = "-ERR the replies of this connection would be larger than 100000 bytes\r\n";
  expect(await client.expect(refusal.repeat(2))).toBe(refusal.repeat(2));
});

test("keys of the longest length work, also at the step of a scan; longer ones are refused", async () => {
  const server = await start();
  const client = await RawClient.connect(server.port);
  const longest = "k".repeat(KEY_BYTES_MAX);
  const set = (key: string): string => `*3\r\n$3\r\nSET\r\n$${key.length}\r\n${key}\r\n$1\r\nv\r\n`;
  client.write(set(longest) + set(`${longest}k`) + set("l"));
  const refused = `-ERR a key has ${KEY_BYTES_MAX + 1} bytes, at most ${KEY_BYTES_MAX} are allowed\r\n`;
  expect(await client.expect(`+OK\r\n${refused}+OK\r\n`)).toBe(`+OK\r\n${refused}+OK\r\n`);
  client.write("SCAN 0 COUNT 1\r\n");
  const first = await client.until(
    () => /^\*2\r\n\$\d+\r\n(\d+)\r\n\*1\r\n.*k\r\n$/s.exec(client.received.toString()) ?? undefined,
  );
  client.received = Buffer.alloc(0);
  client.write(`SCAN ${first[1]} COUNT 1\r\n`);
  expect(await client.expect("*2\r\n$1\r\n0\r\n*1\r\n$1\r\nl\r\n")).toBe(
    "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nl\r\n",
  );
});
