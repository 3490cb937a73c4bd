/**
 * Redis clients that know nothing of leaders, while those change on purpose: what a leader refuses because it hands over is
 * carried out by the next one, once, and the writes of a pipeline keep their order.
 */
import { expect, test } from "bun:test";
import { shardOfSlot, slotOf } from "../../protocol/slots.ts";
import { utf8 } from "../../src/lib/bytes.ts";
import { withCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { RawConnection } from "../support/raw-connection.ts";

const SHARDS = 4;
/** How many rounds of a pipeline are sent ahead of their replies. */
const ROUNDS_AHEAD = 8;

/**
 * Writes one key on one connection, a few rounds ahead of the replies. A write that fails, is done twice or out of its turn
 * shows in a reply that is not the expected one.
 */
class PipelinedWriter {
  readonly #connection: RawConnection;
  readonly #key: string;
  readonly done: Promise<void>;
  #rounds = 0;
  #replies = 0;
  #stopping = false;

  private constructor(connection: RawConnection, key: string) {
    this.#connection = connection;
    this.#key = key;
    this.done = this.#run();
    // Whoever waits for it hears of it; until then it is no unhandled rejection.
    this.done.catch(() => {});
  }

  static async start(port: number, key: string): Promise<PipelinedWriter> {
    return new PipelinedWriter(await RawConnection.open(port), key);
  }

  /** `count` more rounds are answered, each as it should be. */
  async goesOn(count: number): Promise<void> {
    const goal = this.#replies + count;
    await Promise.race([this.done, eventually("replies", 10_000, () => this.#replies >= goal)]);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.done;
  }

  async #run(): Promise<void> {
    try {
      while (!this.#stopping || this.#replies < this.#rounds) {
        if (!this.#stopping) this.#send(this.#rounds++);
        if (this.#stopping || this.#rounds - this.#replies >= ROUNDS_AHEAD)
          await this.#expect(this.#replies++);
      }
    } finally {
      this.#connection.close();
    }
  }

  #send(round: number): void {
    const key = this.#key;
    // Writes of their own, so that not all of a round comes in one turn of the node.
    this.#connection.send(utf8(`SET ${key} ${round}:first\r\n`));
    this.#connection.send(utf8(`SET ${key} ${round}:second\r\nINCR ${key}:n\r\n`));
    this.#connection.send(utf8(`GET ${key}\r\nINCR ${key}:n\r\n`));
  }

  async #expect(round: number): Promise<void> {
    const value = `${round}:second`;
    const wanted = ["+OK", "+OK", `:${2 * round + 1}`, `$${value.length}`, value, `:${2 * round + 2}`];
    for (const line of wanted) expect(await this.#connection.line()).toBe(line);
  }
}

/** Two writers at each of the nodes, each of a key of its own that begins with `prefix`. */
function startWriters(nodes: readonly NodeProcess[], prefix: string): Promise<PipelinedWriter[]> {
  return Promise.all(
    [...nodes, ...nodes].map(({ port }, index) => PipelinedWriter.start(port, `${prefix}:${index}`)),
  );
}

test("while leaders are moved clients see no error, and pipelines keep their order", async () => {
  await withCluster({ shards: SHARDS }, async (cluster) => {
    const operator = await cluster.connect();
    const shard = shardOfSlot(slotOf(utf8("{moved}")), SHARDS);
    const writers = await startWriters(cluster.nodes, "{moved}");
    for (let move = 0; move < 6; move++) {
      const to = cluster.nodes[move % 3]!.id;
      await operator.transferLeader(to, { shard });
      await eventually(`${to} leads`, 10_000, async () => {
        return (await cluster.status()).shards[shard]!.leader === to;
      });
      for (const writer of writers) await writer.goesOn(5);
    }
    for (const writer of writers) await writer.stop();
  });
}, 60_000);

test("while a leader is stopped the clients of the other nodes see no error", async () => {
  await withCluster({ shards: SHARDS }, async (cluster) => {
    const operator = await cluster.connect();
    const shard = shardOfSlot(slotOf(utf8("{stopped}")), SHARDS);
    for (const id of ["n1", "n2"]) {
      const node = cluster.node(id);
      await operator.transferLeader(id, { shard });
      await eventually(`${id} leads`, 10_000, async () => {
        return (await cluster.status()).shards[shard]!.leader === id;
      });
      const writers = await startWriters(cluster.others(node), `{stopped}:${id}`);
      const left = await PipelinedWriter.start(node.port, `{stopped}:${id}:left`);
      for (const writer of [left, ...writers]) await writer.goesOn(5);
      expect(await node.kill("SIGTERM")).toEqual({ code: 0, signal: null });
      // Its own client saw nothing but the end of the connection.
      await expect(left.done).rejects.toThrow("the connection ended");
      for (const writer of writers) await writer.goesOn(5);
      await node.start();
      await cluster.untilServing();
      for (const writer of writers) await writer.stop();
    }
  });
}, 60_000);
