/**
 * TCP through Bun's sockets. A Bun socket is unbuffered: a write takes what fits into the kernel and says how much that
 * was, so each connection keeps the rest in a queue of its own and goes on when the socket drains. Bun's `end()` would
 * lose such a rest; an orderly close here is: empty the queue, send FIN (`shutdown`), read on until the other side's
 * FIN so that no reset overtakes the last bytes, then close. That waiting is bounded.
 *
 * What a handler throws is a broken invariant. Bun would hand it to the socket's error callback; here it becomes an
 * uncaught exception, which ends the process.
 */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { formatAddress } from "../lib/address.ts";
import {
  type Connection,
  type ConnectionHandler,
  ListenError,
  type Listener,
  type Transport,
} from "./env.ts";
import { OutgoingQueue } from "./outgoing-queue.ts";

/**
 * `finishStallMs`: how long a finished connection may make no progress (nothing taken, no FIN from the other side)
 * before it is cut.
 */
export function bunTransport(finishStallMs = 5_000): Transport {
  return {
    listen: (host, port, handler) => listen(host, port, handler, finishStallMs),
    connect: (host, port, handler) => connect(host, port, handler, finishStallMs),
    resolve,
  };
}

async function resolve(host: string): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  // Who connects to a name that nobody knows is told so.
  const found = await lookup(host, { all: true }).catch(() => []);
  return found.length === 0 ? [host] : found.map(({ address }) => address);
}

/** After this much silence the kernel begins to ask whether the other side still exists. */
const KEEP_ALIVE_MS = 60_000;

async function listen(
  host: string,
  port: number,
  handler: ConnectionHandler,
  finishStallMs: number,
): Promise<Listener> {
  try {
    const listener = Bun.listen<BunConnection>({
      hostname: host,
      port,
      allowHalfOpen: true,
      socket: {
        ...socketEvents,
        open(socket) {
          const connection = new BunConnection(handler, remoteOf(socket), finishStallMs);
          socket.data = connection;
          connection.onOpen(socket);
        },
      },
    });
    return { host, port: listener.port, close: () => listener.stop() };
  } catch (error) {
    const code = (error as { code?: string }).code ?? "EINVAL";
    throw new ListenError(
      code,
      `cannot listen on ${formatAddress({ host, port })}: ${listenFailure(code, error)}`,
      {
        cause: error,
      },
    );
  }
}

function connect(host: string, port: number, handler: ConnectionHandler, finishStallMs: number): Connection {
  const remote = formatAddress({ host, port });
  const connection = new BunConnection(handler, remote, finishStallMs);
  const failed = (error: unknown): void => {
    connection.onClose(new Error(`cannot connect to ${remote}: ${messageOf(error)}`, { cause: error }));
  };
  try {
    // A failure is reported twice, as connectError and as a rejection; the connection heeds the first.
    Bun.connect<BunConnection>({
      hostname: host,
      port,
      allowHalfOpen: true,
      data: connection,
      socket: {
        ...socketEvents,
        open: (socket) => connection.onOpen(socket),
        connectError: (_socket, error) => failed(error),
      },
    }).catch(failed);
  } catch (error) {
    failed(error);
  }
  return connection;
}

/** What all sockets share; `open` differs. */
const socketEvents = {
  // No Buffers: their `slice` doesn't copy, and a view of one costs an object more.
  binaryType: "uint8array",
  data: (socket: BunSocket, bytes: Uint8Array) => socket.data.onData(bytes),
  drain: (socket: BunSocket) => socket.data.onDrain(),
  end: (socket: BunSocket) => socket.data.onEnd(),
  close: (socket: BunSocket, error?: Error) => socket.data.onClose(error),
  error: (socket: BunSocket, error: Error) => failedCallback(socket.data, error),
} as const;

type BunSocket = Bun.Socket<BunConnection>;

/**
 * One connection, accepted or made. After `finish` or `destroy` the handler hears nothing but `closed`, and `closed`
 * never comes during a call into the connection. Without an `ended` handler the other side's FIN is answered by
 * `finish`. After `pause` a chunk that was read already may still arrive.
 */
