import { ByteWriter } from "../../protocol/cbor.ts";
import type { RequestHandler } from "../../protocol/handler.ts";
import { RespWriter } from "../../protocol/resp.ts";
import type { Connection, Env } from "../env/env.ts";
import type { ServerLimits } from "./limits.ts";
import { ScanCursors } from "./scan-cursors.ts";
import type { Served } from "./served.ts";
import type { ServerInfo, ServerParts } from "./server.ts";
import type { TextSession } from "./text-command.ts";
import { TextConnection } from "./text-connection.ts";
import { type TextRedirect, TextRoutes } from "./text-routes.ts";
import type { Turn } from "./turn.ts";

/** What the connections of the text mode share. */
export class TextClients {
  readonly env: Pick<Env, "clock" | "log">;
  readonly handler: RequestHandler;
  readonly info: ServerInfo;
  readonly limits: ServerLimits;
  readonly cursors: ScanCursors;
  readonly routes: TextRoutes;
  readonly redirect: TextRedirect;
  /** Commands that were answered MOVED. */
  moved = 0;
  /** Where replies are written that come before their turn. Empty but between a reply's begin and end. */
  readonly scratch = new ByteWriter();
  readonly #scratchWriter = new RespWriter(this.scratch);
  readonly #turn: Turn;
  readonly #port: () => number;
  readonly #sessions = new Map<number, TextSession>();
  #lastId = 0;

  constructor(parts: ServerParts, turn: Turn, port: () => number) {
    this.env = parts.env;
    this.handler = parts.handler;
    this.info = parts.info;
    this.limits = parts.limits;
    this.cursors = new ScanCursors(parts.limits.scanCursorsMax);
    this.routes = new TextRoutes(parts.info.node, parts.handler, parts.env.clock);
    this.redirect = parts.redirect ?? "forward";
    this.#turn = turn;
    this.#port = port;
  }

  /** The port that the server listens on. */
  get port(): number {
    return this.#port();
  }

  /** Connections since the start. */
  get accepted(): number {
    return this.#lastId;
  }

  accept(connection: Connection, deadlineMs: number): Served {
    const session = new TextConnection(++this.#lastId, connection, this, this.#turn, deadlineMs);
    this.#sessions.set(session.id, session);
    return session;
  }

  left(session: TextSession): void {
    this.#sessions.delete(session.id);
  }

  /** Open connections, oldest first. */
  sessions(): Iterable<TextSession> {
    return this.#sessions.values();
  }

  scratchWriter(protocolVersion: 2 | 3): RespWriter {
    this.#scratchWriter.protocolVersion = protocolVersion;
    return this.#scratchWriter;
  }
}
