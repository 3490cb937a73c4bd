import { expect, test } from "bun:test";
import { utf8 } from "../lib/bytes.ts";
import { assertBatch, BATCH_HEADER_BYTES, EncodedBatch, writeBatchHeader } from "./write-batch.ts";

test("a batch is laid out as documented, and can be used again", () => {
  const batch = new EncodedBatch();
  batch.put(utf8("gone"), utf8("x"));
  batch.clear();
  batch.put(utf8("k"), utf8("val"));
  batch.delete(utf8("z"));
  expect([batch.count, batch.byteLength]).toEqual([2, BATCH_HEADER_BYTES + 9 + 4 + 9 + 1]);
  writeBatchHeader(batch.bytes, 0, 7, batch.count);
  expect(Buffer.from(batch.bytes.subarray(0, batch.byteLength)).toString("hex")).toBe(
    `0700000000000000${"02000000"}01${"01000000"}${"03000000"}6b76616c00${"01000000"}${"00000000"}7a`,
  );
  assertBatch(batch.bytes, 0, batch.byteLength);
});

test("a batch whose lengths do not add up is refused", () => {
  const batch = new EncodedBatch();
  batch.put(utf8("key"), utf8("value"));
  writeBatchHeader(batch.bytes, 0, 1, batch.count);
  const bytes = batch.bytes.slice(0, batch.byteLength);
  expect(() => assertBatch(bytes, 0, bytes.length - 1)).toThrow("ends at");
  expect(() => assertBatch(bytes, 0, 5)).toThrow("no header");
  bytes[8] = 2;
  expect(() => assertBatch(bytes, 0, bytes.length)).toThrow("behind the batch's end");
  bytes[8] = 1;
  bytes[12] = 4;
  expect(() => assertBatch(bytes, 0, bytes.length)).toThrow("unknown kind");
});

test("what can't be written is refused before anything of the batch is changed", () => {
  const batch = new EncodedBatch({ keyBytesMax: 4, valueBytesMax: 8, batchBytesMax: 60 });
  batch.put(utf8("key"), utf8("value"));
  const before = batch.bytes.slice(0, batch.byteLength);
  const refused = (action: () => void, message: string): void => {
    expect(action).toThrow(message);
    expect([batch.count, batch.bytes.slice(0, batch.byteLength)]).toEqual([1, before]);
  };
  refused(() => batch.put(utf8("longer"), utf8("v")), "a key has 6 bytes, at most 4 are allowed");
  refused(() => batch.put(utf8("k"), utf8("a longer value")), "a value has 14 bytes, at most 8 are allowed");
  refused(() => batch.put(utf8("k"), utf8("v"), 1.5), "a value expires at 1.5, which is no whole number");
  refused(() => batch.put(utf8("k"), utf8("v"), -1), "a value expires at -1, which is no whole number");
  refused(() => batch.delete(utf8("longer")), "a key has 6 bytes");
  refused(() => batch.deleteRange(utf8("a"), utf8("longer")), "a key has 6 bytes");
  refused(() => batch.put("k" as never, utf8("v")), "a key is a Uint8Array, and not string");
  refused(() => batch.put(utf8("k"), null as never), "a value is a Uint8Array, and not null");
  refused(() => batch.delete(undefined as never), "a key is a Uint8Array, and not undefined");
  refused(() => batch.deleteRange(utf8("a"), 7 as never), "a key is a Uint8Array, and not number");
  batch.put(utf8("full"), utf8("to here"));
  expect(() => batch.put(utf8("k"), utf8("value"))).toThrow("a batch would have more than 60 bytes");
  batch.put(utf8(""), utf8(""));
  expect(batch.count).toBe(3);
});