class BunConnection implements Connection {
  readonly remote: string;
  state: unknown = undefined;
  readonly #handler: ConnectionHandler;
  readonly #finishStallMs: number;
  readonly #queue = new OutgoingQueue();
  #socket: BunSocket | undefined;
  #phase: "open" | "finishing" | "shutDown" | "closed" = "open";
  #paused = false;
  #otherEnded = false;
  #stallTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(handler: ConnectionHandler, remote: string, finishStallMs: number) {
    this.#handler = handler;
    this.remote = remote;
    this.#finishStallMs = finishStallMs;
  }

  get queuedBytes(): number {
    return this.#queue.byteLength;
  }

  send(bytes: Uint8Array): void {
    if (this.#phase !== "open" || bytes.length === 0) return;
    if (this.#socket === undefined || this.#queue.byteLength > 0) {
      this.#queue.push(bytes);
      return;
    }
    const taken = this.#socket.write(bytes);
    // -1: the connection is gone, and its close event is on the way.
    if (taken >= 0 && taken < bytes.length) this.#queue.push(bytes, taken);
  }

  pause(): void {
    if (this.#phase !== "open" || this.#paused) return;
    this.#paused = true;
    this.#socket?.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#phase !== "closed") this.#socket?.resume();
  }

  finish(): void {
    if (this.#phase !== "open") return;
    // The other side's FIN can only be seen by reading; what comes before it is dropped.
    this.resume();
    this.#phase = "finishing";
    this.#watchForStall();
    if (this.#queue.byteLength === 0) this.#shutDown();
  }

  destroy(reason?: Error): void {
    if (this.#phase === "closed") return;
    const socket = this.#socket;
    this.onClose(reason);
    socket?.terminate();
  }

  onOpen(socket: BunSocket): void {
    if (this.#phase === "closed") {
      socket.terminate();
      return;
    }
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    if (this.#paused) socket.pause();
    const finishing = this.#phase === "finishing";
    if (!finishing) this.#handler.opened(this);
    if (this.#queue.byteLength > 0 || finishing) this.onDrain();
  }

  onData(bytes: Uint8Array): void {
    if (this.#phase === "open") this.#handler.received(this, bytes);
  }

  /** Also called by Bun when nothing waits, as after a resume. */
  onDrain(): void {
    if (this.#phase === "closed" || this.#phase === "shutDown") return;
    const hadBytes = this.#queue.byteLength > 0;
    if (!this.#writeQueue()) return;
    if (this.#phase === "finishing") this.#shutDown();
    else if (hadBytes) this.#handler.drained?.(this);
  }

  onEnd(): void {
    this.#otherEnded = true;
    if (this.#phase === "shutDown") this.#socket?.end();
    if (this.#phase !== "open") return;
    if (this.#handler.ended === undefined) this.finish();
    else this.#handler.ended(this);
  }

  /** The first call counts; the socket's own close event, a failed connect and `destroy` all come here. */
  onClose(error: Error | undefined): void {
    if (this.#phase === "closed") return;
    this.#phase = "closed";
    this.#socket = undefined;
    this.#queue.clear();
    clearTimeout(this.#stallTimer);
    queueMicrotask(() => this.#handler.closed(this, error));
  }

  /** Hands queued bytes to the kernel; whether it took all of them. */
  #writeQueue(): boolean {
    for (let bytes = this.#queue.front(); bytes !== undefined; bytes = this.#queue.front()) {
      const taken = this.#socket === undefined ? -1 : this.#socket.write(bytes);
      if (taken > 0) {
        this.#queue.consume(taken);
        if (this.#phase === "finishing") this.#watchForStall();
      }
      if (taken < bytes.length) return false;
    }
    return true;
  }

  /** Everything is with the kernel: sends FIN, and closes if the other side has sent its own. */
  #shutDown(): void {
    // A connection that is still being made is shut down when it opens.
    if (this.#socket === undefined) return;
    this.#phase = "shutDown";
    this.#watchForStall();
    this.#socket.shutdown();
    // A failed shutdown may have closed the socket during the call.
    if (this.#otherEnded) this.#socket?.end();
  }

  #watchForStall(): void {
    clearTimeout(this.#stallTimer);
    this.#stallTimer = setTimeout(() => {
      this.destroy(new Error(`${this.remote} has neither read nor closed for ${this.#finishStallMs} ms`));
    }, this.#finishStallMs);
  }
}

/** Who connected. A connection that was reset before it could be accepted has no address any more. */
function remoteOf(socket: { remoteAddress?: string; remotePort?: number }): string {
  const { remoteAddress, remotePort } = socket;
  return remoteAddress === undefined || remotePort === undefined
    ? "an unknown address"
    : formatAddress({ host: remoteAddress, port: remotePort });
}

function listenFailure(code: string, error: unknown): string {
  if (code === "EADDRINUSE") return "another process listens there already";
  if (code === "EADDRNOTAVAIL") return "no network interface of this machine has that address";
  if (code === "EACCES") return "this user may not use that port";
  return messageOf(error);
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as { code?: string }).code;
  return code === undefined || error.message.includes(code) ? error.message : `${error.message} (${code})`;
}

/** Bun's error callback: a system call's failure belongs to the connection, anything else was thrown by a handler. */
function failedCallback(connection: BunConnection, error: Error): void {
  if ("syscall" in error) {
    connection.destroy(error);
    return;
  }
  queueMicrotask(() => {
    throw error;
  });
}
