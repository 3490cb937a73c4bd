import { ByteWriter } from "../../protocol/cbor.ts";
import type { Clock, Connection, ConnectionHandler, Transport } from "../../src/env/env.ts";
import type { Address } from "../../src/lib/address.ts";
import { utf8 } from "../../src/lib/bytes.ts";
import {
  type Driver,
  type DriverListener,
  type DriverParts,
  RECONNECT_MS,
  REQUEST_TIMEOUT_MS,
  type RequestKind,
} from "./driver.ts";
import { KEY_BYTES, writeKey } from "./keys.ts";
import { RespParser, type RespReplies } from "./resp-parser.ts";

/** The connections are dealt out over the addresses. */
export interface RespDriverParts extends DriverParts {
  readonly connections: number;
}

/**
 * GET and SET over RESP. Client `i` belongs to connection `i mod connections`; replies come in the order of the
 * requests, so a queue of client numbers a connection says whose each is.
 */
export class RespDriver implements Driver {
  readonly redirects = 0;
  readonly #connections: RespConnection[];
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #closed = false;

  constructor(parts: RespDriverParts) {
    this.#clock = parts.clock;
    this.#timeoutMs = parts.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
    const templates = { get: template("GET"), sets: parts.values.map((value) => template("SET", value)) };
    this.#connections = Array.from(
      { length: parts.connections },
      (_, i) => new RespConnection(parts, parts.addresses[i % parts.addresses.length]!, templates),
    );
  }

  async open(listener: DriverListener): Promise<void> {
    await Promise.all(this.#connections.map((connection) => connection.open(listener)));
    this.#watch();
  }

  submit(client: number, kind: RequestKind, key: number, _scanLimit: number, nowMs: number): void {
    this.#connections[client % this.#connections.length]!.submit(client, kind, key, nowMs);
  }

  close(): void {
    this.#closed = true;
    for (const connection of this.#connections) connection.close();
  }

  #watch(): void {
    this.#clock.timer(this.#timeoutMs / 10, () => {
      if (this.#closed) return;
      const now = this.#clock.nowMs();
      for (const connection of this.#connections) connection.failOlderThan(now - this.#timeoutMs);
      this.#watch();
    });
  }
}

interface Templates {
  readonly get: Template;
  readonly sets: readonly Template[];
}

/** A whole command, with the place where its key goes. */
interface Template {
  readonly bytes: Uint8Array;
  readonly keyAt: number;
}

function template(command: "GET" | "SET", value?: Uint8Array): Template {
  const head = `*${value === undefined ? 2 : 3}\r\n$3\r\n${command}\r\n$${KEY_BYTES}\r\n`;
  const tail = value === undefined ? "" : `\r\n$${value.length}\r\n`;
  const parts = [utf8(head), new Uint8Array(KEY_BYTES), utf8(tail), value ?? new Uint8Array(0), utf8("\r\n")];
  return { bytes: Buffer.concat(parts), keyAt: head.length };
}

class RespConnection implements ConnectionHandler, RespReplies {
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #address: Address;
  readonly #templates: Templates;
  readonly #timeoutMs: number;
  readonly #writer = new ByteWriter();
  #listener!: DriverListener;
  #parser = new RespParser();
  #connection: Connection | undefined;
  #isOpen = false;
  /** Why this side closed the connection. */
  #reason: { error: string; message: string } | undefined;
  #firstOpen: PromiseWithResolvers<void> | undefined;
  #stopped = false;
  /** Who waits, oldest first: a ring as large as the number of clients, and when each began. */
  readonly #waiting: Int32Array;
  readonly #sinceMs: Float64Array;
  #head = 0;
  #count = 0;
  #nextValue = 0;
  #nowMs = 0;
  #flushing = false;

  constructor(parts: RespDriverParts, address: Address, templates: Templates) {
    this.#transport = parts.transport;
    this.#clock = parts.clock;
    this.#address = address;
    this.#templates = templates;
    this.#timeoutMs = parts.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
    this.#waiting = new Int32Array(parts.clients);
    this.#sinceMs = new Float64Array(parts.clients);
  }

