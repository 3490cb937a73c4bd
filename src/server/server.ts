/**
 * The door of a node: one port for everybody. The first byte of a connection tells who is there: 0xF1 begins the binary
 * preamble of a client or a peer, anything else is a Redis client. From then on the connection is served by its
 * `Served`; this file keeps the list of them, their number, and their deadlines.
 */
import { ByteWriter } from "../../protocol/cbor.ts";
import { encodeResponse } from "../../protocol/client.ts";
import type { RequestHandler } from "../../protocol/handler.ts";
import type { NodeId } from "../../protocol/ids.ts";
import type { QueueStatus } from "../../protocol/messages.ts";
import type { Connection, ConnectionHandler, Env, Listener, Timer } from "../env/env.ts";
import { utf8 } from "../lib/bytes.ts";
import { ClientConnection, type ClientParts } from "./client-server.ts";
import { type Doors, Guest } from "./guest.ts";
import { assertServerLimits, type ServerLimits } from "./limits.ts";
import type { Served } from "./served.ts";
import { TextClients } from "./text-clients.ts";
import type { TextRedirect } from "./text-routes.ts";
import { TopologyFeed } from "./topology-feed.ts";
import { Turn } from "./turn.ts";

/** What the server tells about the node it belongs to. */
export interface ServerInfo {
  readonly node: NodeId;
  /** Flotilla's version. */
  readonly version: string;
  readonly processId: number;
}

/** Takes connections that turned out to be peers. */
export interface PeerAcceptor {
  /** The preamble was accepted and answered. */
  accept(connection: Connection): Served;
}

export interface ServerParts {
  readonly env: Pick<Env, "clock" | "transport" | "log">;
  readonly handler: RequestHandler;
  readonly peers: PeerAcceptor;
  readonly info: ServerInfo;
  readonly limits: ServerLimits;
  /** What the text mode does with a command that another node leads; `forward` without it. */
  readonly redirect?: TextRedirect;
}

export interface Server {
  /** Rejects with a `ListenError`. Called once. */
  listen(host: string, port: number): Promise<Listener>;
  /** Open connections, of clients and peers. */
  readonly connections: number;
  /** Requests that have begun to arrive, and answers that clients have not taken. */
  readonly queues: readonly QueueStatus[];
  /**
   * Stops accepting, answers the requests that are under way (for `stopMsMax` at most) and closes all connections, those
   * of peers last. Resolves when the last one is gone.
   */
  stop(): Promise<void>;
}

export function createServer(parts: ServerParts): Server {
  assertServerLimits(parts.limits);
  return new PortServer(parts);
}

class PortServer implements Server, ConnectionHandler, Doors {
  readonly #parts: ServerParts;
  readonly #turn: Turn;
  readonly #textClients: TextClients;
  readonly #feed: TopologyFeed;
  readonly #clientParts: ClientParts;
  readonly #served = new Map<Connection, Served>();
  /** Those connections that turned out to be clients. */
  readonly #clients = new Set<Connection>();
  #listener: Listener | undefined;
  #sweepTimer: Timer | undefined;
  /** `stopping`: clients get their last answers. `leaving`: they are gone, and peers are let go. */
  #phase: "serving" | "stopping" | "leaving" | "stopped" = "serving";
  #deadlineMs = 0;
  readonly #stopped = Promise.withResolvers<void>();

  constructor(parts: ServerParts) {
    this.#parts = parts;
    this.#turn = new Turn(parts.env.clock);
    this.#feed = new TopologyFeed(parts.handler);
    this.#clientParts = { ...parts, feed: this.#feed };
    this.#textClients = new TextClients(parts, this.#turn, () => this.#listener?.port ?? 0);
  }

