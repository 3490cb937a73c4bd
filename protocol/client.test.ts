import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { utf8 } from "../src/lib/bytes.ts";
import { ByteWriter, CborReader } from "./cbor.ts";
import {
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
  REQUEST_TYPES,
  RESPONSE_TYPES,
} from "./client.ts";
import { ProtocolError } from "./errors.ts";
import { FLAG_FORWARDED, type Frame } from "./frame.ts";
import { BATCH_KEYS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX } from "./limits.ts";
import { type ClientRequest, NO_SESSION } from "./messages.ts";
import { PEER_TYPES } from "./peer.ts";
import { decodePlain, encodePlain } from "./plain.ts";
import { number } from "./shape.ts";
import { frameOf } from "./test-frames.ts";
import { anyRequest, anyResponse, anyWrite } from "./test-values.ts";
import { decodeWrite, encodeWrite } from "./write-body.ts";

const body = (type: number, hex: string): Frame => ({
  type,
  flags: 0,
  requestId: 1,
  body: new Uint8Array(Buffer.from(hex, "hex")),
});

function failure(run: () => unknown): ProtocolError {
  try {
    run();
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const put = (key: Uint8Array, value: Uint8Array): ClientRequest => ({
  kind: "put",
  stamp: NO_SESSION,
  key,
  value,
  condition: "always",
});

test("every request arrives as it was sent", () => {
  fc.assert(
    fc.property(anyRequest, fc.nat(0xffff_ffff), fc.boolean(), (request, requestId, forwarded) => {
      const writer = new ByteWriter();
      encodeRequest(writer, request, requestId, forwarded ? FLAG_FORWARDED : 0);
      const frame = frameOf(writer.copy());
      expect(frame.requestId).toBe(requestId);
      expect(frame.flags).toBe(forwarded ? FLAG_FORWARDED : 0);
      expect(decodeRequest(frame)).toEqual(request);
    }),
  );
});

test("every response arrives as it was sent", () => {
  fc.assert(
    fc.property(anyResponse, fc.nat(0xffff_ffff), (response, requestId) => {
      const writer = new ByteWriter();
      encodeResponse(writer, response, requestId);
      const frame = frameOf(writer.copy());
      expect(frame.requestId).toBe(requestId);
      expect(decodeResponse(frame)).toEqual(response);
    }),
  );
});

test("commands back to back are walked, and are a sequence of CBOR items", () => {
  fc.assert(
    fc.property(fc.array(anyWrite, { maxLength: 20 }), (writes) => {
      const writer = new ByteWriter();
      for (const write of writes) encodeWrite(writer, write);
      const reader = new CborReader(writer.view());
      const walked: unknown[] = [];
      while (reader.remaining > 0) walked.push(decodeWrite(reader));
      expect(walked).toEqual(writes);
    }),
  );
});

test("no two frame types have one number", () => {
  const numbers = [REQUEST_TYPES, RESPONSE_TYPES, PEER_TYPES].flatMap((types) => Object.values(types));
  expect(new Set(numbers).size).toBe(numbers.length);
});

describe("limits", () => {
  test("the largest key and value fit, one byte more does not, on either side", () => {
    const writer = new ByteWriter();
    const largest = put(new Uint8Array(KEY_BYTES_MAX), new Uint8Array(VALUE_BYTES_MAX));
    encodeRequest(writer, largest, 1);
    expect(decodeRequest(frameOf(writer.copy()))).toEqual(largest);
    writer.reset();
    writer.u8(0xaa);
    for (const [key, value] of [
      [KEY_BYTES_MAX + 1, 0],
      [0, VALUE_BYTES_MAX + 1],
    ] as const) {
      const error = failure(() => encodeRequest(writer, put(new Uint8Array(key), new Uint8Array(value)), 1));
      expect(error.error).toBe("TOO_LARGE");
      expect(error.message).toMatch(/has \d+ bytes, at most \d+ are allowed/);
      // What was in the buffer before is still all that is in it.
      expect(writer.view()).toEqual(Uint8Array.of(0xaa));
    }
    const raw = new ByteWriter();
    raw.arrayHeader(2);
    raw.bytes(new Uint8Array(KEY_BYTES_MAX + 1));
    raw.uint(0);
    const frame = { type: REQUEST_TYPES.get, flags: 0, requestId: 1, body: raw.view() };
    expect(failure(() => decodeRequest(frame)).error).toBe("TOO_LARGE");
  });

  test("the empty key is a key", () => {
    const writer = new ByteWriter();
    encodeRequest(writer, put(new Uint8Array(0), new Uint8Array(0)), 1);
    expect(decodeRequest(frameOf(writer.copy()))).toEqual(put(new Uint8Array(0), new Uint8Array(0)));
  });

  test("a batch has at least one entry, at most so many keys, and fits into a frame", () => {
    const writer = new ByteWriter();
    const batch = (entries: { key: Uint8Array; value: Uint8Array }[]): ClientRequest => ({
      kind: "batch",
      stamp: NO_SESSION,
      entries,
    });
    const entry = { key: utf8("k"), value: utf8("v") };
    expect(failure(() => encodeRequest(writer, batch([]), 1)).error).toBe("BAD_REQUEST");
    const most = new Array(BATCH_KEYS_MAX).fill(entry);
    encodeRequest(writer, batch(most), 1);
    expect(decodeRequest(frameOf(writer.copy()))).toEqual(batch(most));
    writer.reset();
    expect(failure(() => encodeRequest(writer, batch([...most, entry]), 1)).error).toBe("TOO_LARGE");
    const large = { key: utf8("k"), value: new Uint8Array(VALUE_BYTES_MAX) };
    expect(failure(() => encodeRequest(writer, batch([large, large, large]), 1)).message).toMatch(
      /a batch takes a frame of \d+ bytes, at most 16777216 are allowed/,
    );
    expect(writer.length).toBe(0);
    const raw = new ByteWriter();
    raw.arrayHeader(4);
    for (let i = 0; i < 3; i++) raw.uint(0);
    raw.arrayHeader(2 * BATCH_KEYS_MAX + 2);
    for (let i = 0; i < 2 * BATCH_KEYS_MAX + 2; i++) raw.bytes(entry.key);
    const frame = { type: REQUEST_TYPES.batch, flags: 0, requestId: 1, body: raw.view() };
    expect(failure(() => decodeRequest(frame)).error).toBe("TOO_LARGE");
    expect(failure(() => decodeRequest(body(REQUEST_TYPES.batch, "8400000080"))).error).toBe("BAD_REQUEST");
    expect(failure(() => decodeRequest(body(REQUEST_TYPES.batch, "840000008341614162"))).error).toBe(
      "BAD_REQUEST",
    );
  });

  test("a delta is of 64 bits", () => {
    const increment = (delta: bigint): ClientRequest => ({
      kind: "increment",
      stamp: NO_SESSION,
      key: utf8("k"),
      delta,
    });
    for (const delta of [2n ** 63n, -(2n ** 63n) - 1n]) {
      const error = failure(() => encodeRequest(new ByteWriter(), increment(delta), 1));
      expect(error.message).toContain("is not a signed integer of 64 bits");
    }
  });

  test("numbers out of range", () => {
    const wrong: [number, string, RegExp][] = [
      [REQUEST_TYPES.increment, "850000004161" + "1bffffffffffffffff", /beyond 64 bits/],
      [REQUEST_TYPES.increment, "850000004161" + "3bffffffffffffffff", /beyond 64 bits/],
      [REQUEST_TYPES.put, "861b0020000000000000" + "00004161416200", /above 2\^53 - 1 at offset 1/],
      [REQUEST_TYPES.put, "8600000041614162" + "03", /put condition 3/],
      [REQUEST_TYPES.get, "82416103", /consistency 3/],
      [REQUEST_TYPES.scan, "8740f600f400f6f6", /limit of 0, from 1 to 10000/],
      [REQUEST_TYPES.scan, "8740f6192711f400f6f6", /limit of 10001, from 1 to 10000/],
      [REQUEST_TYPES.scan, "8740f601f400190400f6", /shard 1024/],
      [REQUEST_TYPES.openSession, "81190400", /shard 1024/],
      [REQUEST_TYPES.status, "8102", /status scope 2/],
      [REQUEST_TYPES.ping, "8100", /an array of 1 items instead of 0/],
      [REQUEST_TYPES.ping, "8000", /1 bytes after the last item/],
      [REQUEST_TYPES.ping, "9fff", /an array of unknown length instead of 0/],
      [REQUEST_TYPES.get, "8341610000", /the keyspace 0/],
      [REQUEST_TYPES.get, "834161001b0000000100000000", /the keyspace 4294967296/],
      [REQUEST_TYPES.get, "844161000101", /an array of 4 items instead of 2, or 3 with a keyspace/],
      [REQUEST_TYPES.dropKeyspace, "8200f4", /the keyspace 0/],
      [REQUEST_TYPES.createKeyspace, "84632d2d2d0000f4", /the keyspace's name "---"/],
      [REQUEST_TYPES.createKeyspace, "8461610200f4", /the mode 2 of a keyspace/],
      [9, "83010280", /there is no request of type 9/],
      [99, "80", /there is no request of type 99/],
    ];
    for (const [type, hex, sentence] of wrong) {
      const error = failure(() => decodeRequest(body(type, hex)));
      expect(error.error).toBe("BAD_REQUEST");
      expect(error.message).toMatch(sentence);
    }
  });
});

describe("responses", () => {
  test("an age is rounded up to whole milliseconds, however odd it is", () => {
    for (const [ageMs, travels] of [
      [0, 0],
      [0.2, 1],
      [7, 7],
      [Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER],
      [-3, 0],
    ] as const) {
      const writer = new ByteWriter();
      encodeResponse(writer, { kind: "value", value: undefined, ageMs }, 1);
      expect(decodeResponse(frameOf(writer.copy()))).toEqual({
        kind: "value",
        value: undefined,
        ageMs: travels,
      });
    }
  });

  test("an error number from the future reads as INTERNAL", () => {
    expect(decodeResponse(body(RESPONSE_TYPES.error, "831903e7626869f6"))).toEqual({
      kind: "error",
      error: "INTERNAL",
      message: "hi",
      leader: undefined,
    });
  });

  test("maps are checked field by field, and unknown fields are left out", () => {
    const good = {
      ...{ version: 1, view: 2, clusterId: "c", nodes: [] },
      shards: [{ leader: null, term: 3, replicas: [], copies: [] }],
    };
    const later = encodePlain({ ...good, later: 1 }).toHex();
    expect(decodeResponse(body(RESPONSE_TYPES.topology, later))).toEqual({
      kind: "topology",
      topology: good,
    });
    // An integer of eight bytes is a number, if it is a safe one.
    const uptime = (hex: string) =>
      failure(() => number(decodePlain(Buffer.from(hex, "hex")), "uptimeMs")).message;
    expect(number(decodePlain(Buffer.from("1b0000000200000000", "hex")), "uptimeMs")).toBe(2 ** 33);
    expect(uptime("1b0020000000000000")).toBe(
      "malformed body: uptimeMs is 9007199254740992 instead of a number",
    );
    const noNodes = encodePlain({ version: 1, view: 2, clusterId: "c", shards: [] }).toHex();
    expect(failure(() => decodeResponse(body(RESPONSE_TYPES.topology, noNodes))).message).toBe(
      "malformed body: topology.nodes is nothing instead of an array",
    );
    expect(failure(() => decodeResponse(body(RESPONSE_TYPES.topology, "80"))).message).toBe(
      "malformed body: topology is an array instead of a map",
    );
  });
});
