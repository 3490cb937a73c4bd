/**
 * For tests: a clock that moves only when everything due has happened, and a network in memory. Time costs nothing here,
 * so a test of a five-second deadline takes as long as any other, and each run is the same.
 */
import type { Clock, Connection, ConnectionHandler, Timer, Transport } from "../env/env.ts";
import { seededRandom } from "../lib/prng.ts";
import type { ClientEnv } from "./request-runner.ts";

const LATENCY_MS = 0.1;
const TURNS_MAX = 1_000_000;

export class FakeWorld implements ClientEnv {
  readonly random = seededRandom(1);
  readonly clock: Clock;
  readonly transport: Transport;
  readonly #listeners = new Map<string, ConnectionHandler>();
  /** Addresses where nothing comes back, not even a refusal. */
  readonly blackHoles = new Set<string>();
  #nowMs = 1000;
  #order = 0;
  #timers: { atMs: number; order: number; callback: () => void }[] = [];
  #endOfTurn: (() => void)[] = [];

  constructor() {
    this.clock = {
      nowMs: () => this.#nowMs,
      wallMs: () => this.#nowMs,
      timer: (delayMs, callback) => this.after(delayMs, callback),
      endOfTurn: (callback) => this.#endOfTurn.push(callback),
    };
    this.transport = {
      listen: () => Promise.reject(new Error("nodes of a fake world are added with `serve`")),
      connect: (host, port, handler) => this.#connect(`${host}:${port}`, handler),
      resolve: async (host) => [host],
    };
  }

  /** Has `handler` accept the connections to `address`. */
  serve(address: string, handler: ConnectionHandler): void {
    this.#listeners.set(address, handler);
  }

  /** New connections to `address` are refused from now on. */
  unserve(address: string): void {
    this.#listeners.delete(address);
  }

  after(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.#nowMs + delayMs, order: this.#order++, callback };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  /** Lets things happen until `promise` settles. Throws when nothing is left to happen before that. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const settle = () => {
      settled = true;
    };
    promise.then(settle, settle);
    for (let turn = 0; ; turn++) {
      // Promises first: an immediate runs when no microtask is left.
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (settled) return promise;
      if (turn > TURNS_MAX || !this.#turn())
        throw new Error("the promise never settles: nothing is left to happen");
    }
  }

  /** Lets everything happen that happens in the next `ms` milliseconds. */
  async pass(ms: number): Promise<void> {
    await this.until(new Promise<void>((resolve) => this.after(ms, resolve)));
  }

  #turn(): boolean {
    const callbacks = this.#endOfTurn;
    if (callbacks.length > 0) {
      this.#endOfTurn = [];
      for (const callback of callbacks) callback();
      return true;
    }
    this.#timers.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
    const next = this.#timers.shift();
    if (next === undefined) return false;
    this.#nowMs = Math.max(this.#nowMs, next.atMs);
    next.callback();
    return true;
  }

  #connect(address: string, handler: ConnectionHandler): Connection {
    const near = new FakeConnection(this, address, handler);
    if (this.blackHoles.has(address)) return near;
    this.after(LATENCY_MS, () => {
      const accepting = this.#listeners.get(address);
      if (accepting === undefined) {
        near.close(new Error(`cannot connect to ${address}: ECONNREFUSED`));
        return;
      }
      const far = new FakeConnection(this, "client", accepting);
      near.other = far;
      far.other = near;
      accepting.opened(far);
      handler.opened(near);
    });
    return near;
  }
}

/** One end of a connection; what it sends arrives at the other end a little later, in order. */
class FakeConnection implements Connection {
  readonly remote: string;
  readonly queuedBytes = 0;
  state: unknown = undefined;
  other: FakeConnection | undefined;
  readonly #world: FakeWorld;
  readonly #handler: ConnectionHandler;
  #open = true;

  constructor(world: FakeWorld, remote: string, handler: ConnectionHandler) {
    this.#world = world;
    this.remote = remote;
    this.#handler = handler;
  }

  send(bytes: Uint8Array): void {
    const copy = new Uint8Array(bytes);
    this.#world.after(LATENCY_MS, () => this.other?.receive(copy));
  }

  receive(bytes: Uint8Array): void {
    if (this.#open) this.#handler.received(this, bytes);
  }

  pause(): void {}
  resume(): void {}

  finish(): void {
    this.destroy();
  }

  destroy(): void {
    this.close(undefined);
    this.#world.after(LATENCY_MS, () => this.other?.close(undefined));
  }

  close(error: Error | undefined): void {
    if (!this.#open) return;
    this.#open = false;
    this.#world.after(0, () => this.#handler.closed(this, error));
  }
}
