/** Commands on deadlines: from when on a key is gone. All answer as Redis does. */
import { ANY_DEADLINE, type DeadlineCondition, NO_SESSION } from "../../protocol/messages.ts";
import { fromUtf8 } from "../lib/bytes.ts";
import { Gather } from "./gather.ts";
import {
  type Arguments,
  ONE_KEY,
  SHAPE,
  type Shape,
  type TextCommand,
  type TextSession,
  textCommand,
} from "./text-command.ts";
import { SYNTAX_ERROR } from "./text-errors.ts";
import { CLEAR, type ExpiryChange, GONE, isUnit, parseTime, type Unit } from "./text-expiry-options.ts";
import { word } from "./text-words.ts";

const EXPIRES: readonly (readonly [name: string, unit: Unit, summary: string])[] = [
  ["expire", "EX", "Has a key gone after some seconds."],
  ["pexpire", "PX", "Has a key gone after some milliseconds."],
  ["expireat", "EXAT", "Has a key gone at a time in seconds since the Unix epoch."],
  ["pexpireat", "PXAT", "Has a key gone at a time in milliseconds since the Unix epoch."],
];

const TIMES: readonly (readonly [name: string, form: "left" | "at", shape: Shape, summary: string])[] = [
  ["ttl", "left", SHAPE.seconds, "Returns how many seconds a key has left; -1: no deadline, -2: no key."],
  ["pttl", "left", SHAPE.integer, "Returns how many milliseconds a key has left."],
  ["expiretime", "at", SHAPE.seconds, "Returns when a key is gone, in seconds since the Unix epoch."],
  ["pexpiretime", "at", SHAPE.integer, "Returns when a key is gone, in milliseconds since the Unix epoch."],
];

export const EXPIRY_COMMANDS: readonly TextCommand[] = [
  ...EXPIRES.map(([name, unit, summary]) =>
    textCommand(name, -3, "write fast", ONE_KEY, "writeKey", "generic", summary, (session, args, slot) =>
      expire(session, args, slot, name, unit),
    ),
  ),
  ...TIMES.map(([name, form, shape, summary]) =>
    textCommand(name, 2, "readonly fast", ONE_KEY, "readKey", "generic", summary, (session, args, slot) =>
      session.request({ kind: "ttl", key: args[1]!, form, consistency: "linearizable" }, slot, shape),
    ),
  ),
  textCommand(
    "persist",
    2,
    "write fast",
    ONE_KEY,
    "writeKey",
    "generic",
    "Takes the deadline of a key away.",
    (session, args, slot) =>
      change(session, args, slot, CLEAR, { ...ANY_DEADLINE, ifSome: true }, SHAPE.flag),
  ),
  ...(["setex", "psetex"] as const).map((name) =>
    textCommand(
      name,
      4,
      "write denyoom",
      ONE_KEY,
      "writeKey",
      "string",
      `Sets the value of a key that is gone after some ${name === "setex" ? "" : "milli"}seconds.`,
      (session, args, slot) => setUntil(session, args, slot, name, name === "setex" ? "EX" : "PX"),
    ),
  ),
  textCommand(
    "getex",
    -2,
    "write fast",
    ONE_KEY,
    "writeKey",
    "string",
    "Returns the value of a key, and changes its deadline.",
    getAndExpire,
  ),
  textCommand(
    "getdel",
    2,
    "write fast",
    ONE_KEY,
    "writeKey",
    "string",
    "Returns the value of a key, and deletes it.",
    (session, args, slot) => change(session, args, slot, GONE, ANY_DEADLINE, SHAPE.oldValue),
  ),
];

function wallMs(session: TextSession): number {
  return session.clients.env.clock.wallMs();
}

function expire(session: TextSession, args: Arguments, slot: number, name: string, unit: Unit): void {
  const condition = parseCondition(args);
  if (typeof condition === "string") {
    session.error(slot, condition);
    return;
  }
  const deadline = parseTime(unit, args[2]!, "any", name, wallMs(session));
  if ("error" in deadline) session.error(slot, deadline.error);
  else change(session, args, slot, deadline, condition, SHAPE.flag);
}

/** Has the deadline of `args[1]` changed. The old value is the answer if `shape` wants it. */
function change(
  session: TextSession,
  args: Arguments,
  slot: number,
  { expiry, expiryMs }: ExpiryChange<"clear" | "after" | "at">,
  condition: DeadlineCondition,
  shape: Shape,
): void {
  const answersOld = shape === SHAPE.oldValue;
  session.request(
    { kind: "expire", stamp: NO_SESSION, key: args[1]!, expiry, expiryMs, condition, answersOld },
    slot,
    shape,
  );
}

/** What stands behind EXPIRE, its key and its time; or the error. */
function parseCondition(args: Arguments): DeadlineCondition | string {
  let [ifNone, ifSome, ifLater, ifEarlier] = [false, false, false, false];
  for (let i = 3; i < args.length; i++) {
    const option = word(args[i]!);
    if (option === "NX") ifNone = true;
    else if (option === "XX") ifSome = true;
    else if (option === "GT") ifLater = true;
    else if (option === "LT") ifEarlier = true;
    else return `ERR Unsupported option ${fromUtf8(args[i]!)}`;
  }
  if (ifNone && (ifSome || ifLater || ifEarlier)) {
    return "ERR NX and XX, GT or LT options at the same time are not compatible";
  }
  if (ifLater && ifEarlier) return "ERR GT and LT options at the same time are not compatible";
  return { ifNone, ifSome, ifLater, ifEarlier };
}

function setUntil(session: TextSession, args: Arguments, slot: number, name: string, unit: Unit): void {
  const deadline = parseTime(unit, args[2]!, "positive", name, wallMs(session));
  if ("error" in deadline) {
    session.error(slot, deadline.error);
    return;
  }
  const put = { kind: "putWith", stamp: NO_SESSION, key: args[1]!, value: args[3]! } as const;
  session.request({ ...put, condition: "always", ...deadline, answersOld: false }, slot, SHAPE.okOrMissing);
}

function getAndExpire(session: TextSession, args: Arguments, slot: number): void {
  let unit: Unit | "PERSIST" | undefined;
  let time: Uint8Array | undefined;
  for (let i = 2; i < args.length; i++) {
    const option = word(args[i]!);
    const isTaken = unit !== undefined && unit !== option;
    if (isTaken || !(option === "PERSIST" || (isUnit(option) && i + 1 < args.length))) {
      session.error(slot, SYNTAX_ERROR);
      return;
    }
    unit = option;
    if (option !== "PERSIST") time = args[++i]!;
  }
  const get = { kind: "get", key: args[1]!, consistency: "linearizable" } as const;
  if (unit === undefined) {
    session.request(get, slot, SHAPE.value);
    return;
  }
  const wanted = unit === "PERSIST" ? CLEAR : parseTime(unit, time!, "positive", "getex", wallMs(session));
  if ("error" in wanted) refuseIfPresent(session, args, slot, wanted.error);
  else change(session, args, slot, wanted, ANY_DEADLINE, SHAPE.oldValue);
}

/** Redis looks at the time only if there is a key. */
function refuseIfPresent(session: TextSession, args: Arguments, slot: number, error: string): void {
  let isPresent = false;
  new Gather(session, slot, 1, {
    request: () => ({ kind: "exists", key: args[1]!, consistency: "linearizable" }),
    collect: (_index, response) => {
      if (response.kind !== "boolean") return undefined;
      isPresent = response.value;
      return 0;
    },
    write: (writer) => {
      if (isPresent) writer.error(error);
      else writer.nullBulk();
    },
  });
}
