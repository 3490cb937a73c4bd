/**
 * Bytes of strangers: random ones, valid ones with damage, valid ones in pieces. From every parser only `ProtocolError`
 * or a value may come, and what a parser holds stays near what it was sent. `FUZZ_RUNS` says how many inputs each parser gets
 * (20,000), `SEED` repeats a run.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { concatBytes, utf8 } from "../src/lib/bytes.ts";
import { type Random, seededRandom } from "../src/lib/prng.ts";
import { CborReader } from "./cbor.ts";
import {
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
  REQUEST_TYPES,
  RESPONSE_TYPES,
} from "./client.ts";
import { ProtocolError } from "./errors.ts";
import { type Frame, FrameReader } from "./frame.ts";
import { decodeGossip, encodeGossip } from "./gossip.ts";
import { nodeId } from "./ids.ts";
import {
  appendMessage,
  beginBundle,
  decodeBundle,
  decodeHello,
  encodeHello,
  endBundle,
  PEER_TYPES,
} from "./peer.ts";
import { decodePlain } from "./plain.ts";
import { encodePreamble, encodePreambleReply, parsePreamble, parsePreambleReply } from "./preamble.ts";
import { RespReader } from "./resp.ts";
import { frameOf, written } from "./test-frames.ts";
import { anyGossip } from "./test-gossip.ts";
import { anyGroup, anyGroupMessage, anyRequest, anyResponse, anyWrite } from "./test-values.ts";
import { decodeWrite, encodeWrite } from "./write-body.ts";

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const RUNS = Number(process.env.FUZZ_RUNS ?? 20_000);
console.log(`protocol/fuzz.test.ts: SEED=${SEED}`);

const N1 = nodeId("n1");
const N2 = nodeId("n2");
/** The parsers hold at most twice what they were sent, and a small buffer. */
const FRAME_BYTES_MAX = 100_000;

function sample<T>(arbitrary: fc.Arbitrary<T>): T[] {
  return fc.sample(arbitrary, { numRuns: 200, seed: SEED });
}

const requestFrames = sample(anyRequest).map((request) =>
  written((writer) => encodeRequest(writer, request, 7)),
);
const responseFrames = sample(anyResponse).map((response) =>
  written((writer) => encodeResponse(writer, response, 7)),
);
const bundleFrames = sample(fc.array(fc.tuple(anyGroup, anyGroupMessage), { maxLength: 5 })).map((messages) =>
  written((writer) => {
    const mark = beginBundle(writer);
    for (const [group, message] of messages) appendMessage(writer, group, message);
    endBundle(writer, mark);
  }),
);
const gossipFrames = sample(anyGossip).map((message) => written((writer) => encodeGossip(writer, message)));
const helloFrame = written((writer) =>
  encodeHello(writer, {
    ...{
      node: N1,
      clusterId: "ab",
      incarnation: "cd",
      members: [N1, N2],
      address: "a:1",
      labels: { zone: "z" },
    },
    settings: { shards: 4, replicas: 3, virtualNodes: 150 },
    ...{ leaseMs: 0, promiseMs: 0 },
  }),
);
const writeSequences = sample(fc.array(anyWrite, { minLength: 1, maxLength: 4 })).map((writes) =>
  written((writer) => {
    for (const write of writes) encodeWrite(writer, write);
  }),
);
const respStreams = [
  "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
  'SET "a b" \'c\\\'d\' "\\x41\\n"\r\nPING\n\r\n*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n',
].map(utf8);

function randomBytes(random: Random, lengthMax: number): Uint8Array {
  return Uint8Array.from({ length: random.below(lengthMax + 1) }, () => random.below(256));
}

const joined = (parts: Uint8Array[]) => new Uint8Array(concatBytes(parts));

/** Bytes that parsers decide on: lengths' borders, CBOR heads, RESP's own. */
const TELLING = [
  0x00, 0x01, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1f, 0x3b, 0x40, 0x5b, 0x5f, 0x7b, 0x80, 0x9b, 0x9f, 0xa1,
].concat([
  0xbb, 0xc1, 0xd9, 0xf4, 0xf6, 0xf7, 0xfb, 0xff, 0x0a, 0x0d, 0x20, 0x22, 0x24, 0x27, 0x2a, 0x2d, 0x30, 0x5c,
]);

/** `bytes` with one to four changes: a flipped bit, another byte, a cut, a doubled or a lost piece. */
function damaged(random: Random, bytes: Uint8Array): Uint8Array {
  // A copy: `slice` of a Buffer is none.
  let result = new Uint8Array(bytes);
  for (let changes = 1 + random.below(4); changes > 0 && result.length > 0; changes--) {
    const at = random.below(result.length);
    const to = Math.min(result.length, at + 1 + random.below(8));
    const change = random.below(6);
    if (change === 0) result[at]! ^= 1 << random.below(8);
    else if (change === 1) result[at] = random.below(256);
    else if (change === 2) result[at] = TELLING[random.below(TELLING.length)]!;
    else if (change === 3) result = result.slice(0, at);
    else if (change === 4) result = joined([result.subarray(0, to), result.subarray(at)]);
    else result = joined([result.subarray(0, at), result.subarray(to)]);
  }
  return result;
}

