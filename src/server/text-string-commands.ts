/**
 * Commands on values. Those on one key hand one request over and have its response written in a shape: no closure, no
 * promise. Those on many keys are not atomic, unless all keys share a slot (a hash tag).
 */
import { BATCH_KEYS_MAX } from "../../protocol/limits.ts";
import { type KeyValue, NO_SESSION, type PutCondition } from "../../protocol/messages.ts";
import { shardOfSlot, slotOf } from "../../protocol/slots.ts";
import { Gather } from "./gather.ts";
import {
  ALL_KEYS,
  type Arguments,
  KEY_VALUE_PAIRS,
  ONE_KEY,
  SHAPE,
  type Shape,
  type TextCommand,
  type TextSession,
  textCommand,
} from "./text-command.ts";
import { NOT_AN_INTEGER } from "./text-errors.ts";
import { parseInt64 } from "./text-integer.ts";
import { parseSetOptions } from "./text-set-options.ts";

export const STRING_COMMANDS: readonly TextCommand[] = [
  textCommand("get", 2, "readonly fast", ONE_KEY, "readKey", "string", "Returns the value of a key.", get),
  textCommand(
    "set",
    -3,
    "write denyoom",
    ONE_KEY,
    "writeKey",
    "string",
    "Sets the value of a key: with NX only if it is missing, with XX only if it exists; with EX, PX, EXAT or PXAT until a time.",
    set,
  ),
  textCommand("put", -3, "write denyoom", ONE_KEY, "writeKey", "flotilla", "The same as SET.", set),
  textCommand(
    "setnx",
    3,
    "write denyoom fast",
    ONE_KEY,
    "writeKey",
    "string",
    "Sets the value of a key that is missing.",
    (session, args, slot) => put(session, args, slot, "ifAbsent", SHAPE.flag),
  ),
  textCommand(
    "getset",
    3,
    "write denyoom fast",
    ONE_KEY,
    "writeKey",
    "string",
    "Sets the value of a key, and returns the one that it had.",
    getAndSet,
  ),
  textCommand(
    "mget",
    -2,
    "readonly fast",
    ALL_KEYS,
    "readMany",
    "string",
    "Returns the values of keys. Each is read on its own.",
    mget,
  ),
  textCommand(
    "mset",
    -3,
    "write denyoom",
    KEY_VALUE_PAIRS,
    "writeMany",
    "string",
    "Sets the values of keys: those of one shard together, and the others apart from them.",
    mset,
  ),
  textCommand(
    "strlen",
    2,
    "readonly fast",
    ONE_KEY,
    "readKey",
    "string",
    "Returns the length of a value in bytes.",
    (session, args, slot) =>
      session.request({ kind: "get", key: args[1]!, consistency: "linearizable" }, slot, SHAPE.length),
  ),
  textCommand(
    "incr",
    2,
    "write denyoom fast",
    ONE_KEY,
    "writeKey",
    "string",
    "Adds one.",
    (session, args, slot) => add(session, args, slot, 1n),
  ),
  textCommand(
    "decr",
    2,
    "write denyoom fast",
    ONE_KEY,
    "writeKey",
    "string",
    "Subtracts one.",
    (session, args, slot) => add(session, args, slot, -1n),
  ),
  textCommand(
    "incrby",
    3,
    "write denyoom fast",
    ONE_KEY,
    "writeKey",
    "string",
    "Adds a number.",
    (session, args, slot) => addArgument(session, args, slot, 1n),
  ),
  textCommand(
    "decrby",
    3,
    "write denyoom fast",
    ONE_KEY,
    "writeKey",
    "string",
    "Subtracts a number.",
    (session, args, slot) => addArgument(session, args, slot, -1n),
  ),
  textCommand(
    "cas",
    4,
    "write denyoom fast",
    ONE_KEY,
    "writeKey",
    "flotilla",
    "CAS key expected new: sets a key whose value is as expected; 1 if it did. For a missing key there is SETNX.",
    (session, args, slot) => compareAndSet(session, args, slot, args[3]!),
  ),
  textCommand(
    "cad",
    3,
    "write fast",
    ONE_KEY,
    "writeKey",
    "flotilla",
    "CAD key expected: deletes a key whose value is as expected; 1 if it did.",
    (session, args, slot) => compareAndSet(session, args, slot, undefined),
  ),
];

/** Bytes of keys and values that a shard's part of an MSET has when the next part begins. */
const PART_BYTES = 4 * 1024 * 1024;
const INT64_MIN = -(1n << 63n);

function get(session: TextSession, args: Arguments, slot: number): void {
  session.request({ kind: "get", key: args[1]!, consistency: "linearizable" }, slot, SHAPE.value);
}

