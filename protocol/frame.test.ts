import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { concatBytes, utf8 } from "../src/lib/bytes.ts";
import { ByteWriter } from "./cbor.ts";
import { ProtocolError } from "./errors.ts";
import { beginFrame, endFrame, type Frame, FrameReader } from "./frame.ts";

function frameBytes(type: number, flags: number, requestId: number, body: Uint8Array): Uint8Array {
  const writer = new ByteWriter();
  const mark = beginFrame(writer, type, flags, requestId);
  writer.append(body);
  endFrame(writer, mark);
  return writer.copy();
}

function all(reader: FrameReader): Frame[] {
  const frames: Frame[] = [];
  for (let frame = reader.next(); frame !== undefined; frame = reader.next()) frames.push(frame);
  return frames;
}

function failure(bytes: Uint8Array, bytesMax = 1000): ProtocolError {
  const reader = new FrameReader(bytesMax);
  reader.push(bytes);
  try {
    reader.next();
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const anyFrame = fc.record({
  type: fc.nat(255),
  flags: fc.nat(255),
  requestId: fc.nat(0xffff_ffff),
  body: fc.uint8Array({ maxLength: 200 }),
});

describe("frames", () => {
  test("have the documented bytes", () => {
    // CRC-32 of "123456789" is the published check value cbf43926; here type to body spell those digits.
    const bytes = frameBytes(0x31, 0x32, 0x33343536, utf8("789"));
    expect(Buffer.from(bytes).toString("hex")).toBe("0000000d313233343536373839cbf43926");
  });

  test("arrive as they were sent, however the stream is cut", () => {
    fc.assert(
      fc.property(
        fc.array(anyFrame, { maxLength: 20 }),
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }),
        fc.boolean(),
        (frames, sizes, drainEarly) => {
          const stream = concatBytes(
            frames.map((frame) => frameBytes(frame.type, frame.flags, frame.requestId, frame.body)),
          );
          const reader = new FrameReader(1000);
          const arrived: Frame[] = [];
          for (let at = 0, i = 0; at < stream.length; i++) {
            const size = sizes[i % sizes.length]!;
            reader.push(stream.slice(at, at + size));
            at += size;
            if (drainEarly) arrived.push(...all(reader));
          }
          arrived.push(...all(reader));
          expect(arrived).toEqual(frames);
          expect(reader.bufferedBytes).toBe(0);
        },
      ),
    );
  });

  test("inside of one chunk are views of it", () => {
    const chunk = concatBytes([
      frameBytes(1, 0, 7, Uint8Array.of(1, 2)),
      frameBytes(2, 0, 8, Uint8Array.of(3)),
    ]);
    const reader = new FrameReader(1000);
    reader.push(chunk);
    for (const frame of all(reader)) expect(frame.body.buffer).toBe(chunk.buffer);
  });

  test("that span chunks keep their bodies when later chunks come", () => {
    const one = frameBytes(1, 0, 1, new Uint8Array(50).fill(1));
    const two = frameBytes(2, 0, 2, new Uint8Array(50).fill(2));
    const reader = new FrameReader(1000);
    const frames: Frame[] = [];
    for (const byte of concatBytes([one, two])) {
      reader.push(Uint8Array.of(byte));
      frames.push(...all(reader));
    }
    expect(frames.map((frame) => frame.body)).toEqual([
      new Uint8Array(50).fill(1),
      new Uint8Array(50).fill(2),
    ]);
  });

  test("bufferedBytes counts what has not left", () => {
    const bytes = frameBytes(1, 0, 1, new Uint8Array(50));
    const reader = new FrameReader(1000);
    reader.push(bytes.subarray(0, 30));
    expect(all(reader)).toEqual([]);
    reader.push(bytes.subarray(30, 40));
    reader.push(bytes.subarray(40, 45));
    expect(reader.bufferedBytes).toBe(45);
    expect(all(reader)).toEqual([]);
    expect(reader.bufferedBytes).toBe(45);
    reader.push(bytes.subarray(45));
    expect(all(reader)).toHaveLength(1);
    expect(reader.bufferedBytes).toBe(0);
  });
});

describe("a broken stream ends with a reason", () => {
  test("too long", () => {
    const error = failure(Uint8Array.of(0, 0, 0x03, 0xe9));
    expect(error.error).toBe("TOO_LARGE");
    expect(error.message).toBe("a frame of 1001 bytes came, at most 1000 are allowed");
  });

  test("too short", () => {
    const error = failure(Uint8Array.of(0, 0, 0, 9, 0));
    expect(error.error).toBe("BAD_FRAME");
    expect(error.message).toBe("a frame has a length of 9, the shortest is 10");
  });

  test("any flipped bit after the length is a wrong checksum", () => {
    const good = frameBytes(1, 0, 5, utf8("body"));
    for (let bit = 32; bit < good.length * 8; bit++) {
      const bad = good.slice();
      bad[bit >> 3]! ^= 1 << (bit & 7);
      const error = failure(bad);
      expect(error.error).toBe("BAD_FRAME");
      expect(error.message).toContain("has checksum");
    }
  });

  test("an announced length alone takes no memory", () => {
    const before = process.memoryUsage().external;
    const readers: FrameReader[] = [];
    for (let i = 0; i < 200; i++) {
      const reader = new FrameReader(0x7fff_ffff);
      reader.push(Uint8Array.of(0x7f, 0xff, 0xff, 0xff, 1));
      expect(reader.next()).toBeUndefined();
      reader.push(new Uint8Array(100));
      expect(reader.next()).toBeUndefined();
      readers.push(reader);
    }
    expect(process.memoryUsage().external - before).toBeLessThan(100 * 1024 * 1024);
    expect(readers).toHaveLength(200);
  });

  test("a frame that comes byte by byte is assembled in linear time", () => {
    const bytes = frameBytes(1, 0, 1, new Uint8Array(1024 * 1024).fill(7));
    const reader = new FrameReader(bytes.length);
    let frames = 0;
    const started = performance.now();
    for (let at = 0; at < bytes.length; at++) {
      reader.push(bytes.subarray(at, at + 1));
      if (reader.next() !== undefined) frames++;
    }
    expect(frames).toBe(1);
    // About 0.2 s; copying anew at each byte would take minutes.
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});

test("bodies are plain Uint8Arrays, whose slice is a copy, also where the socket gives Buffers", () => {
  const reader = new FrameReader(1000);
  reader.push(Buffer.from(frameBytes(1, 0, 1, Uint8Array.of(1, 2))));
  expect(reader.next()!.body.constructor).toBe(Uint8Array);
});
