import { ByteWriter } from "../../protocol/cbor.ts";
import { decodeResponse, encodeRequest, encodeResponse, RESPONSE_TYPES } from "../../protocol/client.ts";
import { type ErrorName, ProtocolError } from "../../protocol/errors.ts";
import { FLAG_FORWARDED, type Frame, FrameReader } from "../../protocol/frame.ts";
import { decodeGossip, encodeGossip } from "../../protocol/gossip.ts";
import type { GossipMessage } from "../../protocol/gossip-messages.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import type { GroupId, NodeId } from "../../protocol/ids.ts";
import { PEER_FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import type { ClientRequest } from "../../protocol/messages.ts";
import {
  appendMessage,
  beginBundle,
  encodeHello,
  encodePeerSignal,
  encodeReports,
  endBundle,
  FLAG_DECLINES,
  PEER_TYPES,
} from "../../protocol/peer.ts";
import type { ConfigurationReport, GroupMessage } from "../../protocol/peer-messages.ts";
import { encodePreamble, parsePreambleReply } from "../../protocol/preamble.ts";
import type { Connection, ConnectionHandler, Timer } from "../env/env.ts";
import { formatAddress } from "../lib/address.ts";
import { concatBytes } from "../lib/bytes.ts";
import { ForwardTable } from "./forward-table.ts";
import { expectHello, judgeHello } from "./peer-hello.ts";
import type { LinkStatus, PeerAddress, PeersParts } from "./peers.ts";
import type { Turn, TurnMember } from "./turn.ts";

/** Somebody who asks this often how long a node was silent watches it. */
const WATCHED_MS = 1_000;

/**
 * This node's way of sending to one other: it keeps a connection there, makes a new one with growing pauses when it
 * breaks, and notices by pings when the other side is silent (a cut cable, a stopped process), since TCP alone would
 * take many minutes.
 */
export class PeerLink implements ConnectionHandler, TurnMember {
  readonly #node: NodeId;
  /** Where the node may be: tried in turn, from the one at `#place` on. */
  #places: readonly PeerAddress[];
  #place = 0;
  readonly #parts: PeersParts;
  readonly #turn: Turn;
  readonly #writer = new ByteWriter();
  /** Gossip leaves at once, before what is gathered for the end of the turn. */
  readonly #gossipWriter = new ByteWriter();
  readonly #forwards: ForwardTable;
  #phase: "idle" | "waiting" | "connecting" | "preamble" | "hello" | "ready" | "stopped" = "idle";
  #connection: Connection | undefined;
  #reader = new FrameReader(PEER_FRAME_BYTES_MAX);
  /** The beginning of an answer to the preamble. */
  #early: Uint8Array = new Uint8Array(0);
  /** Where the open frame of Raft messages begins in the writer; -1: there is none. */
  #bundle = -1;
  #marked = false;
  #dropped = 0;
  #reconnectTimer: Timer | undefined;
  #pauseMs: number;
  /** When the attempt to connect began. */
  #startedMs = 0;
  /** When this connection was last heard, and when the node was, over either connection. */
  #linkHeardMs = 0;
  #nodeHeardMs: number | undefined;
  #pingedMs = 0;
  /** When somebody last asked how long the node was silent, and since when that is asked again and again. */
  #askedMs = Number.NEGATIVE_INFINITY;
  #watchedSinceMs = 0;
  /** The last reason why there is no connection, so that the log tells it once and not at each attempt. */
  #toldReason = "";
  /** Since when there is no connection. */
  #missedSinceMs = 0;

  /** `places` are not none. */
  constructor(node: NodeId, places: readonly PeerAddress[], parts: PeersParts, turn: Turn) {
    this.#node = node;
    this.#places = places;
    this.#parts = parts;
    this.#turn = turn;
    this.#forwards = new ForwardTable(node, parts.limits);
    this.#pauseMs = parts.limits.reconnectMsMin;
  }

  /** Tries these places from now on. False, and it has to be given up: it leads elsewhere. */
  mayBeAt(places: readonly PeerAddress[]): boolean {
    const { host, port } = this.#address;
    const place = places.findIndex((other) => other.host === host && other.port === port);
    if (place < 0) return false;
    this.#places = places;
    this.#place = place;
    return true;
  }

  get #address(): PeerAddress {
    return this.#places[this.#place]!;
  }

  /** Raft messages that were dropped. */
  get droppedMessages(): number {
    return this.#dropped;
  }

  start(): void {
    if (this.#phase !== "idle") return;
    this.#missedSinceMs = this.#parts.env.clock.nowMs();
    this.#connect();
  }

  stop(): void {
    const wasReady = this.#phase === "ready";
    this.flush();
    this.#phase = "stopped";
    this.#reconnectTimer?.cancel();
    this.#dropConnection("finish");
    if (wasReady) this.#parts.listener.disconnected(this.#node);
  }

  status(nowMs: number): LinkStatus {
    return {
      id: this.#node,
      address: formatAddress(this.#address),
      connected: this.#phase === "ready",
      lastHeardMs: this.#nodeHeardMs === undefined ? null : Math.round(nowMs - this.#nodeHeardMs),
    };
  }

  /**
   * How long nothing was heard from the node, over either connection, while somebody wanted to know: who is asked about is
   * pinged more often from then on.
   */
  get silentMs(): number {
    const nowMs = this.#parts.env.clock.nowMs();
    if (!this.#isWatched(nowMs)) this.#watchedSinceMs = nowMs;
    this.#askedMs = nowMs;
    if (this.#nodeHeardMs === undefined) return Number.POSITIVE_INFINITY;
    return nowMs - Math.max(this.#nodeHeardMs, this.#watchedSinceMs);
  }

  /** The node was heard over the connection that it dialled. */
  heard(): void {
    this.#nodeHeardMs = this.#parts.env.clock.nowMs();
  }

  /** The node is there: a pause before the next attempt to connect ends now. */
  hurry(): void {
    if (this.#phase !== "waiting") return;
    this.#reconnectTimer?.cancel();
    this.#connect();
  }

  /** Bytes that wait for the peer to take them. */
  get queuedBytes(): number {
    return this.#writer.length + (this.#connection?.queuedBytes ?? 0);
  }

  /** Requests that the peer has not answered yet. */
  get forwards(): number {
    return this.#forwards.size;
  }

  /** Adds a message to the frame that the next flush sends. Dropped if there is no connection, or it is full. */
  send(group: GroupId, message: GroupMessage): void {
    if (this.#phase !== "ready" || this.#full()) {
      this.#dropped++;
      return;
    }
    if (this.#bundle < 0) this.#bundle = beginBundle(this.#writer, this.#flags());
    appendMessage(this.#writer, group, message);
    if (this.#writer.length - this.#bundle >= this.#parts.limits.peerBundleBytes) this.#endBundle();
    this.#mark();
  }

  /** Sends a message of gossip. False, and nothing is sent: there is no connection, or too much waits for it. */
  gossip(message: GossipMessage): boolean {
    const { gossipQueuedBytesMax } = this.#parts.limits;
    if (this.#phase !== "ready" || this.#connection!.queuedBytes > gossipQueuedBytesMax) return false;
    this.#gossipWriter.reset();
    encodeGossip(this.#gossipWriter, message);
    this.#connection!.send(this.#gossipWriter.view());
    return true;
  }

  /** Has the node execute `request`; see `PeerNetwork.forward`. */
  forward(request: ClientRequest, sink: ReplySink, requestId: number): void {
    if (this.#phase !== "ready") {
      refuse(sink, requestId, "UNAVAILABLE", `${this.#node} is not connected`);
      return;
    }
    if (this.#full() || this.#forwards.full) {
      refuse(sink, requestId, "OVERLOADED", `too much waits for ${this.#node} already`);
      return;
    }
    this.#endBundle();
    const wireId = this.#forwards.nextId();
    try {
      encodeRequest(this.#writer, request, wireId, FLAG_FORWARDED);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      refuse(sink, requestId, error.error, error.message);
      return;
    }
    this.#forwards.add(wireId, request, sink, requestId, this.#parts.env.clock.nowMs());
    this.#mark();
  }

  /** Tells the node who the members of shards are. Lost if there is no connection, or it is full. */
  report(reports: readonly ConfigurationReport[]): void {
    if (this.#phase !== "ready" || this.#full()) return;
    this.#endBundle();
    encodeReports(this.#writer, reports);
    this.#mark();
  }

  flush(): void {
    if (this.#writer.length === 0) return;
    this.#endBundle();
    this.#connection?.send(this.#writer.view());
    this.#writer.reset();
  }

  endTurn(): void {
    this.#marked = false;
    this.flush();
  }

  sweep(): void {
    const nowMs = this.#parts.env.clock.nowMs();
    this.#forwards.expire(nowMs);
    const { limits } = this.#parts;
    if (this.#phase === "ready") {
      const silentMs = nowMs - this.#linkHeardMs;
      if (silentMs > limits.peerSilentMsMax) {
        this.#lose(`nothing was heard for ${Math.round(silentMs)} ms`);
        return;
      }
      const pingMs = this.#isWatched(nowMs) ? limits.peerPingMs : limits.peerIdlePingMs;
      if (silentMs >= pingMs && nowMs - this.#pingedMs >= pingMs) this.#ping(nowMs);
    } else if (this.#connection !== undefined && nowMs - this.#startedMs > limits.peerHandshakeMsMax) {
      this.#lose(`no answer within ${limits.peerHandshakeMsMax} ms (${this.#phase})`);
    }
  }

  opened(connection: Connection): void {
    if (connection !== this.#connection) return;
    this.#phase = "preamble";
    connection.send(encodePreamble("peer"));
  }

  received(connection: Connection, bytes: Uint8Array): void {
    if (connection !== this.#connection) return;
    try {
      let rest: Uint8Array | undefined = bytes;
      if (this.#phase === "preamble") rest = this.#readPreambleReply(bytes);
      if (rest === undefined || this.#connection === undefined) return;
      this.#linkHeardMs = this.#parts.env.clock.nowMs();
      this.#nodeHeardMs = this.#linkHeardMs;
      this.#reader.push(rest);
      // What a frame brings about may end the connection.
      while (this.#connection === connection) {
        const frame = this.#reader.next();
        if (frame === undefined) break;
        if (this.#phase === "hello") this.#readHello(frame);
        else this.#read(frame);
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#lose(error.message);
    }
  }

  ended(connection: Connection): void {
    if (connection === this.#connection) this.#lose("the other side closed the connection");
  }

  closed(connection: Connection, error: Error | undefined): void {
    if (connection === this.#connection) this.#lose(error?.message ?? "the connection was closed");
  }

  #connect(): void {
    this.#phase = "connecting";
    this.#startedMs = this.#parts.env.clock.nowMs();
    this.#reader = new FrameReader(PEER_FRAME_BYTES_MAX);
    this.#early = new Uint8Array(0);
    this.#connection = this.#parts.env.transport.connect(this.#address.host, this.#address.port, this);
  }

  /** What follows the answer to the preamble, once that is there. */
  #readPreambleReply(bytes: Uint8Array): Uint8Array | undefined {
    const seen = this.#early.length === 0 ? bytes : concatBytes([this.#early, bytes]);
    const reply = parsePreambleReply(seen, 0);
    if (reply.kind === "incomplete") {
      this.#early = seen;
      return undefined;
    }
    if (reply.kind === "malformed") {
      this.#lose(reply.message);
      return undefined;
    }
    if (reply.error !== undefined) {
      this.#refusedBy(reply.error, reply.message);
      return undefined;
    }
    this.#phase = "hello";
    encodeHello(this.#writer, this.#parts.hello());
    this.flush();
    return seen.subarray(reply.length);
  }

  #readHello(frame: Frame): void {
    if (frame.type === RESPONSE_TYPES.error) {
      const response = decodeResponse(frame);
      if (response.kind === "error") this.#refusedBy(response.error, response.message);
      return;
    }
    const hello = expectHello(frame);
    if (hello.node === this.#node) this.#parts.wasLetInBy(this.#node);
    const refusal =
      hello.node === this.#node
        ? judgeHello(this.#parts, hello)
        : ({
            error: "WRONG_CLUSTER",
            message: `the node at this address is ${hello.node}, not ${this.#node}`,
          } as const);
    if (refusal !== undefined) {
      encodeResponse(this.#writer, { kind: "error", ...refusal, leader: undefined }, 0);
      this.flush();
      this.#lose(`refused: ${refusal.message}`, "finish");
      return;
    }
    this.#phase = "ready";
    this.#pauseMs = this.#parts.limits.reconnectMsMin;
    this.#toldReason = "";
    this.#parts.env.log.info("connected to a peer", { node: this.#node, address: this.#connection?.remote });
    this.#parts.listener.connected(this.#node);
  }

  #read(frame: Frame): void {
    if (frame.type === PEER_TYPES.pong) return;
    if (frame.type === PEER_TYPES.gossip) {
      this.#parts.heardGossip(decodeGossip(frame, this.#node, this.#parts.self));
      return;
    }
    const response = decodeResponse(frame);
    if (response.kind === "error" && frame.requestId === 0) {
      if (response.error === "SHUTTING_DOWN")
        this.#forwards.refuseAll(`${this.#node} stops, nothing was done`);
      this.#lose(`${this.#node} closed the connection: ${response.message}`);
      return;
    }
    this.#forwards.answer(frame.requestId, response);
  }

  #refusedBy(error: ErrorName, message: string): void {
    this.#pauseMs = this.#parts.limits.reconnectMsMax;
    this.#lose(`${this.#node} refused this node: ${message}`);
    this.#parts.refused(this.#node, error, message);
  }

  /** Gives up the connection, and tries again after a pause. */
  #lose(reason: string, how: "finish" | "destroy" = "destroy"): void {
    const wasReady = this.#phase === "ready";
    const { env, limits, listener } = this.#parts;
    const nowMs = env.clock.nowMs();
    if (wasReady) this.#missedSinceMs = nowMs;
    else this.#place = (this.#place + 1) % this.#places.length;
    // Nodes that start together miss each other for a moment: that is no warning.
    const isWorthTelling = wasReady || nowMs >= this.#missedSinceMs + limits.peerSilentMsMax;
    if (isWorthTelling && reason !== this.#toldReason) {
      env.log.warn(wasReady ? "lost a peer" : "cannot reach a peer", { node: this.#node, reason });
      this.#toldReason = reason;
    }
    this.#phase = "waiting";
    // Jitter, so that the nodes of a cluster do not all knock at the same moment.
    const pauseMs = this.#pauseMs * (0.5 + env.random.float() / 2);
    this.#pauseMs = Math.min(this.#pauseMs * 2, limits.reconnectMsMax);
    this.#reconnectTimer = env.clock.timer(pauseMs, () => {
      if (this.#phase === "waiting") this.#connect();
    });
    this.#dropConnection(how);
    if (wasReady) listener.disconnected(this.#node);
  }

  /** `finish`: what was sent shall still arrive. */
  #dropConnection(how: "finish" | "destroy"): void {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#writer.reset();
    this.#bundle = -1;
    if (how === "finish") connection?.finish();
    else connection?.destroy();
    this.#forwards.failAll("the connection was lost");
  }

  #isWatched(nowMs: number): boolean {
    return nowMs - this.#askedMs <= WATCHED_MS;
  }

  #ping(nowMs: number): void {
    this.#pingedMs = nowMs;
    this.#endBundle();
    encodePeerSignal(this.#writer, "ping", 0, this.#flags());
    this.flush();
  }

  #flags(): number {
    return this.#parts.leading?.declines() === true ? FLAG_DECLINES : 0;
  }

  #endBundle(): void {
    if (this.#bundle < 0) return;
    endBundle(this.#writer, this.#bundle);
    this.#bundle = -1;
  }

  #full(): boolean {
    return this.queuedBytes > this.#parts.limits.peerQueuedBytesMax;
  }

  #mark(): void {
    if (this.#marked) return;
    this.#marked = true;
    this.#turn.mark(this);
  }
}

function refuse(sink: ReplySink, requestId: number, error: ErrorName, message: string): void {
  sink.reply(requestId, { kind: "error", error, message, leader: undefined });
}
