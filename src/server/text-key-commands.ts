/** Commands on keys and ranges of keys. */
import { SCAN_ENTRIES_MAX } from "../../protocol/limits.ts";
import { NO_SESSION } from "../../protocol/messages.ts";
import type { RespWriter } from "../../protocol/resp.ts";
import { prefixEnd } from "../lib/bytes.ts";
import { Gather } from "./gather.ts";
import { globMatches, globPrefix } from "./glob.ts";
import { ScanJob } from "./scan-job.ts";
import { ScanWalk } from "./scan-walk.ts";
import {
  ALL_KEYS,
  type Arguments,
  NO_KEYS,
  ONE_KEY,
  SHAPE,
  type TextCommand,
  type TextSession,
  textCommand,
} from "./text-command.ts";
import { NOT_AN_INTEGER, STARTING, SYNTAX_ERROR } from "./text-errors.ts";
import { parseCount, parseInt64 } from "./text-integer.ts";
import { word } from "./text-words.ts";

const DELETE_SUMMARY = "Deletes keys, one by one, and returns how many there were.";

export const KEY_COMMANDS: readonly TextCommand[] = [
  ...["del", "unlink", "delete"].map((name) =>
    textCommand(
      name,
      -2,
      name === "unlink" ? "write fast" : "write",
      ALL_KEYS,
      "writeMany",
      name === "delete" ? "flotilla" : "generic",
      DELETE_SUMMARY,
      (session, args, slot) => countKeys(session, args, slot, "delete"),
    ),
  ),
  // Nothing is evicted here for not having been touched: all there is to TOUCH is its answer.
  ...["exists", "touch"].map((name) =>
    textCommand(
      name,
      -2,
      "readonly fast",
      ALL_KEYS,
      "readMany",
      "generic",
      "Returns how many of the keys exist.",
      (session, args, slot) => countKeys(session, args, slot, "exists"),
    ),
  ),
  textCommand(
    "type",
    2,
    "readonly fast",
    ONE_KEY,
    "readKey",
    "generic",
    "Returns string, or none for a missing key.",
    (session, args, slot) =>
      session.request({ kind: "exists", key: args[1]!, consistency: "linearizable" }, slot, SHAPE.type),
  ),
  textCommand(
    "scan",
    -2,
    "readonly",
    NO_KEYS,
    "readMany",
    "generic",
    "Goes through all keys in steps. Any node can go on where another one ended.",
    scan,
  ),
  textCommand(
    "keys",
    2,
    "readonly",
    NO_KEYS,
    "readMany",
    "generic",
    "Returns all keys that match a pattern; quick if the pattern begins with plain characters.",
    keys,
  ),
  textCommand(
    "dbsize",
    1,
    "readonly",
    NO_KEYS,
    "readMany",
    "server",
    "Returns the number of keys, counted one by one.",
    dbsize,
  ),
  textCommand(
    "scanrange",
    -3,
    "readonly",
    NO_KEYS,
    "readMany",
    "flotilla",
    "SCANRANGE start end [LIMIT n]: keys and values from start up to end (excluded; empty: to the last key).",
    (session, args, slot) =>
      scanRange(session, args, slot, 3, args[1]!, args[2]!.length === 0 ? undefined : args[2]),
  ),
  textCommand(
    "scanprefix",
    -2,
    "readonly",
    NO_KEYS,
    "readMany",
    "flotilla",
    "SCANPREFIX prefix [LIMIT n]: keys and values of all keys that begin with prefix.",
    (session, args, slot) => scanRange(session, args, slot, 2, args[1]!, prefixEnd(args[1]!)),
  ),
];

const EMPTY = new Uint8Array(0);
const SCAN_COUNT = 10;
/** Shards that one SCAN looks into at most: where there are many with little in them, it may find nothing, and goes on. */
const SCAN_SHARDS = 64;
// Entries of a scan are borrowed. They are copied below with `new Uint8Array`, since `slice` of a Buffer would share them.

function countKeys(session: TextSession, args: Arguments, slot: number, kind: "delete" | "exists"): void {
  const request = (index: number) =>
    kind === "delete"
      ? ({ kind, stamp: NO_SESSION, key: args[index + 1]! } as const)
      : ({ kind, key: args[index + 1]!, consistency: "linearizable" } as const);
  if (args.length === 2) {
    session.request(request(0), slot, SHAPE.flag);
    return;
  }
  let count = 0;
  new Gather(session, slot, args.length - 1, {
    request,
    collect: (_index, response) => {
      if (response.kind !== "boolean") return undefined;
      if (response.value) count++;
      return 0;
    },
    write: (writer) => writer.integer(count),
  });
}

