import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ByteWriter } from "./cbor.ts";
import { ProtocolError } from "./errors.ts";
import type { Frame } from "./frame.ts";
import { type GroupId, nodeId } from "./ids.ts";
import { HELLO_BYTES_MAX } from "./limits.ts";
import {
  appendMessage,
  beginBundle,
  decodeBundle,
  decodeHello,
  encodeHello,
  encodePeerSignal,
  endBundle,
  PEER_TYPES,
} from "./peer.ts";
import type { GroupMessage } from "./peer-messages.ts";
import { frameOf } from "./test-frames.ts";
import { anyGroup, anyGroupMessage } from "./test-values.ts";

const N1 = nodeId("n1");
const N2 = nodeId("n2");

const bundle = (hex: string): Frame => ({
  type: PEER_TYPES.raft,
  flags: 0,
  requestId: 0,
  body: new Uint8Array(Buffer.from(hex, "hex")),
});

test("a bundle arrives as it was sent, in order", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(anyGroup, anyGroupMessage), { maxLength: 20 }), (messages) => {
      const writer = new ByteWriter();
      const mark = beginBundle(writer);
      for (const [group, message] of messages) appendMessage(writer, group, message);
      endBundle(writer, mark);
      const frame = frameOf(writer.copy());
      expect(frame.type).toBe(PEER_TYPES.raft);
      const arrived: [GroupId, GroupMessage][] = [];
      decodeBundle(frame, N1, N2, (group, message) => arrived.push([group, message]));
      expect(arrived).toEqual(messages);
    }),
  );
});

test("a malformed message ends the bundle, those before it were visited", () => {
  const cases: [string, RegExp][] = [
    ["80", /a bundle with a length/],
    ["9f", /end of the input inside of an array/],
    ["9f9fff", /byte 0xff instead of an unsigned integer/],
    ["9f83000a01ff", /Raft message type 10/],
    ["9f84000701" + "00ff", /4 items instead of 3/],
    ["9f8319ffff0701ff", /group 65535/],
    ["9f870003010101018201" + "00ff", /2 items of log entries/],
    ["9f87000301010101830103" + "40ff", /entry kind 3/],
    ["9f87000301010101830102" + "41f6ff", /an array/],
    ["9f870003011b001fffffffffffff010183010140ff", /log entries after index 9007199254740991/],
    ["9fff00", /1 bytes after the last item/],
  ];
  for (const [hex, sentence] of cases) {
    expect(() => decodeBundle(bundle(hex), N1, N2, () => {})).toThrow(sentence);
    expect(() => decodeBundle(bundle(hex), N1, N2, () => {})).toThrow(ProtocolError);
  }
  let visited = 0;
  expect(() => decodeBundle(bundle("9f8300070183000a0101ff"), N1, N2, () => visited++)).toThrow(
    ProtocolError,
  );
  expect(visited).toBe(1);
});

test("ping and pong have no body", () => {
  const writer = new ByteWriter();
  encodePeerSignal(writer, "ping", 77);
  expect(frameOf(writer.copy())).toEqual({
    type: PEER_TYPES.ping,
    flags: 0,
    requestId: 77,
    body: new Uint8Array(0),
  });
});

describe("hello", () => {
  const settings = { shards: 16, replicas: 3, virtualNodes: 150 };
  const named = { node: N1, clusterId: "", incarnation: "a1b2", members: [N1, N2] };
  const leases = { leaseMs: 352, promiseMs: 441 };
  const hello = { ...named, settings, ...leases, address: "n1:7001", labels: { zone: "a" } };

  test("round trip", () => {
    const writer = new ByteWriter();
    encodeHello(writer, hello);
    expect(decodeHello(frameOf(writer.copy()))).toEqual(hello);
  });

  test("is refused where it is not what it must be", () => {
    const refused = (wrong: object, sentence: RegExp) => {
      const writer = new ByteWriter();
      encodeHello(writer, { ...hello, ...wrong });
      expect(() => decodeHello(frameOf(writer.copy()))).toThrow(sentence);
    };
    refused({ node: "a b" }, /hello.node is "a b" instead of a node id/);
    refused({ members: ["n1", 7] }, /hello.members\[1\] is 7 instead of a node id/);
    refused({ settings: { ...settings, shards: "8" } }, /hello.settings.shards is "8" instead of a number/);
    refused({ leaseMs: -1 }, /hello.leaseMs is -1 instead of a whole number from 0 to 86400000/);
    refused({ labels: ["zone"] }, /hello.labels is an array instead of a map/);
    refused({ labels: { zone: 1 } }, /hello.labels.zone is 1 instead of text/);
    refused({ incarnation: null }, /hello.incarnation is null instead of text/);
    refused({ clusterId: "x".repeat(HELLO_BYTES_MAX) }, /at most 65536 are allowed/);
  });
});
