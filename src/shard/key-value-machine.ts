import { ByteWriter } from "../../protocol/cbor.ts";
import { encodeWrite, type KeepKeyspaces } from "../../protocol/client.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ShardId } from "../../protocol/ids.ts";
import type {
  ClientResponse,
  DeadlineCondition,
  Expire,
  PutCondition,
  PutWith,
  SessionStamp,
  WriteRequest,
} from "../../protocol/messages.ts";
import { whole } from "../../protocol/shape.ts";
import { assert, unreachable } from "../lib/assert.ts";
import { equalBytes, utf8 } from "../lib/bytes.ts";
import type { ApplyBuffer } from "./apply-buffer.ts";
import type { CommandBatchReader } from "./command-batch.ts";
import type { EngineKeys } from "./engine-keys.ts";
import { deadlineOf } from "./expiry.ts";
import { parseInteger } from "./integer-value.ts";
import { KeyspaceGate } from "./keyspace-gate.ts";
import { type KeyspaceFacts, keepCommand } from "./keyspaces.ts";
import {
  DEFAULT_SESSION_LIMITS,
  type RememberedResponse,
  type SessionLimits,
  SessionTable,
} from "./sessions.ts";
import type { AnswerReceiver, StateMachine } from "./state-machine.ts";

const TRUE = { kind: "boolean", value: true } as const;
const FALSE = { kind: "boolean", value: false } as const;
const NOT_AN_INTEGER: RememberedResponse = {
  kind: "error",
  error: "NOT_AN_INTEGER",
  message: "value is not an integer or out of range",
  leader: undefined,
};
const OVERFLOW: RememberedResponse = { ...NOT_AN_INTEGER, message: "the sum would overflow 64 bits" };
const NO_KEYSPACE: RememberedResponse = {
  kind: "error",
  error: "NO_KEYSPACE",
  message: "the keyspace was dropped",
  leader: undefined,
};
const SESSION_EXPIRED: ClientResponse = {
  kind: "error",
  error: "SESSION_EXPIRED",
  message:
    "the session is not known any more: whether an earlier attempt of this write happened can't be told",
  leader: undefined,
};

/** What `restore` takes: the sessions, the latest deadline, and which keyspaces there are. */
type Dump = readonly [sessions: unknown, horizonMs: number, keyspaces: unknown];

/** The keys and values of one shard with their deadlines, and the sessions that write them. */
export class KeyValueMachine implements StateMachine {
  readonly #shard: ShardId;
  readonly #keys: EngineKeys;
  readonly #buffer: ApplyBuffer;
  readonly #sessions: SessionTable;
  readonly #gate = new KeyspaceGate();
  #horizonMs = 0;
  /** The log time of the entry that is being applied. */
  #nowMs = 0;

  constructor(
    shard: ShardId,
    buffer: ApplyBuffer,
    keys: EngineKeys,
    limits: SessionLimits = DEFAULT_SESSION_LIMITS,
  ) {
    this.#shard = shard;
    this.#keys = keys;
    this.#buffer = buffer;
    this.#sessions = new SessionTable(limits);
  }

  get horizonMs(): number {
    return this.#horizonMs;
  }

