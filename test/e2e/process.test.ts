/** The process around a node, as a shell sees it: exit codes, sentences, signals, and the cluster runner. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { version } from "../../package.json";
import { eventually, within } from "../support/eventually.ts";
import { freePorts } from "../support/free-port.ts";

const SOURCES = join(import.meta.dir, "../../src");
const WAIT_MS = 15_000;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "flotilla-process-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

const running: Started[] = [];
afterEach(async () => {
  for (const started of running.splice(0)) await started.kill();
});

/** A process with what it has printed so far. */
class Started {
  readonly process: Subprocess<"pipe", "pipe", "pipe">;
  out = "";
  err = "";
  readonly #read: Promise<unknown>;

  constructor(file: "main.ts" | "cluster.ts", args: readonly string[]) {
    this.process = Bun.spawn([process.execPath, join(SOURCES, file), ...args], {
      cwd: directory,
      // As Bun runs it: npm would have it name npm's commands.
      env: { ...process.env, npm_config_user_agent: "bun" },
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
    });
    const { stdout, stderr } = this.process;
    this.#read = Promise.all([
      gather(stdout, (text) => {
        this.out += text;
      }),
      gather(stderr, (text) => {
        this.err += text;
      }),
    ]);
    running.push(this);
  }

  says(pattern: RegExp): Promise<unknown> {
    return eventually(`${pattern} in: ${this.out}${this.err}`, WAIT_MS, () =>
      pattern.test(this.out + this.err),
    );
  }

  /** Its exit code, once all that it printed was read. */
  async exitCode(): Promise<number | null> {
    await within(`end of the process, which said: ${this.out}${this.err}`, WAIT_MS, this.process.exited);
    await this.#read;
    return this.process.exitCode;
  }

  async kill(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill("SIGKILL");
    await this.process.exited;
  }
}

async function gather(stream: ReadableStream<Uint8Array>, onText: (text: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  for await (const chunk of stream) onText(decoder.decode(chunk, { stream: true }));
}

/** A node that serves, with every shard led. */
async function serving(...args: string[]): Promise<Started> {
  const node = new Started("main.ts", args);
  await node.says(/^ready/m);
  return node;
}

function isAlive(pid: number): boolean {
  try {
    // A process that ended but was not waited for yet is a zombie, and gone for our purposes.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** All files below a directory with their contents, to see that nothing was touched. */
function contents(of: string): Map<string, string> {
  const files = readdirSync(of, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path, readFileSync(path, "base64")];
    }),
  );
}

describe("usage", () => {
  test.each<[string, string[]]>([
    ["unknown flag --prot; did you mean --port?", ["--id", "n1", "--prot", "7001"]],
    ["--id is missing: each node has a name, as in --id n1", []],
    ['--port must be a number from 1 to 65535, found "x"', ["--id", "n1", "--port", "x"]],
    ["--peers must list this node too: n4 is not among n1", ["--id", "n4", "--peers", "n1=a:1"]],
  ])("%s", async (sentence, args) => {
    const node = new Started("main.ts", args);
    expect(await node.exitCode()).toBe(2);
    expect(node.err).toBe(`${sentence}\n`);
    expect(node.out).toBe("");
  });

  test("a wrong config file is refused with its name", async () => {
    const file = join(directory, "node.toml");
    writeFileSync(file, 'id = "n1"\nprot = 7001\n');
    const node = new Started("main.ts", ["--config", file]);
    expect(await node.exitCode()).toBe(2);
    expect(node.err).toBe(`${file}: unknown key prot; did you mean port?\n`);
  });

  test("--help and --version go to standard output", async () => {
    const help = new Started("main.ts", ["--help"]);
    expect(await help.exitCode()).toBe(0);
    expect(help.out).toContain("Examples:");
    const versionAsked = new Started("main.ts", ["--version"]);
    expect(await versionAsked.exitCode()).toBe(0);
    expect(versionAsked.out).toBe(`${version}\n`);
  });

  test("the cluster runner names the flag that was meant, too", async () => {
    const cluster = new Started("cluster.ts", ["--node", "3"]);
    expect(await cluster.exitCode()).toBe(2);
    expect(cluster.err).toBe("unknown flag --node; did you mean --nodes?\n");
  });
});