function set(session: TextSession, args: Arguments, slot: number): void {
  if (args.length === 3) {
    put(session, args, slot, "always", SHAPE.okOrMissing);
    return;
  }
  const options = parseSetOptions(args, session.clients.env.clock.wallMs());
  if ("error" in options) {
    session.error(slot, options.error);
    return;
  }
  const { condition, expiry, expiryMs, answersOld } = options;
  if (expiry === "clear" && !answersOld) {
    put(session, args, slot, condition, SHAPE.okOrMissing);
    return;
  }
  const target = { stamp: NO_SESSION, key: args[1]!, value: args[2]! };
  session.request(
    { kind: "putWith", ...target, condition, expiry, expiryMs, answersOld },
    slot,
    answersOld ? SHAPE.oldValue : SHAPE.okOrMissing,
  );
}

function getAndSet(session: TextSession, args: Arguments, slot: number): void {
  const target = { stamp: NO_SESSION, key: args[1]!, value: args[2]! };
  const how = { condition: "always", expiry: "clear", expiryMs: 0, answersOld: true } as const;
  session.request({ kind: "putWith", ...target, ...how }, slot, SHAPE.oldValue);
}

function put(
  session: TextSession,
  args: Arguments,
  slot: number,
  condition: PutCondition,
  shape: Shape,
): void {
  const request = { kind: "put", stamp: NO_SESSION, key: args[1]!, value: args[2]!, condition } as const;
  session.request(request, slot, shape);
}

function add(session: TextSession, args: Arguments, slot: number, delta: bigint): void {
  session.request({ kind: "increment", stamp: NO_SESSION, key: args[1]!, delta }, slot, SHAPE.integer);
}

function addArgument(session: TextSession, args: Arguments, slot: number, sign: 1n | -1n): void {
  const amount = parseInt64(args[2]!);
  if (amount === undefined) session.error(slot, NOT_AN_INTEGER);
  else if (sign < 0n && amount === INT64_MIN) session.error(slot, "ERR decrement would overflow");
  else add(session, args, slot, amount * sign);
}

function compareAndSet(
  session: TextSession,
  args: Arguments,
  slot: number,
  value: Uint8Array | undefined,
): void {
  session.request(
    { kind: "compareAndSet", stamp: NO_SESSION, key: args[1]!, expected: args[2]!, value },
    slot,
    SHAPE.flag,
  );
}

function mget(session: TextSession, args: Arguments, slot: number): void {
  const values: (Uint8Array | undefined)[] = new Array(args.length - 1);
  new Gather(session, slot, values.length, {
    request: (index) => ({ kind: "get", key: args[index + 1]!, consistency: "linearizable" }),
    collect: (index, response) => {
      if (response.kind !== "value") return undefined;
      // The response is borrowed.
      values[index] = response.value && new Uint8Array(response.value);
      return response.value?.length ?? 0;
    },
    write: (writer) => {
      writer.arrayHeader(values.length);
      for (const value of values) {
        if (value === undefined) writer.nullBulk();
        else writer.bulk(value);
      }
    },
  });
}

function mset(session: TextSession, args: Arguments, slot: number): void {
  if (args.length % 2 === 0) {
    session.error(slot, "ERR wrong number of arguments for 'mset' command");
    return;
  }
  const entries: KeyValue[] = [];
  for (let i = 1; i < args.length; i += 2) entries.push({ key: args[i]!, value: args[i + 1]! });
  const parts = partsByShard(entries, session.clients.routes.topology()?.shards.length);
  if (parts.length === 1) {
    session.request({ kind: "batch", stamp: NO_SESSION, entries: parts[0]! }, slot, SHAPE.okOrMissing);
    return;
  }
  new Gather(session, slot, parts.length, {
    request: (index) => ({ kind: "batch", stamp: NO_SESSION, entries: parts[index]! }),
    collect: (_index, response) => (response.kind === "boolean" ? 0 : undefined),
    write: (writer) => writer.simple("OK"),
  });
}

/** What is set together: all entries if they share a slot, else those of one shard as far as a batch takes them. */
function partsByShard(
  entries: readonly KeyValue[],
  shards: number | undefined,
): readonly (readonly KeyValue[])[] {
  const first = slotOf(entries[0]!.key);
  if (entries.length <= BATCH_KEYS_MAX && entries.every(({ key }) => slotOf(key) === first)) return [entries];
  const parts: KeyValue[][] = [];
  const open = new Map<number, { part: KeyValue[]; bytes: number }>();
  for (const entry of entries) {
    const slot = slotOf(entry.key);
    // Whoever knows nothing of shards knows that a slot lies in one.
    const place = shards === undefined ? slot : shardOfSlot(slot, shards);
    let last = open.get(place);
    if (last === undefined || last.part.length === BATCH_KEYS_MAX || last.bytes >= PART_BYTES) {
      last = { part: [], bytes: 0 };
      open.set(place, last);
      parts.push(last.part);
    }
    last.part.push(entry);
    last.bytes += entry.key.length + entry.value.length;
  }
  return parts;
}
