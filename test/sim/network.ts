/**
 * A network between simulated processes, on a virtual clock: byte streams with an order and nothing else. Chunks are cut
 * at random places and take their time. Links between two machines, each direction by itself, can stall (bytes wait, as
 * with TCP over a cut cable, and nobody is told) or refuse; connections can be broken with both sides, or only one, being
 * told; a machine that lost its power is silent, and resets what reaches it once it is back.
 *
 * Bytes within a connection are neither lost nor reordered (TCP does not do that either). But Raft relies on less than
 * TCP, and nodes drop messages where queues are full, so messages of Raft can be lost, repeated and overtaken by the
 * next one on demand, each by itself. What is on its way has no bound.
 */
import {
  type Connection,
  type ConnectionHandler,
  ListenError,
  type Listener,
  type Transport,
} from "../../src/env/env.ts";
import type { Random } from "../../src/lib/prng.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";
import { messageFrames, singleMessages } from "./message-frames.ts";
import type { SimulatedProcess } from "./process.ts";

/** What a direction between two machines does. */
export type LinkState = "open" | "stalled" | "refused";

/** Hears that `bytes` of `from` have come to `to`. They are borrowed. */
export type Observer = (from: string, to: string, bytes: Uint8Array) => void;

/** Bytes beyond this are queued at the sender, as far as it can tell. */
const SOCKET_BUFFER_BYTES = 64 * 1024;
/** How often a connection that gets no answer is tried again, and a stalled one, in milliseconds. */
const RETRANSMIT_MS = 100;
/** How long a finished connection may wait for the other side. */
const FINISH_STALL_MS = 5_000;

export class MemoryNetwork {
  readonly clock: VirtualClock;
  readonly random: Random;
  /** Longest time that bytes are on their way, when nothing stalls. */
  latencyMsMax = 2;
  /** Of the messages of Raft, how many percent are lost, come twice, and let the next one pass. */
  lossPercent = 0;
  repeatPercent = 0;
  reorderPercent = 0;
  /** Hears of all that a process sends, before anything happens to it: the frames that are sent at once. They are borrowed. */
  onSend: Observer | undefined;
  /** Hears of all bytes that arrive, and of what is done to them. */
  readonly #observe: Observer;
  readonly #links = new Map<string, LinkState>();
  /** The process that runs on each machine that has power, by host. */
  readonly #processes = new Map<string, SimulatedProcess>();
  readonly #listeners = new Map<string, { process: SimulatedProcess; handler: ConnectionHandler }>();
  #endpoints: Endpoint[] = [];

  constructor(clock: VirtualClock, random: Random, observe: Observer = () => {}) {
    this.clock = clock;
    this.random = random;
    this.#observe = observe;
  }

  get observe(): Observer {
    return this.#observe;
  }

  /** Whether messages may be lost, repeated or overtaken now. */
  get isUnreliable(): boolean {
    return this.lossPercent > 0 || this.repeatPercent > 0 || this.reorderPercent > 0;
  }

  /** A coin that says yes in `percent` of all cases. */
  chance(percent: number): boolean {
    return percent > 0 && this.random.below(100) < percent;
  }

  /** A process begins on `host`; this is its network. */
  attach(host: string, process: SimulatedProcess): Transport {
    this.#processes.set(host, process);
    return {
      listen: async (listenHost, port, handler) => this.#listen(`${listenHost}:${port}`, process, handler),
      connect: (toHost, port, handler) => this.#connect(host, process, toHost, port, handler),
      resolve: async (name) => [name],
    };
  }

  /**
   * The process on `host` has ended. `killed`: the operating system closes its connections; `powerless`: nobody is told
   * anything.
   */
  detach(host: string, how: "killed" | "powerless"): void {
    for (const endpoint of this.#endpoints) {
      if (endpoint.host !== host) continue;
      if (how === "killed") endpoint.destroy();
      else endpoint.vanish();
    }
    this.#sweep();
    if (how === "powerless") this.#processes.delete(host);
  }

  /** Whether a machine is there to answer packets. */
  isUp(host: string): boolean {
    return this.#processes.has(host);
  }

  setLink(from: string, to: string, state: LinkState): void {
    this.#links.set(`${from} ${to}`, state);
    if (state === "refused") this.breakConnections(from, to, "both");
  }

  /** Sets what there is both ways between a host and each of `others`; itself among them does not count. */
  setLinks(host: string, others: readonly { readonly name: string }[], state: LinkState): void {
    for (const { name } of others) {
      if (name === host) continue;
      this.setLink(host, name, state);
      this.setLink(name, host, state);
    }
  }

  link(from: string, to: string): LinkState {
    return this.#links.get(`${from} ${to}`) ?? "open";
  }

  healAll(): void {
    this.#links.clear();
    this.lossPercent = 0;
    this.repeatPercent = 0;
    this.reorderPercent = 0;
  }

