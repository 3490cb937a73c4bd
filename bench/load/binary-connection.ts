import { ByteWriter } from "../../protocol/cbor.ts";
import { decodeResponse, encodeRequest } from "../../protocol/client.ts";
import { FrameReader } from "../../protocol/frame.ts";
import { CLIENT_FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import type { ClientRequest, ClientResponse } from "../../protocol/messages.ts";
import { encodePreamble, parsePreambleReply } from "../../protocol/preamble.ts";
import type { Clock, Connection, ConnectionHandler, Transport } from "../../src/env/env.ts";
import type { Address } from "../../src/lib/address.ts";
import { RECONNECT_MS } from "./driver.ts";

/** What a connection tells its owner. */
export interface BinaryConnectionOwner {
  /** The handshake is done: requests may be sent. */
  opened(connection: BinaryConnection): void;
  answered(requestId: number, response: ClientResponse, nowMs: number): void;
  /** It closed or never opened; nothing that was sent is answered any more. It connects again by itself. */
  lost(connection: BinaryConnection, error: string, message: string): void;
}

/**
 * A connection to one node that comes back when it breaks. Requests of a turn of the loop leave in one send; all that
 * arrived together is answered with one reading of the clock.
 */
export class BinaryConnection implements ConnectionHandler {
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #address: Address;
  readonly #owner: BinaryConnectionOwner;
  readonly #writer = new ByteWriter(64 * 1024);
  #reader = new FrameReader(CLIENT_FRAME_BYTES_MAX);
  #connection: Connection | undefined;
  #isOpen = false;
  /** What has come of the answer to the preamble. */
  #handshake: Uint8Array = new Uint8Array(0);
  #reason: { readonly error: string; readonly message: string } | undefined;
  #stopped = false;
  #flushing = false;

  constructor(transport: Transport, clock: Clock, address: Address, owner: BinaryConnectionOwner) {
    this.#transport = transport;
    this.#clock = clock;
    this.#address = address;
    this.#owner = owner;
    this.#connect();
  }

  /** Whether requests can be sent now. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** `host:port`. */
  get remote(): string {
    return `${this.#address.host}:${this.#address.port}`;
  }

  /** Encodes a request, which is borrowed during the call; it leaves at the end of this turn. It must be open. */
  send(request: ClientRequest, requestId: number): void {
    encodeRequest(this.#writer, request, requestId);
    if (this.#flushing) return;
    this.#flushing = true;
    this.#clock.endOfTurn(this.#flush);
  }

  close(): void {
    this.#stopped = true;
    this.#isOpen = false;
    this.#connection?.destroy();
  }

  opened(connection: Connection): void {
    this.#handshake = new Uint8Array(0);
    this.#reader = new FrameReader(CLIENT_FRAME_BYTES_MAX);
    connection.send(encodePreamble("client"));
  }

  received(_connection: Connection, bytes: Uint8Array): void {
    try {
      if (this.#isOpen) this.#reader.push(bytes);
      else this.#greeted(bytes);
      if (this.#isOpen) this.#readFrames();
    } catch (error) {
      this.#abandon("PROTOCOL", (error as Error).message);
    }
  }

  closed(_connection: Connection, error: Error | undefined): void {
    const why = this.#reason ?? {
      error: this.#isOpen ? "CONNECTION_LOST" : "UNREACHABLE",
      message: error?.message ?? "closed by the other side",
    };
    this.#reason = undefined;
    this.#isOpen = false;
    this.#connection = undefined;
    this.#writer.reset();
    if (this.#stopped) return;
    this.#clock.timer(RECONNECT_MS, this.#connect);
    this.#owner.lost(this, why.error, `${this.remote}: ${why.message}`);
  }

  readonly #connect = (): void => {
    if (this.#stopped) return;
    this.#connection = this.#transport.connect(this.#address.host, this.#address.port, this);
  };

  #greeted(bytes: Uint8Array): void {
    this.#handshake = Buffer.concat([this.#handshake, bytes]);
    const reply = parsePreambleReply(this.#handshake, 0);
    if (reply.kind === "incomplete") return;
    if (reply.kind === "malformed") {
      this.#abandon("PROTOCOL", reply.message);
    } else if (reply.error !== undefined) {
      this.#abandon(reply.error, reply.message);
    } else {
      this.#isOpen = true;
      this.#reader.push(this.#handshake.subarray(reply.length));
      this.#owner.opened(this);
    }
  }

  #readFrames(): void {
    const now = this.#clock.nowMs();
    for (let frame = this.#reader.next(); frame !== undefined; frame = this.#reader.next()) {
      this.#owner.answered(frame.requestId, decodeResponse(frame), now);
    }
  }

  /** Closes the connection; the owner learns why from `closed`. */
  #abandon(error: string, message: string): void {
    this.#reason = { error, message };
    this.#connection?.destroy();
  }

  readonly #flush = (): void => {
    this.#flushing = false;
    if (!this.#isOpen || this.#writer.length === 0) return;
    this.#connection!.send(this.#writer.view());
    this.#writer.reset();
  };
}
