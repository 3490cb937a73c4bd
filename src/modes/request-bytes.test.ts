import { expect, test } from "bun:test";
import { shardId } from "../../protocol/ids.ts";
import { ANY_DEADLINE, NO_SESSION, type ReadRequest, type WriteRequest } from "../../protocol/messages.ts";
import { utf8 } from "../lib/bytes.ts";
import { bytesOfRequest, REQUEST_BYTES, unpinned } from "./request-bytes.ts";

/** A view of `text` in the middle of a buffer of `around` bytes. */
function within(around: number, text: string): Uint8Array {
  const bytes = utf8(text);
  const buffer = new Uint8Array(around);
  buffer.set(bytes, 100);
  return buffer.subarray(100, 100 + bytes.length);
}

function requests(view: (text: string) => Uint8Array): (WriteRequest | ReadRequest)[] {
  const [key, value] = [view("some key"), view("some value")];
  const write = { stamp: NO_SESSION, key };
  const read = { key, consistency: "linearizable" } as const;
  const range = { limit: 7, keysOnly: true, shard: shardId(1), consistency: "linearizable" } as const;
  return [
    { kind: "put", ...write, value, condition: "always" },
    { kind: "putWith", ...write, value, condition: "ifAbsent", expiry: "at", expiryMs: 5, answersOld: true },
    { kind: "expire", ...write, expiry: "after", expiryMs: 9, condition: ANY_DEADLINE, answersOld: false },
    { kind: "delete", ...write },
    { kind: "increment", ...write, delta: 3n },
    { kind: "compareAndSet", ...write, expected: undefined, value },
    { kind: "compareAndSet", ...write, expected: value, value: view("") },
    {
      kind: "batch",
      stamp: NO_SESSION,
      entries: [
        { key, value },
        { key: view("other"), value: view("v") },
      ],
    },
    { kind: "get", ...read },
    { kind: "exists", ...read },
    { kind: "ttl", ...read, form: "left" },
    { kind: "explain", ...read },
    { kind: "scan", start: key, end: undefined, ...range },
    { kind: "scan", start: key, end: value, ...range },
  ];
}

/** The largest buffer that a request keeps from being freed. */
function pinnedBy(request: unknown): number {
  if (request instanceof Uint8Array) return request.buffer.byteLength;
  if (typeof request !== "object" || request === null) return 0;
  return Math.max(0, ...Object.values(request).map(pinnedBy));
}

test("what a small request holds of a large chunk is its own afterwards, and says the same", () => {
  for (const request of requests((text) => within(65_536, text))) {
    expect(pinnedBy(request)).toBe(65_536);
    const own = unpinned(request);
    expect(own).toEqual(request);
    expect(bytesOfRequest(own)).toBe(bytesOfRequest(request));
    expect(pinnedBy(own)).toBe(bytesOfRequest(request) - REQUEST_BYTES);
    // It stays what it is from then on.
    expect(unpinned(own)).toBe(own);
  }
});

test("a request that is most of what it keeps is not copied", () => {
  for (const request of requests((text) => within(500, text))) expect(unpinned(request)).toBe(request);
  const value = within(100_000, "v".repeat(60_000));
  const put = { kind: "put", stamp: NO_SESSION, key: utf8("k"), value, condition: "always" } as const;
  expect(unpinned(put)).toBe(put);
});

test("a request without any bytes is what it was", () => {
  const open = { kind: "openSession", shard: shardId(1) } as const;
  expect(unpinned(open)).toBe(open);
});
