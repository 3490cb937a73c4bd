import { afterEach, describe, expect, test } from "bun:test";
import { bunTransport } from "./bun-transport.ts";
import { type Connection, type ConnectionHandler, ListenError, type Listener } from "./env.ts";

const HOST = "127.0.0.1";
const MEBIBYTE = 1024 * 1024;

/** One side of a connection, with what happened to it; `until` waits for a condition on that. */
class Side implements ConnectionHandler {
  connection: Connection | undefined;
  readonly chunks: Uint8Array[] = [];
  receivedBytes = 0;
  drains = 0;
  ends = 0;
  readonly closes: (Error | undefined)[] = [];
  readonly events: string[] = [];
  #waiting: { condition: () => boolean; resolve: () => void }[] = [];
  /** What to do on top of keeping score. */
  onReceived: ((connection: Connection, bytes: Uint8Array) => void) | undefined;

  opened(connection: Connection): void {
    this.connection = connection;
    this.#happened("opened");
  }
  received(connection: Connection, bytes: Uint8Array): void {
    this.chunks.push(bytes);
    this.receivedBytes += bytes.length;
    this.onReceived?.(connection, bytes);
    this.#happened("received");
  }
  drained(): void {
    this.drains++;
    this.#happened("drained");
  }
  ended(): void {
    this.ends++;
    this.#happened("ended");
  }
  closed(_connection: Connection, error: Error | undefined): void {
    this.closes.push(error);
    this.#happened("closed");
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.chunks);
  }

  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ condition, resolve }));
  }

  #happened(event: string): void {
    if (this.events.at(-1) !== event) this.events.push(event);
    const ready = this.#waiting.filter(({ condition }) => condition());
    this.#waiting = this.#waiting.filter((waiter) => !ready.includes(waiter));
    for (const { resolve } of ready) resolve();
  }
}

const transport = bunTransport();
const cleanUps: (() => void)[] = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0)) cleanUp();
});

async function listenFor(handler: ConnectionHandler): Promise<Listener> {
  const listener = await transport.listen(HOST, 0, handler);
  cleanUps.push(() => listener.close());
  return listener;
}

/** A server side and a client side, both open. */
async function pair(): Promise<{
  server: Side;
  client: Side;
  serverEnd: Connection;
  clientEnd: Connection;
}> {
  const server = new Side();
  const client = new Side();
  const listener = await listenFor(server);
  const clientEnd = transport.connect(HOST, listener.port, client);
  cleanUps.push(() => clientEnd.destroy());
  await Promise.all([
    server.until(() => server.connection !== undefined),
    client.until(() => client.connection !== undefined),
  ]);
  cleanUps.push(() => server.connection!.destroy());
  return { server, client, serverEnd: server.connection!, clientEnd };
}

/** Bytes of which no two neighbourhoods look alike, so that a lost or swapped piece shows. */
function pattern(length: number, seed: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = seed;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    words[i] = state;
  }
  return new Uint8Array(words.buffer, 0, length);
}

/** Lets the event loop turn until a round trip of another connection is through: what was going to happen has happened. */
async function anotherRoundTrip(): Promise<void> {
  const { server, client, serverEnd, clientEnd } = await pair();
  clientEnd.send(new Uint8Array(1));
  await server.until(() => server.receivedBytes === 1);
  serverEnd.send(new Uint8Array(1));
  await client.until(() => client.receivedBytes === 1);
}

