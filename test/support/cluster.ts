/**
 * Clusters of real processes for tests. `withCluster` starts one, runs a test's body with it, and leaves nothing behind:
 * no process, no directory, whether the body succeeds, throws, or is abandoned with this process.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClusterStatus } from "../../protocol/messages.ts";
import { type Client, type ClientOptions, connect } from "../../src/client/client.ts";
import { assert } from "../../src/lib/assert.ts";
import { eventually } from "./eventually.ts";
import { freePorts } from "./free-port.ts";
import { NodeProcess } from "./node-process.ts";
import { askNode } from "./raw-connection.ts";
import { onSmallDisk } from "./small-disk.ts";
import { type ReplyFilter, TcpProxy } from "./tcp-proxy.ts";

export interface ClusterSpec {
  /** Default 3. */
  readonly nodes?: number;
  /** Default 8. */
  readonly shards?: number;
  /**
   * `direct` (default): nodes and clients reach a node at its own port. `links`: what one node says to another goes through a
   * proxy of its own, so that pairs can be parted. `front`: whoever wants to talk to a node, client or peer, goes through
   * one proxy in front of it.
   */
  readonly proxies?: "direct" | "links" | "front";
  /** Further flags of every node. */
  readonly flags?: readonly string[];
  /** By a node's id: how large the file system is, in memory and for this node alone, that its data are on. */
  readonly diskBytes?: Readonly<Record<string, number>>;
}

/** How long a cluster with a majority may take until every shard has a leader that serves. */
const SERVING_MS_MAX = 15_000;
/** How long a node that was away may take to have what the others have. */
const CATCH_UP_MS_MAX = 15_000;
/** How much of what each node printed is shown when a test fails. */
const PRINTED_LINES_MAX = 150;
/** Two runs may pick the same port at the same moment. */
const PORT_ATTEMPTS = 5;

/** Runs `body` with a cluster that serves. If it fails, the last lines of every node are printed. */
export async function withCluster(
  spec: ClusterSpec,
  body: (cluster: TestCluster) => Promise<void>,
): Promise<void> {
  const cluster = await startCluster(spec);
  try {
    await cluster.untilServing();
    await body(cluster);
  } catch (error) {
    cluster.printOutput();
    throw error;
  } finally {
    await cluster.close();
  }
}

async function startCluster(spec: ClusterSpec): Promise<TestCluster> {
  for (let attempt = 1; ; attempt++) {
    const cluster = await TestCluster.prepare(spec);
    try {
      await Promise.all(cluster.nodes.map((node) => node.start()));
      return cluster;
    } catch (error) {
      await cluster.close();
      const portTaken = error instanceof Error && error.message.includes("listens there already");
      if (portTaken && attempt < PORT_ATTEMPTS) continue;
      cluster.printOutput();
      throw error;
    }
  }
}

export class TestCluster {
  nodes: readonly NodeProcess[];
  readonly #directory: string;
  /** By `from>to` for links, by the node's id for fronts. */
  readonly #proxies: ReadonlyMap<string, TcpProxy>;
  readonly #clients: Client[] = [];
  #observer: Client | undefined;

  private constructor(
    directory: string,
    nodes: readonly NodeProcess[],
    proxies: ReadonlyMap<string, TcpProxy>,
  ) {
    this.#directory = directory;
    this.nodes = nodes;
    this.#proxies = proxies;
  }

  /** Lays out a cluster; nothing runs yet but its proxies. */
  static async prepare(spec: ClusterSpec): Promise<TestCluster> {
    const ports = freePorts(spec.nodes ?? 3);
    const ids = ports.map((_, index) => `n${index + 1}`);
    const proxies = new Map<string, TcpProxy>();
    for (const [to, port] of ports.entries()) {
      if (spec.proxies === "front") proxies.set(ids[to]!, await TcpProxy.listen(port, FRONT_HOST, port));
      if (spec.proxies !== "links") continue;
      for (const from of ids) {
        if (from !== ids[to]) proxies.set(`${from}>${ids[to]}`, await TcpProxy.listen(port));
      }
    }
    const directory = mkdtempSync(join(tmpdir(), "flotilla-test-"));
    const nodes = ids.map((id, index) => {
      // What a node believes of the others' addresses is what decides whether it meets a proxy.
      const peers = ids.map((to, at) => {
        const link = proxies.get(`${id}>${to}`);
        if (link !== undefined) return `${to}=127.0.0.1:${link.port}`;
        return `${to}=${proxies.has(to) ? FRONT_HOST : "127.0.0.1"}:${ports[at]}`;
      });
      const args = [
        "--host",
        "127.0.0.1",
        "--data",
        join(directory, id),
        "--shards",
        String(spec.shards ?? 8),
        ...(spec.flags ?? []),
      ];
      if (ids.length > 1 || spec.proxies !== undefined) args.push("--peers", peers.join(","));
      const disk = spec.diskBytes?.[id];
      const wrapper = disk === undefined ? [] : onSmallDisk(join(directory, id), disk);
      return new NodeProcess(id, ports[index]!, args, wrapper);
    });
    return new TestCluster(directory, nodes, proxies);
  }

  /** Where clients may knock, by default at every node: at its proxy where it has one in front. */
  addresses(nodes: readonly NodeProcess[] = this.nodes): string[] {
    return nodes.map(({ id, port }) => `${this.#proxies.has(id) ? FRONT_HOST : "127.0.0.1"}:${port}`);
  }

