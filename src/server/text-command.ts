/** What a command of the text mode is, and what it may ask of the connection that it came through. */
import type { KeyspaceId } from "../../protocol/ids.ts";
import type { ClientRequest, ClientResponse } from "../../protocol/messages.ts";
import type { RespWriter } from "../../protocol/resp.ts";
import type { TextClients } from "./text-clients.ts";

/**
 * What a command does to the data, which decides what it may overtake. Redis works on the commands of one connection one
 * after the other, and clients rely on it: a GET behind a SET of the same key sees it. Here commands of one connection are
 * under way at the same time, so one waits where that could show: a read behind a write of its key, and a write behind
 * a read of its key. `readMany` and `writeMany` touch any keys. `none` touches no data. `barrier` waits for all before it
 * to be answered, since it changes how the connection itself works.
 *
 * Writes of one connection to one key may be under way together: they are carried out in the order in which they were
 * handed over.
 */
export type Access = "none" | "readKey" | "writeKey" | "readMany" | "writeMany" | "barrier";

/** Arguments of a command, its name first. Views of received bytes that nobody changes. */
export type Arguments = readonly Uint8Array[];

export interface TextCommand {
  /** In lower case; of a subcommand with its container: `client|id`. */
  readonly name: string;
  /** Number of arguments, the name included; `-n`: at least n. */
  readonly arity: number;
  readonly flags: readonly string[];
  /** Positions of the keys among the arguments, as in Redis' COMMAND: last -1 is the last argument; all 0: no keys. */
  readonly firstKey: number;
  readonly lastKey: number;
  readonly keyStep: number;
  readonly access: Access;
  /** One sentence for COMMAND DOCS. */
  readonly summary: string;
  /** Redis' documentation group. */
  readonly group: string;
  readonly subcommands?: ReadonlyMap<string, TextCommand>;
  /** Answers the command through `session`, under `slot`, now or later, exactly once. The number of arguments is checked. */
  run(session: TextSession, args: Arguments, slot: number): void;
}

/** Positions of keys: first, last, step. */
export type KeyPositions = readonly [number, number, number];
export const NO_KEYS: KeyPositions = [0, 0, 0];
export const ONE_KEY: KeyPositions = [1, 1, 1];
export const ALL_KEYS: KeyPositions = [1, -1, 1];
export const KEY_VALUE_PAIRS: KeyPositions = [1, -1, 2];

/** A row of the command table. `flags` are separated by blanks. */
export function textCommand(
  name: string,
  arity: number,
  flags: string,
  keys: KeyPositions,
  access: Access,
  group: string,
  summary: string,
  run: TextCommand["run"],
): TextCommand {
  const [firstKey, lastKey, keyStep] = keys;
  return {
    name,
    arity,
    flags: flags === "" ? [] : flags.split(" "),
    firstKey,
    lastKey,
    keyStep,
    access,
    summary,
    group,
    run,
  };
}

/** How the response to a single request is written. A number, since one is kept for each request under way. */
export const SHAPE = {
  /** boolean → OK, or a missing value. */
  okOrMissing: 0,
  /** value → bulk string, or a missing value. */
  value: 1,
  /** boolean → 1 or 0. */
  flag: 2,
  integer: 3,
  /** value → its length. */
  length: 4,
  /** boolean → string or none. */
  type: 5,
  /** As `value`, for a write: it must not be asked for again. */
  oldValue: 6,
  /** integer, in milliseconds → seconds, rounded; negative ones stay. */
  seconds: 7,
} as const;
export type Shape = (typeof SHAPE)[keyof typeof SHAPE];

/** One connection, as its commands see it. */
export interface TextSession {
  readonly id: number;
  readonly clients: TextClients;
  /** What the client calls itself; empty if it has not said. */
  name: string;
  libraryName: string;
  libraryVersion: string;
  readonly protocolVersion: 2 | 3;
  /** SELECT: where its keys are; `undefined`: in the default one. */
  keyspace: KeyspaceId | undefined;
  /** READONLY: reads are served by this node's replica. */
  readsStale: boolean;
  /** Has the node execute `request`; its response is written under `slot` in `shape`. */
  request(request: ClientRequest, slot: number, shape: Shape): void;
  /**
   * Counts `bytes` that a command keeps for its reply until it is written (then they are taken off again: negative).
   * `false`: together with the replies that wait to be read they are more than a connection may have (`tooMuchHeld` says
   * so in words), and the command has to give up.
   */
  hold(bytes: number): boolean;
  readonly tooMuchHeld: string;
  /** Starts the reply of `slot`: what is written up to `end` is the reply. One at a time. */
  begin(slot: number): RespWriter;
  end(slot: number): void;
  /** A reply that is `+text`. */
  simple(slot: number, text: string): void;
  /** A reply that is an error; `message` begins with its code. */
  error(slot: number, message: string): void;
  /** A reply for an error that the node answered. */
  failure(slot: number, response: ClientResponse): void;
  /** For HELLO: how replies are written from now on. */
  speak(protocolVersion: 2 | 3): void;
  /** For CLIENT REPLY: whether this command (in `slot`) and later ones are answered; `skip`: but for the next one, they are. */
  mute(mode: "on" | "off" | "skip", slot: number): void;
  /** Closes the connection when the replies before are out. */
  quit(): void;
  /** One line of CLIENT LIST, without its end. */
  describe(): string;
}
