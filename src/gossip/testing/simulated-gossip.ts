/**
 * Nodes that gossip in virtual time, over a network that loses and delays what it is told to, and can be cut. One seed
 * decides everything.
 */
import type { GossipMessage, MemberState, NodeLoad } from "../../../protocol/gossip-messages.ts";
import { type NodeId, nodeId } from "../../../protocol/ids.ts";
import { Heap } from "../../lib/heap.ts";
import { type Random, seededRandom } from "../../lib/prng.ts";
import { Gossip } from "../gossip.ts";
import { DEFAULT_GOSSIP, type GossipOptions } from "../options.ts";

export interface SimulationOptions {
  readonly nodes: number;
  readonly seed: number;
  readonly options?: GossipOptions;
  /** Messages in a hundred that are lost. */
  readonly lossPercent?: number;
  /** Longest time that a message is on its way. */
  readonly latencyMsMax?: number;
  /** What becomes of a message when it is sent: it may be encoded, counted and decoded. */
  readonly wire?: (message: GossipMessage) => GossipMessage;
}

interface Machine {
  readonly id: NodeId;
  gossip: Gossip;
  phase: "running" | "paused" | "down";
  /** How often it was started: what was on its way to an earlier process is lost. */
  starts: number;
  /** Grows with each start and each pause, whose timers are set anew. */
  life: number;
  /** What came while it was paused. */
  readonly held: GossipMessage[];
  /** The cut that it is behind. */
  side: number;
}

interface Event {
  readonly atMs: number;
  readonly number: number;
  readonly run: () => void;
}

export class SimulatedGossip {
  readonly #options: GossipOptions;
  readonly #random: Random;
  readonly #machines = new Map<NodeId, Machine>();
  readonly #events = new Heap<Event>((a, b) => a.atMs - b.atMs || a.number - b.number);
  readonly #cutPairs = new Set<string>();
  #eventsSet = 0;
  lossPercent: number;
  latencyMsMax: number;
  readonly #wire: NonNullable<SimulationOptions["wire"]>;
  nowMs = 0;
  /** Messages that all nodes have sent. */
  sentMessages = 0;
  /** Each time that a node held one for dead that ran and was not cut off from it. */
  readonly falseDeaths: string[] = [];
  /** How often a node has begun to suspect another one. */
  suspicions = 0;

  constructor({ nodes, seed, options, lossPercent, latencyMsMax, wire }: SimulationOptions) {
    this.#options = options ?? DEFAULT_GOSSIP;
    this.#random = seededRandom(seed);
    this.lossPercent = lossPercent ?? 0;
    this.latencyMsMax = latencyMsMax ?? 2;
    this.#wire = wire ?? ((message) => message);
    for (let i = 1; i <= nodes; i++) {
      const id = nodeId(`n${i}`);
      const machine: Machine = {
        ...{ id, gossip: undefined as unknown as Gossip, phase: "down", starts: 0, life: 0 },
        ...{ held: [], side: 0 },
      };
      this.#machines.set(id, machine);
    }
    for (const id of this.nodes) this.start(id);
  }

