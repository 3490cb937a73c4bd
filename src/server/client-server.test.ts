import { expect, test } from "bun:test";
import { ByteWriter } from "../../protocol/cbor.ts";
import { encodeRequest } from "../../protocol/client.ts";
import { beginFrame, endFrame } from "../../protocol/frame.ts";
import { CLIENT_FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import { NO_SESSION } from "../../protocol/messages.ts";
import { written } from "../../protocol/test-frames.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { BinaryClient, type Executed, eventually, pushableClock, serverPerTest } from "./test-harness.ts";

const start = serverPerTest();

const put = (key: string, value: Uint8Array) =>
  ({ kind: "put", stamp: NO_SESSION, key: utf8(key), value, condition: "always" }) as const;
const get = (key: string) => ({ kind: "get", key: utf8(key), consistency: "linearizable" }) as const;

test("requests are answered under their ids, in the order in which answers come, and are to be redirected", async () => {
  const { port, handler } = await start();
  handler.held = [];
  const client = await BinaryClient.connect(port);
  client.send(put("k", utf8("v")), 10);
  client.send(get("k"), 11);
  client.send({ kind: "ping" }, 12);
  await eventually(() => handler.held?.length === 3);
  expect(handler.held.map(({ routing }) => routing)).toEqual(["redirect", "redirect", "redirect"]);
  const [first, second, third] = handler.held;
  handler.release(third!);
  handler.release(first!);
  handler.release(second!);
  expect((await client.next()).id).toBe(12);
  expect(await client.next()).toEqual({ id: 10, response: { kind: "boolean", value: true } });
  expect(await client.next()).toMatchObject({ id: 11, response: { kind: "value", value: utf8("v") } });
});

test("the replies of one turn leave in one write", async () => {
  let sends = 0;
  const { bunTransport } = await import("../env/bun-transport.ts");
  const inner = bunTransport();
  const { port } = await start(
    {},
    {
      transport: {
        connect: inner.connect,
        resolve: inner.resolve,
        listen: (host, port, handler) =>
          inner.listen(host, port, {
            ...delegate(handler),
            opened(connection) {
              const send = connection.send.bind(connection);
              connection.send = (bytes) => {
                sends++;
                send(bytes);
              };
              handler.opened(connection);
            },
          }),
      },
    },
  );
  const client = await BinaryClient.connect(port);
  sends = 0;
  const writer = new ByteWriter();
  for (let id = 0; id < 100; id++) encodeRequest(writer, { kind: "ping" }, id);
  client.raw.write(writer.view());
  for (let id = 0; id < 100; id++) expect((await client.next()).id).toBe(id);
  expect(sends).toBe(1);
});

test("a request one byte at a time is read like any other", async () => {
  const { port } = await start();
  const client = await BinaryClient.connect(port);
  const writer = new ByteWriter();
  encodeRequest(writer, put("k", utf8("value")), 5);
  for (const byte of writer.copy()) client.raw.write(Uint8Array.of(byte));
  expect(await client.next()).toEqual({ id: 5, response: { kind: "boolean", value: true } });
});

test("a body that does not decode is answered BAD_REQUEST, and the connection lives", async () => {
  const { port } = await start();
  const client = await BinaryClient.connect(port);
  const writer = new ByteWriter();
  const mark = beginFrame(writer, 1, 0, 77);
  writer.append(Uint8Array.of(0xff, 0xff));
  endFrame(writer, mark);
  endFrame(writer, beginFrame(writer, 127, 0, 78));
  client.raw.write(writer.view());
  expect(await client.next()).toMatchObject({ id: 77, response: { kind: "error", error: "BAD_REQUEST" } });
  expect(await client.next()).toMatchObject({ id: 78, response: { kind: "error", error: "BAD_REQUEST" } });
  client.send({ kind: "ping" }, 79);
  expect(await client.next()).toEqual({ id: 79, response: { kind: "pong" } });
});

test.each([
  ["a wrong checksum", corruptFrame(), "BAD_FRAME", "checksum"],
  [
    "an oversized length",
    lengthField(CLIENT_FRAME_BYTES_MAX + 1),
    "TOO_LARGE",
    String(CLIENT_FRAME_BYTES_MAX + 1),
  ],
  ["the largest length", lengthField(0xffffffff), "TOO_LARGE", "4294967295"],
  ["a length that is too short", lengthField(3), "BAD_FRAME", "length of 3"],
])("a frame with %s is told so under id 0, then the connection ends", async (_what, bytes, error, part) => {
  const { port, server, log } = await start();
  const client = await BinaryClient.connect(port);
  client.send({ kind: "ping" }, 1);
  client.raw.write(bytes);
  expect((await client.next()).id).toBe(1);
  const { id, response } = await client.next();
  expect(id).toBe(0);
  expect(response).toMatchObject({ kind: "error", error });
  expect(response.kind === "error" && response.message).toContain(part);
  await client.raw.end();
  await eventually(() => server.connections === 0);
  expect(log.lines.join("\n")).toContain(part);
});

test("an announced length costs no memory before its bytes are there", async () => {
  const { port } = await start();
  const before = process.memoryUsage().rss;
  const clients = await Promise.all(Array.from({ length: 20 }, () => BinaryClient.connect(port)));
  for (const client of clients) client.raw.write(lengthField(CLIENT_FRAME_BYTES_MAX));
  clients[0]!.raw.write(new Uint8Array(100));
  const witness = await BinaryClient.connect(port);
  witness.send({ kind: "ping" }, 1);
  await witness.next();
  expect(process.memoryUsage().rss - before).toBeLessThan(8 * CLIENT_FRAME_BYTES_MAX);
  for (const client of clients) client.raw.close();
});

test("one id for two requests under way: two answers", async () => {
  const { port, handler } = await start();
  handler.held = [];
  const client = await BinaryClient.connect(port);
  client.send({ kind: "ping" }, 4);
  client.send({ kind: "ping" }, 4);
  await eventually(() => handler.held?.length === 2);
  for (const executed of handler.held) handler.release(executed);
  expect((await client.next()).id).toBe(4);
  expect((await client.next()).id).toBe(4);
});

test("beyond the limit of requests under way nothing more is read, until answers make room", async () => {
  const { port, handler } = await start({ requestsInFlightMax: 4 });
  handler.held = [];
  const client = await BinaryClient.connect(port);
  for (let id = 1; id <= 10; id++) client.send(get(`k${id}`), id);
  const witness = await BinaryClient.connect(port);
  witness.send({ kind: "ping" }, 99);
  await eventually(() => handler.held?.some(({ request }) => request.kind === "ping") === true);
  expect(handler.held.length).toBe(5);
  const heldOf = (id: number) =>
    handler.held!.find(({ request }) => request.kind === "get" && fromUtf8(request.key) === `k${id}`);
  for (let id = 1; id <= 10; id++) {
    await eventually(() => heldOf(id) !== undefined);
    handler.release(heldOf(id)!);
    expect((await client.next()).id).toBe(id);
  }
  handler.release(handler.held.find(({ request }) => request.kind === "ping")!);
  expect((await witness.next()).id).toBe(99);
});

test("a client that never reads stops being served, and is cut when its time is over", async () => {
  const clock = pushableClock();
  const { port, server, handler, log } = await start(
    { replyBytesPause: 256 * 1024, unreadReplyMsMax: 10_000 },
    { clock },
  );
  const value = new Uint8Array(64 * 1024);
  handler.values.set("big", value);
  const lazy = await BinaryClient.connect(port);
  lazy.raw.pause();
  const requests = 2_000;
  for (let id = 1; id <= requests; id++) lazy.send(get("big"), id);
  const witness = await BinaryClient.connect(port);
  // The server goes on as long as the kernel takes replies, and then stops taking requests up.
  let seen = -1;
  await eventually(() => {
    const stands = handler.executed === seen && seen > 0;
    seen = handler.executed;
    return stands;
  });
  expect(handler.executed).toBeLessThan(requests);
  witness.send({ kind: "ping" }, 1);
  expect((await witness.next()).id).toBe(1);
  clock.push(5_000);
  witness.send({ kind: "ping" }, 2);
  expect((await witness.next()).id).toBe(2);
  expect(server.connections).toBe(2);
  await eventually(() => {
    clock.push(1_000);
    return server.connections === 1;
  });
  expect(log.lines.join("\n")).toContain("were not read for");
  lazy.raw.close();
});

test("a client that reads late gets everything", async () => {
  const { port, handler } = await start({ replyBytesPause: 128 * 1024 });
  handler.values.set("big", new Uint8Array(32 * 1024).fill(7));
  const client = await BinaryClient.connect(port);
  client.raw.pause();
  for (let id = 1; id <= 400; id++) client.send(get("big"), id);
  await eventually(() => handler.executed > 20);
  client.raw.resume();
  for (let id = 1; id <= 400; id++) expect((await client.next()).id).toBe(id);
});

test("values that come all at once are kept as far as there is room; the others are asked for again", async () => {
  const { port, server, handler } = await start({
    replyBytesPause: 64 * 1024,
    replyBytesMax: 67 * 1024 * 1024,
  });
  for (let id = 1; id <= 200; id++) handler.values.set(`k${id}`, new Uint8Array(1024 * 1024).fill(id));
  const held: Executed[] = [];
  handler.held = held;
  const client = await BinaryClient.connect(port);
  client.raw.pause();
  for (let id = 1; id <= 200; id++) client.send(get(`k${id}`), id);
  await eventually(() => held.length === 200);
  handler.held = undefined;
  for (const executed of held) handler.release(executed);
  expect(handler.executed).toBe(200);
  expect(server.connections).toBe(1);
  client.raw.resume();
  const answered = new Map<number, number | undefined>();
  for (let i = 0; i < 200; i++) {
    const { id, response } = await client.next();
    answered.set(id, response.kind === "value" ? response.value?.at(-1) : undefined);
  }
  expect([...answered].sort(([a], [b]) => a - b)).toEqual(
    Array.from({ length: 200 }, (_, i) => [i + 1, i + 1]),
  );
  // Each that found no room is asked for once more, when there is room for it.
  expect(handler.executed).toBeLessThanOrEqual(400);
});

test("answers that can't be asked for again and are not read cut the connection at the hard limit", async () => {
  const { port, server, handler, log } = await start({
    replyBytesPause: 64 * 1024,
    replyBytesMax: 70 * 1024 * 1024,
  });
  handler.held = [];
  const client = await BinaryClient.connect(port);
  client.raw.pause();
  for (let id = 1; id <= 200; id++) client.send(put("k", utf8("v")), id);
  await eventually(() => handler.held?.length === 200);
  handler.answer = { kind: "value", value: new Uint8Array(1024 * 1024), ageMs: 0 };
  for (const executed of handler.held) handler.release(executed);
  await eventually(() => server.connections === 0);
  expect(log.lines.join("\n")).toContain("bytes of replies wait to be read");
  client.raw.close();
});

test("a client that sends FIN still gets its answers", async () => {
  const { port, handler } = await start();
  handler.held = [];
  const client = await BinaryClient.connect(port);
  client.send({ kind: "ping" }, 1);
  client.raw.shutdown();
  await eventually(() => handler.held?.length === 1);
  handler.release(handler.held[0]!);
  expect((await client.next()).id).toBe(1);
  await client.raw.end();
});

test("answers for a connection that is gone are dropped", async () => {
  const { port, server, handler } = await start();
  handler.held = [];
  const client = await BinaryClient.connect(port);
  client.send({ kind: "ping" }, 1);
  await eventually(() => handler.held?.length === 1);
  client.raw.close();
  await eventually(() => server.connections === 0);
  handler.release(handler.held[0]!);
});

function corruptFrame(): Uint8Array {
  const bytes = written((writer) => encodeRequest(writer, { kind: "ping" }, 2));
  bytes[bytes.length - 1]! ^= 1;
  return bytes;
}

function lengthField(length: number): Uint8Array {
  return written((writer) => writer.u32(length));
}

function delegate(
  handler: import("../env/env.ts").ConnectionHandler,
): import("../env/env.ts").ConnectionHandler {
  return {
    opened: (connection) => handler.opened(connection),
    received: (connection, bytes) => handler.received(connection, bytes),
    drained: (connection) => handler.drained?.(connection),
    ended: (connection) => handler.ended?.(connection),
    closed: (connection, error) => handler.closed(connection, error),
  };
}
