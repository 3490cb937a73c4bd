import { expect, test } from "bun:test";
import { logIndex } from "../../protocol/ids.ts";
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