  open(listener: DriverListener): Promise<void> {
    this.#listener = listener;
    this.#firstOpen = Promise.withResolvers();
    this.#connect();
    return this.#firstOpen.promise;
  }

  close(): void {
    this.#stopped = true;
    this.#connection?.destroy();
  }

  submit(client: number, kind: RequestKind, key: number, nowMs: number): void {
    const place = (this.#head + this.#count++) % this.#waiting.length;
    this.#waiting[place] = client;
    this.#sinceMs[place] = nowMs;
    const { bytes, keyAt } = kind === "put" ? this.#nextSet() : this.#templates.get;
    writeKey(bytes, keyAt, key);
    this.#writer.append(bytes);
    this.#flushSoon();
  }

  /** Ends the connection if its oldest request is older than that: replies have no number to tell a late one by. */
  failOlderThan(limitMs: number): void {
    if (this.#count === 0 || this.#sinceMs[this.#head]! > limitMs) return;
    this.#abandon("TIMEOUT", `no reply from ${this.#remote} in ${this.#timeoutMs} ms`);
  }

  opened(): void {
    this.#isOpen = true;
    this.#parser = new RespParser();
    this.#firstOpen?.resolve();
    this.#firstOpen = undefined;
    if (this.#writer.length > 0) this.#flush();
  }

  received(_connection: Connection, bytes: Uint8Array): void {
    this.#nowMs = this.#clock.nowMs();
    try {
      this.#parser.push(bytes, this);
    } catch (error) {
      this.#abandon("PROTOCOL", `${this.#remote}: ${(error as Error).message}`);
    }
  }

  closed(_connection: Connection, error: Error | undefined): void {
    const wasOpen = this.#isOpen;
    this.#isOpen = false;
    this.#connection = undefined;
    if (this.#stopped) return;
    if (this.#firstOpen !== undefined) {
      this.#firstOpen.reject(error ?? new Error(`${this.#remote} closed the connection at once`));
      return;
    }
    const why = this.#reason ?? {
      error: wasOpen ? "CONNECTION_LOST" : "UNREACHABLE",
      message: `${this.#remote}: ${error?.message ?? "closed by the other side"}`,
    };
    this.#reason = undefined;
    this.#clock.timer(RECONNECT_MS, this.#connect);
    this.#failAll(why.error, why.message, this.#clock.nowMs());
  }

  answered(found: boolean): void {
    this.#listener.succeeded(this.#take(), found, this.#nowMs);
  }

  refused(error: string): void {
    // Redis' errors begin with their name.
    const space = error.indexOf(" ");
    this.#listener.failed(this.#take(), space < 0 ? error : error.slice(0, space), error, this.#nowMs);
  }

  get #remote(): string {
    return `${this.#address.host}:${this.#address.port}`;
  }

  readonly #connect = (): void => {
    if (this.#stopped) return;
    this.#connection = this.#transport.connect(this.#address.host, this.#address.port, this);
  };

  /** Closes the connection; those who wait learn why from `closed`. */
  #abandon(error: string, message: string): void {
    this.#reason = { error, message };
    this.#connection?.destroy();
  }

  #nextSet(): Template {
    const { sets } = this.#templates;
    if (++this.#nextValue >= sets.length) this.#nextValue = 0;
    return sets[this.#nextValue]!;
  }

  #take(): number {
    if (this.#count === 0) throw new Error("a reply came that nobody waits for");
    const client = this.#waiting[this.#head]!;
    this.#head = (this.#head + 1) % this.#waiting.length;
    this.#count--;
    return client;
  }

  #failAll(error: string, message: string, nowMs: number): void {
    this.#writer.reset();
    // Those that are failed now may ask again during the call: only who waited before is meant.
    for (let left = this.#count; left > 0; left--) {
      this.#listener.failed(this.#take(), error, message, nowMs);
    }
  }

  #flushSoon(): void {
    if (this.#flushing || !this.#isOpen) return;
    this.#flushing = true;
    this.#clock.endOfTurn(this.#flush);
  }

  readonly #flush = (): void => {
    this.#flushing = false;
    if (!this.#isOpen || this.#writer.length === 0) return;
    this.#connection!.send(this.#writer.view());
    this.#writer.reset();
  };
}
