/** The text mode beside Redis itself, and under the hands of its clients. Tools that this machine lacks are named. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually, RawClient, serverPerTest } from "./test-harness.ts";
import { REDIS_CASES } from "./text-cases.ts";

const found = Object.fromEntries(
  ["redis-server", "redis-cli", "redis-benchmark"].map((tool) => [tool, Bun.which(tool)]),
);
for (const [tool, path] of Object.entries(found)) {
  if (path === null) console.log(`${tool} is not on PATH: its tests are skipped`);
}

const start = serverPerTest();

describe.skipIf(!found["redis-server"])("redis-server", () => {
  const directory = mkdtempSync(join(tmpdir(), "flotilla-redis-"));
  const socket = join(directory, "socket");
  let server: Bun.Subprocess | undefined;
  afterAll(async () => {
    server?.kill();
    await server?.exited;
    rmSync(directory, { recursive: true });
  });

  test("gives the very replies that the cases expect", async () => {
    const port = await freePort();
    const options = [
      "--port",
      port,
      "--unixsocket",
      socket,
      "--save",
      "",
      "--bind",
      "127.0.0.1",
      "--dir",
      directory,
    ];
    server = Bun.spawn([found["redis-server"]!, ...options.map(String)], { stdout: "ignore" });
    let client: RawClient | undefined;
    while (client === undefined) client = await RawClient.connect(port).catch(() => undefined);
    for (const [command, reply] of REDIS_CASES) {
      client.write(`${command}\r\n`);
      // Its KEYS come in no order.
      if (command.startsWith("keys [")) {
        const keys = await client.expect(reply);
        expect(keys.split("\r\n").sort()).toEqual(reply.split("\r\n").sort());
      } else {
        expect([command, await client.expect(reply)]).toEqual([command, reply]);
      }
    }
    client.close();
  });
});

describe.skipIf(!found["redis-cli"])("redis-cli", () => {
  const run = async (port: number, args: string[], input = ""): Promise<string> => {
    const cli = Bun.spawn([found["redis-cli"]!, "-p", String(port), ...args], { stdin: Buffer.from(input) });
    return await new Response(cli.stdout).text();
  };

  test("one command, RESP3, and commands from its standard input", async () => {
    const { port } = await start();
    expect(await run(port, ["SET", "k", "a b"])).toBe("OK\n");
    expect(await run(port, ["-3", "GET", "k"])).toBe("a b\n");
    expect(await run(port, [], "GET k\nINCR n\nGET none\nSCANPREFIX k\n")).toBe("a b\n1\n\nk\na b\n");
    expect(await run(port, ["--scan", "--pattern", "*"])).toBe("k\nn\n");
  });
});

describe.skipIf(!found["redis-benchmark"])("redis-benchmark", () => {
  test("runs its tests of what there is, pipelined too", async () => {
    const { port, handler } = await start();
    for (const pipeline of ["1", "16"]) {
      const args = [
        "-p",
        String(port),
        "-t",
        "ping,set,get,incr,mset",
        "-n",
        "2000",
        "-c",
        "20",
        "-P",
        pipeline,
        "-q",
      ];
      const benchmark = Bun.spawn([found["redis-benchmark"]!, ...args], { stdout: "pipe", stderr: "pipe" });
      const [output, errors] = await Promise.all([
        new Response(benchmark.stdout).text(),
        new Response(benchmark.stderr).text(),
      ]);
      expect([await benchmark.exited, errors]).toEqual([0, ""]);
      for (const name of ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET"]) {
        expect(output).toMatch(new RegExp(`${name}.*requests per second`));
      }
    }
    expect(handler.values.size).toBeGreaterThan(0);
  });
});

describe("Bun's RedisClient", () => {
  test("connects with HELLO 3 and finds its way", async () => {
    const { port, server } = await start();
    const client = new Bun.RedisClient(`redis://127.0.0.1:${port}`);
    try {
      expect(await client.set("k", "v")).toBe("OK");
      expect(await client.get("k")).toBe("v");
      expect(await client.get("none")).toBeNull();
      expect(await client.incr("n")).toBe(1);
      expect(await client.exists("k")).toBe(true);
      expect(await client.send("MGET", ["k", "n", "none"])).toEqual(["v", "1", null]);
      expect(
        await Promise.all(Array.from({ length: 100 }, (_, i) => client.set(`p${i}`, String(i)))),
      ).toHaveLength(100);
      expect(await client.del("k")).toBe(1);
      await expect(client.send("NOPE", [])).rejects.toThrow("unknown command");
    } finally {
      client.close();
    }
    await eventually(() => server.connections === 0);
  });
});

async function freePort(): Promise<number> {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = listener;
  listener.stop(true);
  return port;
}
