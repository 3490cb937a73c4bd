/**
 * The one connection to a node. It is made when the first request wants it, and again when it was lost and a request
 * comes. Requests go out pipelined: what a turn of the loop asks for leaves in one send, and the answers, in
 * whatever order, find their calls by request id.
 *
 * A node that accepts bytes and never answers (its process is stopped, its host is gone) looks like a slow one. So while
 * calls wait and nothing is heard, the node is pinged. After `quietMs` without a sign of life the calls that may as well
 * be sent elsewhere are; a silence of `silenceMs` counts as a lost connection.
 */
import { ByteWriter } from "../../protocol/cbor.ts";
import { decodeResponse, encodeRequest } from "../../protocol/client.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { FrameReader } from "../../protocol/frame.ts";
import { CLIENT_FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import type { ClientResponse } from "../../protocol/messages.ts";
import { encodePreamble, parsePreambleReply } from "../../protocol/preamble.ts";
import type { Connection, ConnectionHandler, Env, Timer } from "../env/env.ts";
import { parseAddress } from "../lib/address.ts";
import { concatBytes } from "../lib/bytes.ts";
import type { Call } from "./call.ts";

/** Who hears what becomes of calls. */
export interface ConnectionOwner {
  answered(call: Call, response: ClientResponse): void;
  /** `sent`: the node may have got it. `false`: it never left this process. */
  undelivered(call: Call, address: string, sent: boolean, error: Error): void;
  /** Nothing was heard of `address` for a while: a call that waits for it may be taken away (`forget`) and sent elsewhere. */
  quiet(call: Call, address: string): void;
  /** What the node sends, unasked, under the id of the last request that subscribed to something. */
  pushed(response: ClientResponse, address: string): void;
  /** The request is outside of the protocol's limits. */
  unsendable(call: Call, error: ProtocolError): void;
  /** The node can't be connected to, or its connection was lost. Comes before `undelivered` of the calls it concerns. */
  unreachable(address: string): void;
}

export interface ConnectionOptions {
  /** How long connecting and the exchange of preambles may take. */
  readonly connectTimeoutMs: number;
  readonly quietMs: number;
  readonly silenceMs: number;
}

/** After a failure, calls fail at once for this long, instead of each knocking. */
const RECONNECT_AFTER_MS = 40;
/** How much the latest measurement counts in a node's round trip time. */
const ROUND_TRIP_WEIGHT = 0.2;
const REQUEST_IDS = 2 ** 32;

export class NodeConnection implements ConnectionHandler {
  readonly address: string;
  readonly #options: ConnectionOptions;
  readonly #env: Pick<Env, "clock" | "transport">;
  readonly #owner: ConnectionOwner;
  #state: "none" | "connecting" | "ready" | "closed" = "none";
  #connection: Connection | undefined;
  /** Calls that wait for the connection to be made. */
  #waiting: Call[] = [];
  #pending = new Map<number, Call>();
  #nextRequestId = 0;
  /** Under which the node sends what was subscribed to; -1: nothing was. */
  #subscriptionId = -1;
  readonly #writer = new ByteWriter();
  #flushing = false;
  #frames = new FrameReader(CLIENT_FRAME_BYTES_MAX);
  #preambleReply: Uint8Array = new Uint8Array();
  #connectTimer: Timer | undefined;
  #silenceTimer: Timer | undefined;
  /** How long the node has been silent while calls waited. */
  #silentMs = 0;
  #quiet = false;
  #queuedBytes = 0;
  #failedMs = Number.NEGATIVE_INFINITY;
  #roundTripMs: number | undefined;
  /** The read whose answer is waited for to measure the round trip; -1: none is. */
  #measuredId = -1;
  #measuredMs = 0;
  #failure: Error = new Error("never tried");

  constructor(
    address: string,
    options: ConnectionOptions,
    env: Pick<Env, "clock" | "transport">,
    owner: ConnectionOwner,
  ) {
    this.address = address;
    this.#options = options;
    this.#env = env;
    this.#owner = owner;
  }

  /**
   * Whether the connection was lost, or could not be made, and no later attempt has succeeded, or nothing was heard of the
   * node for a while: others should be asked first.
   */
  get isDown(): boolean {
    return this.#quiet || (this.#state !== "ready" && this.#failedMs !== Number.NEGATIVE_INFINITY);
  }

  /** How long reads take here, lately: what the network and the node's own queue cost. `undefined`: not known. */
  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  /** Calls that wait for their answer. */
  get waiting(): number {
    return this.#pending.size + this.#waiting.length;
  }

  /** Sends a call, connecting first if need be. The owner hears of the answer or of the failure, a failure perhaps at once. */
  send(call: Call): void {
    if (this.#state === "none") this.#connect();
    if (this.#state === "ready") {
      call.connection = this;
      this.#encode(call);
    } else if (this.#state === "connecting") {
      call.connection = this;
      this.#waiting.push(call);
    } else {
      this.#owner.undelivered(call, this.address, false, this.#failure);
    }
  }

  /** Whether the call was sent, so that the node may have got it, and is not answered. */
  has(call: Call): boolean {
    return this.#pending.get(call.requestId) === call;
  }

  /** The answer to a call is no longer wanted from here. */
  forget(call: Call): void {
    if (this.has(call)) this.#pending.delete(call.requestId);
    else this.#waiting = this.#waiting.filter((other) => other !== call);
    call.connection = undefined;
  }

  /** Closes for good. The owner does not hear of the calls that are under way. */
  close(): void {
    const wasReady = this.#state === "ready";
    this.#state = "closed";
    this.#failure = new Error("the client was closed");
    this.#stopTimers();
    const connection = this.#connection;
    this.#connection = undefined;
    this.#waiting = [];
    this.#pending.clear();
    if (wasReady) connection?.finish();
    else connection?.destroy();
  }

  opened(connection: Connection): void {
    if (connection !== this.#connection) return;
    connection.send(encodePreamble("client"));
  }

  received(connection: Connection, bytes: Uint8Array): void {
    if (connection !== this.#connection) return;
    this.#silentMs = 0;
    this.#quiet = false;
    if (this.#state === "connecting") {
      const rest = this.#readPreambleReply(bytes);
      if (rest === undefined) return;
      this.#frames.push(rest);
    } else {
      this.#frames.push(bytes);
    }
    this.#readFrames();
  }

  closed(connection: Connection, error: Error | undefined): void {
    if (connection !== this.#connection) return;
    this.#lost(error ?? new Error(`${this.address} closed the connection`));
  }

  #connect(): void {
    if (this.#env.clock.nowMs() - this.#failedMs < RECONNECT_AFTER_MS) return;
    const at = parseAddress(this.address);
    if (at === undefined) {
      this.#failure = new Error(`"${this.address}" is not an address: host:port is expected`);
      return;
    }
    this.#state = "connecting";
    this.#frames = new FrameReader(CLIENT_FRAME_BYTES_MAX);
    this.#preambleReply = new Uint8Array();
    this.#connection = this.#env.transport.connect(at.host, at.port, this);
    this.#silenceTimer = this.#env.clock.timer(this.#options.quietMs, () => this.#becomeQuiet());
    this.#connectTimer = this.#env.clock.timer(this.#options.connectTimeoutMs, () => {
      this.#abort(new Error(`no connection to ${this.address} in ${this.#options.connectTimeoutMs} ms`));
    });
  }

  /** What follows the reply, once it is there and says yes. */
  #readPreambleReply(bytes: Uint8Array): Uint8Array | undefined {
    const all = this.#preambleReply.length === 0 ? bytes : concatBytes([this.#preambleReply, bytes]);
    const reply = parsePreambleReply(all, 0);
    if (reply.kind === "incomplete") {
      this.#preambleReply = all;
      return undefined;
    }
    if (reply.kind === "malformed") {
      this.#abort(new Error(`${this.address} is not a Flotilla node: ${reply.message}`));
      return undefined;
    }
    if (reply.error !== undefined) {
      this.#abort(new Error(`${this.address} refused the connection: ${reply.error}: ${reply.message}`));
      return undefined;
    }
    this.#ready();
    return all.subarray(reply.length);
  }

  #ready(): void {
    this.#state = "ready";
    this.#failedMs = Number.NEGATIVE_INFINITY;
    this.#stopTimers();
    const calls = this.#waiting;
    this.#waiting = [];
    for (const call of calls) if (!call.settled) this.#encode(call);
  }

  #encode(call: Call): void {
    const requestId = this.#takeRequestId();
    try {
      encodeRequest(this.#writer, call.request, requestId);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#owner.unsendable(call, error);
      return;
    }
    call.requestId = requestId;
    this.#pending.set(requestId, call);
    // A write waits for a majority, and so says nothing of how near this node is.
    if (this.#measuredId < 0 && "consistency" in call.request) {
      this.#measuredId = requestId;
      this.#measuredMs = this.#env.clock.nowMs();
    }
    if (call.request.kind === "topology" && call.request.subscribe) this.#subscriptionId = requestId;
    this.#flushSoon();
    if (this.#silenceTimer === undefined) {
      this.#silentMs = 0;
      this.#watchForSilence();
    }
  }

  #takeRequestId(): number {
    do {
      this.#nextRequestId = (this.#nextRequestId + 1) % REQUEST_IDS;
    } while (this.#pending.has(this.#nextRequestId) || this.#nextRequestId === this.#subscriptionId);
    return this.#nextRequestId;
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.#env.clock.endOfTurn(this.#flush);
  }

  readonly #flush = (): void => {
    this.#flushing = false;
    if (this.#state === "ready" && this.#writer.length > 0) this.#connection!.send(this.#writer.view());
    this.#writer.reset();
  };

  #readFrames(): void {
    // What an answer sets off may close this connection.
    while (this.#state === "ready" && this.#readFrame());
  }

  /** Whether there was a frame. */
  #readFrame(): boolean {
    let call: Call | undefined;
    let response: ClientResponse;
    try {
      const frame = this.#frames.next();
      if (frame === undefined) return false;
      call = this.#pending.get(frame.requestId);
      if (frame.requestId === this.#measuredId) this.#measured();
      // Nobody waits for it any more, or it answers a ping.
      if (call === undefined && frame.requestId !== this.#subscriptionId) return true;
      response = decodeResponse(frame);
      this.#pending.delete(frame.requestId);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#abort(new Error(`it sent what can't be read: ${error.message}`, { cause: error }));
      return false;
    }
    if (call === undefined) this.#owner.pushed(response, this.address);
    else this.#owner.answered(call, response);
    return true;
  }

  #measured(): void {
    this.#measuredId = -1;
    const tookMs = this.#env.clock.nowMs() - this.#measuredMs;
    const before = this.#roundTripMs ?? tookMs;
    this.#roundTripMs = before + ROUND_TRIP_WEIGHT * (tookMs - before);
  }

  #watchForSilence(): void {
    const { quietMs, silenceMs } = this.#options;
    const intervalMs = Math.min(quietMs, silenceMs) / 2;
    this.#silenceTimer = this.#env.clock.timer(intervalMs, () => {
      this.#silenceTimer = undefined;
      if (this.#pending.size === 0 && !this.#quiet) return;
      const queuedBytes = this.#connection!.queuedBytes;
      // Counted in intervals, not by the clock: while this process was kept from running, answers could not be heard. A
      // large request on its way out is a sign of life as well.
      if (queuedBytes < this.#queuedBytes) this.#silentMs = 0;
      else this.#silentMs += intervalMs;
      this.#queuedBytes = queuedBytes;
      if (this.#silentMs >= silenceMs) {
        this.#abort(new Error(`nothing was heard from it for ${Math.round(this.#silentMs)} ms`));
        return;
      }
      encodeRequest(this.#writer, { kind: "ping" }, this.#takeRequestId());
      this.#flushSoon();
      this.#watchForSilence();
      if (this.#silentMs >= quietMs) this.#becomeQuiet();
    });
  }

  #becomeQuiet(): void {
    this.#quiet = true;
    for (const call of [...this.#waiting, ...this.#pending.values()]) this.#owner.quiet(call, this.address);
  }

  #abort(error: Error): void {
    const connection = this.#connection;
    this.#lost(error);
    connection?.destroy();
  }

  #lost(error: Error): void {
    this.#failedMs = this.#env.clock.nowMs();
    this.#quiet = false;
    this.#state = "none";
    this.#failure = error;
    this.#connection = undefined;
    this.#subscriptionId = -1;
    this.#measuredId = -1;
    this.#roundTripMs = undefined;
    this.#stopTimers();
    this.#writer.reset();
    const waiting = this.#waiting;
    const pending = this.#pending;
    this.#waiting = [];
    this.#pending = new Map();
    this.#owner.unreachable(this.address);
    for (const call of waiting) {
      if (!call.settled) this.#owner.undelivered(call, this.address, false, error);
    }
    for (const call of pending.values()) this.#owner.undelivered(call, this.address, true, error);
  }

  #stopTimers(): void {
    this.#connectTimer?.cancel();
    this.#silenceTimer?.cancel();
    this.#connectTimer = undefined;
    this.#silenceTimer = undefined;
  }
}
