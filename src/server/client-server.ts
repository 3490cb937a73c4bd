/**
 * One client of the binary protocol: bytes → frames → requests → handler → replies → frames. Requests pipeline, and
 * each is answered when its answer is there, in whatever order.
 *
 * A body that does not decode costs its sender an error reply. A frame that can't be trusted (length, checksum) costs it
 * the connection, since nobody can tell where the next frame begins.
 */
import { ByteWriter } from "../../protocol/cbor.ts";
import { decodeRequest, encodeResponse } from "../../protocol/client.ts";
import { type ErrorName, ProtocolError } from "../../protocol/errors.ts";
import { type Frame, FrameReader } from "../../protocol/frame.ts";
import type { ReplySink, RequestHandler } from "../../protocol/handler.ts";
import { CLIENT_FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import type { ClientRequest, ClientResponse, ReadRequest } from "../../protocol/messages.ts";
import type { Connection, Env } from "../env/env.ts";
import { Backpressure } from "./backpressure.ts";
import { DeferredReads, isDeferrable } from "./deferred-reads.ts";
import type { ServerLimits } from "./limits.ts";
import type { Served } from "./served.ts";
import type { TopologyFeed, TopologyNews, TopologySubscriber } from "./topology-feed.ts";
import type { Turn, TurnMember } from "./turn.ts";
import { UnfinishedRequest } from "./unfinished-request.ts";

/** What a client connection needs of its node. */
export interface ClientParts {
  readonly env: Pick<Env, "clock" | "log">;
  readonly handler: RequestHandler;
  readonly limits: ServerLimits;
  readonly feed: Pick<TopologyFeed, "add" | "remove">;
}

/** Replies that were gathered beyond this are sent before the turn ends, so that the buffer is used again. */
const SEND_AT_BYTES = 256 * 1024;
/** Of slots, which do not go round here. */
const SLOT_MASK = 0x7fff_ffff;

export class ClientConnection implements Served, ReplySink, TurnMember, TopologySubscriber {
  readonly #connection: Connection;
  readonly #parts: ClientParts;
  readonly #turn: Turn;
  readonly #backpressure: Backpressure;
  readonly #reader = new FrameReader(CLIENT_FRAME_BYTES_MAX);
  readonly #unfinished: UnfinishedRequest;
  readonly #writer = new ByteWriter();
  #inFlight = 0;
  /** By slot of a request under way: the client's id for it, and the request if it may be asked again. */
  readonly #ids: number[] = [];
  readonly #reads: (ReadRequest | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  readonly #deferred = new DeferredReads();
  /** The client's id of the request that subscribed to the topology; -1: none did. */
  #subscription = -1;
  #knownView: number | undefined;
  #marked = false;
  /** `ending`: nothing more is received, and the connection finishes when all that was is answered. */
  #phase: "open" | "ending" | "closed" = "open";
  #paused = false;
  #reading = false;

  constructor(connection: Connection, parts: ClientParts, turn: Turn) {
    this.#connection = connection;
    this.#parts = parts;
    this.#turn = turn;
    this.#backpressure = new Backpressure(connection, parts.env.clock, parts.limits);
    this.#unfinished = new UnfinishedRequest(parts.limits.stalledRequestMsMax);
  }

  get unfinishedBytes(): number {
    // Where frames have to wait, whole ones are among what is there.
    return this.#busy() ? 0 : this.#reader.bufferedBytes;
  }

  received(bytes: Uint8Array): void {
    if (this.#phase !== "open") return;
    this.#reader.push(bytes);
    this.#read();
  }

  /** Writes the answer behind those of this turn. A client that used one id twice gets two answers with it. */
  reply(slot: number, response: ClientResponse): void {
    const read = this.#reads[slot];
    if (read !== undefined) {
      this.#deferred.answered(slot);
      if (response.kind !== "error" && this.#phase !== "closed" && !this.#hasRoom) {
        this.#deferred.defer(slot, read, lengthOf(response));
        this.#mark();
        return;
      }
      this.#reads[slot] = undefined;
    }
    if (response.kind === "topology") this.#knownView = response.topology.view;
    this.#freeSlots.push(slot);
    this.#inFlight--;
    this.#answer(this.#ids[slot]!, response);
  }

  get knownView(): number | undefined {
    return this.#knownView;
  }

  pushTopology(news: TopologyNews): void {
    if (this.#phase !== "open" || this.#writer.length + this.#connection.queuedBytes > 0) return;
    this.#knownView = news.view;
    news.write(this.#writer, this.#subscription);
    this.#mark();
  }

  endTurn(): void {
    this.#marked = false;
    if (this.#phase === "closed") return;
    this.#send();
    this.#read();
  }

  drained(): void {
    this.#read();
  }

  ended(): void {
    this.stop();
  }

  closed(): void {
    this.#phase = "closed";
    this.#parts.feed.remove(this);
    this.#writer.reset();
    this.#deferred.clear();
  }

  sweep(nowMs: number): void {
    if (this.#phase === "closed") return;
    const reason = this.#backpressure.verdict() ?? this.#unfinished.verdict(nowMs, this.unfinishedBytes);
    if (reason !== undefined) this.#cut(reason);
  }

  stop(): void {
    if (this.#phase !== "open") return;
    this.#phase = "ending";
    this.#read();
  }

  /** Works on what has arrived, until there is nothing more, or too much is under way. */
  #read(): void {
    if (this.#reading) return;
    this.#reading = true;
    try {
      this.#resumeReads();
      while (this.#phase !== "closed" && !this.#busy()) {
        const frame = this.#reader.next();
        if (frame === undefined) break;
        this.#execute(frame);
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#refuse(error.error, error.message);
    } finally {
      this.#reading = false;
    }
    if (this.#phase === "ending" && this.#inFlight === 0 && !this.#busy()) this.#finish();
    this.#adjustReading();
  }

  #execute(frame: Frame): void {
    let request: ClientRequest;
    try {
      request = decodeRequest(frame);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#answer(frame.requestId, {
        kind: "error",
        error: error.error,
        message: error.message,
        leader: undefined,
      });
      return;
    }
    if (request.kind === "topology" && request.subscribe) {
      this.#subscription = frame.requestId;
      this.#knownView = request.known;
      this.#parts.feed.add(this);
    }
    this.#inFlight++;
    const slot = this.#freeSlots.pop() ?? this.#ids.length;
    this.#ids[slot] = frame.requestId;
    this.#reads[slot] = isDeferrable(request) ? request : undefined;
    this.#parts.handler.execute(request, this, slot, "redirect");
  }

  #answer(requestId: number, response: ClientResponse): void {
    if (this.#phase === "closed") return;
    encodeResponse(this.#writer, response, requestId);
    this.#mark();
    if (this.#writer.length >= SEND_AT_BYTES) this.#send();
  }

  /** Asks again for what there was no room for, as far as there is room now. */
  #resumeReads(): void {
    while (!this.#deferred.isEmpty && this.#hasRoom) {
      const slot = this.#deferred.first(0, SLOT_MASK);
      this.#parts.handler.execute(this.#deferred.take(slot), this, slot, "redirect");
    }
  }

  /** Whether an answer that may be long can be written. */
  get #hasRoom(): boolean {
    const ahead = this.#writer.length + this.#connection.queuedBytes + this.#deferred.askedBytes;
    return ahead <= this.#parts.limits.replyBytesPause;
  }

  #busy(): boolean {
    return (
      this.#inFlight >= this.#parts.limits.requestsInFlightMax ||
      this.#writer.length > this.#parts.limits.replyBytesPause ||
      !this.#deferred.isEmpty ||
      this.#backpressure.choked
    );
  }

  /** Stops reading while there is no room for more; what was read already waits in the reader. */
  #adjustReading(): void {
    const pause = this.#phase === "open" && this.#busy();
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) this.#connection.pause();
    else this.#connection.resume();
  }

  #send(): void {
    if (this.#writer.length === 0) return;
    this.#backpressure.send(this.#writer.view());
    this.#writer.reset();
    if (this.#connection.queuedBytes > this.#parts.limits.replyBytesMax) {
      this.#cut(this.#backpressure.verdict() ?? "too many bytes of replies wait to be read");
    }
  }

  /** Ends a connection whose stream of frames can't be followed any further. */
  #refuse(error: ErrorName, message: string): void {
    this.#parts.env.log.warn("closed a client connection: what it sent is not a stream of frames", {
      remote: this.#connection.remote,
      error,
      reason: message,
    });
    encodeResponse(this.#writer, { kind: "error", error, message, leader: undefined }, 0);
    this.#finish();
  }

  #cut(reason: string): void {
    this.#parts.env.log.warn("cut a client connection", { remote: this.#connection.remote, reason });
    this.#phase = "closed";
    this.#connection.destroy();
  }

  #finish(): void {
    this.#send();
    this.#phase = "closed";
    this.#connection.finish();
  }

  #mark(): void {
    if (this.#marked) return;
    this.#marked = true;
    this.#turn.mark(this);
  }
}

/** About how many bytes an answer takes. */
function lengthOf(response: ClientResponse): number {
  if (response.kind === "value") return response.value?.length ?? 0;
  if (response.kind !== "entries") return 0;
  let bytes = 0;
  for (const { key, value } of response.entries) bytes += key.length + value.length;
  return bytes;
}
