/** Redis clients on a cluster's port: any node, any command, without knowing that there is a cluster. */
import { expect, test } from "bun:test";
import { RedisClient } from "bun";
import { fromUtf8, utf8 } from "../../src/lib/bytes.ts";
import { REDIS_CASES } from "../../src/server/text-cases.ts";
import { withCluster } from "../support/cluster.ts";
import { keyOfEachShard } from "../support/keys.ts";
import { RawConnection } from "../support/raw-connection.ts";
import { sharedCluster } from "../support/shared-cluster.ts";

const SHARDS = 8;
const cluster = sharedCluster({ shards: SHARDS });

/** The reply to `command` on a connection of its own; it must have exactly the length of `expected`. */
async function expectReply(port: number, command: string, expected: string): Promise<void> {
  const connection = await RawConnection.open(port);
  connection.send(utf8(command));
  expect(fromUtf8(await connection.untilReceived(expected.length))).toBe(expected);
  connection.close();
}

/** A command as clients send it. */
function command(...args: string[]): string {
  return `*${args.length}\r\n${args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`).join("")}`;
}

test("Bun's RedisClient", async () => {
  for (const node of cluster().nodes) {
    const client = new RedisClient(`redis://${node.address}`);
    const own = (key: string): string => `${node.id}:${key}`;
    await client.set(own("a"), "1");
    expect(await client.get(own("a"))).toBe("1");
    expect(await client.get(own("none"))).toBeNull();
    expect(await client.incr(own("a"))).toBe(2);
    expect(await client.incr(own("counter"))).toBe(1);
    expect(await client.exists(own("a"))).toBe(true);
    await client.set(own("b"), "ä\r\n\0");
    expect(await client.mget(own("a"), own("none"), own("b"))).toEqual(["2", null, "ä\r\n\0"]);
    expect(await client.del(own("a"), own("b"), own("none"))).toBe(2);
    expect(await client.exists(own("a"))).toBe(false);
    expect(client.send("NOSUCH", [])).rejects.toThrow("unknown command");
    await client.set(own("text"), "abc");
    expect(client.incr(own("text"))).rejects.toThrow("not an integer");
    client.close();
  }
}, 20_000);

test("a client that names a database works in the keyspace of that name", async () => {
  const { nodes } = cluster();
  const admin = await cluster().connect();
  await admin.createKeyspace("7");
  const client = new RedisClient(`redis://${nodes[1]!.address}/7`);
  await client.set("db", "seven");
  expect(await client.get("db")).toBe("seven");
  expect(await (await admin.keyspace("7")).getText("db")).toBe("seven");
  expect(await admin.get("db")).toBeUndefined();
  client.close();
  const lost = new RedisClient(`redis://${nodes[0]!.address}/8`, { autoReconnect: false });
  expect(lost.get("db")).rejects.toThrow();
  lost.close();
  await admin.dropKeyspace("7");
}, 20_000);

test("every command answers as Redis does", async () => {
  await withCluster({ shards: 4 }, async (fresh) => {
    const connection = await RawConnection.open(fresh.nodes[1]!.port);
    let before = 0;
    for (const [line, reply] of REDIS_CASES) {
      connection.send(utf8(`${line}\r\n`));
      const received = await connection.untilReceived(before + reply.length);
      expect([line, fromUtf8(received.subarray(before))]).toEqual([line, reply]);
      before += reply.length;
    }
    connection.close();
  });
}, 60_000);

test("what is written on one node is read on each: they forward", async () => {
  const keys = keyOfEachShard(SHARDS, "forward");
  for (const key of keys) {
    for (const [index, writer] of cluster().nodes.entries()) {
      const value = `by ${writer.id}`;
      await expectReply(writer.port, command("SET", key, value), "+OK\r\n");
      const reader = cluster().nodes[(index + 1) % cluster().nodes.length]!;
      await expectReply(reader.port, command("GET", key), `$${value.length}\r\n${value}\r\n`);
    }
  }
}, 20_000);

