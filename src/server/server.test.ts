import { expect, test } from "bun:test";
import { encodePreamble, parsePreambleReply } from "../../protocol/preamble.ts";
import { bunTransport } from "../env/bun-transport.ts";
import { concatBytes, utf8 } from "../lib/bytes.ts";
import { seededRandom } from "../lib/prng.ts";
import {
  BinaryClient,
  eventually,
  pushableClock,
  RawClient,
  serverPerTest,
  startServer,
} from "./test-harness.ts";

const start = serverPerTest();

test("one port speaks both protocols, told apart by the first byte", async () => {
  const { port } = await start();
  const binary = await BinaryClient.connect(port);
  const text = await RawClient.connect(port);
  text.write("PING\r\n");
  binary.send({ kind: "ping" }, 7);
  expect(await text.expect("+PONG\r\n")).toBe("+PONG\r\n");
  expect(await binary.next()).toEqual({ id: 7, response: { kind: "pong" } });
});

test("a preamble may come one byte at a time, and requests right behind it", async () => {
  const { port } = await start();
  const client = await RawClient.connect(port);
  for (const byte of encodePreamble("client")) {
    client.write(Uint8Array.of(byte));
    // The bytes reach the server apart from each other: each is acknowledged by a turn of its loop.
    await eventually(() => client.unsentBytes === 0);
  }
  expect(parsePreambleReply(await client.take(8), 0)).toMatchObject({
    kind: "reply",
    error: undefined,
    version: 1,
  });
});

test.each([
  ["a wrong magic", Uint8Array.of(0xf1, 0x46, 0x4c, 0x55, 1, 1, 1, 0), "BAD_FRAME", "byte 3"],
  ["a wrong role", Uint8Array.of(0xf1, 0x46, 0x4c, 0x54, 9, 1, 1, 0), "BAD_FRAME", "role 9"],
  ["no version", Uint8Array.of(0xf1, 0x46, 0x4c, 0x54, 1, 0, 0, 0), "BAD_FRAME", "versions 0 to 0"],
  ["a version of the future", encodePreamble("client", 7, 9), "UNSUPPORTED_VERSION", "7 to 9"],
])(
  "a preamble with %s is answered with a sentence, then the connection ends",
  async (_what, bytes, error, part) => {
    const { port, log } = await start();
    const client = await RawClient.connect(port);
    client.write(bytes);
    await client.end();
    const reply = parsePreambleReply(client.received, 0);
    expect(reply).toMatchObject({ kind: "reply", error });
    expect(reply.kind === "reply" && reply.message).toContain(part);
    expect(log.lines.join("\n")).toContain(part);
  },
);

test("half a preamble, then silence: the connection ends when its time is over", async () => {
  const clock = pushableClock();
  const { port, server, log } = await start({ handshakeMsMax: 1_000 }, { clock });
  const half = await RawClient.connect(port);
  half.write(encodePreamble("client").subarray(0, 4));
  const silent = await RawClient.connect(port);
  const slowText = await RawClient.connect(port);
  slowText.write("*2\r\n$4\r\nECHO\r\n");
  const wholeText = await RawClient.connect(port);
  wholeText.write("PING\r\n");
  await wholeText.expect("+PONG\r\n");
  await eventually(() => server.connections === 4);
  clock.push(2_000);
  await half.end();
  await silent.end();
  await slowText.end();
  expect(server.connections).toBe(1);
  expect(log.lines.join("\n")).toContain("did not say what it is");
  expect(log.lines.join("\n")).toContain("no whole command came in time");
  wholeText.write("PING\r\n");
  expect(await wholeText.expect("+PONG\r\n")).toBe("+PONG\r\n");
});

test("thousands of strangers who never finish what they begin cost little, and go away", async () => {
  const clock = pushableClock();
  const { port, server } = await start({ handshakeMsMax: 5_000, stalledRequestMsMax: 5_000 }, { clock });
  const witness = await RawClient.connect(port);
  witness.write("PING\r\n");
  await witness.expect("+PONG\r\n");
  const beginnings = [
    new Uint8Array(0),
    encodePreamble("client").subarray(0, 5),
    utf8("*2\r\n$4\r\nECHO\r\n$8000000\r\n"),
    concatBytes([encodePreamble("client"), Uint8Array.of(0, 0xff, 0xff, 0xff, 1)]),
  ];
  const count = 5_000;
  Bun.gc(true);
  const before = process.memoryUsage().rss;
  const strangers: RawClient[] = [];
  while (strangers.length < count) {
    const some = Array.from({ length: 250 }, () => RawClient.connect(port));
    for (const stranger of await Promise.all(some)) {
      const beginning = beginnings[strangers.push(stranger) % beginnings.length]!;
      stranger.write(beginning);
    }
    await eventually(() => server.connections === strangers.length + 1);
  }
  // Both sides of each connection are in this process.
  expect((process.memoryUsage().rss - before) / count).toBeLessThan(64 * 1024);
  witness.write("PING\r\n");
  expect(await witness.expect("+PONG\r\n")).toBe("+PONG\r\n");
  await eventually(() => {
    clock.push(1_000);
    return server.connections === 1;
  });
  await Promise.all(strangers.map((stranger) => stranger.end()));
  witness.write("PING\r\n");
  expect(await witness.expect("+PONG\r\n")).toBe("+PONG\r\n");
}, 20_000);