  /** Breaks every connection between two hosts. With `one`, only the ends on `a` are told: the others are half open. */
  breakConnections(a: string, b: string, told: "both" | "one"): void {
    for (const endpoint of [...this.#endpoints]) {
      if (endpoint.host !== a || endpoint.otherHost !== b) continue;
      if (told === "both") endpoint.destroy();
      else endpoint.breakOff();
    }
    this.#sweep();
  }

  latencyMs(): number {
    return this.random.float() * this.latencyMsMax;
  }

  #listen(address: string, process: SimulatedProcess, handler: ConnectionHandler): Listener {
    const earlier = this.#listeners.get(address);
    if (earlier !== undefined && !earlier.process.isDead) {
      throw new ListenError("EADDRINUSE", `cannot listen on ${address}: somebody does already`);
    }
    this.#listeners.set(address, { process, handler });
    const colon = address.lastIndexOf(":");
    return {
      host: address.slice(0, colon),
      port: Number(address.slice(colon + 1)),
      close: () => {
        if (this.#listeners.get(address)?.process === process) this.#listeners.delete(address);
      },
    };
  }

  #connect(
    host: string,
    process: SimulatedProcess,
    toHost: string,
    port: number,
    handler: ConnectionHandler,
  ): Connection {
    const address = `${toHost}:${port}`;
    const client = new Endpoint(this, process, handler, host, toHost, address);
    this.#endpoints.push(client);
    const attempt = (): void => {
      if (client.isClosed) return;
      const links = [this.link(host, toHost), this.link(toHost, host)];
      const listener = this.#listeners.get(address);
      if (links.includes("refused")) client.fail(`cannot connect to ${address}: no route`);
      else if (links.includes("stalled") || !this.isUp(toHost)) this.clock.timer(RETRANSMIT_MS, attempt);
      else if (listener === undefined || listener.process.isDead) {
        client.fail(`cannot connect to ${address}: refused`);
      } else {
        const server = new Endpoint(this, listener.process, listener.handler, toHost, host, `${host}:0`);
        this.#endpoints.push(server);
        client.join(server);
        server.join(client);
        server.push({ kind: "opened" });
        client.push({ kind: "opened" });
      }
    };
    this.clock.timer(this.latencyMs(), attempt);
    this.#sweep();
    return client;
  }

  #sweep(): void {
    this.#endpoints = this.#endpoints.filter((endpoint) => !endpoint.isClosed);
  }
}

/** Something on its way to an endpoint. */
type Item =
  | { readonly kind: "opened" | "ended" | "reset" }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array };

/** One side of a connection; what is on its way to it waits here. */
class Endpoint implements Connection {
  readonly host: string;
  readonly otherHost: string;
  readonly remote: string;
  state: unknown = undefined;
  readonly #network: MemoryNetwork;
  readonly #process: SimulatedProcess;
  readonly #handler: ConnectionHandler;
  #other: Endpoint | undefined;
  #phase: "open" | "finishing" | "closed" = "open";
  #otherEnded = false;
  #isReading = true;
  #arriving: { readonly atMs: number; readonly item: Item }[] = [];
  #arrivingBytes = 0;
  #isScheduled = false;
  /** A message that the next one is to pass. */
  #overtaken: Uint8Array | undefined;

  constructor(
    network: MemoryNetwork,
    process: SimulatedProcess,
    handler: ConnectionHandler,
    host: string,
    otherHost: string,
    remote: string,
  ) {
    this.#network = network;
    this.#process = process;
    this.#handler = handler;
    this.host = host;
    this.otherHost = otherHost;
    this.remote = remote;
  }

  get isClosed(): boolean {
    return this.#phase === "closed";
  }

