import { decodeConfiguration } from "../../../protocol/configuration.ts";
import { type LogIndex, logIndex, type NodeId, nodeId } from "../../../protocol/ids.ts";
import type { RaftMessage } from "../../../protocol/peer-messages.ts";
import { assert } from "../../lib/assert.ts";
import type { Random } from "../../lib/prng.ts";
import { founders, isMember, type Membership } from "../configuration.ts";
import { createRaft } from "../raft.ts";
import type { Output, RaftConfig, RaftCore, ReceivedSnapshot } from "../types.ts";
import { Checker, type Member } from "./checker.ts";
import { MemoryDisk } from "./memory-disk.ts";

export class Node implements Member {
  readonly id: NodeId;
  readonly disk = new MemoryDisk();
  core: RaftCore | undefined;
  /** What was committed anywhere when each read round of this life was last joined. */
  reads = new Map<number, LogIndex>();
  grants = 0;
  /** When the next tick may come, where somebody keeps the time. */
  nextTickAt = 0;
  /** The members as of what was applied. */
  membership: Membership;
  lostReadsUpTo = 0;

  constructor(id: NodeId) {
    this.id = id;
    this.membership = this.disk.log.membership;
  }
}

/** A snapshot on its way, and the life of the leader that sends it. */
export interface Stream {
  readonly snapshot: ReceivedSnapshot;
  readonly to: NodeId;
  readonly sender: RaftCore;
}

export type ClusterConfig = Omit<RaftConfig, "id" | "membership">;

/**
 * A Raft group in memory: cores that do what a real owner would (write, send, sync, apply), over disks that forget and
 * a network in which messages wait until somebody delivers them. It decides nothing by itself: the caller says what
 * happens next, and the checker looks at every step.
 */
export class Cluster {
  readonly nodes: readonly Node[];
  readonly checker: Checker;
  /** Messages on their way, in the order in which they were sent. */
  network: RaftMessage[] = [];
  /** Snapshots likewise. */
  streams: Stream[] = [];
  /** The time that reads are told. */
  now = 0;
  /** Sees each Output before it is carried out. */
  onOutput: (node: Node, output: Output) => void = () => {};
  readonly #config: ClusterConfig;
  readonly #cut = new Set<string>();

  /** `size` nodes; all of them, or the first `voters`, found the group. */
  constructor(size: number, config: ClusterConfig, voters = size) {
    this.#config = config;
    this.nodes = Array.from({ length: size }, (_, i) => new Node(nodeId(`n${i + 1}`)));
    const configuration = founders(this.nodes.slice(0, voters).map(({ id }) => id));
    this.checker = new Checker(configuration);
    for (const node of this.nodes.slice(0, voters)) {
      node.disk.log.membership = { index: logIndex(0), configuration };
      node.disk.durableLog.membership = node.disk.log.membership;
    }
    for (const node of this.nodes) this.start(node);
  }

  node(id: string): Node {
    const node = this.nodes.find((candidate) => candidate.id === id);
    assert(node !== undefined, `no node ${id}`);
    return node;
  }

  start(node: Node): void {
    node.membership = node.disk.log.membership;
    const config = { ...this.#config, id: node.id, membership: node.membership };
    node.core = createRaft(config, node.disk.log, node.disk.durableState);
    node.reads = new Map();
    node.lostReadsUpTo = 0;
    this.checker.restarted(node);
    this.settle(node);
  }

  crash(node: Node, survivors = 0): void {
    const { core } = node;
    node.core = undefined;
    node.disk.crash(survivors);
    if (core?.role === "leader" && core.term > node.disk.durableState.term) this.checker.forgotten(core.term);
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

  /** A snapshot arrives whole, or is given up. */
  endStream(stream: Stream, arrives: boolean): void {
    const { snapshot, to, sender } = stream;
    const receiver = this.node(to);
    const isOpen = receiver.core !== undefined && !this.#cut.has(`${snapshot.from}>${to}`);
    if (arrives && isOpen) receiver.core?.snapshotReceived(snapshot);
    const from = this.node(snapshot.from);
    if (from.core !== sender) return;
    if (arrives && isOpen && !this.#cut.has(`${to}>${snapshot.from}`))
      sender.snapshotDone(to, snapshot.index);
    else sender.snapshotFailed(to);
  }

  /** The node's oldest log write becomes durable. `quiet`: its owner says so only together with the next one. */
  sync(node: Node, quiet = false): void {
    const synced = node.disk.sync();
    if (synced === undefined || node.core === undefined) return;
    const last = synced.output.entries.at(-1);
    if (last !== undefined && !quiet) node.core.persisted(last.index, last.term);
    for (const message of synced.messages) this.#send(node, message);
  }

  /** `byLease`: a lease is enough for it, where there is one. */
  read(node: Node, byLease = true): void {
    const round = node.core?.readIndex(this.now, byLease);
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
    if (output.install !== undefined) {
      this.checker.installed(node, output.install);
      node.membership = output.install.membership;
      node.disk.log.restart(output.install.index, output.install.term, output.install.membership);
    }
    this.checker.appended(node, output.entries);
    const free = node.disk.write(output);
    for (const message of output.messages) this.#send(node, message);
    for (const message of free) this.#send(node, message);
    this.checker.delivered(node, output.committed);
    for (const { kind, index, data } of output.committed) {
      if (kind === "config") node.membership = { index, configuration: decodeConfiguration(data) };
    }
    for (const request of output.snapshots) this.#stream(node, request.to, request.index);
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

  /** A snapshot of what `node` has applied, which is as much as was asked for. */
  #stream(node: Node, to: NodeId, wanted: LogIndex): void {
    const core = node.core!;
    const index = this.checker.applied(node.id);
    assert(index >= wanted, `snapshot: ${node.id} has compacted ${wanted}, but applied ${index}`);
    const lastTerm = node.disk.log.term(index)!;
    const snapshot = { from: node.id, term: core.term, index, lastTerm, membership: node.membership };
    this.streams.push({ snapshot, to, sender: core });
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
    while (
      this.network.length > 0 ||
      this.streams.length > 0 ||
      this.nodes.some((node) => node.disk.pending > 0)
    ) {
      assert(guard++ < 10_000, "the cluster does not come to rest");
      const streams = this.streams;
      this.streams = [];
      for (const stream of streams) {
        this.endStream(stream, true);
        this.settle(this.node(stream.to));
        this.settle(this.node(stream.snapshot.from));
      }
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

  /** Nodes forget a part of what they have applied. */
  compact(random: Random): void {
    for (const node of this.nodes) {
      if (node.core === undefined || random.below(2) === 0) continue;
      const applied = this.checker.applied(node.id);
      this.compactTo(node, logIndex(applied - random.below(Math.min(applied, 5) + 1)));
    }
  }

  compactTo(node: Node, index: LogIndex): void {
    // What is written is durable in order: here nothing may be on its way, a snapshot least of all.
    if (node.disk.pending > 0) return;
    node.disk.log.compact(index);
    node.disk.durableLog.compact(index);
  }

  /** The nodes that the latest committed configuration names. */
  get members(): readonly Node[] {
    return this.nodes.filter(({ id }) => isMember(this.checker.configuration, id));
  }
}
