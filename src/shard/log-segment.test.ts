import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { ByteWriter } from "../../protocol/cbor.ts";
import { groupId, logIndex, nodeId, term } from "../../protocol/ids.ts";
import { inlineBackground } from "../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import { recordSalt } from "../storage/record-frame.ts";
import type { RecordReader } from "../storage/record-reader.ts";
import {
  beginRecord,
  LogDamageError,
  previousEnd,
  readSegment,
  SEGMENT_HEADER_BYTES,
  sealRecord,
  segmentHeader,
  visitRecords,
  wasInterrupted,
} from "./log-segment.ts";
import { LogStore } from "./log-store.ts";

function record(number: number, end: number, payload: string, durable = end): Uint8Array {
  const writer = new ByteWriter();
  beginRecord(writer);
  writer.append(Buffer.from(payload));
  sealRecord(writer, { number, path: "file", salt: recordSalt(number), allocatedBytes: 0, end, durable });
  return writer.view().slice();
}

/** A segment with these payloads, each record vouching for the ones before it. */
function segment(number: number, ...payloads: string[]): Uint8Array {
  let bytes = Buffer.from(segmentHeader(number, 0));
  for (const payload of payloads) bytes = Buffer.concat([bytes, record(number, bytes.length, payload)]);
  return new Uint8Array(bytes);
}

function reading<Result>(bytes: Uint8Array, number: number, use: (reader: RecordReader) => Result): Result {
  const fs = new MemoryFileSystem();
  fs.writeFile("file", bytes);
  return use(readSegment(fs, "file", number));
}

function payloadsOf(bytes: Uint8Array, number: number, isLast = true): string[] {
  const payloads: string[] = [];
  reading(bytes, number, (reader) =>
    visitRecords(reader, isLast, () => {
      payloads.push(Buffer.from(reader.bytes.subarray(reader.start, reader.end)).toString());
    }),
  );
  return payloads;
}

const concat = (...parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts));

test("records come back in order, and what a used file holds behind them does not count", () => {
  const old = segment(3, "old one", "old two", "old three");
  const fresh = segment(7, "one", "two");
  const used = concat(fresh, old.subarray(fresh.length));
  expect(payloadsOf(used, 7)).toEqual(["one", "two"]);
  // Even where an old record begins exactly at the end of the new ones.
  expect(payloadsOf(concat(fresh, record(3, fresh.length, "old")), 7)).toEqual(["one", "two"]);
});

test("behind the end of a segment that is not the newest there must be nothing", () => {
  const bytes = segment(7, "one", "two");
  expect(payloadsOf(bytes, 7, false)).toEqual(["one", "two"]);
  expect(() => payloadsOf(concat(bytes, new Uint8Array(8)), 7, false)).toThrow(LogDamageError);
});

test("a segment under another one's name, or of a format that is not known, is refused", () => {
  expect(() => payloadsOf(segment(7, "one"), 8)).toThrow(/the header says that this is file 7/);
  const header = segmentHeader(7, 123);
  expect(reading(header, 7, previousEnd)).toBe(123);
  for (let at = 0; at < header.length; at++) {
    const flipped = header.slice();
    flipped[at]! ^= 1;
    expect(() => reading(flipped, 7, previousEnd)).toThrow(LogDamageError);
  }
});

test("a segment was interrupted at its beginning, unless a record says that the beginning was there", () => {
  const bytes = segment(7, "first", "second");
  const firstEnd = SEGMENT_HEADER_BYTES + record(7, 0, "first").length;
  for (let length = 0; length < firstEnd; length++) {
    expect(reading(bytes.slice(0, length), 7, wasInterrupted)).toBe(true);
  }
  expect(reading(bytes.slice(0, firstEnd), 7, wasInterrupted)).toBe(false);
  for (const at of [0, 30, SEGMENT_HEADER_BYTES, firstEnd - 1]) {
    const damaged = bytes.slice();
    damaged[at]! ^= 1;
    expect(reading(damaged, 7, wasInterrupted)).toBe(false);
    expect(() => payloadsOf(damaged, 7)).toThrow(LogDamageError);
  }
});

/** The example in `docs/formats/raft-log.md`. `UPDATE_FORMATS=1` rewrites it. */
test("the documented example is what the code writes", async () => {
  const fs = new MemoryFileSystem();
  const store = LogStore.open({ fs, background: inlineBackground(fs) }, "/log");
  const hardState = { term: term(2), votedFor: nodeId("n1"), commit: logIndex(0) };
  const noop = { index: logIndex(1), term: term(2), kind: "noop", data: new Uint8Array(0) } as const;
  store.append(groupId(1), hardState, [noop]);
  await store.flush();
  const written = hexDump(fs.readFile("/log/000000000001.log"));
  const page = `${import.meta.dir}/../../docs/formats/raft-log.md`;
  const text = readFileSync(page, "utf8");
  const example = /```hex\n([\s\S]*?)```/;
  if (process.env.UPDATE_FORMATS !== undefined)
    writeFileSync(
      page,
      text.replace(example, () => `\`\`\`hex\n${written}\`\`\``),
    );
  else expect(example.exec(text)?.[1]).toBe(written);
});

function hexDump(bytes: Uint8Array): string {
  let dump = "";
  for (let at = 0; at < bytes.length; at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = row.map((byte) => (byte > 0x1f && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    dump += `${at.toString(16).padStart(4, "0")}  ${hex.padEnd(47)}  ${text}\n`;
  }
  return dump;
}
