/**
 * The bodies of writes, which are also what a shard's log stores: `encodeWrite` puts the type before the body, as one
 * byte, which is itself a CBOR integer (types of writes are below 24). So commands back to back are a CBOR sequence
 * (RFC 8742) that ends each of its own accord, and a batch of them is walked with `decodeWrite` until nothing remains.
 */
import { unreachable } from "../src/lib/assert.ts";
import type { ByteWriter, CborReader } from "./cbor.ts";
import { ProtocolError } from "./errors.ts";
import { type KeyspaceId, keyspaceId, shardId } from "./ids.ts";
import {
  BATCH_KEYS_MAX,
  KEY_BYTES_MAX,
  KEYSPACE_ID_MAX,
  KEYSPACES_MAX,
  SHARDS_MAX,
  VALUE_BYTES_MAX,
} from "./limits.ts";
import {
  ANY_DEADLINE,
  type Batch,
  type DeadlineCondition,
  type Expire,
  type Expiry,
  type InKeyspace,
  type KeyValue,
  NO_SESSION,
  type PutCondition,
  type PutWith,
  type SessionStamp,
  type WriteRequest,
} from "./messages.ts";

/** Frame types of writes. A number is never given a second meaning. */
export const WRITE_TYPES = {
  put: 1,
  delete: 2,
  increment: 3,
  compareAndSet: 4,
  batch: 5,
  openSession: 6,
  putWith: 7,
  expire: 8,
} as const satisfies Record<WriteRequest["kind"], number>;

const CONDITIONS = ["always", "ifAbsent", "ifPresent"] as const satisfies readonly PutCondition[];
const EXPIRIES = ["clear", "keep", "after", "at"] as const satisfies readonly Expiry[];
/** By bit: the conditions of `expire`. */
const DEADLINE_CONDITIONS = ["ifNone", "ifSome", "ifLater", "ifEarlier"] as const;

const INT64_MIN = -(1n << 63n);
const INT64_MAX = (1n << 63n) - 1n;

/**
 * What only nodes put into a shard's log: of the keyspaces below `next` there are the `live` ones and no others, as the
 * `drops`th drop of a keyspace has left it. Whatever the shard has of others is deleted.
 */
export interface KeepKeyspaces {
  readonly kind: "keepKeyspaces";
  readonly drops: number;
  readonly next: KeyspaceId;
  /** Ascending. */
  readonly live: readonly KeyspaceId[];
}
const KEEP_KEYSPACES = 9;

/** What a shard's log consists of. */
export type LogCommand = WriteRequest | KeepKeyspaces;

/**
 * Writes the type and the body of `request`, without a frame. Throws `ProtocolError` (TOO_LARGE, BAD_REQUEST) for what
 * is outside of the limits; some of it may be written then.
 */
export function encodeWrite(writer: ByteWriter, request: LogCommand): void {
  if (request.kind === "keepKeyspaces") {
    encodeKeepKeyspaces(writer, request);
    return;
  }
  writer.u8(WRITE_TYPES[request.kind]);
  encodeWriteBody(writer, request);
}

/**
 * Reads what `encodeWrite` wrote, from the reader's position to the end of that command. Byte strings are views of the
 * reader's buffer. Throws `ProtocolError`.
 */
export function decodeWrite(reader: CborReader): LogCommand {
  const type = reader.uint();
  if (type === KEEP_KEYSPACES) return decodeKeepKeyspaces(reader);
  return decodeWriteBody(type, reader) ?? reader.refuse(`type ${type}, which is not a write,`);
}

