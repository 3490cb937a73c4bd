import type { Socket } from "bun";
import { ByteWriter } from "../../protocol/cbor.ts";
import { decodeResponse, encodeRequest } from "../../protocol/client.ts";
import { FrameReader } from "../../protocol/frame.ts";
import { PEER_FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import type { ClientRequest, ClientResponse } from "../../protocol/messages.ts";
import { encodePreamble, type PreambleReply, parsePreambleReply } from "../../protocol/preamble.ts";
import { assert } from "../../src/lib/assert.ts";
import { concatBytes, fromUtf8 } from "../../src/lib/bytes.ts";
import { within } from "./eventually.ts";

/** How long an answer or the end of a connection may take where a test does not say else. */
const ANSWER_MS_MAX = 10_000;
const LINE_FEED = 0x0a;

/**
 * One socket to one node, with nothing between a test and the bytes: no retry, no redirect, no good manners. For
 * hostile input, and for asking one node and no other.
 */
export class RawConnection {
  #socket: Socket | undefined;
  readonly #chunks: Uint8Array[] = [];
  #unsent: Uint8Array = new Uint8Array(0);
  #closed = false;
  #changed = Promise.withResolvers<void>();

  private constructor() {}

  /** Rejects if nobody listens there. */
  static async open(port: number): Promise<RawConnection> {
    const connection = new RawConnection();
    connection.#socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      allowHalfOpen: true,
      socket: {
        data(_, bytes) {
          connection.#chunks.push(bytes);
          connection.#note();
        },
        drain() {
          connection.#write();
        },
        end() {
          connection.#ended();
        },
        error() {},
        close() {
          connection.#ended();
        },
      },
    });
    return connection;
  }

  /** Everything that came and was not taken yet. */
  get received(): Uint8Array {
    if (this.#chunks.length > 1) this.#chunks.splice(0, this.#chunks.length, concatBytes(this.#chunks));
    return this.#chunks[0] ?? new Uint8Array(0);
  }

  /** Whether the node has ended the connection. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /** Queues bytes. Nothing happens once the connection is gone. */
  send(bytes: Uint8Array): void {
    this.#unsent = this.#unsent.length === 0 ? bytes : concatBytes([this.#unsent, bytes]);
    this.#write();
  }

  /** Stops reading for good: what the node sends piles up on its side. */
  pauseReading(): void {
    this.#socket?.pause();
  }

  /** Says that nothing more will be sent; what the node still sends is read. */
  finish(): void {
    this.#socket?.shutdown();
  }

  close(): void {
    this.#socket?.terminate();
  }

  /** The node ends the connection; everything that it sent until then and was not taken yet. */
  async untilClosed(timeoutMs = ANSWER_MS_MAX): Promise<Uint8Array> {
    await this.#until("the node ends the connection", timeoutMs, () => this.#closed || undefined);
    return this.received;
  }

  /** At least `length` bytes have come; all that have. */
  async untilReceived(length: number, timeoutMs = ANSWER_MS_MAX): Promise<Uint8Array> {
    await this.#until(
      `${length} bytes from the node`,
      timeoutMs,
      () => this.received.length >= length || undefined,
    );
    return this.received;
  }

  /** The next line that came, without its end (CR LF), as text; it is taken. */
  async line(timeoutMs = ANSWER_MS_MAX): Promise<string> {
    const end = await this.#until("a whole line", timeoutMs, () => {
      const at = this.received.indexOf(LINE_FEED);
      return at < 0 ? undefined : at;
    });
    const line = fromUtf8(this.received.subarray(0, end - 1));
    this.#take(end + 1);
    return line;
  }

  /** Says hello as a client, and takes the node's answer. */
  async handshake(
    preamble: Uint8Array = encodePreamble("client"),
  ): Promise<PreambleReply & { kind: "reply" }> {
    this.send(preamble);
    const reply = await this.#until("an answer to the preamble", ANSWER_MS_MAX, () => {
      const parsed = parsePreambleReply(this.received, 0);
      assert(parsed.kind !== "malformed", "the node answers a preamble with one");
      return parsed.kind === "reply" ? parsed : undefined;
    });
    this.#take(reply.length);
    return reply;
  }

  /** Sends a request after the handshake and waits for the one answer. */
  async request(request: ClientRequest, timeoutMs = ANSWER_MS_MAX): Promise<ClientResponse> {
    this.send(requestBytes(request));
    return await this.response(timeoutMs);
  }

  /** The next answer. */
  async response(timeoutMs = ANSWER_MS_MAX): Promise<ClientResponse> {
    return await this.#until("an answer", timeoutMs, () => {
      const before = this.received;
      const reader = new FrameReader(PEER_FRAME_BYTES_MAX);
      reader.push(before);
      const frame = reader.next();
      if (frame === undefined) return undefined;
      this.#take(before.length - reader.bufferedBytes);
      return decodeResponse(frame);
    });
  }

  #take(length: number): void {
    const rest = this.received.subarray(length);
    this.#chunks.splice(0, this.#chunks.length, rest);
  }

  #write(): void {
    if (this.#closed || this.#unsent.length === 0 || this.#socket === undefined) return;
    const written = this.#socket.write(this.#unsent);
    if (written > 0) this.#unsent = this.#unsent.subarray(written);
  }

  #ended(): void {
    this.#closed = true;
    this.#note();
  }

  #note(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  async #until<T>(what: string, timeoutMs: number, look: () => T | undefined): Promise<T> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (this.#closed) throw new Error(`the connection ended before ${what}`);
      await within(what, deadline - performance.now(), this.#changed.promise);
    }
  }
}

/** Opens a connection, says hello, sends one request and closes: what this one node answers, be it a redirect. */
export async function askNode(
  port: number,
  request: ClientRequest,
  timeoutMs?: number,
): Promise<ClientResponse> {
  const connection = await RawConnection.open(port);
  try {
    await connection.handshake();
    return await connection.request(request, timeoutMs);
  } finally {
    connection.close();
  }
}

/** The frame of a request, as bytes of its own. */
export function requestBytes(request: ClientRequest, requestId = 1): Uint8Array {
  const writer = new ByteWriter();
  encodeRequest(writer, request, requestId);
  return writer.copy();
}