  async listen(host: string, port: number): Promise<Listener> {
    const listener = await this.#parts.env.transport.listen(host, port, this);
    this.#listener = listener;
    if (this.#phase !== "serving") listener.close();
    else this.#scheduleSweep();
    return listener;
  }

  get connections(): number {
    return this.#served.size;
  }

  get queues(): readonly QueueStatus[] {
    const { limits } = this.#parts;
    let unread = 0;
    for (const { queuedBytes } of this.#clients) unread = Math.max(unread, queuedBytes);
    return [
      {
        ...{ name: "unfinishedRequests", unit: "bytes" },
        ...{ used: this.#unfinishedBytes(), max: limits.unfinishedBytesMax },
      },
      { name: "unreadAnswers", unit: "bytes", used: unread, max: limits.replyBytesMax },
    ];
  }

  stop(): Promise<void> {
    if (this.#phase === "serving") {
      this.#listener?.close();
      this.#enterPhase("stopping");
      for (const [connection, served] of [...this.#served]) if (!this.#isPeer(connection)) served.stop();
      this.#advanceStop();
    }
    return this.#stopped.promise;
  }

  opened(connection: Connection): void {
    const { env, limits } = this.#parts;
    if (this.#phase !== "serving") {
      // It came just when nobody listened any more.
      connection.finish();
      return;
    }
    if (this.#served.size >= limits.connectionsMax + limits.guestsMax) {
      // Nobody knows which protocol the caller speaks. A Redis client understands this, and so does a person.
      this.#refuse(connection, utf8(TOO_MANY));
      return;
    }
    this.#enter(connection, new Guest(connection, env.log, env.clock.nowMs() + limits.handshakeMsMax, this));
  }

  received(connection: Connection, bytes: Uint8Array): void {
    (connection.state as Served | undefined)?.received(bytes);
  }

  drained(connection: Connection): void {
    (connection.state as Served | undefined)?.drained();
  }

  ended(connection: Connection): void {
    const served = connection.state as Served | undefined;
    if (served === undefined) connection.finish();
    else served.ended();
  }

  closed(connection: Connection, error: Error | undefined): void {
    const served = this.#served.get(connection);
    if (served === undefined) return;
    this.#served.delete(connection);
    this.#clients.delete(connection);
    if (error !== undefined) {
      this.#parts.env.log.debug("a connection broke", { remote: connection.remote, error });
    }
    served.closed();
    this.#advanceStop();
  }

  admitText(connection: Connection, deadlineMs: number): Served | undefined {
    if (this.#full) return this.#refuse(connection, utf8(TOO_MANY));
    this.#clients.add(connection);
    return this.#enter(connection, this.#textClients.accept(connection, deadlineMs));
  }

  admitClient(connection: Connection): Served | undefined {
    if (this.#full) {
      const writer = new ByteWriter();
      const message = `this node has ${this.#clients.size} clients, more are not allowed`;
      encodeResponse(writer, { kind: "error", error: "OVERLOADED", message, leader: undefined }, 0);
      return this.#refuse(connection, writer.view());
    }
    this.#clients.add(connection);
    return this.#enter(connection, new ClientConnection(connection, this.#clientParts, this.#turn));
  }

  admitPeer(connection: Connection): Served {
    return this.#enter(connection, this.#parts.peers.accept(connection));
  }

  get #full(): boolean {
    return this.#clients.size >= this.#parts.limits.connectionsMax;
  }

  #refuse(connection: Connection, words: Uint8Array): undefined {
    this.#parts.env.log.warn("refused a connection: there are too many, or the node is stopping", {
      remote: connection.remote,
      connections: this.#served.size,
    });
    connection.send(words);
    connection.finish();
  }

  #enter(connection: Connection, served: Served): Served {
    connection.state = served;
    this.#served.set(connection, served);
    return served;
  }

  #isPeer(connection: Connection): boolean {
    return !this.#clients.has(connection) && !(connection.state instanceof Guest);
  }

  #scheduleSweep(): void {
    this.#sweepTimer = this.#parts.env.clock.timer(this.#parts.limits.sweepMs, () => {
      this.#sweep();
      if (this.#phase !== "stopped") this.#scheduleSweep();
    });
  }

  #sweep(): void {
    const nowMs = this.#parts.env.clock.nowMs();
    const late = this.#phase !== "serving" && nowMs >= this.#deadlineMs;
    for (const [connection, served] of this.#served) {
      if (late && (this.#phase === "leaving" || !this.#isPeer(connection))) connection.destroy();
      else served.sweep(nowMs);
    }
    this.#boundUnfinished();
    if (this.#phase === "serving") this.#feed.sweep();
  }

  /** Each client may send a large request slowly; all of them together may not fill the memory with the beginnings. */
  #boundUnfinished(): void {
    const { env, limits } = this.#parts;
    let bytes = this.#unfinishedBytes();
    if (bytes <= limits.unfinishedBytesMax) return;
    const largestFirst = [...this.#served].sort(([, a], [, b]) => b.unfinishedBytes - a.unfinishedBytes);
    for (const [connection, served] of largestFirst) {
      if (bytes <= limits.unfinishedBytesMax) return;
      bytes -= served.unfinishedBytes;
      env.log.warn("cut a client connection: there are too many bytes of unfinished requests", {
        remote: connection.remote,
        bytes: served.unfinishedBytes,
      });
      connection.destroy();
    }
  }

  #unfinishedBytes(): number {
    let bytes = 0;
    for (const served of this.#served.values()) bytes += served.unfinishedBytes;
    return bytes;
  }

  #enterPhase(phase: "stopping" | "leaving"): void {
    this.#phase = phase;
    this.#deadlineMs = this.#parts.env.clock.nowMs() + this.#parts.limits.stopMsMax;
  }

  /** Peers stay until the last client has gone: the answers that are under way may need them. */
  #advanceStop(): void {
    if (this.#phase === "stopping" && [...this.#served.keys()].every((it) => this.#isPeer(it))) {
      this.#enterPhase("leaving");
      for (const served of [...this.#served.values()]) served.stop();
    }
    if (this.#phase !== "leaving" || this.#served.size > 0) return;
    this.#phase = "stopped";
    this.#sweepTimer?.cancel();
    this.#stopped.resolve();
  }
}

const TOO_MANY = "-ERR max number of clients reached\r\n";
