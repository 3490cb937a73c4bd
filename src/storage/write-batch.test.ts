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