  get queuedBytes(): number {
    return Math.max(0, (this.#other?.arrivingBytes ?? 0) - SOCKET_BUFFER_BYTES);
  }

  get arrivingBytes(): number {
    return this.#arrivingBytes;
  }

  join(other: Endpoint): void {
    this.#other = other;
  }

  send(bytes: Uint8Array): void {
    if (this.#phase !== "open" || this.#process.isDead) return;
    this.#network.onSend?.(this.host, this.otherHost, bytes);
    // Hearing of it may have been the end of this process.
    if (this.#process.isDead) return;
    if (!this.#network.isUnreliable && this.#overtaken === undefined) {
      this.#transmit(bytes);
      return;
    }
    for (const { start, end, isRaft, isGossip } of messageFrames(bytes)) {
      const frame = bytes.subarray(start, end);
      if (isGossip) this.#sendMessage(frame);
      else if (!isRaft) this.#transmit(frame);
      // A node whose queue is full drops one message and not the next.
      else for (const message of singleMessages(frame)) this.#sendMessage(message);
    }
  }

  /** Sends a message of Raft or of gossip, in a frame of its own: perhaps not, or twice, or later. */
  #sendMessage(bytes: Uint8Array): void {
    const network = this.#network;
    const held = this.#overtaken;
    this.#overtaken = undefined;
    if (network.chance(network.lossPercent)) {
      // Lost.
    } else if (held === undefined && network.chance(network.reorderPercent)) {
      this.#overtaken = bytes.slice();
    } else {
      this.#transmit(bytes);
      if (network.chance(network.repeatPercent)) this.#transmit(bytes);
    }
    if (held !== undefined) this.#transmit(held);
  }

  #transmit(bytes: Uint8Array): void {
    const { random } = this.#network;
    for (let start = 0; start < bytes.length; ) {
      const isCut = random.below(4) === 0;
      const end = isCut ? start + 1 + random.below(bytes.length - start) : bytes.length;
      this.#other?.push({ kind: "bytes", bytes: bytes.slice(start, end) });
      start = end;
    }
  }

  pause(): void {
    this.#isReading = false;
  }

  resume(): void {
    this.#isReading = true;
    this.#schedule();
  }

  finish(): void {
    if (this.#phase !== "open" || this.#process.isDead) return;
    this.#phase = "finishing";
    this.resume();
    this.#other?.push({ kind: "ended" });
    if (this.#otherEnded || this.#other === undefined) this.#close(undefined);
    else this.#network.clock.timer(FINISH_STALL_MS, () => this.destroy());
  }

  destroy(): void {
    if (this.isClosed) return;
    this.#close(undefined);
    this.#other?.loseTail();
    this.#other?.push({ kind: "reset" });
  }

  /** Closed with an error, and the other side is not told. */
  breakOff(): void {
    this.#close(new Error(`${this.remote}: the connection was broken`));
  }

  /** The connection could not be made. */
  fail(reason: string): void {
    this.#close(new Error(reason));
  }

  /** This side's machine is gone. */
  vanish(): void {
    this.#phase = "closed";
    this.#arriving = [];
  }

  push(item: Item): void {
    if (this.isClosed && item.kind !== "bytes") return;
    const { clock } = this.#network;
    const atMs = Math.max(clock.nowMs() + this.#network.latencyMs(), this.#arriving.at(-1)?.atMs ?? 0);
    this.#arriving.push({ atMs, item });
    if (item.kind === "bytes") this.#arrivingBytes += item.bytes.length;
    this.#schedule();
  }

  /** Part of what is on its way does not arrive. */
  loseTail(): void {
    const { random } = this.#network;
    if (this.#arriving.length > 0 && random.below(2) === 0) {
      this.#arriving.length = random.below(this.#arriving.length);
      this.#arrivingBytes = 0;
      for (const { item } of this.#arriving)
        if (item.kind === "bytes") this.#arrivingBytes += item.bytes.length;
    }
  }

  #schedule(): void {
    const next = this.#arriving[0];
    if (this.#isScheduled || next === undefined || !this.#isReading) return;
    this.#isScheduled = true;
    const { clock } = this.#network;
    clock.timer(Math.max(0, next.atMs - clock.nowMs()), () => this.#pump());
  }

  /** Delivers what has come by now. */
  #pump(): void {
    this.#isScheduled = false;
    const { clock } = this.#network;
    if (this.#network.link(this.otherHost, this.host) === "stalled") {
      this.#isScheduled = true;
      clock.timer(RETRANSMIT_MS * (0.5 + this.#network.random.float()), () => this.#pump());
      return;
    }
    while (this.#isReading && this.#arriving.length > 0 && this.#arriving[0]!.atMs <= clock.nowMs()) {
      const { item } = this.#arriving.shift()!;
      const wereQueued = this.#arrivingBytes > SOCKET_BUFFER_BYTES;
      if (item.kind === "bytes") this.#arrivingBytes -= item.bytes.length;
      if (wereQueued && this.#arrivingBytes <= SOCKET_BUFFER_BYTES) this.#other?.drained();
      if (this.isClosed) this.#answerLate();
      else this.#process.run(() => this.#arrive(item));
    }
    this.#schedule();
  }

  /** What reaches a connection that is no more is answered by a reset, if there is a machine. */
  #answerLate(): void {
    if (this.#network.isUp(this.host)) this.#other?.push({ kind: "reset" });
  }

  drained(): void {
    this.#process.run(() => {
      if (this.#phase === "open") this.#handler.drained?.(this);
    });
  }

  #arrive(item: Item): void {
    if (item.kind === "reset") {
      this.#close(new Error(`${this.remote}: connection reset`));
    } else if (item.kind === "ended") {
      this.#otherEnded = true;
      if (this.#phase === "finishing") this.#close(undefined);
      else if (this.#phase === "open") {
        if (this.#handler.ended === undefined) this.finish();
        else this.#handler.ended(this);
      }
    } else if (this.#phase === "open") {
      if (item.kind === "bytes") {
        this.#network.observe(this.otherHost, this.host, item.bytes);
        this.#handler.received(this, item.bytes);
      } else this.#handler.opened(this);
    }
  }

  #close(error: Error | undefined): void {
    if (this.isClosed) return;
    this.#phase = "closed";
    // Never during a call into the connection.
    queueMicrotask(() => this.#process.run(() => this.#handler.closed(this, error)));
  }
}
