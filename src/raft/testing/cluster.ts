import { type LogIndex, logIndex, type NodeId, nodeId } from "../../../protocol/ids.ts";
import type { RaftMessage } from "../../../protocol/peer-messages.ts";
import { assert } from "../../lib/assert.ts";
import type { Random } from "../../lib/prng.ts";
import { createRaft } from "../raft.ts";
import type { Output, RaftConfig, RaftCore } from "../types.ts";
import { Checker, type Member } from "./checker.ts";
import { MemoryDisk } from "./memory-disk.ts";

export class Node implements Member {
  readonly id: NodeId;
  readonly disk = new MemoryDisk();
  core: RaftCore | undefined;
  /** What was committed anywhere when each read round of this life was last joined. */
  reads = new Map<number, LogIndex>();
  grants = 0;
  lostReadsUpTo = 0;

  constructor(id: NodeId) {
    this.id = id;
  }
}

export type ClusterConfig = Omit<RaftConfig, "id" | "voters">;

/**
 * A Raft group in memory: cores that do what a real owner would (write, send, sync, apply), over disks that forget and
 * a network in which messages wait until somebody delivers them. It decides nothing by itself: the caller says what
 * happens next, and the checker looks at every step.
 */
export class Cluster {
  readonly nodes: readonly Node[];
  readonly checker = new Checker();
  /** Messages on their way, in the order in which they were sent. */
  network: RaftMessage[] = [];
  /** Sees each Output before it is carried out. */
  onOutput: (node: Node, output: Output) => void = () => {};
  readonly #config: ClusterConfig;
  readonly #cut = new Set<string>();

  constructor(size: number, config: ClusterConfig) {
    this.#config = config;
    this.nodes = Array.from({ length: size }, (_, i) => new Node(nodeId(`n${i + 1}`)));
    for (const node of this.nodes) this.start(node);
  }

  node(id: string): Node {
    const node = this.nodes.find((candidate) => candidate.id === id);
    assert(node !== undefined, `no node ${id}`);
    return node;
  }

  start(node: Node): void {
    const config = { ...this.#config, id: node.id, voters: this.nodes.map(({ id }) => id) };
    node.core = createRaft(config, node.disk.log, node.disk.durableState);
    node.reads = new Map();
    node.lostReadsUpTo = 0;
    this.checker.restarted(node);
    this.settle(node);
  }

  crash(node: Node, survivors = 0): void {
    node.core = undefined;
    node.disk.crash(survivors);
    if (this.nodes.length === 1) this.checker.forgotten(node);
  }

  /** Cuts, or mends, the way from one node to another. */
  cut(from: string, to: string, cut = true): void {
    if (cut) this.#cut.add(`${from}>${to}`);
    else this.#cut.delete(`${from}>${to}`);
  }

  heal(): void {
    this.#cut.clear();
  }

  /** Hands a message over, if its way is open and the receiver lives. */
  deliver(message: RaftMessage): void {
    const to = this.node(message.to);
    if (to.core === undefined || this.#cut.has(`${message.from}>${message.to}`)) return;
    to.core.step(message);
  }

  /** The node's oldest log write becomes durable. `quiet`: its owner says so only together with the next one. */
  sync(node: Node, quiet = false): void {
    const synced = node.disk.sync();
    if (synced === undefined || node.core === undefined) return;
    const last = synced.output.entries.at(-1);
    if (last !== undefined && !quiet) node.core.persisted(last.index, last.term);
    for (const message of synced.messages) this.#send(node, message);
  }

  read(node: Node): void {
    const round = node.core?.readIndex();
    if (round !== undefined) node.reads.set(round, this.checker.commit);
  }

  /** Does what the node's core wants done, and checks the state that this leaves. */
  settle(node: Node): void {
    while (node.core?.hasOutput) {
      this.#run(node, node.core.takeOutput());
    }
    this.checker.check(node, this.nodes);
  }

  get leader(): Node | undefined {
    const leaders = this.nodes.filter((node) => node.core?.role === "leader");
    return leaders.sort((a, b) => b.core!.term - a.core!.term)[0];
  }

  #run(node: Node, output: Output): void {
    // Who gets an Output must not change it, nor may the core: messages share its arrays.
    Object.freeze(output.entries);
    this.onOutput(node, output);
    this.checker.appended(node, output.entries);
    const free = node.disk.write(output);
    for (const message of output.messages) this.#send(node, message);
    for (const message of free) this.#send(node, message);
    this.checker.delivered(node, output.committed);
    for (const { round, index } of output.reads) {
      const needed = node.reads.get(round);
      assert(needed !== undefined, `reads: ${node.id} was granted round ${round} that it did not ask for`);
      assert(index >= needed, `reads: ${node.id} may read at ${index}, but ${needed} was committed before`);
      node.reads.delete(round);
      node.grants++;
    }
    node.lostReadsUpTo = output.lostReadsUpTo;
    for (const round of node.reads.keys()) if (round <= output.lostReadsUpTo) node.reads.delete(round);
  }

  #send(node: Node, message: RaftMessage): void {
    this.checker.sent(node, message);
    this.network.push(message);
  }

  /** Time passes for everybody, and all that is on its way arrives, until nothing is left to do. */
  calmRound(): void {
    for (const node of this.nodes) {
      node.core?.tick();
      this.settle(node);
    }
    this.quiesce();
  }

  /** Everything that was sent arrives, everything that was written is synced. */
  quiesce(): void {
    let guard = 0;
    while (this.network.length > 0 || this.nodes.some((node) => node.disk.pending > 0)) {
      assert(guard++ < 10_000, "the cluster does not come to rest");
      const messages = this.network;
      this.network = [];
      for (const message of messages) {
        this.deliver(message);
        this.settle(this.node(message.to));
      }
      for (const node of this.nodes) {
        while (node.disk.pending > 0) {
          this.sync(node);
          this.settle(node);
        }
      }
    }
  }

  /** Forgets the log of every node up to what all of them have applied and on disk. */
  compact(random: Random): void {
    const safe = Math.min(
      ...this.nodes.map(({ id, core }) => (core === undefined ? 0 : this.checker.applied(id))),
    );
    for (const node of this.nodes) {
      const index = logIndex(safe - random.below(safe + 1));
      node.disk.log.compact(index);
      node.disk.durableLog.compact(index);
    }
  }
}
