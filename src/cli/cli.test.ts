import { describe, expect, test } from "bun:test";
import type { ClusterStatus } from "../../protocol/messages.ts";
import { Client } from "../client/cluster-client.ts";
import { errorResponse, FakeCluster } from "../client/fake-cluster.ts";
import { FakeWorld } from "../client/fake-world.ts";
import { fromUtf8 } from "../lib/bytes.ts";
import { runOnce } from "./cli.ts";

/** How often what is watched is shown before the process is ended. */
const WATCHED = 4;

function commandLine(input = new Uint8Array()) {
  const world = new FakeWorld();
  const cluster = new FakeCluster(world, 3, 4);
  const asked: string[][] = [];
  const waits: number[] = [];
  const run = async (...args: string[]) => {
    const out: Uint8Array[] = [];
    let errors = "";
    const code = await world.until(
      runOnce(args, {
        variables: {},
        look: { tables: false, colors: false },
        connect: (options) => {
          asked.push([...options.addresses]);
          return Client.open({ ...options, addresses: cluster.addresses }, world);
        },
        readInput: () => Promise.resolve(input),
        writeOut: (bytes) => void out.push(bytes),
        flush: () => Promise.resolve(),
        wait: (ms) => {
          waits.push(ms);
          return waits.length < WATCHED ? world.pass(ms) : Promise.reject(new Error("enough was seen"));
        },
        writeError: (text) => {
          errors += text;
        },
      }),
    );
    const bytes = new Uint8Array(Buffer.concat(out));
    return { code, out: fromUtf8(bytes), bytes, errors };
  };
  return { world, cluster, run, asked };
}

describe("answers and exit codes", () => {
  test("0 for yes, 1 for no, 2 for a wrong line", async () => {
    const { run } = commandLine();
    expect(await run("get", "a")).toMatchObject({ code: 1, out: "(nil)\n", errors: "" });
    expect(await run("put", "a", "1")).toMatchObject({ code: 0, out: "OK\n" });
    expect(await run("get", "a")).toMatchObject({ code: 0, out: '"1"\n' });
    expect(await run("incr", "a", "-3")).toMatchObject({ code: 0, out: "(integer) -2\n" });
    expect(await run("exists", "b")).toMatchObject({ code: 1, out: "false\n" });
    expect(await run("del", "a")).toMatchObject({ code: 0, out: "deleted\n" });
    expect(await run("del", "a")).toMatchObject({ code: 1, out: "(no such key)\n" });
    expect(await run("gett", "a")).toMatchObject({
      code: 2,
      out: "",
      errors: expect.stringContaining("Did you mean get?"),
    });
    expect(await run()).toMatchObject({ code: 2, errors: expect.stringContaining("Usage: bun run cli") });
    expect(await run("--help")).toMatchObject({ code: 0, errors: "" });
  });

  test("--keyspace says where keys are, keyspace which there are", async () => {
    const { run } = commandLine();
    expect(await run("keyspace", "create", "orders")).toMatchObject({ code: 0 });
    expect(await run("put", "a", "1", "--keyspace", "orders")).toMatchObject({ code: 0 });
    expect(await run("get", "a")).toMatchObject({ code: 1 });
    expect(await run("--keyspace", "orders", "get", "a")).toMatchObject({ code: 0, out: '"1"\n' });
    expect(await run("keyspace", "list")).toMatchObject({ out: "default 0 raft\norders 1 raft\n" });
    const shown = await run("keyspace", "show", "orders", "--json");
    expect(JSON.parse(shown.out)).toEqual({ id: 1, name: "orders", mode: "raft" });
    expect(await run("keyspace", "show", "orders", "--count")).toMatchObject({
      out: "orders (number 1, raft)\n1 key, counted one by one while others may write\n",
    });
    const counted = await run("keyspace", "show", "default", "--count", "--json");
    expect(JSON.parse(counted.out)).toMatchObject({ id: 0, keys: 0 });
    expect(await run("keyspace", "drop", "orders")).toMatchObject({ code: 0 });
    expect(await run("keyspace", "show", "orders")).toMatchObject({ code: 1 });
    expect(await run("get", "a", "--keyspace", "orders")).toMatchObject({
      code: 1,
      errors: expect.stringContaining('there is no keyspace "orders"'),
    });
    for (const wrong of [
      ["create"],
      ["list", "x"],
      ["list", "--count"],
      ["make", "x"],
      ["create", "x", "--mode", "y"],
      ["drop", "x", "--mode", "raft"],
    ]) {
      expect(await run("keyspace", ...wrong)).toMatchObject({ code: 2, out: "" });
    }
  });

  test("a read may say what is enough for it, but one thing only", async () => {
    const { run, cluster } = commandLine();
    await run("put", "a", "1");
    for (const flag of ["--lease", "--stale"]) {
      expect(await run("get", "a", flag)).toMatchObject({ code: 0, out: '"1"\n' });
      expect(await run("exists", "a", flag)).toMatchObject({ code: 0 });
      expect(await run("scan", "a", flag)).toMatchObject({ code: 0 });
    }
    const received = cluster.nodes.flatMap((node) => node.received);
    const asked = received.map((request) => ("consistency" in request ? request.consistency : ""));
    // One for the get, one for the exists, and one of each shard for the scan.
    expect(asked.filter((how) => how === "lease")).toHaveLength(2 + cluster.leaders.length);
    for (const command of ["get", "exists", "scan"]) {
      expect(await run(command, "a", "--lease", "--stale")).toMatchObject({
        code: 2,
        errors: expect.stringContaining("--stale and --lease exclude each other."),
      });
    }
  });

  test("mput and scan", async () => {
    const { run } = commandLine();
    expect(await run("mput", "k1", "a", "k2", "b c", "l", "d")).toMatchObject({ code: 0 });
    expect((await run("scan", "k")).out).toBe('"k1" "a"\n"k2" "b c"\n');
    expect((await run("scan", "--from", "k2", "--keys-only")).out).toBe('"k2"\n"l"\n');
    expect((await run("scan", "k", "--from", "a", "--to", "k2")).out).toBe('"k1" "a"\n');
    expect((await run("scan", "--limit", "1")).out).toBe(
      '"k1" "a"\n(there is more: raise --limit, or go on with --from "k1\\x00")\n',
    );
    expect((await run("scan", "zzz")).out).toBe("(no keys)\n");
  });

  test("a failure is one line on the error output, with what to do", async () => {
    const { run, cluster } = commandLine();
    cluster.leaderOf("a").behaveOnce("increment", errorResponse("NOT_AN_INTEGER"));
    const { code, out, errors } = await run("incr", "a");
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(errors).toMatch(
      /^error: increment of "a" failed .* Only whole numbers of 64 bits can be added to\.\n$/,
    );
  });

  test("an unreachable cluster is said to be so", async () => {
    const { run, cluster } = commandLine();
    for (const node of cluster.nodes) node.stop();
    const { code, errors } = await run("status", "--timeout", "300");
    expect(code).toBe(1);
    expect(errors).toContain("cannot connect to a cluster at");
    expect(errors).toContain("Is a node running there?");
  });
});

