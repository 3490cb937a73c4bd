/** What strangers send to a live node: each connection ends with a reason, memory stays bounded, and nobody else notices. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { ByteWriter } from "../../protocol/cbor.ts";
import { decodeResponse } from "../../protocol/client.ts";
import type { ErrorName } from "../../protocol/errors.ts";
import { beginFrame, endFrame, FrameReader } from "../../protocol/frame.ts";
import { CLIENT_FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import type { Consistency } from "../../protocol/messages.ts";
import { encodePreamble, parsePreambleReply } from "../../protocol/preamble.ts";
import { concatBytes, fromUtf8, utf8 } from "../../src/lib/bytes.ts";
import { type Random, seededRandom } from "../../src/lib/prng.ts";
import { DEFAULT_SERVER_LIMITS } from "../../src/server/limits.ts";
import { eventually } from "../support/eventually.ts";
import { keyOfEachShard } from "../support/keys.ts";
import { Neighbour } from "../support/neighbour.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { RawConnection, requestBytes } from "../support/raw-connection.ts";
import { testSeed } from "../support/seed.ts";
import { sharedCluster } from "../support/shared-cluster.ts";

const SEED = testSeed("hostile");
const MIB = 1024 * 1024;

// Hooks run in the order in which they are declared: the neighbour goes before its cluster does.
afterAll(() => neighbour.stop());

/** What is hostile must not leave anything behind either: all tests have one cluster. */
const cluster = sharedCluster({ shards: 4 });
let node: NodeProcess;
let neighbour: Neighbour;

beforeAll(async () => {
  node = cluster().nodes[0]!;
  neighbour = new Neighbour(await cluster().connect());
});

/** A frame that is right in every respect but what `spoil` does to it. */
function frame(
  type: number,
  body: Uint8Array,
  spoil: (bytes: Uint8Array) => void = () => undefined,
): Uint8Array {
  const writer = new ByteWriter();
  const mark = beginFrame(writer, type, 0, 7);
  writer.append(body);
  endFrame(writer, mark);
  const bytes = writer.copy();
  spoil(bytes);
  return bytes;
}

const setLength = (length: number) => (bytes: Uint8Array) =>
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, length);

/** The error frame that ends a binary connection. */
function lastWords(bytes: Uint8Array): { error: ErrorName; message: string } {
  const reader = new FrameReader(CLIENT_FRAME_BYTES_MAX);
  reader.push(bytes);
  const last = reader.next();
  if (last === undefined)
    throw new Error(`no frame in ${bytes.length} bytes: ${Buffer.from(bytes).toString("hex")}`);
  const response = decodeResponse(last);
  if (response.kind !== "error") throw new Error(`the node answered ${response.kind}`);
  return response;
}