describe("sending", () => {
  test("32 MiB in both directions at once arrive byte for byte", async () => {
    const { server, client, serverEnd, clientEnd } = await pair();
    const up = pattern(32 * MEBIBYTE, 1);
    const down = pattern(32 * MEBIBYTE, 2);
    clientEnd.send(up);
    serverEnd.send(down);
    expect(clientEnd.queuedBytes).toBeGreaterThan(0);
    await Promise.all([
      server.until(() => server.receivedBytes >= up.length),
      client.until(() => client.receivedBytes >= down.length),
    ]);
    expect(Buffer.compare(server.bytes(), up)).toBe(0);
    expect(Buffer.compare(client.bytes(), down)).toBe(0);
    expect([clientEnd.queuedBytes, serverEnd.queuedBytes]).toEqual([0, 0]);
    expect([client.drains, server.drains]).toEqual([1, 1]);
  });

  test("what was sent is borrowed: changing it afterwards changes nothing", async () => {
    const { server, clientEnd } = await pair();
    const bytes = pattern(16 * MEBIBYTE, 3);
    const copy = bytes.slice();
    clientEnd.send(bytes);
    bytes.fill(0);
    await server.until(() => server.receivedBytes >= copy.length);
    expect(Buffer.compare(server.bytes(), copy)).toBe(0);
  });

  test("many small writes, more than the kernel takes, arrive in order", async () => {
    const { server, serverEnd, clientEnd } = await pair();
    serverEnd.pause();
    const all = pattern(12 * MEBIBYTE, 4);
    const piece = 97;
    for (let at = 0; at < all.length; at += piece) clientEnd.send(all.subarray(at, at + piece));
    expect(clientEnd.queuedBytes).toBeGreaterThan(0);
    serverEnd.resume();
    await server.until(() => server.receivedBytes >= all.length);
    expect(Buffer.compare(server.bytes(), all)).toBe(0);
  });

  test("what is sent before the connection is open leaves when it opens", async () => {
    const server = new Side();
    const listener = await listenFor(server);
    const connection = transport.connect(HOST, listener.port, new Side());
    cleanUps.push(() => connection.destroy());
    connection.send(new Uint8Array([1, 2]));
    connection.send(new Uint8Array([3]));
    expect(connection.queuedBytes).toBe(3);
    await server.until(() => server.receivedBytes === 3);
    expect(server.bytes()).toEqual(Buffer.from([1, 2, 3]));
  });

  test("a reader that pauses lets the queue grow, and gets all of it later", async () => {
    const { server, client, serverEnd, clientEnd } = await pair();
    serverEnd.pause();
    const all = pattern(24 * MEBIBYTE, 5);
    const before = server.receivedBytes;
    for (let at = 0; at < all.length; at += MEBIBYTE) clientEnd.send(all.subarray(at, at + MEBIBYTE));
    await anotherRoundTrip();
    expect(server.receivedBytes).toBe(before);
    expect(clientEnd.queuedBytes).toBeGreaterThan(8 * MEBIBYTE);
    serverEnd.resume();
    await server.until(() => server.receivedBytes >= all.length);
    await client.until(() => client.drains === 1);
    expect(Buffer.compare(server.bytes(), all)).toBe(0);
    expect(clientEnd.queuedBytes).toBe(0);
  });

  test("a paused side still sends", async () => {
    const { client, serverEnd } = await pair();
    serverEnd.pause();
    const all = pattern(16 * MEBIBYTE, 6);
    serverEnd.send(all);
    await client.until(() => client.receivedBytes >= all.length);
    expect(Buffer.compare(client.bytes(), all)).toBe(0);
  });
});

