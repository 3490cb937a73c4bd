/**
 * The wire: frames encoded and decoded as nodes and clients do it, beside cbor-x on the same bodies. `get` and `put` have
 * a key of 16 bytes and a value of 100; `append` is a bundle of one message with 16 entries of 500 bytes. The lines of
 * cbor-x do the body alone, without frame and checksum.
 */
import { Encoder } from "cbor-x/encode";
import { bench, do_not_optimize, group } from "mitata";
import { ByteWriter } from "../protocol/cbor.ts";
import { decodeRequest, decodeResponse, encodeRequest, encodeResponse } from "../protocol/client.ts";
import { type Frame, FrameReader } from "../protocol/frame.ts";
import { groupId, indexPlus, logIndex, nodeId, term } from "../protocol/ids.ts";
import { PEER_FRAME_BYTES_MAX } from "../protocol/limits.ts";
import type { ClientRequest, ClientResponse } from "../protocol/messages.ts";
import { appendMessage, beginBundle, decodeBundle, endBundle } from "../protocol/peer.ts";
import type { RaftMessage } from "../protocol/peer-messages.ts";
import { RespReader } from "../protocol/resp.ts";

const N1 = nodeId("n1");
const N2 = nodeId("n2");
const key = new Uint8Array(16).fill(0x6b);
const value = new Uint8Array(100).fill(0x76);
const stamp = { session: 4711, sequence: 100_000, acknowledgedBelow: 99_990 };

const get: ClientRequest = { kind: "get", key, consistency: "linearizable" };
const put: ClientRequest = { kind: "put", stamp, key, value, condition: "always" };
const found: ClientResponse = { kind: "value", value, ageMs: 0 };
const append: RaftMessage = {
  kind: "append",
  from: N1,
  to: N2,
  term: term(7),
  prevIndex: logIndex(1_000_000),
  prevTerm: term(7),
  commit: logIndex(999_990),
  entries: Array.from({ length: 16 }, (_, i) => ({
    index: indexPlus(logIndex(1_000_001), i),
    term: term(7),
    kind: "commands" as const,
    data: new Uint8Array(500).fill(i),
  })),
};

const cbor = new Encoder({ useRecords: false, tagUint8Array: false, variableMapSize: true });
const putArray = [stamp.session, stamp.sequence, stamp.acknowledgedBelow, key, value, 0];
const appendArray = [
  [
    3,
    3,
    append.term,
    append.prevIndex,
    append.prevTerm,
    append.commit,
    append.entries.flatMap((e) => [e.term, 1, e.data]),
  ],
];

const writer = new ByteWriter();

/** The bytes that `encode` writes, in an array of their own. */
function bytesOf(encode: () => void): Uint8Array {
  writer.reset();
  encode();
  return writer.copy();
}

/** Encodes into a buffer that starts over after each call, as at the end of a turn. */
function benchEncode(name: string, encode: () => void): void {
  bench(name, () => {
    writer.reset();
    encode();
    do_not_optimize(writer.length);
  });
}

function benchDecode(name: string, bytes: Uint8Array, decode: (frame: Frame) => unknown): void {
  const reader = new FrameReader(PEER_FRAME_BYTES_MAX);
  bench(name, () => {
    reader.push(bytes);
    do_not_optimize(decode(reader.next()!));
  });
}

function encodeAppend(): void {
  const mark = beginBundle(writer);
  appendMessage(writer, groupId(3), append);
  endBundle(writer, mark);
}

/** Registers the benchmarks of this file with mitata. */
export function register(): void {
  group("codec: get", () => {
    const request = bytesOf(() => encodeRequest(writer, get, 1));
    const response = bytesOf(() => encodeResponse(writer, found, 1));
    benchEncode("encode request", () => encodeRequest(writer, get, 1));
    benchDecode("decode request", request, decodeRequest);
    benchEncode("encode response", () => encodeResponse(writer, found, 1));
    benchDecode("decode response", response, decodeResponse);
  });
  group("codec: put", () => {
    const body = new Uint8Array(cbor.encode(putArray));
    benchEncode("encode request", () => encodeRequest(writer, put, 1));
    bench("encode body, cbor-x", () => do_not_optimize(cbor.encode(putArray)));
    benchDecode(
      "decode request",
      bytesOf(() => encodeRequest(writer, put, 1)),
      decodeRequest,
    );
    bench("decode body, cbor-x", () => do_not_optimize(cbor.decode(body)));
  });
  group("codec: append, 16 entries of 500 bytes", () => {
    const body = new Uint8Array(cbor.encode(appendArray));
    let visited = 0;
    const visit = () => void visited++;
    benchEncode("encode bundle", encodeAppend);
    bench("encode body, cbor-x", () => do_not_optimize(cbor.encode(appendArray)));
    benchDecode("decode bundle", bytesOf(encodeAppend), (frame) => {
      decodeBundle(frame, N1, N2, visit);
      return visited;
    });
    bench("decode body, cbor-x", () => do_not_optimize(cbor.decode(body)));
  });
  group("codec: text mode", () => {
    const pipeline = new Uint8Array(
      Buffer.from(`*3\r\n$3\r\nSET\r\n$16\r\n${"k".repeat(16)}\r\n$3\r\nabc\r\n`.repeat(16)),
    );
    const reader = new RespReader();
    bench("read 16 SETs", () => {
      reader.push(pipeline);
      for (let command = reader.next(); command !== undefined; command = reader.next()) {
        do_not_optimize(command);
      }
    });
  });
}