  /** Lays out one more node, which joins when it is started; of a cluster without proxies. `more` are further flags. */
  joiner(id: string, ...more: readonly string[]): NodeProcess {
    const [port] = freePorts(1) as [number];
    const seeds = this.nodes.map((node) => node.address).join(",");
    const args = ["--host", "127.0.0.1", "--data", join(this.#directory, id), "--join", seeds];
    const node = new NodeProcess(id, port, [...args, ...more]);
    this.nodes = [...this.nodes, node];
    return node;
  }

  /** The same node at another port, which it need not be told; the old one must not run. `more` are its flags beside. */
  moved(id: string, ...more: readonly string[]): NodeProcess {
    const [port] = freePorts(1) as [number];
    const args = ["--host", "127.0.0.1", "--data", join(this.#directory, id), ...more];
    const node = new NodeProcess(id, port, args);
    this.nodes = this.nodes.map((other) => (other.id === id ? node : other));
    return node;
  }

  /** Takes away what the node `id` has on its disk. It must not run. */
  wipe(id: string): void {
    rmSync(join(this.#directory, id), { recursive: true });
  }

  /** A client, closed with the cluster at the latest. */
  async connect(options: Partial<ClientOptions> = {}): Promise<Client> {
    const client = await connect({ addresses: this.addresses(), ...options });
    this.#clients.push(client);
    return client;
  }

  node(id: string): NodeProcess {
    const node = this.nodes.find((candidate) => candidate.id === id);
    assert(node !== undefined, `there is a node ${id}`);
    return node;
  }

  others(node: NodeProcess): NodeProcess[] {
    return this.nodes.filter((other) => other !== node);
  }

  /** What `node`, by default the first one alive, tells about the cluster. */
  async status(node = this.nodes.find(({ isAlive }) => isAlive)): Promise<ClusterStatus> {
    assert(node !== undefined, "a node is alive");
    this.#observer ??= await this.connect({ requestTimeoutMs: 3_000 });
    return await this.#observer.status({ address: node.address });
  }

  /** Waits until every shard has a leader among the nodes alive, and a majority follows it. */
  async untilServing(timeoutMs = SERVING_MS_MAX): Promise<ClusterStatus> {
    const alive = new Set<string>(this.nodes.filter(({ isAlive }) => isAlive).map(({ id }) => id));
    return await eventually("every shard has a leader", timeoutMs, async () => {
      const status = await this.status();
      const led = status.shards.every(({ leader }) => leader !== null && alive.has(leader));
      return led && status.available === 1 && status.shards.length > 0 ? status : undefined;
    });
  }

  /** The node alive that leads most shards. */
  async busiestLeader(): Promise<NodeProcess> {
    const status = await this.untilServing();
    const led = (id: string): number => status.shards.filter(({ leader }) => leader === id).length;
    return this.node([...this.nodes].sort((a, b) => led(b.id) - led(a.id))[0]!.id);
  }

  /** Parts a node from all others, both ways. `stall` loses everything on the way, `cut` breaks connections. */
  isolate(node: NodeProcess, how: "stall" | "cut"): void {
    for (const proxy of this.#linksOf(node)) proxy[how]();
  }

  /** Undoes `isolate`. */
  rejoin(node: NodeProcess): void {
    for (const proxy of this.#linksOf(node)) proxy.heal();
  }

  /** Has every proxy look at what passes back to callers. */
  filterReplies(filter: ReplyFilter): void {
    assert(this.#proxies.size > 0, "the cluster has proxies");
    for (const proxy of this.#proxies.values()) proxy.replyFilter = filter;
  }

  /** Waits until `node` has applied everything that was committed when this was called. */
  async untilCaughtUp(node: NodeProcess, timeoutMs = CATCH_UP_MS_MAX): Promise<void> {
    const { shards } = await this.untilServing();
    await eventually(`${node.id} has applied what the leaders had committed`, timeoutMs, async () => {
      const answer = await askNode(node.port, { kind: "status", scope: "node" });
      if (answer.kind !== "nodeStatus") return false;
      return shards.every(({ shard, commitIndex }) => {
        const own = answer.status.shards.find((status) => status.shard === shard);
        return own !== undefined && own.appliedIndex >= commitIndex;
      });
    });
  }

  /** Writes the last lines that each node printed to this process's standard error. */
  printOutput(): void {
    for (const { lines } of this.nodes) console.error(lines.slice(-PRINTED_LINES_MAX).join("\n"));
  }

  /** Ends everything and removes the data. */
  async close(): Promise<void> {
    for (const client of this.#clients) client.close();
    await Promise.allSettled(this.nodes.map((node) => node.kill("SIGKILL")));
    await Promise.allSettled([...this.#proxies.values()].map((proxy) => proxy.close()));
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #linksOf({ id }: NodeProcess): TcpProxy[] {
    const links = [...this.#proxies].filter(([name]) => name.startsWith(`${id}>`) || name.endsWith(`>${id}`));
    assert(links.length > 0, "the cluster has a proxy for each link");
    return links.map(([, proxy]) => proxy);
  }
}

/** A second address of this machine: a proxy there can have the very port of the node behind it, as `--peers` demands. */
const FRONT_HOST = "127.0.0.2";