  apply(reader: CommandBatchReader, receiver: AnswerReceiver | undefined): void {
    this.#nowMs = reader.timeMs;
    for (let command = reader.next(); command !== undefined; command = reader.next()) {
      if (command.kind === "keepKeyspaces") {
        this.#keep(command);
        continue;
      }
      const response =
        command.kind === "openSession"
          ? ({ kind: "integer", value: BigInt(this.#sessions.open(reader.timeMs)) } as const)
          : this.#executeOnce(command, command.stamp, reader.timeMs);
      receiver?.answer(response);
    }
  }

  /** What the shard's log lacks about keyspaces; `undefined`: nothing. Borrowed until the next call. */
  missingOf(facts: KeyspaceFacts): Uint8Array | undefined {
    if (facts.drops <= this.#gate.drops) return undefined;
    const writer = new ByteWriter();
    encodeWrite(writer, keepCommand(facts));
    return writer.view();
  }

  dump(): unknown {
    return [this.#sessions.dump(), this.#horizonMs, this.#gate.dump()] satisfies Dump;
  }

  checkDump(dump: unknown): void {
    if (!Array.isArray(dump) || dump.length !== 3) throw new ProtocolError("BAD_REQUEST", "malformed dump");
    this.#sessions.checkDump(dump[0]);
    whole(0, Number.MAX_SAFE_INTEGER)(dump[1], "the latest deadline");
    this.#gate.checkDump(dump[2]);
  }

  restore(dump: unknown): void {
    const [sessions, horizonMs, keyspaces] = dump as Dump;
    this.#sessions.restore(sessions);
    this.#horizonMs = horizonMs;
    this.#gate.restore(keyspaces);
  }

  #executeOnce(command: KeyCommand, stamp: SessionStamp, timeMs: number): ClientResponse {
    const lookup = this.#sessions.lookup(stamp);
    if (lookup.kind === "done") return lookup.response;
    if (lookup.kind === "expired") return SESSION_EXPIRED;
    const response = this.#execute(command);
    if (stamp.session === 0) return response;
    assert(response.kind !== "value", "a write of a session answers with a value, which is not remembered");
    this.#sessions.remember(stamp, timeMs, response);
    return response;
  }

  #execute(command: KeyCommand): WriteResponse {
    if (command.keyspace !== undefined && !this.#gate.admits(command.keyspace)) return NO_KEYSPACE;
    switch (command.kind) {
      case "put": {
        const key = this.#keys.of(this.#shard, command.keyspace, command.key);
        if (command.condition !== "always" && !holds(command.condition, this.#get(key))) return FALSE;
        this.#buffer.put(key, command.value);
        return TRUE;
      }
      case "putWith":
        return this.#putWith(command);
      case "expire":
        return this.#expire(command);
      case "delete": {
        const key = this.#keys.of(this.#shard, command.keyspace, command.key);
        if (this.#get(key) === undefined) return FALSE;
        this.#buffer.delete(key);
        return TRUE;
      }
      case "increment": {
        const key = this.#keys.of(this.#shard, command.keyspace, command.key);
        const deadline = this.#deadline(key);
        const current = this.#get(key);
        const before = current === undefined ? 0n : parseInteger(current);
        if (before === undefined) return NOT_AN_INTEGER;
        const value = before + command.delta;
        if (BigInt.asIntN(64, value) !== value) return OVERFLOW;
        this.#buffer.put(key, utf8(String(value)), deadline);
        return { kind: "integer", value };
      }
      case "compareAndSet": {
        const key = this.#keys.of(this.#shard, command.keyspace, command.key);
        const current = this.#get(key);
        const matches =
          current === undefined || command.expected === undefined
            ? current === command.expected
            : equalBytes(current, command.expected);
        if (!matches) return FALSE;
        if (command.value !== undefined) this.#buffer.put(key, command.value);
        else if (current !== undefined) this.#buffer.delete(key);
        return TRUE;
      }
      case "batch":
        for (const entry of command.entries)
          this.#buffer.put(this.#keys.of(this.#shard, command.keyspace, entry.key), entry.value);
        return TRUE;
      default:
        return unreachable(command, "a command in the log");
    }
  }

  #putWith(command: PutWith): WriteResponse {
    const key = this.#keys.of(this.#shard, command.keyspace, command.key);
    const deadline = command.expiry === "keep" ? this.#deadline(key) : deadlineOf(command, this.#nowMs);
    const needsOld = command.answersOld || command.condition !== "always";
    const old = needsOld ? this.#get(key) : undefined;
    const takesEffect = holds(command.condition, old);
    if (takesEffect) this.#putUntil(key, command.value, deadline);
    if (command.answersOld) return { kind: "value", value: old, ageMs: 0 };
    return takesEffect ? TRUE : FALSE;
  }

  #expire(command: Expire): WriteResponse {
    const key = this.#keys.of(this.#shard, command.keyspace, command.key);
    const before = this.#deadline(key);
    const value = this.#get(key);
    const deadline = deadlineOf(command, this.#nowMs);
    const takesEffect = value !== undefined && deadlineHolds(command.condition, before, deadline);
    if (takesEffect && deadline !== before) this.#putUntil(key, value, deadline);
    if (command.answersOld) return { kind: "value", value, ageMs: 0 };
    return takesEffect ? TRUE : FALSE;
  }

  /** Sets a key that will be gone from `deadline` on (0: never), and is gone at once if that is past. */
  #putUntil(key: Uint8Array, value: Uint8Array, deadline: number): void {
    if (deadline !== 0 && deadline <= this.#nowMs) {
      this.#buffer.delete(key);
      return;
    }
    this.#buffer.put(key, value, deadline);
    if (deadline > this.#horizonMs) this.#horizonMs = deadline;
  }

  /** Of keyspaces that are no more nothing stays. */
  #keep(command: KeepKeyspaces): void {
    for (const [first, last] of this.#gate.keep(command)) {
      const [gte] = this.#keys.keyspaceSpan(this.#shard, first);
      const [, lt] = this.#keys.keyspaceSpan(this.#shard, last);
      this.#buffer.deleteRange(gte, lt);
    }
  }

  #get(key: Uint8Array): Uint8Array | undefined {
    return this.#buffer.get(key, this.#nowMs);
  }

  /** The deadline of a key; 0: it has none. Costs nothing where no key can have one. */
  #deadline(key: Uint8Array): number {
    return this.#horizonMs > this.#nowMs ? this.#buffer.deadline(key, this.#nowMs) : 0;
  }
}

function holds(condition: PutCondition, old: Uint8Array | undefined): boolean {
  return condition === "always" || (old !== undefined) === (condition === "ifPresent");
}

/** `before` and `after`: the deadline as it is and as it shall be; 0 is none, and later than all. */
function deadlineHolds(condition: DeadlineCondition, before: number, after: number): boolean {
  const { ifNone, ifSome, ifLater, ifEarlier } = condition;
  const [known, wanted] = [before || Number.POSITIVE_INFINITY, after || Number.POSITIVE_INFINITY];
  if (ifNone && before !== 0) return false;
  if (ifSome && before === 0) return false;
  if (ifLater && wanted <= known) return false;
  return !ifEarlier || wanted < known;
}

/** Writes that answer with a value have no session that would have to remember it. */
type WriteResponse = RememberedResponse | Extract<ClientResponse, { kind: "value" }>;

type KeyCommand = Exclude<WriteRequest, { kind: "openSession" }>;