/** Writes the body alone. */
export function encodeWriteBody(writer: ByteWriter, request: WriteRequest): void {
  switch (request.kind) {
    case "put":
      beginKeyBody(writer, 6, request);
      encodeStamp(writer, request.stamp);
      encodeKey(writer, request.key);
      encodeValue(writer, request.value);
      writer.uint(CONDITIONS.indexOf(request.condition));
      endKeyBody(writer, request);
      return;
    case "putWith":
      beginKeyBody(writer, 9, request);
      encodeStamp(writer, request.stamp);
      encodeKey(writer, request.key);
      encodeValue(writer, request.value);
      writer.uint(CONDITIONS.indexOf(request.condition));
      encodeExpiry(writer, request);
      writer.bool(request.answersOld);
      endKeyBody(writer, request);
      return;
    case "expire":
      beginKeyBody(writer, 8, request);
      encodeStamp(writer, request.stamp);
      encodeKey(writer, request.key);
      encodeExpiry(writer, request);
      encodeDeadlineCondition(writer, request.condition);
      writer.bool(request.answersOld);
      endKeyBody(writer, request);
      return;
    case "delete":
      beginKeyBody(writer, 4, request);
      encodeStamp(writer, request.stamp);
      encodeKey(writer, request.key);
      endKeyBody(writer, request);
      return;
    case "increment":
      if (request.delta < INT64_MIN || request.delta > INT64_MAX) {
        throw new ProtocolError(
          "BAD_REQUEST",
          `the delta ${request.delta} is not a signed integer of 64 bits`,
        );
      }
      beginKeyBody(writer, 5, request);
      encodeStamp(writer, request.stamp);
      encodeKey(writer, request.key);
      writer.int(request.delta);
      endKeyBody(writer, request);
      return;
    case "compareAndSet":
      beginKeyBody(writer, 6, request);
      encodeStamp(writer, request.stamp);
      encodeKey(writer, request.key);
      encodeValueOrNil(writer, request.expected);
      encodeValueOrNil(writer, request.value);
      endKeyBody(writer, request);
      return;
    case "batch":
      encodeBatch(writer, request);
      return;
    case "openSession":
      writer.arrayHeader(1);
      writer.uint(request.shard);
      return;
    default:
      unreachable(request, "cannot encode a write");
  }
}

/** Reads the body of a write of the given type; `undefined` if that type is not a write's. */
export function decodeWriteBody(type: number, reader: CborReader): WriteRequest | undefined {
  switch (type) {
    case WRITE_TYPES.put: {
      const named = expectKeyBody(reader, 6);
      const stamp = decodeStamp(reader);
      const key = decodeKey(reader);
      const value = decodeValue(reader);
      const condition = decodeCondition(reader);
      return { kind: "put", stamp, key, value, condition, keyspace: decodeKeyspace(reader, named) };
    }
    case WRITE_TYPES.putWith: {
      const named = expectKeyBody(reader, 9);
      const stamp = decodeStamp(reader);
      const key = decodeKey(reader);
      const value = decodeValue(reader);
      const condition = decodeCondition(reader);
      const expiry = decodeExpiry(reader);
      const expiryMs = decodeExpiryMs(reader, expiry);
      const answersOld = reader.bool();
      const keyspace = decodeKeyspace(reader, named);
      return { kind: "putWith", stamp, key, value, condition, expiry, expiryMs, answersOld, keyspace };
    }
    case WRITE_TYPES.expire: {
      const named = expectKeyBody(reader, 8);
      const stamp = decodeStamp(reader);
      const key = decodeKey(reader);
      const expiry = decodeExpiry(reader);
      if (expiry === "keep") reader.refuse("a change of a deadline that keeps it");
      const expiryMs = decodeExpiryMs(reader, expiry);
      const condition = decodeDeadlineCondition(reader);
      const answersOld = reader.bool();
      const keyspace = decodeKeyspace(reader, named);
      return { kind: "expire", stamp, key, expiry, expiryMs, condition, answersOld, keyspace };
    }
    case WRITE_TYPES.delete: {
      const named = expectKeyBody(reader, 4);
      const stamp = decodeStamp(reader);
      const key = decodeKey(reader);
      return { kind: "delete", stamp, key, keyspace: decodeKeyspace(reader, named) };
    }
    case WRITE_TYPES.increment: {
      const named = expectKeyBody(reader, 5);
      const stamp = decodeStamp(reader);
      const key = decodeKey(reader);
      const delta = reader.int();
      if (delta < INT64_MIN || delta > INT64_MAX) reader.refuse(`the delta ${delta}, beyond 64 bits,`);
      return { kind: "increment", stamp, key, delta, keyspace: decodeKeyspace(reader, named) };
    }
    case WRITE_TYPES.compareAndSet: {
      const named = expectKeyBody(reader, 6);
      const stamp = decodeStamp(reader);
      const key = decodeKey(reader);
      const expected = reader.takeNil() ? undefined : decodeValue(reader);
      const value = reader.takeNil() ? undefined : decodeValue(reader);
      const keyspace = decodeKeyspace(reader, named);
      return { kind: "compareAndSet", stamp, key, expected, value, keyspace };
    }
    case WRITE_TYPES.batch:
      return decodeBatch(reader);
    case WRITE_TYPES.openSession: {
      expectItems(reader, 1);
      return { kind: "openSession", shard: decodeShard(reader) };
    }
    default:
      return undefined;
  }
}