test("replies of a pipeline come in the order of its commands, whoever had to be asked", async () => {
  const keys = keyOfEachShard(SHARDS, "pipeline");
  const rounds = 50;
  let sent = "";
  let expected = "";
  for (let round = 0; round < rounds; round++) {
    for (const key of keys) {
      const value = `${key}/${round}`;
      sent += command("SET", key, value) + command("GET", key) + command("INCR", `${key}:n`);
      expected += `+OK\r\n$${value.length}\r\n${value}\r\n:${round + 1}\r\n`;
    }
    sent += command("PING") + command("GET", "nothing here") + command("NOSUCH");
    expected += "+PONG\r\n$-1\r\n-ERR unknown command 'NOSUCH', with args beginning with: \r\n";
  }
  await expectReply(cluster().nodes[1]!.port, sent, expected);
}, 20_000);

test("inline commands and both protocol versions", async () => {
  const { port } = cluster().nodes[2]!;
  await expectReply(port, "PING\r\n", "+PONG\r\n");
  await expectReply(port, "SET inline yes\r\nGET inline\r\n", "+OK\r\n$3\r\nyes\r\n");
  await expectReply(port, command("GET", "none"), "$-1\r\n");
  const connection = await RawConnection.open(port);
  connection.send(utf8(command("HELLO", "3") + command("GET", "none")));
  let text = "";
  while (!text.endsWith("_\r\n")) text = fromUtf8(await connection.untilReceived(text.length + 1));
  expect(text).toStartWith("%7\r\n");
  connection.close();
});

/** What a tool prints; fails if it does not exit with 0 or takes too long. */
async function run(...args: string[]): Promise<string> {
  const child = Bun.spawn(args, { stdout: "pipe", stderr: "pipe", stdin: "ignore", timeout: 20_000 });
  const [output, errors, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (code !== 0) throw new Error(`${args.join(" ")} exited with ${code}: ${output}${errors}`);
  return output;
}

const redisCli = Bun.which("redis-cli");
console.log(`redis: redis-cli ${redisCli === null ? "is missing, its test does not run" : `is ${redisCli}`}`);
test.skipIf(redisCli === null)(
  "redis-cli",
  async () => {
    const cli = (...args: string[]): Promise<string> =>
      run(redisCli!, "-p", String(cluster().nodes[0]!.port), ...args);
    expect(await cli("SET", "cli", "value")).toBe("OK\n");
    expect(await cli("GET", "cli")).toBe("value\n");
    expect(await cli("-3", "GET", "cli")).toBe("value\n");
    expect(await cli("INCRBY", "cli:n", "41")).toBe("41\n");
    expect(await cli("EXISTS", "cli", "cli:n", "no")).toBe("2\n");
    expect(await cli("DEL", "cli")).toBe("1\n");
    expect(await cli("GET", "cli")).toBe("\n");
    expect(await cli("INFO")).toContain("redis_version:");
    expect(await cli("NOSUCH")).toContain("ERR unknown command 'NOSUCH'");
  },
  30_000,
);

const redisBenchmark = Bun.which("redis-benchmark");
console.log(
  `redis: redis-benchmark ${redisBenchmark === null ? "is missing, its test does not run" : `is ${redisBenchmark}`}`,
);
test.skipIf(redisBenchmark === null)(
  "redis-benchmark -t set,get",
  async () => {
    const port = String(cluster().nodes[0]!.port);
    const output = await run(
      redisBenchmark!,
      "-p",
      port,
      "-t",
      "set,get",
      "-n",
      "2000",
      "-c",
      "20",
      "-P",
      "4",
      "--csv",
    );
    const rows = output
      .trim()
      .split("\n")
      .filter((line) => /^"(SET|GET)"/.test(line));
    console.log(`redis-benchmark: ${rows.join("; ")}`);
    expect(rows).toHaveLength(2);
    expect(output).not.toContain("ERR");
  },
  30_000,
);
