import { expect, test } from "bun:test";
import type { ByteWriter } from "../../protocol/cbor.ts";
import { logIndex } from "../../protocol/ids.ts";
import { SHARDS_MAX } from "../../protocol/limits.ts";
import { utf8 } from "../lib/bytes.ts";
import { CommandBatch } from "./command-batch.ts";
import { EntryBuffers } from "./entry-buffers.ts";

const FLOOR = logIndex(7);

/** What an entry of these commands is, read back. */
function rest(buffers: EntryBuffers, data: Uint8Array): string {
  buffers.reader.open(data);
  return new TextDecoder().decode(buffers.reader.rest());
}

test("batches that are gathered side by side don't mix, and have what they were given", () => {
  const buffers = new EntryBuffers(1024);
  const batches = Array.from({ length: 5 }, () => new CommandBatch(buffers));
  for (let round = 0; round < 3; round++) {
    for (const [at, batch] of batches.entries()) batch.addRaw(utf8(`${round} of ${at}`));
    // One is given up: what it had must not turn up elsewhere.
    batches[round]!.clear();
    for (const [at, batch] of batches.entries()) {
      const data = batch.take(1000 + at, FLOOR);
      expect(rest(buffers, data)).toBe(at === round ? "" : `${round} of ${at}`);
      expect(buffers.reader.timeMs).toBe(1000 + at);
      expect(buffers.reader.floor).toBe(FLOOR);
    }
  }
});

test("a batch that is empty holds no writer", () => {
  const buffers = new EntryBuffers(1024);
  const batches = Array.from({ length: 5 }, () => new CommandBatch(buffers));
  const writer = buffers.lend();
  buffers.giveBack(writer);
  for (const batch of batches) {
    batch.addRaw(utf8("x"));
    batch.take(1, FLOOR);
    batch.addRaw(utf8("y"));
    batch.clear();
  }
  expect(buffers.lend()).toBe(writer);
  expect(buffers.lend()).not.toBe(writer);
});

/** Borrows so many writers at a time, has each hold `bytesOf`, and gives them all back. */
function round(buffers: EntryBuffers, count: number, bytesOf: (at: number) => number): Set<ByteWriter> {
  const writers = Array.from({ length: count }, () => buffers.lend());
  for (const [at, writer] of writers.entries()) writer.append(new Uint8Array(bytesOf(at)));
  for (const writer of writers) buffers.giveBack(writer);
  return new Set(writers);
}

test("as many shards as there can be gather at a time again and again, with the same writers", () => {
  const buffers = new EntryBuffers(1024);
  const first = round(buffers, SHARDS_MAX, () => 1000);
  for (let i = 0; i < 3; i++) {
    const next = round(buffers, SHARDS_MAX, () => 1000);
    expect([...next].filter((writer) => first.has(writer)).length).toBe(SHARDS_MAX);
  }
});

test("what is kept for later has a bound in bytes, and a few that hold much don't push out the many", () => {
  const buffers = new EntryBuffers(1024);
  round(buffers, 100, () => 1_000_000);
  expect(buffers.spareBytes).toBeGreaterThan(1_000_000);
  expect(buffers.spareBytes).toBeLessThanOrEqual(4 * 1024 * 1024);
  const mixed = (at: number): number => (at < 20 ? 1_000_000 : 1000);
  const before = round(buffers, 500, mixed);
  const after = round(buffers, 500, mixed);
  expect([...after].filter((writer) => before.has(writer)).length).toBeGreaterThan(450);
  expect(buffers.spareBytes).toBeLessThanOrEqual(8 * 1024 * 1024);
});