/** Writes a key. Throws `ProtocolError` (TOO_LARGE). The empty key is a key. */
export function encodeKey(writer: ByteWriter, key: Uint8Array): void {
  checkLength("key", key.length, KEY_BYTES_MAX);
  writer.bytes(key);
}

export function decodeKey(reader: CborReader): Uint8Array {
  const key = reader.bytes();
  checkLength("key", key.length, KEY_BYTES_MAX);
  return key;
}

export function decodeShard(reader: CborReader): ReturnType<typeof shardId> {
  const shard = reader.uint();
  if (shard >= SHARDS_MAX) reader.refuse(`shard ${shard}, of at most ${SHARDS_MAX},`);
  return shardId(shard);
}

/**
 * Begins the body of a request on keys, which has `count` items, and one more where it names a keyspace: so the default
 * one, which most requests are for, costs nothing. `endKeyBody` ends it.
 */
export function beginKeyBody(writer: ByteWriter, count: number, { keyspace }: InKeyspace): void {
  writer.arrayHeader(keyspace === undefined ? count : count + 1);
}

export function endKeyBody(writer: ByteWriter, { keyspace }: InKeyspace): void {
  if (keyspace !== undefined) writer.uint(keyspace);
}

/** Whether a keyspace follows the `count` items that begin here. Throws `ProtocolError` (BAD_REQUEST) if they are others. */
export function expectKeyBody(reader: CborReader, count: number): boolean {
  const found = reader.arrayHeader();
  if (found === count || found === count + 1) return found !== count;
  return reader.refuse(
    `an array of ${found < 0 ? "unknown length" : `${found} items`} instead of ${count}, or ${count + 1} with a keyspace,`,
  );
}

/** The keyspace at the end of a body, if one follows. */
export function decodeKeyspace(reader: CborReader, follows: boolean): KeyspaceId | undefined {
  return follows ? decodeKeyspaceId(reader) : undefined;
}

export function decodeKeyspaceId(reader: CborReader): KeyspaceId {
  const id = reader.uint();
  if (id < 1 || id > KEYSPACE_ID_MAX) reader.refuse(`the keyspace ${id}`);
  return keyspaceId(id);
}

/** Throws `ProtocolError` (BAD_REQUEST) unless an array of `count` items begins here. */
export function expectItems(reader: CborReader, count: number): void {
  const found = reader.arrayHeader();
  if (found !== count)
    reader.refuse(`an array of ${found < 0 ? "unknown length" : `${found} items`} instead of ${count}`);
}

function encodeBatch(writer: ByteWriter, request: Batch): void {
  const { entries } = request;
  if (entries.length === 0) throw new ProtocolError("BAD_REQUEST", "a batch has no entries");
  if (entries.length > BATCH_KEYS_MAX) {
    throw new ProtocolError(
      "TOO_LARGE",
      `a batch has ${entries.length} keys, at most ${BATCH_KEYS_MAX} are allowed`,
    );
  }
  beginKeyBody(writer, 4, request);
  encodeStamp(writer, request.stamp);
  writer.arrayHeader(entries.length * 2);
  for (const { key, value } of entries) {
    encodeKey(writer, key);
    encodeValue(writer, value);
  }
  endKeyBody(writer, request);
}

function decodeBatch(reader: CborReader): Batch {
  const named = expectKeyBody(reader, 4);
  const stamp = decodeStamp(reader);
  const items = reader.arrayHeader();
  if (items <= 0 || items % 2 !== 0) reader.refuse(`a batch of ${items} keys and values`);
  if (items / 2 > BATCH_KEYS_MAX) {
    throw new ProtocolError(
      "TOO_LARGE",
      `a batch has ${items / 2} keys, at most ${BATCH_KEYS_MAX} are allowed`,
    );
  }
  const entries: KeyValue[] = [];
  for (let i = 0; i < items; i += 2) {
    const key = decodeKey(reader);
    entries.push({ key, value: decodeValue(reader) });
  }
  return { kind: "batch", stamp, entries, keyspace: decodeKeyspace(reader, named) };
}