function scan(session: TextSession, args: Arguments, slot: number): void {
  const { cursors, routes } = session.clients;
  const from = cursors.placeOf(parseInt64(args[1]!) ?? -1n);
  if (from === undefined) {
    session.error(slot, "ERR invalid cursor");
    return;
  }
  let limit = SCAN_COUNT;
  let pattern: Uint8Array | undefined;
  let type = "STRING";
  for (let i = 2; i < args.length; i += 2) {
    const value = args[i + 1];
    const option = word(args[i]!);
    if (value === undefined || (option !== "COUNT" && option !== "MATCH" && option !== "TYPE")) {
      session.error(slot, SYNTAX_ERROR);
      return;
    }
    if (option === "MATCH") pattern = value;
    if (option === "TYPE") type = word(value);
    if (option !== "COUNT") continue;
    const count = parseCount(value);
    if (count === undefined || count < 1) {
      session.error(slot, count === undefined ? NOT_AN_INTEGER : SYNTAX_ERROR);
      return;
    }
    limit = Math.min(count, SCAN_ENTRIES_MAX);
  }
  if (type !== "STRING") {
    const writer = session.begin(slot);
    writer.arrayHeader(2);
    writer.text("0");
    writer.arrayHeader(0);
    session.end(slot);
    return;
  }
  const shards = routes.topology()?.shards.length;
  if (shards === undefined) {
    session.error(slot, STARTING);
    return;
  }
  const prefix = pattern === undefined ? EMPTY : globPrefix(pattern);
  const found: Uint8Array[] = [];
  new ScanWalk(session, slot, from, shards, {
    start: prefix,
    end: prefixEnd(prefix),
    limit,
    shardsMax: SCAN_SHARDS,
    visit: (key) => {
      if (pattern !== undefined && !globMatches(pattern, key)) return 0;
      found.push(new Uint8Array(key));
      return key.length;
    },
    write: (writer, next) => {
      writer.arrayHeader(2);
      writer.text(next === undefined ? "0" : String(cursors.cursorOf(next)));
      writer.arrayHeader(found.length);
      for (const key of found) writer.bulk(key);
    },
  });
}

/** Visits all keys of the range that are this connection's to see, in no order that it could rely on. */
function visitAll(
  session: TextSession,
  slot: number,
  start: Uint8Array,
  end: Uint8Array | undefined,
  visit: (key: Uint8Array) => number,
  write: (writer: RespWriter) => void,
): void {
  const shards = session.clients.routes.topology()?.shards.length;
  const limit = Number.POSITIVE_INFINITY;
  if (session.clients.redirect === "moved" && shards !== undefined) {
    const beginning = { shard: 0, after: undefined };
    new ScanWalk(session, slot, beginning, shards, { start, end, limit, shardsMax: shards, visit, write });
    return;
  }
  const keysOnly = true;
  new ScanJob(session, slot, { start, end, limit, keysOnly, visit: ({ key }) => visit(key), write });
}

function keys(session: TextSession, args: Arguments, slot: number): void {
  const pattern = args[1]!;
  const prefix = globPrefix(pattern);
  const found: Uint8Array[] = [];
  const visit = (key: Uint8Array): number => {
    if (!globMatches(pattern, key)) return 0;
    found.push(new Uint8Array(key));
    return key.length;
  };
  visitAll(session, slot, prefix, prefixEnd(prefix), visit, (writer) => {
    writer.arrayHeader(found.length);
    for (const key of found) writer.bulk(key);
  });
}

function dbsize(session: TextSession, _args: Arguments, slot: number): void {
  let count = 0;
  const visit = (): number => {
    count++;
    return 0;
  };
  visitAll(session, slot, EMPTY, undefined, visit, (writer) => writer.integer(count));
}

/** `optionsAt`: where `LIMIT n` may stand. The reply holds keys and values in turn, as a list in RESP3, too: order counts. */
function scanRange(
  session: TextSession,
  args: Arguments,
  slot: number,
  optionsAt: number,
  start: Uint8Array,
  end: Uint8Array | undefined,
): void {
  let limit = Number.POSITIVE_INFINITY;
  if (args.length > optionsAt) {
    if (args.length !== optionsAt + 2 || word(args[optionsAt]!) !== "LIMIT") {
      session.error(slot, SYNTAX_ERROR);
      return;
    }
    const count = parseCount(args[optionsAt + 1]!);
    if (count === undefined || count < 1) {
      session.error(slot, NOT_AN_INTEGER);
      return;
    }
    limit = count;
  }
  const found: Uint8Array[] = [];
  new ScanJob(session, slot, {
    start,
    end,
    limit,
    keysOnly: false,
    visit: ({ key, value }) => {
      found.push(new Uint8Array(key), new Uint8Array(value));
      return key.length + value.length;
    },
    write: (writer) => {
      writer.arrayHeader(found.length);
      for (const bytes of found) writer.bulk(bytes);
    },
  });
}
