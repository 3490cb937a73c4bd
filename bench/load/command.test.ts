/** The command as a user runs it: what it prints last, and how it exits. */
import { expect, test } from "bun:test";
import { nodeId } from "../../protocol/ids.ts";
import { topologyNode } from "../../test/support/topology-node.ts";
import { startFakeNode } from "./fake-node.ts";

const COMMAND = new URL("../load.ts", import.meta.url).pathname;

async function load(...args: string[]): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const child = Bun.spawn([process.execPath, COMMAND, ...args], { stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { exitCode: await child.exited, stdout, stderr };
}

async function startOneNodeCluster(works: boolean) {
  const node = await startFakeNode((request) => {
    if (request.kind === "topology") {
      const nodes = [topologyNode(nodeId("n1"), node.address)];
      const shards = [{ leader: nodeId("n1"), term: 1, replicas: [nodeId("n1")], copies: [] }];
      return { kind: "topology", topology: { version: 1, view: 1, clusterId: "c1", nodes, shards } };
    }
    if (!works) return { kind: "error", error: "UNAVAILABLE", message: "no majority", leader: undefined };
    if (request.kind === "scan") return { kind: "entries", entries: [], more: false };
    if (request.kind === "get") return { kind: "value", value: new Uint8Array(3), ageMs: 0 };
    return { kind: "boolean", value: true };
  });
  return node;
}

const SHORT = ["--seconds", "0.3", "--warmup", "0", "--clients", "4", "--keys", "50"];

test.each(["put", "get", "e", "f"])(
  "workload %s: the last line is the JSON, and the exit code is 0",
  async (workload) => {
    const node = await startOneNodeCluster(true);
    const run = await load("--addr", node.address, "--workload", workload, "--json", ...SHORT);
    node.close();
    expect(run.exitCode).toBe(0);
    const line = JSON.parse(run.stdout.trimEnd().split("\n").at(-1)!);
    expect(line).toMatchObject({ workload, protocol: "binary", clients: 4, errors: 0 });
    expect(line.ops_s).toBeGreaterThan(100);
  },
);

test("nothing succeeded: exit code 1, and the errors by name", async () => {
  const node = await startOneNodeCluster(false);
  const run = await load("--addr", node.address, ...SHORT);
  node.close();
  expect(run.exitCode).toBe(1);
  expect(run.stdout).toMatch(/UNAVAILABLE: \d+, the first: no majority/);
});

test("keys that can't be loaded: exit code 1, and why", async () => {
  const node = await startOneNodeCluster(false);
  const run = await load("--addr", node.address, "--load-keys", ...SHORT, "--clients", "1000");
  node.close();
  expect(run.exitCode).toBe(1);
  expect(run.stderr).toContain("gave up loading the keys, 0 of 50 are stored");
});

test("a wrong command line: exit code 2", async () => {
  const run = await load("--addr", "h:1", "--worklaod", "put");
  expect(run.exitCode).toBe(2);
  expect(run.stderr).toContain("Did you mean --workload?");
});
