import { afterEach, expect, test } from "bun:test";
import { bunTransport } from "../../src/env/bun-transport.ts";
import type { Connection } from "../../src/env/env.ts";
import { systemClock } from "../../src/env/system-clock.ts";
import { fromUtf8, utf8 } from "../../src/lib/bytes.ts";
import { AnswerLog } from "./answer-log.ts";
import { RespDriver } from "./resp-driver.ts";

const clock = systemClock();
const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

/** A server that hears whole commands (a chunk is taken apart at each `*`) and answers as `answer` says. */
async function startServer(answer: (command: string, connection: Connection) => string) {
  const seen: string[] = [];
  const connections = new Set<Connection>();
  const listener = await bunTransport().listen("127.0.0.1", 0, {
    opened: (connection) => void connections.add(connection),
    received(connection, bytes) {
      const commands = fromUtf8(bytes).split(/(?=\*\d\r\n)/);
      seen.push(...commands);
      const replies = commands.map((command) => answer(command, connection)).join("");
      if (replies !== "") connection.send(utf8(replies));
    },
    closed: (connection) => void connections.delete(connection),
  });
  cleanups.push(() => {
    listener.close();
    for (const connection of connections) connection.destroy();
  });
  return { port: listener.port, seen, connections };
}

async function openDriver(port: number, connections: number, requestTimeoutMs = 5000) {
  const driver = new RespDriver({
    transport: bunTransport(),
    clock,
    addresses: [{ host: "127.0.0.1", port }],
    clients: 4,
    connections,
    values: [utf8("abc")],
    requestTimeoutMs,
  });
  cleanups.push(() => driver.close());
  const log = new AnswerLog();
  await driver.open(log);
  return { driver, log };
}

test("SET and GET are sent as Redis wants them", async () => {
  const server = await startServer((command) => (command.includes("SET") ? "+OK\r\n" : "$3\r\nabc\r\n"));
  const { driver, log } = await openDriver(server.port, 4);
  driver.submit(0, "put", 42, 0, clock.nowMs());
  await log.until(1);
  driver.submit(1, "get", 42, 0, clock.nowMs());
  await log.until(2);
  expect(log.answered).toEqual([0, 1]);
  expect(server.seen).toEqual([
    "*3\r\n$3\r\nSET\r\n$16\r\nkey0000000000042\r\n$3\r\nabc\r\n",
    "*2\r\n$3\r\nGET\r\n$16\r\nkey0000000000042\r\n",
  ]);
  expect(server.connections.size).toBe(4);
});

test("replies on one connection belong to the clients in the order of their requests", async () => {
  const server = await startServer((command) => {
    if (command.includes("key0000000000001")) return "$-1\r\n";
    return command.includes("key0000000000002") ? "-OOM no memory\r\n" : "$1\r\nx\r\n";
  });
  const { driver, log } = await openDriver(server.port, 1);
  for (const client of [3, 1, 2, 0]) driver.submit(client, "get", client, 0, clock.nowMs());
  await log.until(4);
  expect(log.answered).toEqual([3, 1, 0]);
  expect(log.missed).toEqual([1]);
  expect(log.failures).toEqual([{ client: 2, error: "OOM", message: "OOM no memory" }]);
});

test("a broken connection fails what waited on it, and comes back", async () => {
  let breaking = true;
  const server = await startServer((_command, connection) => {
    if (!breaking) return "+OK\r\n";
    connection.destroy();
    return "";
  });
  const { driver, log } = await openDriver(server.port, 1);
  driver.submit(0, "put", 1, 0, clock.nowMs());
  driver.submit(1, "put", 1, 0, clock.nowMs());
  await log.until(2);
  expect(log.failures.map(({ error }) => error)).toEqual(["CONNECTION_LOST", "CONNECTION_LOST"]);
  breaking = false;
  driver.submit(0, "put", 1, 0, clock.nowMs());
  await log.until(3);
  expect(log.answered).toEqual([0]);
});

test("no reply in time is a TIMEOUT", async () => {
  const server = await startServer(() => "");
  const { driver, log } = await openDriver(server.port, 1, 50);
  driver.submit(0, "put", 1, 0, clock.nowMs());
  await log.until(1);
  expect(log.failures[0]!.error).toBe("TIMEOUT");
});

test("what is no reply is a PROTOCOL error", async () => {
  const server = await startServer(() => "nonsense\r\n");
  const { driver, log } = await openDriver(server.port, 1);
  driver.submit(0, "put", 1, 0, clock.nowMs());
  await log.until(1);
  expect(log.failures[0]!.error).toBe("PROTOCOL");
});

test("a server that is not there is a sentence", async () => {
  const server = await startServer(() => "");
  for (const cleanup of cleanups.splice(0)) cleanup();
  const opening = openDriver(server.port, 1);
  await expect(opening).rejects.toThrow(`cannot connect to 127.0.0.1:${server.port}`);
});