describe("starting", () => {
  test("one line says where it serves and how to connect, with default data beside", async () => {
    const [port] = freePorts(1);
    const node = await serving("--id", "alone", "--port", String(port));
    expect(node.out).toBe(
      `alone serves on 127.0.0.1:${port} (data in ./data/alone); ` +
        `connect with: bun run repl --addr 127.0.0.1:${port}  or  redis-cli -p ${port}\n` +
        "ready: every shard has a leader\n",
    );
    expect(readdirSync(join(directory, "data"))).toEqual(["alone"]);
  });

  test("a port in use is a sentence and exit code 1, and no directory is made", async () => {
    const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const data = join(directory, "unused");
    const node = new Started("main.ts", ["--id", "n1", "--port", String(listener.port), "--data", data]);
    expect(await node.exitCode()).toBe(1);
    listener.stop(true);
    expect(node.err).toBe(
      `cannot listen on 127.0.0.1:${listener.port}: another process listens there already\n`,
    );
    expect(node.out).toBe("");
    expect(readdirSync(directory)).not.toContain("unused");
  });

  test("a data directory that another process holds is refused", async () => {
    const data = join(directory, "held");
    const [port, otherPort] = freePorts(2);
    await serving("--id", "n1", "--port", String(port), "--data", data);
    const before = contents(data);
    const second = new Started("main.ts", ["--id", "n1", "--port", String(otherPort), "--data", data]);
    expect(await second.exitCode()).toBe(1);
    expect(second.err).toContain(data);
    expect(second.err).toContain("another process");
    expect(second.err.trim().split("\n")).toHaveLength(1);
    expect([...contents(data).keys()]).toEqual([...before.keys()]);
  });

  test("a data directory of another node is refused and left alone", async () => {
    const data = join(directory, "of-n1");
    const [port] = freePorts(1);
    const first = await serving("--id", "n1", "--port", String(port), "--data", data);
    first.process.kill("SIGTERM");
    expect(await first.exitCode()).toBe(0);
    const before = contents(data);
    const other = new Started("main.ts", ["--id", "n2", "--port", String(port), "--data", data]);
    expect(await other.exitCode()).toBe(1);
    expect(other.err).toContain(data);
    expect(other.err).toContain("n1");
    expect(other.err.trim().split("\n")).toHaveLength(1);
    expect(contents(data)).toEqual(before);
  });

  test("another number of shards than the data directory has is refused", async () => {
    const data = join(directory, "of-8-shards");
    const [port] = freePorts(1);
    const first = await serving("--id", "n1", "--port", String(port), "--data", data);
    first.process.kill("SIGTERM");
    expect(await first.exitCode()).toBe(0);
    const other = new Started("main.ts", [
      ...["--id", "n1", "--port", String(port), "--data", data, "--shards", "16"],
    ]);
    expect(await other.exitCode()).toBe(1);
    expect(other.err).toContain("shards");
  });

  test("a data directory that can't be made is a sentence", async () => {
    const file = join(directory, "a-file");
    writeFileSync(file, "");
    const [port] = freePorts(1);
    const data = join(file, "data");
    const node = new Started("main.ts", ["--id", "n1", "--port", String(port), "--data", data]);
    expect(await node.exitCode()).toBe(1);
    expect(node.err).toContain(data);
    expect(node.err.trim().split("\n")).toHaveLength(1);
  });
});

describe("stopping", () => {
  test.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)("%s stops a node cleanly", async (signal) => {
    const [port] = freePorts(1);
    const data = join(directory, signal);
    const node = await serving("--id", "n1", "--port", String(port), "--data", data);
    node.process.kill(signal);
    expect(await node.exitCode()).toBe(0);
  });

  test("with --stop-with-stdin the end of standard input does", async () => {
    const [port] = freePorts(1);
    const data = join(directory, "stdin");
    const node = await serving("--id", "n1", "--port", String(port), "--data", data, "--stop-with-stdin");
    node.process.stdin.end();
    expect(await node.exitCode()).toBe(0);
  });
});

