import { ByteWriter } from "../../protocol/cbor.ts";
import { decodeRequest, decodeResponse, encodeResponse, RESPONSE_TYPES } from "../../protocol/client.ts";
import { type ErrorName, ProtocolError } from "../../protocol/errors.ts";
import { FLAG_FORWARDED, type Frame, FrameReader } from "../../protocol/frame.ts";
import { decodeGossip, encodeGossip } from "../../protocol/gossip.ts";
import type { GossipMessage } from "../../protocol/gossip-messages.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import type { GroupId, NodeId } from "../../protocol/ids.ts";
import { PEER_FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import type { ClientRequest, ClientResponse } from "../../protocol/messages.ts";
import {
  decodeBundle,
  decodeReports,
  encodeHello,
  encodePeerSignal,
  FLAG_DECLINES,
  PEER_TYPES,
} from "../../protocol/peer.ts";
import type { GroupMessage } from "../../protocol/peer-messages.ts";
import type { Connection } from "../env/env.ts";
import { Backpressure } from "./backpressure.ts";
import { expectHello, HELLO_BYTES_MAX, judgeHello } from "./peer-hello.ts";
import type { PeersParts } from "./peers.ts";
import type { Served } from "./served.ts";
import type { Turn, TurnMember } from "./turn.ts";

/** What the set of peers wants to know of a connection that a peer dialled. */
export interface GuestEvents {
  admitted(guest: PeerGuest, node: NodeId): void;
  heard(node: NodeId): void;
  left(guest: PeerGuest, node: NodeId): void;
}

/**
 * A connection that another node dialled: brings its Raft messages and the requests that it forwards, and takes our
 * answers to those. Reading never pauses here, since a heartbeat must not wait behind somebody's slow scan: what is too
 * much is answered OVERLOADED.
 */
export class PeerGuest implements Served, ReplySink, TurnMember {
  readonly #connection: Connection;
  readonly #parts: PeersParts;
  readonly #turn: Turn;
  readonly #events: GuestEvents;
  readonly #backpressure: Backpressure;
  readonly #writer = new ByteWriter();
  /** Gossip leaves at once, before the answers that are gathered for the end of the turn. */
  readonly #gossipWriter = new ByteWriter();
  readonly #deliver: (group: GroupId, message: GroupMessage) => void;
  #reader = new FrameReader(HELLO_BYTES_MAX);
  /** Set once the node is admitted. */
  #node: NodeId | undefined;
  #inFlight = 0;
  #marked = false;
  #stopping = false;
  #closed = false;
  #heardMs: number;

  constructor(connection: Connection, parts: PeersParts, turn: Turn, events: GuestEvents) {
    this.#connection = connection;
    this.#parts = parts;
    this.#turn = turn;
    this.#events = events;
    this.#backpressure = new Backpressure(connection, parts.env.clock, parts.limits);
    this.#deliver = (group, message) => parts.listener.received(group, message);
    this.#heardMs = parts.env.clock.nowMs();
  }

  /** Peers are trusted with their frames, and a hello is small. */
  get unfinishedBytes(): number {
    return 0;
  }

  received(bytes: Uint8Array): void {
    if (this.#closed) return;
    if (this.#node !== undefined) {
      this.#heardMs = this.#parts.env.clock.nowMs();
      this.#events.heard(this.#node);
    }
    try {
      this.#reader.push(bytes);
      for (;;) {
        const frame = this.#closed ? undefined : this.#reader.next();
        if (frame === undefined) break;
        if (this.#node === undefined) this.#readHello(frame);
        else this.#read(frame, this.#node);
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#refuse(error.error, error.message);
    }
  }

  reply(requestId: number, response: ClientResponse): void {
    this.#inFlight--;
    if (this.#closed) return;
    encodeResponse(this.#writer, response, requestId);
    this.#mark();
    this.#leaveIfDone();
  }

  /** Sends a message of gossip, unless too much waits for the connection. */
  gossip(message: GossipMessage): void {
    if (this.#closed || this.#connection.queuedBytes > this.#parts.limits.gossipQueuedBytesMax) return;
    this.#gossipWriter.reset();
    encodeGossip(this.#gossipWriter, message);
    this.#backpressure.send(this.#gossipWriter.view());
  }

  endTurn(): void {
    this.#marked = false;
    this.#send();
  }

  drained(): void {}

  /** The node closed its way of sending; it waits for no answers any more. */
  ended(): void {
    this.#finish();
  }

  closed(): void {
    this.#closed = true;
    this.#writer.reset();
    if (this.#node !== undefined) this.#events.left(this, this.#node);
  }

  sweep(nowMs: number): void {
    if (this.#closed) return;
    const { limits } = this.#parts;
    const silentMs = nowMs - this.#heardMs;
    // Until its whole hello is there a caller is a stranger, however often it says a little; afterwards it pings whenever it has nothing else to send.
    const silentMsMax = this.#node === undefined ? limits.peerHandshakeMsMax : limits.peerSilentMsMax;
    const reason =
      silentMs > silentMsMax
        ? `nothing was heard for ${Math.round(silentMs)} ms`
        : this.#backpressure.verdict();
    if (reason === undefined) return;
    this.#parts.env.log.warn("cut the connection of a peer", {
      node: this.#node,
      remote: this.#connection.remote,
      reason,
    });
    this.#closed = true;
    this.#connection.destroy();
  }

  /** Takes no more requests, and says goodbye when those that are under way are answered. Raft's messages still come in. */
  stop(): void {
    this.#stopping = true;
    this.#leaveIfDone();
  }

  /** Ends the connection, whatever is under way. */
  leave(): void {
    this.#send();
    this.#finish();
  }

  /** The node has dialled again: this connection is over. */
  replace(): void {
    this.#closed = true;
    this.#connection.destroy();
  }

  #readHello(frame: Frame): void {
    const hello = expectHello(frame);
    const refusal = judgeHello(this.#parts, hello);
    if (refusal !== undefined) {
      this.#refuse(refusal.error, refusal.message);
      return;
    }
    if (this.#reader.bufferedBytes > 0) {
      throw new ProtocolError("BAD_REQUEST", "more came before the hello was answered");
    }
    this.#reader = new FrameReader(PEER_FRAME_BYTES_MAX);
    this.#node = hello.node;
    encodeHello(this.#writer, this.#parts.hello());
    this.#send();
    this.#events.admitted(this, hello.node);
    this.#events.heard(hello.node);
  }

  #read(frame: Frame, node: NodeId): void {
    switch (frame.type) {
      case PEER_TYPES.raft:
        this.#parts.leading?.heard(node, (frame.flags & FLAG_DECLINES) !== 0);
        decodeBundle(frame, node, this.#parts.self, this.#deliver);
        return;
      case PEER_TYPES.gossip:
        this.#parts.heardGossip(decodeGossip(frame, node, this.#parts.self));
        return;
      case PEER_TYPES.ping:
        this.#parts.leading?.heard(node, (frame.flags & FLAG_DECLINES) !== 0);
        encodePeerSignal(this.#writer, "pong", frame.requestId);
        this.#mark();
        return;
      case PEER_TYPES.report:
        this.#parts.listener.reported(decodeReports(frame));
        return;
      case RESPONSE_TYPES.error:
        this.#refusedBy(frame, node);
        return;
      default:
        this.#execute(frame);
    }
  }

  #execute(frame: Frame): void {
    if ((frame.flags & FLAG_FORWARDED) === 0) {
      throw new ProtocolError("BAD_REQUEST", `a frame of type ${frame.type} is not marked as forwarded`);
    }
    this.#inFlight++;
    if (this.#inFlight > this.#parts.limits.peerForwardsMax) {
      this.#answerError(frame.requestId, "OVERLOADED", `too many requests of ${this.#node} are under way`);
      return;
    }
    if (this.#stopping) {
      this.#answerError(frame.requestId, "SHUTTING_DOWN", `${this.#parts.self} stops; nothing was done`);
      return;
    }
    let request: ClientRequest;
    try {
      request = decodeRequest(frame);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#answerError(frame.requestId, error.error, error.message);
      return;
    }
    this.#parts.handler.execute(request, this, frame.requestId, "redirect");
  }

  #answerError(requestId: number, error: ErrorName, message: string): void {
    this.reply(requestId, { kind: "error", error, message, leader: undefined });
  }

  /** The node that dialled did not like our hello. */
  #refusedBy(frame: Frame, node: NodeId): void {
    const response = decodeResponse(frame);
    if (response.kind !== "error") return;
    this.#finish();
    this.#parts.refused(node, response.error, response.message);
  }

  #refuse(error: ErrorName, message: string): void {
    const facts = { node: this.#node, remote: this.#connection.remote, error, reason: message };
    // A node that is starting refuses everybody for a moment.
    if (error === "UNAVAILABLE") this.#parts.env.log.debug("put a peer off", facts);
    else this.#parts.env.log.warn("closed the connection of a peer", facts);
    encodeResponse(this.#writer, { kind: "error", error, message, leader: undefined }, 0);
    this.#send();
    this.#finish();
  }

  #leaveIfDone(): void {
    if (!this.#stopping || this.#closed || this.#inFlight > 0) return;
    if (this.#node !== undefined) {
      // Nothing is read from here on, and behind all answers this says so: what has no answer was not done.
      const message = `${this.#parts.self} stops`;
      encodeResponse(this.#writer, { kind: "error", error: "SHUTTING_DOWN", message, leader: undefined }, 0);
    }
    this.leave();
  }

  #send(): void {
    if (this.#closed || this.#writer.length === 0) return;
    this.#backpressure.send(this.#writer.view());
    this.#writer.reset();
  }

  #finish(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#connection.finish();
  }

  #mark(): void {
    if (this.#marked) return;
    this.#marked = true;
    this.#turn.mark(this);
  }
}