describe("closing", () => {
  test("finish delivers everything first, however much it is, and then both sides are closed", async () => {
    const { server, client, serverEnd, clientEnd } = await pair();
    const all = pattern(32 * MEBIBYTE, 7);
    clientEnd.send(all);
    clientEnd.finish();
    await server.until(() => server.ends === 1);
    expect(Buffer.compare(server.bytes(), all)).toBe(0);
    serverEnd.finish();
    await Promise.all([
      server.until(() => server.closes.length > 0),
      client.until(() => client.closes.length > 0),
    ]);
    await anotherRoundTrip();
    expect(server.closes).toEqual([undefined]);
    expect(client.closes).toEqual([undefined]);
  });

  test("finish delivers everything although the other side keeps sending", async () => {
    const { server, client, serverEnd, clientEnd } = await pair();
    const all = pattern(8 * MEBIBYTE, 8);
    serverEnd.send(pattern(8 * MEBIBYTE, 9));
    clientEnd.send(all);
    clientEnd.finish();
    const heard = client.receivedBytes;
    await server.until(() => server.ends === 1);
    expect(Buffer.compare(server.bytes(), all)).toBe(0);
    serverEnd.finish();
    await client.until(() => client.closes.length > 0);
    expect(client.closes).toEqual([undefined]);
    expect(client.receivedBytes).toBe(heard);
  });

  test("a half-closed connection still carries the answer", async () => {
    const server = new Side();
    const listener = await listenFor(server);
    const heard: Uint8Array[] = [];
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    const raw = await Bun.connect({
      hostname: HOST,
      port: listener.port,
      allowHalfOpen: true,
      socket: { data: (_socket, bytes) => void heard.push(bytes), close: () => resolve() },
    });
    raw.write("question");
    raw.shutdown();
    await server.until(() => server.ends === 1);
    expect(new TextDecoder().decode(server.bytes())).toBe("question");
    expect(server.closes).toEqual([]);
    server.connection!.send(new TextEncoder().encode("answer"));
    server.connection!.finish();
    await gone;
    expect(Buffer.concat(heard).toString()).toBe("answer");
    await server.until(() => server.closes.length > 0);
  });

  test("without an ended handler the other side's end is answered by a finish", async () => {
    const client = new Side();
    const handler: ConnectionHandler = { opened() {}, received() {}, closed() {} };
    const listener = await listenFor(handler);
    const connection = transport.connect(HOST, listener.port, client);
    connection.finish();
    await client.until(() => client.closes.length > 0);
    expect(client.closes).toEqual([undefined]);
  });

  test("a reset is told as an error, once", async () => {
    const { server, serverEnd, clientEnd } = await pair();
    clientEnd.destroy();
    await server.until(() => server.closes.length > 0);
    serverEnd.send(new Uint8Array(10));
    serverEnd.finish();
    serverEnd.destroy();
    await anotherRoundTrip();
    expect(server.closes).toHaveLength(1);
    expect(server.closes[0]?.message).toContain("ECONNRESET");
  });

  test("destroy says closed once, after the call, and nothing else any more", async () => {
    const { client, serverEnd, clientEnd } = await pair();
    serverEnd.send(pattern(MEBIBYTE, 10));
    clientEnd.send(pattern(32 * MEBIBYTE, 11));
    clientEnd.destroy();
    expect(client.closes).toEqual([]);
    expect(clientEnd.queuedBytes).toBe(0);
    clientEnd.destroy();
    clientEnd.finish();
    clientEnd.send(new Uint8Array(1));
    await client.until(() => client.closes.length > 0);
    const heard = client.receivedBytes;
    await anotherRoundTrip();
    expect(client.closes).toEqual([undefined]);
    expect(client.receivedBytes).toBe(heard);
    expect(client.events.at(-1)).toBe("closed");
  });

  test("a connection may be destroyed from its own callback", async () => {
    const { server, client, clientEnd } = await pair();
    server.onReceived = (connection) => connection.destroy();
    clientEnd.send(new Uint8Array(1));
    await server.until(() => server.closes.length > 0);
    await client.until(() => client.closes.length > 0);
    expect(server.closes).toEqual([undefined]);
    expect(client.closes).toHaveLength(1);
  });

  test("a finished connection whose other side neither reads nor closes is cut after a while", async () => {
    const server = new Side();
    const client = new Side();
    const listener = await listenFor(server);
    const connection = bunTransport(50).connect(HOST, listener.port, client);
    await server.until(() => server.connection !== undefined);
    server.connection!.pause();
    connection.send(pattern(16 * MEBIBYTE, 12));
    connection.finish();
    await client.until(() => client.closes.length > 0);
    expect(client.closes[0]?.message).toContain("has neither read nor closed for 50 ms");
    server.connection!.destroy();
    await server.until(() => server.closes.length > 0);
  });

  test("the other connections of a closed listener live on", async () => {
    const server = new Side();
    const listener = await transport.listen(HOST, 0, server);
    const client = new Side();
    const connection = transport.connect(HOST, listener.port, client);
    await server.until(() => server.connection !== undefined);
    listener.close();
    connection.send(new Uint8Array(5));
    await server.until(() => server.receivedBytes === 5);
    connection.destroy();
    const late = new Side();
    transport.connect(HOST, listener.port, late);
    await late.until(() => late.closes.length > 0);
    expect(late.connection).toBeUndefined();
  });
});