function encodeKeepKeyspaces(writer: ByteWriter, { drops, next, live }: KeepKeyspaces): void {
  writer.u8(KEEP_KEYSPACES);
  writer.arrayHeader(3);
  writer.uint(drops);
  writer.uint(next);
  writer.arrayHeader(live.length);
  for (const id of live) writer.uint(id);
}

function decodeKeepKeyspaces(reader: CborReader): KeepKeyspaces {
  expectItems(reader, 3);
  const drops = reader.uint();
  const next = decodeKeyspaceId(reader);
  const count = reader.arrayHeader();
  if (count < 0 || count > KEYSPACES_MAX) reader.refuse(`a list of ${count} keyspaces`);
  const live = Array.from({ length: count }, () => decodeKeyspaceId(reader));
  return { kind: "keepKeyspaces", drops, next, live };
}

function encodeStamp(writer: ByteWriter, stamp: SessionStamp): void {
  writer.uint(stamp.session);
  writer.uint(stamp.sequence);
  writer.uint(stamp.acknowledgedBelow);
}

function decodeStamp(reader: CborReader): SessionStamp {
  const session = reader.uint();
  const sequence = reader.uint();
  const acknowledgedBelow = reader.uint();
  // Writes without a session are frequent, and share one stamp.
  if (session === 0 && sequence === 0 && acknowledgedBelow === 0) return NO_SESSION;
  return { session, sequence, acknowledgedBelow };
}

function encodeValue(writer: ByteWriter, value: Uint8Array): void {
  checkLength("value", value.length, VALUE_BYTES_MAX);
  writer.bytes(value);
}

function decodeValue(reader: CborReader): Uint8Array {
  const value = reader.bytes();
  checkLength("value", value.length, VALUE_BYTES_MAX);
  return value;
}

function encodeValueOrNil(writer: ByteWriter, value: Uint8Array | undefined): void {
  if (value === undefined) writer.nil();
  else encodeValue(writer, value);
}

function decodeCondition(reader: CborReader): PutCondition {
  const number = reader.uint();
  return CONDITIONS[number] ?? reader.refuse(`the put condition ${number}`);
}

function encodeExpiry(writer: ByteWriter, { expiry, expiryMs }: PutWith | Expire): void {
  const isTime = expiry === "after" || expiry === "at";
  if (!Number.isSafeInteger(expiryMs) || expiryMs < 0 || (!isTime && expiryMs !== 0)) {
    throw new ProtocolError(
      "BAD_REQUEST",
      `the deadline ${expiry} ${expiryMs} is no whole number of milliseconds`,
    );
  }
  writer.uint(EXPIRIES.indexOf(expiry));
  writer.uint(expiryMs);
}

function decodeExpiry(reader: CborReader): Expiry {
  const number = reader.uint();
  return EXPIRIES[number] ?? reader.refuse(`the kind of deadline ${number}`);
}

function decodeExpiryMs(reader: CborReader, expiry: Expiry): number {
  const ms = reader.uint();
  if (ms !== 0 && (expiry === "clear" || expiry === "keep")) reader.refuse(`the deadline ${expiry} ${ms}`);
  return ms;
}

function encodeDeadlineCondition(writer: ByteWriter, condition: DeadlineCondition): void {
  let bits = 0;
  for (const [bit, name] of DEADLINE_CONDITIONS.entries()) if (condition[name]) bits |= 1 << bit;
  writer.uint(bits);
}

function decodeDeadlineCondition(reader: CborReader): DeadlineCondition {
  const bits = reader.uint();
  if (bits === 0) return ANY_DEADLINE;
  if (bits >= 1 << DEADLINE_CONDITIONS.length) reader.refuse(`the conditions ${bits} of a deadline`);
  const [ifNone, ifSome, ifLater, ifEarlier] = DEADLINE_CONDITIONS.map(
    (_name, bit) => (bits & (1 << bit)) !== 0,
  );
  return { ifNone: ifNone!, ifSome: ifSome!, ifLater: ifLater!, ifEarlier: ifEarlier! };
}

function checkLength(what: string, length: number, max: number): void {
  if (length > max)
    throw new ProtocolError("TOO_LARGE", `a ${what} has ${length} bytes, at most ${max} are allowed`);
}