describe("a binary connection ends with a reason", () => {
  const PING = 32;
  const cases: [string, Uint8Array, ErrorName][] = [
    [
      "a length beyond the limit",
      frame(PING, Uint8Array.of(0x80), setLength(CLIENT_FRAME_BYTES_MAX + 1)),
      "TOO_LARGE",
    ],
    ["the largest length", frame(PING, Uint8Array.of(0x80), setLength(0xffffffff)), "TOO_LARGE"],
    ["a length too short for a frame", frame(PING, Uint8Array.of(0x80), setLength(3)), "BAD_FRAME"],
    [
      "a wrong checksum",
      frame(PING, Uint8Array.of(0x80), (bytes) => {
        bytes[bytes.length - 1]! ^= 1;
      }),
      "BAD_FRAME",
    ],
    [
      "a flipped bit in the body",
      frame(PING, Uint8Array.of(0x80), (bytes) => {
        bytes[10]! ^= 0x40;
      }),
      "BAD_FRAME",
    ],
  ];
  for (const [name, bytes, error] of cases) {
    test(name, async () => {
      const connection = await RawConnection.open(node.port);
      await connection.handshake();
      connection.send(bytes);
      const last = lastWords(await connection.untilClosed());
      expect(last.error).toBe(error);
      expect(last.message.length).toBeGreaterThan(10);
      connection.close();
    });
  }

  const greetings: [string, Uint8Array, ErrorName][] = [
    ["a wrong magic number", Uint8Array.of(0xf1, 0x46, 0x4c, 0x55, 1, 1, 1, 0), "BAD_FRAME"],
    ["versions that nobody speaks", encodePreamble("client", 200, 201), "UNSUPPORTED_VERSION"],
    ["versions in the wrong order", encodePreamble("client", 2, 1), "BAD_FRAME"],
    ["a role that there is not", Uint8Array.of(0xf1, 0x46, 0x4c, 0x54, 9, 1, 1, 0), "BAD_FRAME"],
  ];
  for (const [name, bytes, error] of greetings) {
    test(name, async () => {
      const connection = await RawConnection.open(node.port);
      connection.send(bytes);
      const reply = parsePreambleReply(await connection.untilClosed(), 0);
      expect(reply).toMatchObject({ kind: "reply", error, version: 0 });
      expect(reply.kind === "reply" && reply.message.length).toBeGreaterThan(10);
      connection.close();
    });
  }

  test("but a request that is only wrong in itself is answered, and the connection goes on", async () => {
    const connection = await RawConnection.open(node.port);
    await connection.handshake();
    for (const bytes of [
      frame(99, Uint8Array.of(0x80)),
      frame(16, Uint8Array.of(0xff)),
      frame(16, new Uint8Array(0)),
    ]) {
      connection.send(bytes);
      expect(await connection.response()).toMatchObject({ kind: "error", error: "BAD_REQUEST" });
    }
    expect(await connection.request({ kind: "ping" })).toEqual({ kind: "pong" });
    connection.close();
  });
});

describe("a text connection ends with a reason", () => {
  const cases: [string, string, string][] = [
    [
      "more arguments than anybody may send",
      "*99999999999\r\n",
      "-ERR Protocol error: invalid multibulk length",
    ],
    [
      "an argument longer than any may be",
      "*1\r\n$99999999999\r\n",
      "-ERR Protocol error: invalid bulk length",
    ],
    ["an argument of negative length", "*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length"],
    [
      "something else where an argument is due",
      "*1\r\n+PING\r\n",
      "-ERR Protocol error: expected '$', got '+'",
    ],
    ["an endless line", "x".repeat(100_000), "-ERR Protocol error: too big inline request"],
  ];
  for (const [name, text, reason] of cases) {
    test(name, async () => {
      const connection = await RawConnection.open(node.port);
      connection.send(utf8(text));
      expect(fromUtf8(await connection.untilClosed())).toStartWith(reason);
      connection.close();
    });
  }

  test("an HTTP request", async () => {
    const connection = await RawConnection.open(node.port);
    connection.send(utf8("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"));
    await connection.untilClosed();
    connection.close();
  });
});

test("connections that are gone before the node gets to them", async () => {
  // The kernel completes them while the node is frozen; when it wakes up it accepts sockets that nobody holds any more.
  node.pause();
  try {
    for (let i = 0; i < 50; i++) {
      const connection = await RawConnection.open(node.port);
      connection.send(encodePreamble("client"));
      connection.close();
    }
  } finally {
    node.resume();
  }
  await neighbour.expectUndisturbed();
  expect(node.isRunning).toBe(true);
});