describe("forms of output", () => {
  test("--json tells text from bytes, and keeps large numbers whole", async () => {
    const { run } = commandLine(Uint8Array.of(0xff, 0));
    await run("put", "bytes", "-");
    expect(JSON.parse((await run("get", "bytes", "--json")).out)).toEqual({
      found: true,
      value: { base64: "/wA=" },
    });
    expect(JSON.parse((await run("get", "none", "--json")).out)).toEqual({ found: false, value: null });
    expect(JSON.parse((await run("incr", "n", "9223372036854775807", "--json")).out)).toEqual({
      value: "9223372036854775807",
    });
    expect(JSON.parse((await run("scan", "b", "--json")).out)).toEqual({
      entries: [{ key: "bytes", value: { base64: "/wA=" } }],
      more: false,
    });
  });

  test("--json tells errors, too", async () => {
    const { run } = commandLine();
    const { code, out, errors } = await run("mput", "a", "1", "b", "2", "c", "3", "--atomic", "--json");
    expect({ code, errors }).toEqual({ code: 1, errors: "" });
    expect(JSON.parse(out)).toMatchObject({
      error: { code: "CROSS_SHARD", outcome: "notDone", retryable: false },
    });
  });

  test("--raw gives the bytes that standard input gave, and nothing else", async () => {
    const photo = Uint8Array.from({ length: 256 }, (_, i) => i);
    const { run } = commandLine(photo);
    await run("put", "photo", "-");
    expect((await run("get", "photo", "--raw")).bytes).toEqual(photo);
    expect((await run("get", "none", "--raw")).bytes).toEqual(new Uint8Array());
  });

  test("--json and --raw exclude each other", async () => {
    expect((await commandLine().run("get", "a", "--json", "--raw")).code).toBe(2);
  });
});

describe("addresses", () => {
  test("come from --addr, with commas between", async () => {
    const { run, asked } = commandLine();
    await run("ping");
    await run("--addr", "a:1, b:2", "ping");
    expect(asked).toEqual([
      ["127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"],
      ["a:1", "b:2"],
    ]);
  });

  test("and the timeout are judged before anybody is asked", async () => {
    const { run, asked } = commandLine();
    expect(await run("--addr", "a", "ping")).toMatchObject({
      code: 2,
      errors: expect.stringContaining('names "a"'),
    });
    expect(await run("--timeout", "soon", "ping")).toMatchObject({ code: 2 });
    expect(asked).toEqual([]);
  });
});

test("what is watched is shown again and again, and a failure on the way is told", async () => {
  const { run, cluster } = commandLine();
  const status = (available: number): ClusterStatus => ({
    clusterId: "c1",
    nodes: [],
    shards: [],
    moves: [],
    outlook: { underWay: 0, toCome: 0, bytes: 0, seconds: 0 },
    available,
  });
  let asked = 0;
  for (const node of cluster.nodes) {
    node.behave((request) => {
      if (request.kind !== "status") return "serve";
      asked++;
      return asked === 2 ? errorResponse("INTERNAL") : { kind: "clusterStatus", status: status(asked / 10) };
    });
  }
  const failure = await run("status", "--watch", "0.5", "--json").catch((error: Error) => error);
  expect((failure as Error).message).toBe("enough was seen");
  expect(asked).toBe(WATCHED);
  for (const wrong of ["x", "0", "-1", "1e9"]) {
    expect(await run("status", "--watch", wrong)).toMatchObject({ code: 2 });
  }
});
