/**
 * One connection of the text mode: bytes → commands → requests → replies, which leave in the order of their commands,
 * although their answers come in any order.
 *
 * Each command under way has a slot in a ring; its place there is the request id that the answer comes back with. An
 * answer to the oldest command is written straight into the outgoing buffer; one that comes before its turn is written
 * aside and copied when its turn comes. For a command on one key nothing is allocated but its request.
 */
import { ByteWriter } from "../../protocol/cbor.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import type { KeyspaceId } from "../../protocol/ids.ts";
import { KEY_BYTES_MAX } from "../../protocol/limits.ts";
import type { ClientRequest, ClientResponse, ReadRequest } from "../../protocol/messages.ts";
import { RespReader, RespWriter } from "../../protocol/resp.ts";
import type { Connection } from "../env/env.ts";
import { assert } from "../lib/assert.ts";
import { Backpressure } from "./backpressure.ts";
import { DeferredReads } from "./deferred-reads.ts";
import type { Served } from "./served.ts";
import type { TextClients } from "./text-clients.ts";
import { type Arguments, SHAPE, type Shape, type TextCommand, type TextSession } from "./text-command.ts";
import { findCommand, isHttp, unknownCommand } from "./text-commands.ts";
import { errorText } from "./text-errors.ts";
import { Overlap } from "./text-overlap.ts";
import { asAskedBy } from "./text-routes.ts";
import { writeResponse } from "./text-shapes.ts";
import { wrongArity } from "./text-subcommands.ts";
import type { Turn, TurnMember } from "./turn.ts";
import { UnfinishedRequest } from "./unfinished-request.ts";

/** Replies that were gathered beyond this are sent before the turn ends, so that the buffer is used again. */
const SEND_AT_BYTES = 256 * 1024;
/** Shape of a slot whose command writes its reply itself. */
const OWN_REPLY = 0xff;
/** Stands in the place of a reply that CLIENT REPLY left out. */
const NOTHING = new Uint8Array(0);

export class TextConnection implements Served, ReplySink, TurnMember, TextSession {
  readonly id: number;
  readonly clients: TextClients;
  name = "";
  libraryName = "";
  libraryVersion = "";
  keyspace: KeyspaceId | undefined = undefined;
  readsStale = false;
  readonly #connection: Connection;
  readonly #turn: Turn;
  readonly #backpressure: Backpressure;
  readonly #reader = new RespReader();
  readonly #unfinished: UnfinishedRequest;
  readonly #out = new ByteWriter();
  readonly #writer = new RespWriter(this.#out);
  readonly #overlap: Overlap;
  readonly #connectedMs: number;
  /** Until the first whole command has come. */
  #deadlineMs: number | undefined;

  /** The ring: slots from `#head` (the oldest command under way) up to and excluding `#tail`. */
  readonly #mask: number;
  readonly #shapes: Uint8Array;
  readonly #muted: Uint8Array;
  /** Replies that came before their turn, and how long they are together. */
  readonly #early: (Uint8Array | undefined)[] = [];
  #earlyBytes = 0;
  /** What commands over many keys have gathered for replies that they have not written yet. */
  #heldBytes = 0;
  /** Requests whose answer is a value, while they are under way. */
  readonly #reads: (ReadRequest | undefined)[] = [];
  readonly #deferred = new DeferredReads();
  #head = 0;
  #tail = 0;
  /** The slot whose reply is being written, -1 for none. */
  #writing = -1;

  /** A command that was read but has to wait. */
  #held: Arguments | undefined;
  #heldCommand: TextCommand | undefined;
  #lastCommand: TextCommand | undefined;
  #lastCommandMs: number;
  #reply: "on" | "off" | "skip" = "on";
  #marked = false;
  #paused = false;
  #pumping = false;
  /** `ending`: nothing more is received; `leaving`: nothing more is worked on. Then the connection finishes. */
  #phase: "open" | "ending" | "leaving" | "closed" = "open";