  get nodes(): readonly NodeId[] {
    return [...this.#machines.keys()];
  }

  get running(): readonly NodeId[] {
    return this.nodes.filter((node) => this.#machine(node).phase === "running");
  }

  gossip(node: NodeId): Gossip {
    return this.#machine(node).gossip;
  }

  /** A new process, which knows who the members are and nothing else. */
  start(node: NodeId): void {
    const machine = this.#machine(node);
    const life = ++machine.life;
    machine.starts++;
    machine.phase = "running";
    machine.held.length = 0;
    machine.gossip = new Gossip({
      ...{ self: node, random: this.#random, options: this.#options, nowMs: this.nowMs },
      onChange: (about, state) => this.#changed(machine, about, state),
    });
    machine.gossip.setMembers(this.nodes);
    // Nobody's timers are in step with another's.
    this.#at(this.nowMs + this.#random.float() * this.#options.tickMs, () => this.#tick(machine, life));
  }

  kill(node: NodeId): void {
    this.#machine(node).phase = "down";
  }

  leave(node: NodeId): void {
    const machine = this.#machine(node);
    this.#send(machine.gossip.leave(this.nowMs));
    machine.phase = "down";
  }

  pause(node: NodeId): void {
    this.#machine(node).phase = "paused";
  }

  /** The timers that should have gone off long ago do so before anything is read that came meanwhile. */
  resume(node: NodeId): void {
    const machine = this.#machine(node);
    machine.phase = "running";
    this.#tick(machine, ++machine.life);
    for (const message of machine.held.splice(0)) this.#deliver(machine, message);
  }

  /** Only nodes that are given the same number here, or none, hear each other. */
  cut(side: (node: NodeId) => number): void {
    for (const machine of this.#machines.values()) machine.side = side(machine.id);
  }

  /** These two do not hear each other any more. Others hear both. */
  cutPair(a: NodeId, b: NodeId): void {
    this.#cutPairs.add(`${a} ${b}`).add(`${b} ${a}`);
  }

  heal(): void {
    this.#cutPairs.clear();
    this.cut(() => 0);
  }

  /** Lets time pass. */
  run(ms: number): void {
    const untilMs = this.nowMs + ms;
    for (let next = this.#events.top; next !== undefined && next.atMs <= untilMs; next = this.#events.top) {
      this.#events.takeTop();
      this.nowMs = next.atMs;
      next.run();
    }
    this.nowMs = untilMs;
  }

  /** Lets time pass until `condition` holds; how long that took, or `undefined` if it was not so within `limitMs`. */
  until(condition: () => boolean, limitMs: number, stepMs = 10): number | undefined {
    const startMs = this.nowMs;
    while (!condition()) {
      if (this.nowMs - startMs >= limitMs) return undefined;
      this.run(stepMs);
    }
    return this.nowMs - startMs;
  }

  /** Whether every running node but itself has `node` in this state. */
  allSay(node: NodeId, state: MemberState): boolean {
    return this.running.every((other) => other === node || this.gossip(other).stateOf(node) === state);
  }

  /** Whether every running node has every other one of them as alive. */
  get allAlive(): boolean {
    return this.running.every((node) => this.allSay(node, "alive"));
  }

  #machine(node: NodeId): Machine {
    const machine = this.#machines.get(node);
    if (machine === undefined) throw new Error(`there is no node ${node}`);
    return machine;
  }

  #tick(machine: Machine, life: number): void {
    if (machine.life !== life || machine.phase !== "running") return;
    this.#send(machine.gossip.tick(this.nowMs));
    this.#at(this.nowMs + this.#options.tickMs, () => this.#tick(machine, life));
  }

  #send(messages: readonly GossipMessage[]): void {
    for (const sent of messages) {
      const message = this.#wire(sent);
      this.sentMessages++;
      const [from, to] = [this.#machine(message.from), this.#machine(message.to)];
      if (from.side !== to.side || this.#cutPairs.has(`${from.id} ${to.id}`)) continue;
      if (this.#random.below(100) < this.lossPercent) continue;
      const { starts } = to;
      this.#at(this.nowMs + this.#random.float() * this.latencyMsMax, () => {
        if (to.phase === "paused") to.held.push(message);
        else if (to.phase === "running" && to.starts === starts) this.#deliver(to, message);
      });
    }
  }

  #deliver(machine: Machine, message: GossipMessage): void {
    this.#send(machine.gossip.receive(message, this.nowMs));
  }

  #changed(by: Machine, about: NodeId, state: MemberState): void {
    if (state === "suspect") this.suspicions++;
    const subject = this.#machine(about);
    if (state !== "dead" || subject.phase !== "running" || subject.side !== by.side) return;
    this.falseDeaths.push(`${by.id} says at ${Math.round(this.nowMs)} ms that ${about} is dead`);
  }

  #at(atMs: number, run: () => void): void {
    this.#events.add({ atMs, number: this.#eventsSet++, run });
  }
}

export const ANY_LOAD: NodeLoad = {
  ...{ shards: 8, leaders: 3, dataBytes: 1_000_000_000, requestsPerSecond: 12_345 },
  ...{ disk: "ok", startedAtMs: 1_700_000_000_000, version: "0.1.0" },
};
