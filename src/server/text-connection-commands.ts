/** Commands about the connection itself. */
import type { ReplySink } from "../../protocol/handler.ts";
import { DEFAULT_KEYSPACE } from "../../protocol/ids.ts";
import type { ClientResponse } from "../../protocol/messages.ts";
import type { RespWriter } from "../../protocol/resp.ts";
import { fromUtf8 } from "../lib/bytes.ts";
import { CLIENT_COMMAND, isPlainName } from "./text-client-command.ts";
import { type Arguments, NO_KEYS, type TextCommand, type TextSession, textCommand } from "./text-command.ts";
import { NOT_AN_INTEGER, SYNTAX_ERROR } from "./text-errors.ts";
import { parseInt64 } from "./text-integer.ts";
import { word } from "./text-words.ts";

/** The Redis version whose behaviour the text mode follows; clients choose by it what to ask for. */
export const REDIS_VERSION = "7.2.0";

export const CONNECTION_COMMANDS: readonly TextCommand[] = [
  textCommand("ping", -1, "fast", NO_KEYS, "none", "connection", "Answers PONG, or its argument.", ping),
  textCommand(
    "echo",
    2,
    "fast",
    NO_KEYS,
    "none",
    "connection",
    "Answers its argument.",
    (session, args, slot) => bulk(session, slot, args[1]!),
  ),
  textCommand("quit", -1, "noscript fast", NO_KEYS, "barrier", "connection", "Closes the connection.", quit),
  textCommand(
    "reset",
    1,
    "noscript fast",
    NO_KEYS,
    "barrier",
    "connection",
    "Makes the connection as new.",
    reset,
  ),
  textCommand(
    "hello",
    -1,
    "noscript fast",
    NO_KEYS,
    "barrier",
    "connection",
    "HELLO [2|3 [AUTH user password] [SETNAME name]]: chooses the version of RESP.",
    hello,
  ),
  textCommand(
    "auth",
    -2,
    "noscript fast",
    NO_KEYS,
    "none",
    "connection",
    "Checks a password; none is set.",
    auth,
  ),
  textCommand(
    "select",
    2,
    "fast",
    NO_KEYS,
    "barrier",
    "connection",
    "Chooses the keyspace of that name, which may be a number; 0 is the default one.",
    select,
  ),
  CLIENT_COMMAND,
];

const WRONG_PASS = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD_SET =
  "ERR AUTH <password> called without any password configured for the default user. " +
  "Are you sure your configuration is correct?";

function bulk(session: TextSession, slot: number, bytes: Uint8Array): void {
  session.begin(slot).bulk(bytes);
  session.end(slot);
}

function ping(session: TextSession, args: Arguments, slot: number): void {
  if (args.length === 1) session.simple(slot, "PONG");
  else if (args.length === 2) bulk(session, slot, args[1]!);
  else session.error(slot, "ERR wrong number of arguments for 'ping' command");
}

function quit(session: TextSession, _args: Arguments, slot: number): void {
  session.simple(slot, "OK");
  session.quit();
}

function reset(session: TextSession, _args: Arguments, slot: number): void {
  session.name = "";
  session.keyspace = undefined;
  session.readsStale = false;
  session.speak(2);
  session.mute("on", slot);
  session.simple(slot, "RESET");
}

function auth(session: TextSession, args: Arguments, slot: number): void {
  if (args.length > 3) session.error(slot, SYNTAX_ERROR);
  else if (args.length === 2) session.error(slot, NO_PASSWORD_SET);
  // The default user has no password, and Redis then takes any.
  else if (fromUtf8(args[1]!) === "default") session.simple(slot, "OK");
  else session.error(slot, WRONG_PASS);
}

/**
 * SELECT: what this node knows of is chosen at once; for others the system group is asked, since a keyspace may just have
 * been created through another node. What there is not is told in Redis' words for databases.
 */
class Select implements ReplySink {
  readonly #session: TextSession;
  readonly #slot: number;
  readonly #name: Uint8Array;
  #asked: "stale" | "linearizable" = "stale";

  constructor(session: TextSession, slot: number, name: Uint8Array) {
    this.#session = session;
    this.#slot = slot;
    this.#name = name;
    this.#ask();
  }

  reply(_requestId: number, response: ClientResponse): void {
    const session = this.#session;
    if (response.kind !== "keyspaces") {
      session.failure(this.#slot, response);
      return;
    }
    const name = fromUtf8(this.#name);
    const found = response.keyspaces.find((keyspace) => keyspace.name === name);
    if (found !== undefined) {
      session.keyspace = found.id;
      session.simple(this.#slot, "OK");
    } else if (this.#asked === "stale") {
      this.#asked = "linearizable";
      // The handler is not called from within its own answer.
      session.clients.env.clock.endOfTurn(() => this.#ask());
    } else if (parseInt64(this.#name) === undefined) {
      session.error(this.#slot, NOT_AN_INTEGER);
    } else {
      session.error(this.#slot, "ERR DB index is out of range");
    }
  }

  #ask(): void {
    const request = { kind: "listKeyspaces", consistency: this.#asked, forwarded: false } as const;
    this.#session.clients.handler.execute(request, this, 0, "forward");
  }
}

function select(session: TextSession, args: Arguments, slot: number): void {
  const name = args[1]!;
  if (parseInt64(name) === 0n || fromUtf8(name) === DEFAULT_KEYSPACE) {
    session.keyspace = undefined;
    session.simple(slot, "OK");
  } else {
    new Select(session, slot, name);
  }
}

function hello(session: TextSession, args: Arguments, slot: number): void {
  let version = session.protocolVersion;
  let name: string | undefined;
  if (args.length > 1) {
    const wanted = parseInt64(args[1]!);
    if (wanted === undefined) {
      session.error(slot, "ERR Protocol version is not an integer or out of range");
      return;
    }
    if (wanted !== 2n && wanted !== 3n) {
      session.error(slot, "NOPROTO unsupported protocol version");
      return;
    }
    version = wanted === 3n ? 3 : 2;
  }
  for (let i = 2; i < args.length; i++) {
    const option = word(args[i]!);
    if (option === "AUTH" && i + 2 < args.length) {
      if (fromUtf8(args[i + 1]!) !== "default") {
        session.error(slot, WRONG_PASS);
        return;
      }
      i += 2;
    } else if (option === "SETNAME" && i + 1 < args.length) {
      name = fromUtf8(args[++i]!);
      if (!isPlainName(name)) {
        session.error(slot, "ERR Client names cannot contain spaces, newlines or special characters.");
        return;
      }
    } else {
      session.error(slot, `ERR Syntax error in HELLO option '${fromUtf8(args[i]!)}'`);
      return;
    }
  }
  session.speak(version);
  if (name !== undefined) session.name = name;
  writeHello(session.begin(slot), session, version);
  session.end(slot);
}

function writeHello(writer: RespWriter, { id, clients }: TextSession, version: 2 | 3): void {
  writer.mapHeader(7);
  writer.text("server");
  writer.text("redis");
  writer.text("version");
  writer.text(REDIS_VERSION);
  writer.text("proto");
  writer.integer(version);
  writer.text("id");
  writer.integer(id);
  writer.text("mode");
  writer.text(clients.redirect === "moved" ? "cluster" : "standalone");
  writer.text("role");
  writer.text("master");
  writer.text("modules");
  writer.arrayHeader(0);
}