  constructor(id: number, connection: Connection, clients: TextClients, turn: Turn, deadlineMs: number) {
    this.id = id;
    this.clients = clients;
    this.#connection = connection;
    this.#turn = turn;
    this.#deadlineMs = deadlineMs;
    const { clock } = clients.env;
    this.#connectedMs = clock.nowMs();
    this.#lastCommandMs = this.#connectedMs;
    this.#backpressure = new Backpressure(connection, clock, clients.limits);
    this.#unfinished = new UnfinishedRequest(clients.limits.stalledRequestMsMax);
    // One slot stays free, so that a full ring differs from an empty one.
    const slots = 2 ** Math.ceil(Math.log2(clients.limits.requestsInFlightMax + 1));
    this.#mask = slots - 1;
    this.#shapes = new Uint8Array(slots);
    this.#muted = new Uint8Array(slots);
    this.#overlap = new Overlap(slots);
  }

  get protocolVersion(): 2 | 3 {
    return this.#writer.protocolVersion;
  }

  get unfinishedBytes(): number {
    // Behind a command that has to wait there may be whole ones.
    return this.#held !== undefined || this.#busy() ? 0 : this.#reader.bufferedBytes;
  }

  received(bytes: Uint8Array): void {
    if (this.#phase !== "open") return;
    this.#reader.push(bytes);
    this.#pump();
  }

  reply(slot: number, response: ClientResponse): void {
    const read = this.#reads[slot];
    if (read !== undefined) {
      this.#deferred.answered(slot);
      if (response.kind === "value" && this.#phase !== "closed" && !this.#hasRoom(slot)) {
        this.#deferred.defer(slot, read, response.value?.length ?? 0);
        this.#mark();
        return;
      }
      this.#reads[slot] = undefined;
    }
    const writer = this.begin(slot);
    writeResponse(writer, this.#shapes[slot] as Shape, response);
    this.end(slot);
  }

  endTurn(): void {
    this.#marked = false;
    if (this.#phase === "closed") return;
    this.#send();
    this.#pump();
  }

  drained(): void {
    this.#pump();
  }

  ended(): void {
    if (this.#phase === "open") this.#phase = "ending";
    this.#pump();
  }

  closed(): void {
    this.#phase = "closed";
    this.#out.reset();
    this.#deferred.clear();
    this.clients.left(this);
  }

  sweep(nowMs: number): void {
    if (this.#phase === "closed") return;
    const reason =
      this.#deadlineMs !== undefined && nowMs > this.#deadlineMs
        ? "no whole command came in time"
        : (this.#backpressure.verdict() ?? this.#unfinished.verdict(nowMs, this.unfinishedBytes));
    if (reason !== undefined) this.#cut(reason);
  }

  stop(): void {
    this.ended();
  }

  request(request: ClientRequest, slot: number, shape: Shape): void {
    this.#shapes[slot] = shape;
    const wanted = asAskedBy(this, request);
    if (shape === SHAPE.value && this.#muted[slot] === 0) this.#reads[slot] = wanted as ReadRequest;
    this.clients.handler.execute(wanted, this, slot, "forward");
  }

  hold(bytes: number): boolean {
    this.#heldBytes += bytes;
    const waiting = this.#out.length + this.#connection.queuedBytes + this.#earlyBytes;
    return bytes <= 0 || this.#heldBytes + waiting <= this.clients.limits.gatherBytesMax;
  }

  get tooMuchHeld(): string {
    return `the replies of this connection would be larger than ${this.clients.limits.gatherBytesMax} bytes`;
  }

  begin(slot: number): RespWriter {
    if (this.#writing !== -1) assert(false, "a reply is begun while another one is being written");
    this.#writing = slot;
    if (slot === this.#head && this.#muted[slot] === 0) return this.#writer;
    return this.clients.scratchWriter(this.#writer.protocolVersion);
  }

  end(slot: number): void {
    if (this.#writing !== slot) assert(false, "a reply is ended that is not being written");
    this.#writing = -1;
    this.#overlap.leave(slot);
    if (this.#phase === "closed") {
      this.#out.reset();
      this.clients.scratch.reset();
      return;
    }
    const scratch = this.clients.scratch;
    if (this.#muted[slot] === 1) {
      scratch.reset();
      this.#muted[slot] = 0;
      this.#early[slot] = NOTHING;
    } else if (slot !== this.#head) {
      this.#early[slot] = scratch.copy();
      this.#earlyBytes += scratch.length;
      scratch.reset();
    }
    if (slot === this.#head) this.#advance();
    this.#mark();
    if (this.#out.length >= SEND_AT_BYTES) this.#send();
  }

  simple(slot: number, text: string): void {
    this.begin(slot).simple(text);
    this.end(slot);
  }

  error(slot: number, message: string): void {
    this.begin(slot).error(message);
    this.end(slot);
  }

  failure(slot: number, response: ClientResponse): void {
    this.error(slot, errorText(response));
  }

  speak(protocolVersion: 2 | 3): void {
    this.#writer.protocolVersion = protocolVersion;
  }

  mute(mode: "on" | "off" | "skip", slot: number): void {
    this.#reply = mode;
    this.#muted[slot] = mode === "on" ? 0 : 1;
  }

  quit(): void {
    if (this.#phase !== "closed") this.#phase = "leaving";
    this.#mark();
  }

  describe(): string {
    const nowMs = this.clients.env.clock.nowMs();
    const seconds = (sinceMs: number): number => Math.floor((nowMs - sinceMs) / 1000);
    const library = `lib-name=${this.libraryName} lib-ver=${this.libraryVersion}`;
    return (
      `id=${this.id} addr=${this.#connection.remote} name=${this.name} age=${seconds(this.#connectedMs)} ` +
      `idle=${seconds(this.#lastCommandMs)} flags=N db=${this.keyspace ?? 0} sub=0 psub=0 multi=-1 qbuf=${this.#reader.bufferedBytes} ` +
      `omem=${this.#connection.queuedBytes} cmd=${this.#lastCommand?.name ?? "NULL"} user=default ` +
      `resp=${this.protocolVersion} ${library}`
    );
  }

  /** Works on the commands that have arrived, until there is none left or one has to wait. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      this.#resumeReads();
      while ((this.#phase === "open" || this.#phase === "ending") && !this.#busy()) {
        if (!this.#next()) break;
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#protocolError(error.message);
    } finally {
      this.#pumping = false;
    }
    this.#finishIfDone();
    this.#adjustReading();
  }

  /** Asks again for values that there was no room for, the oldest command's first, as far as there is room now. */
  #resumeReads(): void {
    while (!this.#deferred.isEmpty) {
      const slot = this.#deferred.first(this.#head, this.#mask);
      if (!this.#hasRoom(slot)) return;
      this.clients.handler.execute(this.#deferred.take(slot), this, slot, "forward");
    }
  }

  /**
   * Whether the value of `slot` may be written. What came before its turn does not count against the oldest command:
   * its reply is what those others wait for.
   */
  #hasRoom(slot: number): boolean {
    const ahead = this.#out.length + this.#connection.queuedBytes + this.#deferred.askedBytes;
    return (slot === this.#head ? ahead : ahead + this.#earlyBytes) <= this.clients.limits.replyBytesPause;
  }

  /** Takes up the next command; false if there is none, or it has to wait for those before it. */
  #next(): boolean {
    const args = this.#held ?? this.#reader.next();
    if (args === undefined) return false;
    const command = this.#heldCommand ?? findCommand(args[0]!);
    if (command === undefined) {
      this.#refuse(args);
      return true;
    }
    const fits = command.arity >= 0 ? args.length === command.arity : args.length >= -command.arity;
    if (!fits) {
      this.error(this.#takeSlot(), wrongArity(command.name));
      return true;
    }
    const badKey = command.firstKey > 0 ? overlongKey(command, args) : undefined;
    if (badKey !== undefined) {
      this.error(this.#takeSlot(), `ERR a key has ${badKey} bytes, at most ${KEY_BYTES_MAX} are allowed`);
      return true;
    }
    const elsewhere =
      this.clients.redirect === "moved"
        ? this.clients.routes.misrouted(command, args, this.readsStale)
        : undefined;
    if (elsewhere !== undefined) {
      if (elsewhere.startsWith("MOVED")) this.clients.moved++;
      this.#held = undefined;
      this.#heldCommand = undefined;
      this.error(this.#takeSlot(), elsewhere);
      return true;
    }
    if (!this.#mayStart(command, args)) {
      this.#held = args;
      this.#heldCommand = command;
      return false;
    }
    this.#held = undefined;
    this.#heldCommand = undefined;
    this.#lastCommand = command;
    this.#deadlineMs = undefined;
    command.run(this, args, this.#takeSlot());
    return true;
  }

  /** Whether nothing that is under way stands against the command; if so, it is counted as under way in the next slot. */
  #mayStart(command: TextCommand, args: Arguments): boolean {
    switch (command.access) {
      case "none":
        return true;
      case "barrier":
        return this.#head === this.#tail;
      default:
        return this.#overlap.enter(this.#tail, command.access, args[command.firstKey]!);
    }
  }

  #takeSlot(): number {
    const slot = this.#tail;
    this.#tail = (slot + 1) & this.#mask;
    this.#shapes[slot] = OWN_REPLY;
    if (this.#reply !== "on") {
      this.#muted[slot] = 1;
      if (this.#reply === "skip") this.#reply = "on";
    }
    return slot;
  }

  /** The reply of the oldest command is written: those behind it that came before their turn follow. */
  #advance(): void {
    this.#early[this.#head] = undefined;
    this.#head = (this.#head + 1) & this.#mask;
    for (;;) {
      if (this.#head === this.#tail) return;
      const early = this.#early[this.#head];
      if (early === undefined) return;
      this.#out.append(early);
      this.#earlyBytes -= early.length;
      this.#early[this.#head] = undefined;
      this.#head = (this.#head + 1) & this.#mask;
    }
  }

  #busy(): boolean {
    return (
      ((this.#tail + 1) & this.#mask) === this.#head ||
      this.#out.length + this.#earlyBytes > this.clients.limits.replyBytesPause ||
      !this.#deferred.isEmpty ||
      this.#backpressure.choked
    );
  }

  #adjustReading(): void {
    const waiting =
      this.#held !== undefined && this.#reader.bufferedBytes > this.clients.limits.replyBytesPause;
    const pause = this.#phase === "open" && (waiting || this.#busy());
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) this.#connection.pause();
    else this.#connection.resume();
  }

  /** Answers a command that does not exist. Somebody who speaks HTTP gets no answer at all. */
  #refuse(args: Arguments): void {
    if (isHttp(args[0]!)) {
      this.#cut("an HTTP request came to a port that speaks Flotilla and Redis");
      return;
    }
    this.error(this.#takeSlot(), unknownCommand(args));
  }

  /** What follows can't be read any more: says so, behind the replies that are under way, and leaves. */
  #protocolError(message: string): void {
    this.clients.env.log.warn("closed a text connection: what it sent is not a stream of commands", {
      remote: this.#connection.remote,
      reason: message,
    });
    this.error(this.#takeSlot(), `ERR ${message}`);
    this.#phase = "leaving";
  }

  #send(): void {
    if (this.#out.length === 0) return;
    this.#backpressure.send(this.#out.view());
    this.#out.reset();
    if (this.#connection.queuedBytes > this.clients.limits.replyBytesMax) {
      this.#cut(this.#backpressure.verdict() ?? "too many bytes of replies wait to be read");
    }
  }

  #finishIfDone(): void {
    if (this.#head !== this.#tail) return;
    const done =
      this.#phase === "leaving" ||
      (this.#phase === "ending" && this.#held === undefined && !this.#backpressure.choked);
    if (!done) return;
    this.#send();
    this.#phase = "closed";
    this.#connection.finish();
  }

  #cut(reason: string): void {
    this.clients.env.log.warn("cut a text connection", { remote: this.#connection.remote, reason });
    this.#phase = "closed";
    this.#connection.destroy();
  }

  #mark(): void {
    if (this.#marked) return;
    this.#marked = true;
    this.#turn.mark(this);
  }
}

/** The length of the first key that is too long, if there is one. */
function overlongKey(command: TextCommand, args: Arguments): number | undefined {
  const last = command.lastKey < 0 ? args.length + command.lastKey : command.lastKey;
  for (let i = command.firstKey; i <= last; i += command.keyStep) {
    if (args[i]!.length > KEY_BYTES_MAX) return args[i]!.length;
  }
  return undefined;
}