test.each(["text", "binary"])("a request that stops arriving ends its connection (%s)", async (protocol) => {
  const clock = pushableClock();
  const { port, server, log } = await start({ stalledRequestMsMax: 1_000 }, { clock });
  const binary = protocol === "binary";
  const client = binary ? (await BinaryClient.connect(port)).raw : await RawClient.connect(port);
  if (!binary) {
    client.write("PING\r\n");
    await client.expect("+PONG\r\n");
  }
  // Between requests a client may be silent for as long as it likes.
  clock.push(60_000);
  const idle = await RawClient.connect(port);
  idle.write("PING\r\n");
  await idle.expect("+PONG\r\n");
  expect(server.connections).toBe(2);
  client.write(binary ? Uint8Array.of(0, 0, 1, 0, 1, 0) : "*2\r\n$4\r\nECHO\r\n$100\r\n");
  await eventually(() => {
    clock.push(500);
    return server.connections === 1;
  });
  expect(log.lines.join("\n")).toContain("bytes of a request came, and nothing of its rest for");
  await client.end();
});

test("many large requests that arrive slowly: those with the most bytes go when there are too many in all", async () => {
  const { port, server, log } = await start({ unfinishedBytesMax: 1_000_000 });
  const slow = await Promise.all(Array.from({ length: 4 }, () => RawClient.connect(port)));
  for (const [i, client] of slow.entries()) {
    client.write("*2\r\n$4\r\nECHO\r\n$8000000\r\n");
    client.write(new Uint8Array((i + 1) * 150_000));
  }
  await slow[3]!.end();
  expect(log.lines.filter((line) => line.includes("unfinished requests")).length).toBe(1);
  expect(server.connections).toBe(3);
  expect(server.queues[0]).toMatchObject({ name: "unfinishedRequests", max: 1_000_000 });
  expect(server.queues[0]!.used).toBeGreaterThan(150_000);
  const witness = await RawClient.connect(port);
  witness.write("PING\r\n");
  expect(await witness.expect("+PONG\r\n")).toBe("+PONG\r\n");
});

test("half a preamble and a FIN: the connection ends", async () => {
  const { port, server } = await start();
  const client = await RawClient.connect(port);
  client.write(encodePreamble("client").subarray(0, 4));
  client.shutdown();
  await client.end();
  await eventually(() => server.connections === 0);
});

test("one client too many is told so in its own protocol, and the others notice nothing", async () => {
  const { port, server } = await start({ connectionsMax: 2 });
  const first = await RawClient.connect(port);
  first.write("PING\r\n");
  await first.expect("+PONG\r\n");
  const second = await BinaryClient.connect(port);
  const third = await RawClient.connect(port);
  third.write("PING\r\n");
  expect(await third.end()).toBe("-ERR max number of clients reached\r\n");
  const fourth = await BinaryClient.connect(port);
  expect(await fourth.next()).toMatchObject({ id: 0, response: { kind: "error", error: "OVERLOADED" } });
  await fourth.raw.end();
  first.write("PING\r\n");
  expect(await first.expect("+PONG\r\n")).toBe("+PONG\r\n");
  second.raw.close();
  await eventually(() => server.connections === 1);
  const fifth = await RawClient.connect(port);
  fifth.write("PING\r\n");
  expect(await fifth.expect("+PONG\r\n")).toBe("+PONG\r\n");
});