describe("connecting and listening", () => {
  test("a refused connection is closed with the reason, without having been open", async () => {
    const listener = await transport.listen(HOST, 0, new Side());
    listener.close();
    const client = new Side();
    const connection = transport.connect(HOST, listener.port, client);
    expect(connection.remote).toBe(`${HOST}:${listener.port}`);
    await client.until(() => client.closes.length > 0);
    await anotherRoundTrip();
    expect(client.events).toEqual(["closed"]);
    expect(client.closes.map((error) => error?.message)).toEqual([
      `cannot connect to ${HOST}:${listener.port}: Failed to connect (ECONNREFUSED)`,
    ]);
  });

  test("an impossible address is a closed connection, not an exception", async () => {
    const client = new Side();
    transport.connect(HOST, 70_000, client);
    expect(client.closes).toEqual([]);
    await client.until(() => client.closes.length > 0);
    expect(client.closes[0]?.message).toContain("70000");
  });

  test("a connection that is destroyed while it is being made is closed and never opens", async () => {
    const server = new Side();
    const listener = await listenFor(server);
    const client = new Side();
    transport.connect(HOST, listener.port, client).destroy();
    await client.until(() => client.closes.length > 0);
    await anotherRoundTrip();
    expect(client.events).toEqual(["closed"]);
    expect(client.closes).toEqual([undefined]);
  });

  test("a taken port is a ListenError that says so", async () => {
    const listener = await listenFor(new Side());
    const error = await transport.listen(HOST, listener.port, new Side()).catch((reason) => reason);
    expect(error).toBeInstanceOf(ListenError);
    expect(error.code).toBe("EADDRINUSE");
    expect(error.message).toBe(
      `cannot listen on ${HOST}:${listener.port}: another process listens there already`,
    );
  });

  test("connections that were reset before they were accepted harm nobody", async () => {
    let opened = 0;
    let closed = 0;
    const listener = await listenFor({
      opened: () => void opened++,
      received() {},
      closed: () => void closed++,
    });
    // While this thread waits for another process, nothing is accepted here: the resets are there first.
    const script = `
      import { connect } from "node:net";
      let left = 20;
      for (let i = left; i > 0; i--) {
        const socket = connect(${listener.port}, "${HOST}", () => socket.resetAndDestroy());
        socket.on("close", () => { if (--left === 0) process.exit(0); });
      }
    `;
    expect(Bun.spawnSync([process.execPath, "-e", script]).exitCode).toBe(0);
    const client = new Side();
    const connection = transport.connect(HOST, listener.port, client);
    await client.until(() => client.connection !== undefined);
    connection.destroy();
    await anotherRoundTrip();
    expect(opened).toBeGreaterThan(0);
    expect(closed).toBe(opened);
  });

  test("the server's side knows who connected", async () => {
    const { serverEnd } = await pair();
    expect(serverEnd.remote).toMatch(/^127\.0\.0\.1:\d+$/);
  });

  test("what a handler throws becomes an uncaught exception of the process", async () => {
    const script = `
      import { bunTransport } from ${JSON.stringify(`${import.meta.dir}/bun-transport.ts`)};
      process.on("uncaughtException", (error) => { console.log("uncaught:", error.message); process.exit(0); });
      const transport = bunTransport();
      const quiet = { opened() {}, received() {}, closed() {} };
      const listener = await transport.listen("127.0.0.1", 0, { ...quiet, received() { throw new Error("broken"); } });
      transport.connect("127.0.0.1", listener.port, quiet).send(new Uint8Array(1));
    `;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
    expect(await new Response(child.stdout).text()).toBe("uncaught: broken\n");
  });
});
