import { expect, test } from "bun:test";
import fc from "fast-check";
import { ByteWriter } from "./cbor.ts";
import { ProtocolError } from "./errors.ts";
import type { Frame } from "./frame.ts";
import { decodeGossip, encodeGossip } from "./gossip.ts";
import { DISK_STATES, type GossipFacts, type GossipMessage, MEMBER_STATES } from "./gossip-messages.ts";
import { GOSSIP_BODY_BYTES_MAX } from "./limits.ts";
import { PEER_TYPES } from "./peer.ts";
import { encodePlain } from "./plain.ts";
import { frameOf, written } from "./test-frames.ts";
import { anyGossip, FROM, TO } from "./test-gossip.ts";

const NUMBERS = { ping: 1, ack: 2, nack: 3, pingRequest: 4, sync: 5 };

test("a message arrives as it was sent", () => {
  fc.assert(
    fc.property(anyGossip, (message) => {
      const frame = frameOf(written((writer) => encodeGossip(writer, message)));
      expect(frame.type).toBe(PEER_TYPES.gossip);
      expect(decodeGossip(frame, FROM, TO)).toEqual(message);
    }),
  );
});

/** The same as plain data. */
function plain(message: GossipMessage): unknown {
  const between =
    message.kind === "sync"
      ? [message.ask]
      : message.kind === "pingRequest"
        ? [message.sequence, message.target]
        : [message.sequence];
  return [NUMBERS[message.kind], message.incarnation, ...between, ...plainFacts(message)];
}

const plainFacts = ({ members, loads, leaders }: GossipFacts) => [
  members.flatMap((fact) => [
    ...[fact.node, MEMBER_STATES.indexOf(fact.state), fact.incarnation, fact.suspectedBy],
  ]),
  loads.flatMap(({ node, incarnation, version, load }) => [
    ...[node, incarnation, version, load.shards, load.leaders, load.dataBytes, load.requestsPerSecond],
    ...[DISK_STATES.indexOf(load.disk), load.startedAtMs, load.version],
  ]),
  leaders.flatMap(({ shard, term, leader }) => [shard, term, leader]),
];

test("what is written is what a CBOR library writes", () => {
  // Integers of eight bytes are the library's floating point numbers.
  const isShort = (value: unknown): boolean =>
    Array.isArray(value) ? value.every(isShort) : typeof value !== "number" || value < 2 ** 32;
  fc.assert(
    fc.property(anyGossip, (message) => {
      fc.pre(isShort(plain(message)));
      const { body } = frameOf(written((writer) => encodeGossip(writer, message)));
      expect(Buffer.compare(body, encodePlain(plain(message)))).toBe(0);
    }),
  );
});

const frame = (body: unknown): Frame => ({
  ...{ type: PEER_TYPES.gossip, flags: 0, requestId: 0 },
  body: new Uint8Array(encodePlain(body)),
});

test("what is none is refused, and what is wrong with it said", () => {
  const load = ["n1", 0, 1, 0, 0, 0, 0, 0, 0, "v"];
  const cases: [unknown, RegExp][] = [
    [[1, 0, 0, [], []], /5 items instead of 6/],
    [[4, 0, 0, [], [], []], /6 items instead of 7/],
    [[6, 0, 0, [], [], []], /gossip message kind 6/],
    [[1, 0, 0, ["n1"], [], []], /1 items of members/],
    [[1, 0, 0, ["n 1", 0, 0, []], [], []], /"n 1" instead of a node id/],
    [[1, 0, 0, ["n1", 4, 0, []], [], []], /member state 4/],
    [[1, 0, 0, ["n1", 0, 0, ["n2"]], [], []], /1 suspectors of a member that is alive/],
    [[1, 0, 0, ["n1", 1, 0, Array(9).fill("n2")], [], []], /9 suspectors/],
    [[1, 0, 0, [], load.slice(1), []], /9 items of loads/],
    [[1, 0, 0, [], load.with(7, 2), []], /disk state 2/],
    [[1, 0, 0, [], load.with(9, "x".repeat(65)), []], /a version of 65 characters/],
    [[1, 0, 0, [], load.with(9, "\n"), []], /a version of 1 characters/],
    [[1, 0, 0, [], [], [1024, 1, "n1"]], /the shard 1024/],
    [[5, 0, 1, [], [], []], /true or false/],
    [{}, /an array/],
  ];
  for (const [body, sentence] of cases) {
    expect(() => decodeGossip(frame(body), FROM, TO)).toThrow(sentence);
    expect(() => decodeGossip(frame(body), FROM, TO)).toThrow(ProtocolError);
  }
  const { body } = frame([1, 0, 0, [], [], []]);
  expect(() => decodeGossip({ ...frame([]), body: Uint8Array.of(...body, 0) }, FROM, TO)).toThrow(
    /1 bytes after/,
  );
});

test("sequences and incarnations have 32 bits", () => {
  for (const numbers of [
    [2 ** 32, 0],
    [0, 2 ** 32],
  ]) {
    const writer = new ByteWriter();
    writer.arrayHeader(6);
    for (const number of [1, ...numbers]) writer.uint(number);
    for (let facts = 0; facts < 3; facts++) writer.arrayHeader(0);
    const { type, flags, requestId } = frame([]);
    expect(() => decodeGossip({ type, flags, requestId, body: writer.copy() }, FROM, TO)).toThrow(
      /the number 4294967296 where one of 32 bits belongs/,
    );
  }
});

test("what is too long is not even looked at", () => {
  const body = new Uint8Array(GOSSIP_BODY_BYTES_MAX + 1);
  expect(() => decodeGossip({ ...frame([]), body }, FROM, TO)).toThrow(/has 65537 bytes, at most 65536/);
});

test("a message may follow others in a writer", () => {
  const writer = new ByteWriter();
  const message: GossipMessage = {
    ...{ kind: "ack", from: FROM, to: TO, incarnation: 3, sequence: 4 },
    ...{ members: [], loads: [], leaders: [] },
  };
  encodeGossip(writer, message);
  const { length } = writer;
  encodeGossip(writer, message);
  expect(decodeGossip(frameOf(writer.view(length).slice()), FROM, TO)).toEqual(message);
});