test("peers come in although there are as many clients as there may be, up to a bound", async () => {
  const peers: string[] = [];
  const { port, server } = await start(
    { connectionsMax: 1, guestsMax: 2 },
    {
      peers: {
        accept(connection) {
          peers.push(connection.remote);
          return {
            unfinishedBytes: 0,
            received() {},
            drained() {},
            ended: () => connection.finish(),
            closed() {},
            sweep() {},
            stop: () => connection.finish(),
          };
        },
      },
    },
  );
  const client = await RawClient.connect(port);
  client.write("PING\r\n");
  await client.expect("+PONG\r\n");
  const peer = await RawClient.connect(port);
  peer.write(encodePreamble("peer"));
  expect(parsePreambleReply(await peer.take(8), 0)).toMatchObject({ kind: "reply", error: undefined });
  expect(peers).toHaveLength(1);
  const guest = await RawClient.connect(port);
  await eventually(() => server.connections === 3);
  const beyond = await RawClient.connect(port);
  expect(await beyond.end()).toBe("-ERR max number of clients reached\r\n");
  guest.close();
});

test("a stopping server lets its peers go last: answers that are under way may need them", async () => {
  const order: string[] = [];
  const { port, server, handler } = await startServer(
    { stopMsMax: 10_000 },
    {
      peers: {
        accept: (connection) => ({
          unfinishedBytes: 0,
          received() {},
          drained() {},
          ended() {},
          closed() {},
          sweep() {},
          stop() {
            order.push("peer");
            connection.finish();
          },
        }),
      },
    },
  );
  handler.held = [];
  const peer = await RawClient.connect(port);
  peer.write(encodePreamble("peer"));
  await peer.take(8);
  const client = await RawClient.connect(port);
  client.write("SET k v\r\n");
  await eventually(() => handler.held?.length === 1);
  const stopped = server.stop();
  const other = await RawClient.connect(port).catch(() => undefined);
  await other?.end();
  expect(order).toEqual([]);
  handler.release(handler.held[0]!);
  expect(await client.end()).toBe("+OK\r\n");
  await peer.end();
  await stopped;
  expect(order).toEqual(["peer"]);
});

test("random bytes end their own connection at most", async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  console.log(`random bytes: SEED=${seed}`);
  const random = seededRandom(seed);
  const { port, server } = await start();
  const witness = await BinaryClient.connect(port);
  for (let round = 0; round < 40; round++) {
    const client = await RawClient.connect(port);
    const bytes = Uint8Array.from({ length: random.below(4_000) + 1 }, () => random.below(256));
    // A third each: text, behind a good preamble, and a broken preamble.
    if (round % 3 === 1) client.write(encodePreamble("client"));
    if (round % 3 === 2) bytes[0] = 0xf1;
    client.write(bytes);
    client.shutdown();
    await client.until(() => client.over);
    client.close();
    witness.send({ kind: "ping" }, round);
    expect(await witness.next()).toEqual({ id: round, response: { kind: "pong" } });
  }
  await eventually(() => server.connections === 1);
});

test("stopping answers what is under way, takes nothing new, and ends", async () => {
  const { port, server, handler } = await startServer();
  handler.held = [];
  const binary = await BinaryClient.connect(port);
  const text = await RawClient.connect(port);
  const idle = await RawClient.connect(port);
  binary.send({ kind: "ping" }, 3);
  text.write("SET k v\r\n");
  await eventually(() => handler.held?.length === 2);
  const stopped = server.stop();
  for (const executed of handler.held) handler.release(executed);
  expect(await binary.next()).toEqual({ id: 3, response: { kind: "pong" } });
  expect(await text.end()).toBe("+OK\r\n");
  await idle.end();
  await stopped;
  expect(server.connections).toBe(0);
  await expect(RawClient.connect(port)).rejects.toThrow();
});

test("stopping does not wait longer than it may for answers that do not come", async () => {
  const { port, server, handler } = await startServer({ stopMsMax: 30 });
  handler.held = [];
  const client = await RawClient.connect(port);
  client.write("GET k\r\n");
  await eventually(() => handler.held?.length === 1);
  await server.stop();
  expect(await client.end()).toBe("");
  // An answer that comes after all finds nobody, and does no harm.
  handler.release(handler.held[0]!);
});

test("who comes just when nobody listens any more is let go without a word", async () => {
  const transport = bunTransport();
  const accepted: (() => void)[] = [];
  const { server, port } = await startServer(
    {},
    {
      transport: {
        ...transport,
        listen: (host, at, handler) =>
          transport.listen(host, at, {
            opened: (connection) => accepted.push(() => handler.opened(connection)),
            received: (connection, bytes) => handler.received(connection, bytes),
            ended: (connection) => handler.ended?.(connection),
            closed: (connection, error) => handler.closed(connection, error),
          }),
      },
    },
  );
  const client = await RawClient.connect(port);
  await eventually(() => accepted.length === 1);
  const stopped = server.stop();
  accepted[0]!();
  expect(await client.end()).toBe("");
  await stopped;
});
