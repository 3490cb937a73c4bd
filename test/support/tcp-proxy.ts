/**
 * A TCP proxy for one link, which can fail as networks do. `cut`: connections break and new ones are refused (a process
 * that died, a reset). `stall`: nothing breaks and nothing arrives (a lost route); what waits is delivered after `heal`.
 */
import { createServer, connect as openSocket, type Server, type Socket } from "node:net";
import { assert } from "../../src/lib/assert.ts";

/**
 * Looks at bytes on their way back to the caller. `greeting`: the first bytes that the caller sent, which tell who it is.
 * `cut`: the bytes are not delivered, and the connection breaks.
 */
export type ReplyFilter = (bytes: Uint8Array, greeting: Uint8Array) => "pass" | "cut";

export class TcpProxy {
  readonly #server: Server;
  readonly #targetPort: number;
  readonly #links = new Map<number, Link>();
  #condition: "open" | "cut" | "stalled" = "open";
  #connections = 0;
  /** Consulted for everything that the target sends. */
  replyFilter: ReplyFilter = () => "pass";

  private constructor(server: Server, targetPort: number) {
    this.#server = server;
    this.#targetPort = targetPort;
    server.on("connection", (socket) => this.#accept(socket));
  }

  /** Listens on `host` and `port` (0: a free one) and passes everything on to `targetPort` of 127.0.0.1. */
  static async listen(targetPort: number, host = "127.0.0.1", port = 0): Promise<TcpProxy> {
    const server = createServer({ allowHalfOpen: true });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
    server.listen(port, host, resolve);
    await promise;
    return new TcpProxy(server, targetPort);
  }

  get port(): number {
    const address = this.#server.address();
    assert(address !== null && typeof address === "object", "the proxy listens");
    return address.port;
  }

  /** Connections that came so far. */
  get connections(): number {
    return this.#connections;
  }

  cut(): void {
    this.#condition = "cut";
    for (const link of this.#links.values()) link.break();
  }

  stall(): void {
    this.#condition = "stalled";
    for (const link of this.#links.values()) link.stall();
  }

  heal(): void {
    this.#condition = "open";
    for (const link of this.#links.values()) link.flow();
  }

  async close(): Promise<void> {
    this.cut();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    await promise;
  }

  #accept(caller: Socket): void {
    if (this.#condition === "cut") {
      caller.on("error", () => undefined);
      caller.resetAndDestroy();
      return;
    }
    const number = this.#connections++;
    const target = openSocket({ host: "127.0.0.1", port: this.#targetPort, allowHalfOpen: true });
    const link = new Link(
      caller,
      target,
      (bytes, greeting) => this.replyFilter(bytes, greeting),
      () => this.#links.delete(number),
    );
    this.#links.set(number, link);
    if (this.#condition === "stalled") link.stall();
  }
}

/** Two sockets that are one connection. */
class Link {
  readonly #caller: Socket;
  readonly #target: Socket;
  #stalled = false;

  constructor(caller: Socket, target: Socket, filter: ReplyFilter, gone: () => void) {
    this.#caller = caller;
    this.#target = target;
    caller.setNoDelay(true);
    target.setNoDelay(true);
    this.#pass(caller, target, () => "pass");
    let greeting: Uint8Array = new Uint8Array(0);
    caller.once("data", (bytes: Uint8Array) => {
      greeting = bytes;
    });
    this.#pass(target, caller, (bytes) => filter(bytes, greeting));
    for (const socket of [caller, target]) {
      socket.on("error", () => this.break());
      socket.on("close", () => {
        gone();
        this.break();
      });
    }
  }

  #pass(from: Socket, to: Socket, filter: (bytes: Uint8Array) => "pass" | "cut"): void {
    from.on("data", (bytes: Uint8Array) => {
      if (filter(bytes) === "cut") this.break();
      else if (!to.write(bytes)) from.pause();
    });
    to.on("drain", () => {
      if (!this.#stalled) from.resume();
    });
    from.on("end", () => to.end());
  }

  break(): void {
    this.#caller.destroy();
    this.#target.destroy();
  }

  stall(): void {
    this.#stalled = true;
    this.#caller.pause();
    this.#target.pause();
  }

  flow(): void {
    this.#stalled = false;
    this.#caller.resume();
    this.#target.resume();
  }
}
