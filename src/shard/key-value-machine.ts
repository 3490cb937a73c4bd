import type { ShardId } from "../../protocol/ids.ts";
import type { ClientResponse, SessionStamp, WriteRequest } from "../../protocol/messages.ts";
import { unreachable } from "../lib/assert.ts";
import { equalBytes, utf8 } from "../lib/bytes.ts";
import type { ApplyBuffer } from "./apply-buffer.ts";
import type { CommandBatchReader } from "./command-batch.ts";
import type { EngineKeys } from "./engine-keys.ts";
import { parseInteger } from "./integer-value.ts";
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
const SESSION_EXPIRED: ClientResponse = {
  kind: "error",
  error: "SESSION_EXPIRED",
  message:
    "the session is not known any more: whether an earlier attempt of this write happened can't be told",
  leader: undefined,
};

/** The keys and values of one shard, and the sessions that write them. */
export class KeyValueMachine implements StateMachine {
  readonly #shard: ShardId;
  readonly #keys: EngineKeys;
  readonly #buffer: ApplyBuffer;
  readonly #sessions: SessionTable;

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

  apply(reader: CommandBatchReader, receiver: AnswerReceiver | undefined): void {
    for (let command = reader.next(); command !== undefined; command = reader.next()) {
      const response =
        command.kind === "openSession"
          ? ({ kind: "integer", value: BigInt(this.#sessions.open(reader.timeMs)) } as const)
          : this.#executeOnce(command, command.stamp, reader.timeMs);
      receiver?.answer(response);
    }
  }

  dump(): unknown {
    return this.#sessions.dump();
  }

  restore(dump: unknown): void {
    this.#sessions.restore(dump);
  }

  #executeOnce(command: KeyCommand, stamp: SessionStamp, timeMs: number): ClientResponse {
    const lookup = this.#sessions.lookup(stamp);
    if (lookup.kind === "done") return lookup.response;
    if (lookup.kind === "expired") return SESSION_EXPIRED;
    const response = this.#execute(command);
    this.#sessions.remember(stamp, timeMs, response);
    return response;
  }

  #execute(command: KeyCommand): RememberedResponse {
    switch (command.kind) {
      case "put": {
        const key = this.#keys.of(this.#shard, command.key);
        if (command.condition !== "always") {
          const exists = this.#buffer.get(key) !== undefined;
          if (exists !== (command.condition === "ifPresent")) return FALSE;
        }
        this.#buffer.put(key, command.value);
        return TRUE;
      }
      case "delete": {
        const key = this.#keys.of(this.#shard, command.key);
        if (this.#buffer.get(key) === undefined) return FALSE;
        this.#buffer.delete(key);
        return TRUE;
      }
      case "increment": {
        const key = this.#keys.of(this.#shard, command.key);
        const current = this.#buffer.get(key);
        const before = current === undefined ? 0n : parseInteger(current);
        if (before === undefined) return NOT_AN_INTEGER;
        const value = before + command.delta;
        if (BigInt.asIntN(64, value) !== value) return NOT_AN_INTEGER;
        this.#buffer.put(key, utf8(String(value)));
        return { kind: "integer", value };
      }
      case "compareAndSet": {
        const key = this.#keys.of(this.#shard, command.key);
        const current = this.#buffer.get(key);
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
          this.#buffer.put(this.#keys.of(this.#shard, entry.key), entry.value);
        return TRUE;
      default:
        return unreachable(command, "a command in the log");
    }
  }
}

type KeyCommand = Exclude<WriteRequest, { kind: "openSession" }>;