test("those who stall, do not read, or send noise: they are cut off, memory is bounded, the neighbour notices nothing", async () => {
  await neighbour.expectUndisturbed();
  const before = node.residentBytes();
  let highest = before;
  const watch = setInterval(() => {
    highest = Math.max(highest, node.residentBytes());
  }, 50);
  try {
    const cutOff = [
      untilStalledIsCutOff(encodePreamble("client").subarray(0, 5)),
      untilStalledIsCutOff(utf8("*2\r\n$3")),
    ];
    const large = await putLarge();
    const deaf = await Promise.all(DEAF.map((kind) => openDeaf(large, kind)));
    const noise = await sendNoise(seededRandom(SEED));
    console.log(`${noise} connections with random bytes, seed ${SEED}`);
    await neighbour.expectUndisturbed();
    await Promise.all(cutOff);
    await neighbour.expectUndisturbed();
    const patienceMs = DEFAULT_SERVER_LIMITS.unreadReplyMsMax + 10_000;
    await eventually(
      "the node cuts off who does not read",
      patienceMs,
      () => node.lines.filter((line) => / cut a (client|text) connection /.test(line)).length >= deaf.length,
    );
    for (const connection of deaf) connection.close();
  } finally {
    clearInterval(watch);
  }
  await neighbour.expectUndisturbed();
  console.log(
    `resident: ${mib(before)} MiB before, ${mib(highest)} MiB at most, ${mib(node.residentBytes())} MiB after`,
  );
  // They asked for a gibibyte each.
  expect(highest - before).toBeLessThan(DEAF.length * DEFAULT_SERVER_LIMITS.replyBytesMax);
  expect(cluster().nodes.every(({ isRunning }) => isRunning)).toBe(true);
}, 90_000);

/** A connection that begins well and then says no more. */
async function untilStalledIsCutOff(beginning: Uint8Array): Promise<void> {
  const connection = await RawConnection.open(node.port);
  connection.send(beginning);
  await connection.untilClosed(DEFAULT_SERVER_LIMITS.handshakeMsMax + 5000);
  connection.close();
}

const LARGE_BYTES = 100 * 1024;
/** How each of those who do not read asks. */
const DEAF = ["stale", "stale", "linearizable", "linearizable", "text", "text"] as const;

/** Puts a large value where the node leads. */
async function putLarge(): Promise<Uint8Array> {
  const { shards } = await cluster().untilServing();
  const led = shards.findIndex(({ leader }) => leader === node.id);
  const key = keyOfEachShard(shards.length, "large")[led]!;
  const client = await cluster().connect();
  await client.put(key, new Uint8Array(LARGE_BYTES));
  return utf8(key);
}

/** Asks for a gibibyte, in either protocol, and reads nothing of it. */
async function openDeaf(key: Uint8Array, kind: Consistency | "text"): Promise<RawConnection> {
  const connection = await RawConnection.open(node.port);
  if (kind !== "text") await connection.handshake();
  connection.pauseReading();
  const get =
    kind === "text"
      ? utf8(`GET ${fromUtf8(key)}\r\n`)
      : requestBytes({ kind: "get", key, consistency: kind });
  connection.send(concatBytes(new Array<Uint8Array>(Math.ceil((1024 * MIB) / LARGE_BYTES)).fill(get)));
  return connection;
}

/** How many connections there were; all of them have ended. */
async function sendNoise(random: Random): Promise<number> {
  const beginnings = [
    new Uint8Array(0),
    Uint8Array.of(0xf1),
    encodePreamble("client"),
    encodePreamble("peer"),
    utf8("*3\r\n$3\r\nSET\r\n"),
    concatBytes([encodePreamble("client"), requestBytes({ kind: "ping" })]),
  ];
  const rounds = 15;
  const atOnce = 20;
  for (let round = 0; round < rounds; round++) {
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        const noise = new Uint8Array(random.below(32 * 1024));
        for (let i = 0; i < noise.length; i++) noise[i] = random.below(256);
        const beginning = beginnings[random.below(beginnings.length)]!;
        const connection = await RawConnection.open(node.port);
        connection.send(concatBytes([beginning, noise]));
        connection.finish();
        await connection.untilClosed(DEFAULT_SERVER_LIMITS.handshakeMsMax + 5000);
        connection.close();
      }),
    );
  }
  return rounds * atOnce;
}

const mib = (bytes: number): string => (bytes / MIB).toFixed(0);