/** Calls `parse` with `RUNS` inputs; anything but a ProtocolError fails with the input in its message. */
function fuzz(seeds: readonly Uint8Array[], parse: (input: Uint8Array, random: Random) => void): void {
  const random = seededRandom(SEED);
  let refused = 0;
  for (let run = 0; run < RUNS; run++) {
    const input =
      run % 4 === 0 ? randomBytes(random, 80) : damaged(random, seeds[random.below(seeds.length)]!);
    try {
      parse(input, random);
    } catch (error) {
      if (!(error instanceof ProtocolError)) {
        throw new Error(`SEED=${SEED} run ${run}, input ${Buffer.from(input).toString("hex")}`, {
          cause: error,
        });
      }
      refused++;
    }
  }
  // A fuzzer whose inputs are all refused, or all taken, looks at one path only.
  expect(refused).toBeGreaterThan(RUNS / 100);
  expect(refused).toBeLessThan(RUNS);
}

const bodies = (
  frames: readonly Uint8Array[],
  types: Record<string, number>,
  decode: (frame: Frame) => unknown,
) => {
  const numbers = Object.values(types);
  const seeds = frames.map((bytes) => concatBytes([Uint8Array.of(frameOf(bytes).type), frameOf(bytes).body]));
  fuzz(seeds, (input, random) => {
    // The first byte of an input is the frame's type; random inputs get one that exists, most of the time.
    const type =
      numbers.includes(input[0]!) || random.below(8) === 0
        ? input[0]!
        : numbers[random.below(numbers.length)]!;
    decode({ type, flags: 0, requestId: 1, body: input.subarray(1) });
  });
};

/** Pushes `input` in pieces of random lengths and drains after each. */
function feed(
  input: Uint8Array,
  random: Random,
  reader: { push(chunk: Uint8Array): void; next(): unknown; readonly bufferedBytes: number },
): void {
  for (let at = 0; at < input.length; ) {
    const size = random.below(3) === 0 ? 1 : 1 + random.below(input.length);
    reader.push(new Uint8Array(input.subarray(at, at + size)));
    at += size;
    while (reader.next() !== undefined);
    if (reader.bufferedBytes < 0 || reader.bufferedBytes > input.length) {
      throw new Error(`${reader.bufferedBytes} bytes are said to wait`);
    }
  }
}

describe("strangers' bytes", () => {
  test("as frames", () => {
    const streams = requestFrames.map((bytes, i) => concatBytes([bytes, responseFrames[i]!, bytes]));
    fuzz(streams, (input, random) => feed(input, random, new FrameReader(FRAME_BYTES_MAX)));
  });

  test("as requests", () => bodies(requestFrames, REQUEST_TYPES, decodeRequest));
  test("as responses", () => bodies(responseFrames, RESPONSE_TYPES, decodeResponse));

  test("as commands of a log entry", () => {
    fuzz(writeSequences, (input) => {
      const reader = new CborReader(input);
      while (reader.remaining > 0) decodeWrite(reader);
    });
  });

  test("as bundles", () => {
    const decode = (frame: Frame) => decodeBundle(frame, N1, N2, () => {});
    bodies(bundleFrames, { raft: PEER_TYPES.raft }, decode);
  });

  test("as gossip", () => {
    bodies(gossipFrames, { gossip: PEER_TYPES.gossip }, (frame) => decodeGossip(frame, N1, N2));
  });

  test("as hellos and plain data", () => {
    bodies([helloFrame], { hello: PEER_TYPES.hello }, decodeHello);
    fuzz([frameOf(helloFrame).body, ...responseFrames.map((bytes) => frameOf(bytes).body)], (input) => {
      decodePlain(input);
    });
  });

  test("as the text mode", () => {
    fuzz(respStreams, (input, random) => feed(input, random, new RespReader()));
  });

  test("as preambles and their answers: always one of three kinds", () => {
    const random = seededRandom(SEED);
    const seeds = [
      encodePreamble("client"),
      encodePreamble("peer", 1, 9),
      encodePreambleReply(undefined, 1),
      encodePreambleReply("UNSUPPORTED_VERSION", 0, "no"),
    ];
    const kinds = new Set<string>();
    for (let run = 0; run < RUNS; run++) {
      const input =
        run % 4 === 0 ? randomBytes(random, 12) : damaged(random, seeds[random.below(seeds.length)]!);
      kinds.add(parsePreamble(input, 0).kind);
      kinds.add(parsePreambleReply(input, 0).kind);
    }
    expect([...kinds].sort()).toEqual(["incomplete", "malformed", "preamble", "reply"]);
  });
});

describe("whatever the pieces are, the outcome is the same", () => {
  function outcome(input: Uint8Array, size: number, reader: FrameReader | RespReader): string {
    const seen: string[] = [];
    try {
      for (let at = 0; at < input.length; at += size) {
        reader.push(new Uint8Array(input.subarray(at, at + size)));
        for (let next = reader.next(); next !== undefined; next = reader.next()) {
          const parts = "body" in next ? [next.body] : next;
          seen.push(parts.map((part) => Buffer.from(part).toString("hex")).join(" "));
        }
      }
      seen.push(`${reader.bufferedBytes} wait`);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      seen.push(error.message);
    }
    return seen.join("\n");
  }

  const cases = [
    ["frames", requestFrames, () => new FrameReader(FRAME_BYTES_MAX)],
    ["text mode", respStreams, () => new RespReader()],
  ] as const;
  for (const [name, seeds, make] of cases) {
    test(name, () => {
      const random = seededRandom(SEED);
      for (let run = 0; run < RUNS / 10; run++) {
        const input = damaged(random, concatBytes([seeds[random.below(seeds.length)]!, seeds[0]!]));
        const whole = outcome(input, input.length, make());
        expect(outcome(input, 1, make())).toBe(whole);
        expect(outcome(input, 1 + random.below(20), make())).toBe(whole);
      }
    });
  }
});
