import { afterEach, expect, test } from "bun:test";
import type { Socket, TCPSocketListener } from "bun";
import { eventually } from "./eventually.ts";
import { TcpProxy } from "./tcp-proxy.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A server that sends back what it gets. */
function echo(): TCPSocketListener {
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data(socket, bytes) {
        socket.write(bytes);
      },
    },
  });
  cleanups.push(() => server.stop(true));
  return server;
}

async function proxyTo(port: number): Promise<TcpProxy> {
  const proxy = await TcpProxy.listen(port);
  cleanups.push(() => proxy.close());
  return proxy;
}

async function call(
  port: number,
): Promise<{ socket: Socket; received: () => string; closed: () => boolean }> {
  let received = "";
  let closed = false;
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      data(_, bytes) {
        received += bytes.toString();
      },
      close() {
        closed = true;
      },
      error() {},
    },
  });
  cleanups.push(() => socket.end());
  return { socket, received: () => received, closed: () => closed };
}

test("bytes pass both ways", async () => {
  const proxy = await proxyTo(echo().port);
  const { socket, received } = await call(proxy.port);
  socket.write("hello");
  await eventually("the echo", 2000, () => received() === "hello");
});

test("a cut breaks connections and refuses new ones until it heals", async () => {
  const proxy = await proxyTo(echo().port);
  const first = await call(proxy.port);
  first.socket.write("a");
  await eventually("the echo", 2000, () => first.received() === "a");
  proxy.cut();
  await eventually("the end of the connection", 2000, first.closed);
  const second = await call(proxy.port);
  await eventually("the end of the next", 2000, second.closed);
  proxy.heal();
  const third = await call(proxy.port);
  third.socket.write("c");
  await eventually("the echo", 2000, () => third.received() === "c");
});

test("what is sent while the link stalls arrives when it heals", async () => {
  const proxy = await proxyTo(echo().port);
  const through = await call(proxy.port);
  const beside = await call(proxy.port);
  through.socket.write("a");
  await eventually("the echo", 2000, () => through.received() === "a");
  proxy.stall();
  through.socket.write("b");
  // Time passes measurably: another connection to the same proxy gets nothing either, while one past it does.
  beside.socket.write("b");
  const direct = await call(echo().port);
  direct.socket.write("c");
  await eventually("the echo past the proxy", 2000, () => direct.received() === "c");
  expect([through.received(), beside.received(), through.closed()]).toEqual(["a", "", false]);
  proxy.heal();
  await eventually("the late echo", 2000, () => through.received() === "ab" && beside.received() === "b");
});

test("a filtered reply is lost with its connection", async () => {
  const proxy = await proxyTo(echo().port);
  proxy.replyFilter = (bytes, greeting) => {
    expect(Buffer.from(greeting).toString()).toBe("a");
    return Buffer.from(bytes).includes("x") ? "cut" : "pass";
  };
  const { socket, received, closed } = await call(proxy.port);
  socket.write("a");
  await eventually("the echo", 2000, () => received() === "a");
  socket.write("x");
  await eventually("the end of the connection", 2000, closed);
  expect(received()).toBe("a");
});