describe("bun run cluster", () => {
  /** Ports for `count` nodes: the runner wants them in a row. */
  function portsInARow(count: number): number {
    for (;;) {
      const [first] = freePorts(1);
      try {
        for (let port = first! + 1; port < first! + count; port++) {
          Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } }).stop(true);
        }
        return first!;
      } catch {
        // Taken: elsewhere, then.
      }
    }
  }

  function startCluster(name: string): { cluster: Started; port: number; data: string } {
    const port = portsInARow(3);
    const data = join(directory, name);
    mkdirSync(data);
    return { cluster: new Started("cluster.ts", ["--port", String(port), "--data", data]), port, data };
  }

  /** Process ids of the nodes that a runner has started. Linux only, as `isAlive` is. */
  function childrenOf(pid: number): number[] {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    return text.split(" ").filter(Boolean).map(Number);
  }

  test("says in one line that it serves, and stops with all its nodes", async () => {
    const { cluster, port } = startCluster("stopped");
    await cluster.says(/serve on/);
    const nodes = childrenOf(cluster.process.pid);
    expect(nodes).toHaveLength(3);
    const processes = nodes.map((pid, index) => `n${index + 1} is process ${pid}`).join(", ");
    expect(cluster.out).toBe(
      `3 nodes serve on 127.0.0.1:${port}-${port + 2} (${processes}); connect with: ` +
        `bun run repl --addr 127.0.0.1:${port}  or  redis-cli -p ${port}; Ctrl-C stops\n`,
    );
    cluster.process.kill("SIGINT");
    expect(await cluster.exitCode()).toBe(0);
    expect(nodes.filter(isAlive)).toEqual([]);
  });

  test("a node that is killed is reported with the command that brings it back; the rest goes on", async () => {
    const { cluster, port, data } = startCluster("wounded");
    await cluster.says(/serve on/);
    const [first] = childrenOf(cluster.process.pid);
    process.kill(first!, "SIGKILL");
    await cluster.says(/^n\d was killed by SIGKILL; to bring it back: bun run node .*$/m);
    const [, id, flags] = /^(n\d) was killed .* bun run node (.*)$/m.exec(cluster.err)!;
    expect(flags).toContain(`--id ${id} --port ${port + Number(id!.slice(1)) - 1}`);
    expect(flags).toContain(`--data ${join(data, id!)}`);
    await serving(...flags!.split(" "));
    expect(childrenOf(cluster.process.pid)).toHaveLength(2);
  });

  test("a node that can't start is told apart from one that was lost", async () => {
    const [port] = await freePorts(1);
    const other = await serving("--id", "other", "--port", String(port));
    const cluster = new Started("cluster.ts", [
      ...["--nodes", "1", "--port", String(port), "--data", join(directory, "beside")],
    ]);
    expect(await cluster.exitCode()).toBe(1);
    expect(cluster.err).toMatch(
      /^n1 \| cannot listen on .*\nn1 could not start; once that is mended: bun run node --id n1 .*\nno node is left\n$/,
    );
    await other.kill();
  });

  test("a cluster that does not get ready says who waits", async () => {
    const [port] = await freePorts(3);
    const data = join(directory, "grown");
    const start = (nodes: string) =>
      new Started("cluster.ts", ["--nodes", nodes, "--port", String(port), "--data", data]);
    const small = start("1");
    await small.says(/1 node serves on/);
    small.process.kill("SIGINT");
    await small.exitCode();
    // Members are fixed at the first start: n1 refuses, and n2 waits for it.
    const grown = start("2");
    await grown.says(/^n1 could not start/m);
    await grown.says(/^only n2 is left of 2, which is no majority/m);
    await grown.says(/^still without leaders for all shards: n2$/m);
  }, 20_000);

  test("no node outlives a runner that was killed", async () => {
    const { cluster } = startCluster("orphaned");
    await cluster.says(/serve on/);
    const nodes = childrenOf(cluster.process.pid);
    expect(nodes.filter(isAlive)).toHaveLength(3);
    cluster.process.kill("SIGKILL");
    await eventually("the nodes to end", WAIT_MS, () => nodes.filter(isAlive).length === 0);
  });

  test("with no node left it ends with exit code 1", async () => {
    const { cluster } = startCluster("lost");
    await cluster.says(/serve on/);
    const [first, ...others] = childrenOf(cluster.process.pid);
    for (const pid of others) process.kill(pid, "SIGKILL");
    await cluster.says(/^only n1 is left of 3, which is no majority/m);
    process.kill(first!, "SIGKILL");
    expect(await cluster.exitCode()).toBe(1);
    expect(cluster.err).toContain("no node is left");
  });
});
