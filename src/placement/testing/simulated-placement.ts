/**
 * A cluster in which nothing exists but who is up and who holds what: the driver's plan is carried out as the leaders of
 * shards would, a step at a time, with chance deciding what is late or fails. It checks after each step that the limits were
 * kept and that no change of a set took a majority away.
 */
import { expect } from "bun:test";
import { type NodeId, nodeId } from "../../../protocol/ids.ts";
import { FailureDomains } from "../failure-domains.ts";
import {
  afterMove,
  isMoving,
  type MoveLimits,
  neededMoves,
  newcomersOf,
  nextMoves,
  type PlacementView,
  type PlanNode,
} from "../plan.ts";
import { replicaShares, shareOf } from "../shares.ts";
import { planWish, type WishAction } from "../wishes.ts";

export type Happening =
  | { readonly kind: "join"; readonly zone: number; readonly host: number }
  | { readonly kind: "drain" | "remove" | "kill" | "restart"; readonly node: number }
  | { readonly kind: "replace"; readonly node: number; readonly by: number }
  | { readonly kind: "pass"; readonly seconds: number }
  /** An operator wishes something of one shard. */
  | { readonly kind: "wish"; readonly action: WishAction; readonly node: number; readonly shard: number };

export interface SimulatedOptions {
  readonly shards: number;
  readonly replicas: number;
  readonly limits: MoveLimits;
  /** From 0 to 99: nothing goes wrong at 0. */
  readonly chance: () => number;
}

interface SimulatedNode {
  readonly id: NodeId;
  readonly zone: string;
  readonly host: string;
  isLeaving: boolean;
  isRemoved: boolean;
  isUp: boolean;
  downSeconds: number;
  replacement: NodeId | undefined;
}

interface SimulatedShard {
  wanted: NodeId[];
  copies: readonly NodeId[];
  promoted: readonly NodeId[];
  voters: NodeId[];
  outgoing: NodeId[];
  /** With the bytes that each has yet to get. */
  learners: Map<NodeId, number>;
  /** What the driver knows of it. */
  reported: { voters: NodeId[]; outgoing: NodeId[]; learners: NodeId[] };
  readonly bytes: number;
  /** The last move was one back: who went may have to come again, which no limit foresaw. */
  wasStopped: boolean;
}

/** After how long a silence a node is replaced. */
const LOST_SECONDS = 60;

export class SimulatedPlacement {
  /** Copies that were begun so far. */
  copies = 0;
  readonly #options: SimulatedOptions;
  readonly #nodes: SimulatedNode[] = [];
  #shards: SimulatedShard[] = [];
  #budget = 0;
  #isFounded = false;
  #isHealed = false;

  constructor(options: SimulatedOptions) {
    this.#options = options;
  }

  get view(): PlacementView {
    return {
      nodes: this.#nodes.map((node) => this.#planNode(node)),
      shards: this.#shards.map(({ wanted, copies, reported, bytes }) => {
        return { wanted, copies, actual: reported, bytes };
      }),
      ring: { virtualNodes: 20, replicas: this.#options.replicas },
    };
  }

  /** Every shard gets its first set. */
  found(): void {
    this.#shards = Array.from({ length: this.#options.shards }, (_, shard) => ({
      wanted: [],
      copies: [],
      promoted: [],
      voters: [],
      outgoing: [],
      learners: new Map(),
      reported: { voters: [], outgoing: [], learners: [] },
      bytes: 50 + (shard % 3) * 100,
      wasStopped: false,
    }));
    for (const { shard, add } of neededMoves(this.view)) this.#shards[shard]!.wanted.push(add!);
    for (const shard of this.#shards) {
      shard.voters = [...shard.wanted];
      this.#report(shard);
    }
    this.#isFounded = true;
  }

  happen(what: Happening): void {
    switch (what.kind) {
      case "join": {
        const id = nodeId(`n${this.#nodes.length + 1}`);
        const zone = `z${what.zone}`;
        const node = {
          id,
          zone,
          host: `${zone}h${what.host}`,
          isLeaving: false,
          isRemoved: false,
          isUp: true,
        };
        this.#nodes.push({ ...node, downSeconds: 0, replacement: undefined });
        break;
      }
      case "pass":
        for (let second = 0; second < what.seconds; second++) this.#second();
        break;
      case "kill":
        // A plan can do nothing for a shard whose majority is gone for good.
        if (this.#canLose(what.node)) this.#node(what.node).isUp = false;
        break;
      case "restart":
        if (!this.#node(what.node).isRemoved) this.#wake(this.#node(what.node));
        break;
      case "replace":
      case "drain":
      case "remove": {
        const node = this.#node(what.node);
        const stay = this.#nodes.filter(({ isLeaving, id }) => !isLeaving && id !== node.id);
        if (node.isLeaving || stay.length === 0 || !this.#isFounded) return;
        node.isLeaving = true;
        for (const shard of this.#shards) shard.copies = shard.copies.filter((id) => id !== node.id);
        if (what.kind === "replace") node.replacement = this.#node(what.by).id;
        break;
      }
      case "wish":
        if (this.#isFounded) this.#wish(what.action, this.#node(what.node).id, what.shard);
    }
  }

  /** No wish makes a set smaller than it should be or was, or leaves it without a majority that is there. */
  #wish(action: WishAction, node: NodeId, at: number): void {
    const { view } = this;
    const plan = planWish(view, { action, node, shard: at % this.#shards.length });
    if (plan.kind !== "changes") return;
    for (const { shard: number, wanted, copies, promoted } of plan.changes) {
      const shard = this.#shards[number]!;
      expect(new Set(wanted).size).toBe(wanted.length);
      expect(wanted.length).toBeGreaterThanOrEqual(Math.min(this.#options.replicas, shard.wanted.length));
      if (wanted.join() !== shard.wanted.join()) {
        expect([this.#hasMajority(shard.reported.voters), this.#hasMajority(wanted)]).toEqual([true, true]);
        shard.wasStopped = true;
      }
      shard.wanted = [...wanted];
      shard.copies = copies;
      shard.promoted = promoted;
    }
  }

  /** As if the option's time had passed. */
  setLost(node: number): void {
    this.#node(node).downSeconds = LOST_SECONDS;
  }

  /** Nothing goes wrong any more; who is away comes back, or stays away for good. */
  heal(comeBack: boolean): void {
    for (const node of this.#nodes) {
      if (comeBack) this.#wake(node);
      else if (!node.isUp) node.downSeconds = LOST_SECONDS;
    }
    this.#isHealed = true;
  }

  /** Seconds until nothing moves any more, at most `seconds`. */
  settle(seconds: number): number {
    for (let second = 0; second < seconds; second++) {
      const isAtRest = this.#shards.every((shard) => {
        const actual = this.#truth(shard);
        const copies = shard.copies.filter((id) => !shard.wanted.includes(id));
        return !isMoving({ ...shard, actual }) && copies.length === actual.learners.length;
      });
      if (isAtRest && nextMoves(this.view, this.#options.limits).length === 0 && this.#allSeen())
        return second;
      this.#second();
    }
    return seconds;
  }

  /** What has to be true when nothing moves any more: who leaves or is lost has nothing, and the others their shares. */
  checkRest(): void {
    const { nodes } = this.view;
    const useful = nodes.filter(({ isLeaving, health }) => !isLeaving && health === "up");
    useful.sort((a, b) => (a.id < b.id ? -1 : 1));
    if (useful.length === 0) return;
    const size = Math.min(useful.length, this.#options.replicas);
    const domains = new FailureDomains(useful);
    const loads = new Array<number>(useful.length).fill(0);
    // Where some nodes are not to vote in a shard its set is the best only among the others.
    const isFree = this.#shards.every(({ copies }) => copies.length === 0);
    for (const { voters, copies, learners } of this.#shards) {
      expect([...learners.keys()].sort()).toEqual(copies.filter((id) => !voters.includes(id)).sort());
      // Who shall have but a copy votes only where everybody votes who could do so in its place.
      if (copies.some((id) => voters.includes(id))) {
        expect(useful.every(({ id }) => voters.includes(id) || copies.includes(id))).toBe(true);
      }
      const places = voters
        .map((id) => useful.findIndex((node) => node.id === id))
        .filter((place) => place >= 0);
      expect(new Set(places).size).toBe(size);
      if (isFree) expect(domains.costOf(places)).toBe(domains.costOf(domains.bestSet(size)));
      for (const place of places) loads[place]!++;
      if (size === this.#options.replicas) expect(voters).toHaveLength(size);
      // Where nodes are scarce a lost one may keep its place; one that leaves only as long as too few are up without it.
      for (const id of voters) {
        const { isLeaving, health } = nodes.find((node) => node.id === id)!;
        if (isLeaving)
          expect(voters.some((other) => nodes.find((node) => node.id === other)!.health !== "up")).toBe(true);
        else if (health !== "up") expect(voters.length).toBeLessThanOrEqual(this.#options.replicas);
      }
    }
    if (!isFree) return;
    for (const [place, share] of replicaShares(domains, this.#shards.length, size).entries()) {
      expect(loads[place]!).toBeGreaterThanOrEqual(shareOf(share).low);
      expect(loads[place]!).toBeLessThanOrEqual(shareOf(share).high);
    }
  }

  #node(at: number): SimulatedNode {
    return this.#nodes[at % this.#nodes.length]!;
  }

  #wake(node: SimulatedNode): void {
    node.isUp = true;
    node.downSeconds = 0;
  }

  #planNode(node: SimulatedNode): PlanNode {
    const { id, zone, host, isLeaving, replacement } = node;
    const health = node.isUp ? "up" : node.downSeconds < LOST_SECONDS ? "down" : "lost";
    return { id, zone, host, weight: 1, isLeaving, replacement, health };
  }

  #isUp(id: NodeId): boolean {
    return this.#nodes.find((node) => node.id === id)!.isUp;
  }

  #hasMajority(set: readonly NodeId[]): boolean {
    return set.length === 0 || 2 * set.filter((id) => this.#isUp(id)).length > set.length;
  }

  #canLose(at: number): boolean {
    const lost = this.#node(at).id;
    const survives = (set: readonly NodeId[]) =>
      set.length === 0 || 2 * set.filter((id) => id !== lost && this.#isUp(id)).length > set.length;
    return this.#shards.every(({ voters, outgoing }) => survives(voters) && survives(outgoing));
  }

  #truth({ voters, outgoing, learners }: SimulatedShard) {
    return { voters, outgoing, learners: [...learners.keys()] };
  }

  #report(shard: SimulatedShard): void {
    const { voters, outgoing, learners } = this.#truth(shard);
    shard.reported = { voters: [...voters], outgoing: [...outgoing], learners };
    shard.promoted = shard.promoted.filter((id) => shard.wanted.includes(id));
    shard.copies = shard.copies.filter((id) => !(shard.promoted.includes(id) && voters.includes(id)));
  }

  #allSeen(): boolean {
    return this.#shards.every(
      (shard) => JSON.stringify(shard.reported) === JSON.stringify(this.#truth(shard)),
    );
  }

  #fails(percent: number): boolean {
    return !this.#isHealed && this.#options.chance() >= 100 - percent;
  }

  #second(): void {
    for (const node of this.#nodes) if (!node.isUp) node.downSeconds++;
    this.#drive();
    for (const shard of this.#shards) {
      if (!this.#hasMajority(shard.voters) || !this.#hasMajority(shard.outgoing)) continue;
      if (!this.#fails(30)) this.#followWish(shard);
      if (!this.#fails(20)) this.#report(shard);
    }
  }

  /** The driver's turn; it may die in the middle of it. */
  #drive(): void {
    const { limits } = this.#options;
    this.#budget = Math.min(limits.bytesPerSecond, this.#budget + limits.bytesPerSecond);
    for (const move of nextMoves(this.view, limits, this.#budget)) {
      if (this.#fails(10)) return;
      const shard = this.#shards[move.shard]!;
      expect(new Set([move.add, move.remove]).size).toBe(2);
      expect(isMoving({ ...shard, actual: shard.reported })).toBe(move.reason === "stop");
      if (move.add !== undefined) expect(shard.wanted).not.toContain(move.add);
      if (move.remove !== undefined) expect(shard.wanted).toContain(move.remove);
      const couldDecide = this.#hasMajority(shard.reported.voters);
      shard.wanted = afterMove(shard.wanted, move);
      // Both what is and what shall be can decide, or it is a way back to what is.
      if (move.reason !== "stop")
        expect([couldDecide, this.#hasMajority(shard.wanted)]).toEqual([true, true]);
      else expect(shard.reported.voters).not.toContain(move.remove!);
      shard.wasStopped = move.reason === "stop";
      if (move.reason === "stop" || move.add === undefined) continue;
      expect(this.#budget).toBeGreaterThan(0);
      this.#budget -= move.bytes;
      this.copies++;
    }
    this.#checkLimits();
  }

  #checkLimits(): void {
    const { limits } = this.#options;
    const received = new Map<NodeId, number[]>();
    let copies = 0;
    for (const shard of this.#shards) {
      if (shard.wasStopped) continue;
      const newcomers = newcomersOf({ ...shard, actual: shard.reported });
      copies += Math.min(1, newcomers.length);
      for (const id of newcomers) received.set(id, [...(received.get(id) ?? []), shard.bytes]);
    }
    expect(copies).toBeLessThanOrEqual(limits.moves);
    for (const bytes of received.values()) {
      expect(bytes.length).toBeLessThanOrEqual(limits.movesPerNode);
      const sum = bytes.reduce((all, each) => all + each, 0);
      expect(bytes.length === 1 || sum <= limits.bytesPerNode).toBe(true);
    }
  }

  /** What the shard's leader does in a second: one step from what is to what is wanted. */
  #followWish(shard: SimulatedShard): void {
    const { wanted, copies, voters, learners } = shard;
    if (shard.outgoing.length > 0) {
      shard.outgoing = [];
      return;
    }
    for (const id of learners.keys()) {
      if (!wanted.includes(id) && !copies.includes(id)) learners.delete(id);
    }
    for (const id of copies) if (!voters.includes(id) && !learners.has(id)) learners.set(id, shard.bytes);
    const newcomers = wanted.filter((id) => !voters.includes(id));
    if (newcomers.length === 0 && voters.length === wanted.length) return;
    for (const id of newcomers) {
      if (!learners.has(id)) learners.set(id, shard.bytes);
      else if (this.#isUp(id)) learners.set(id, Math.max(0, learners.get(id)! - 60));
    }
    if (newcomers.some((id) => learners.get(id)! > 0 || !this.#isUp(id))) return;
    // A leader proposes no change that it could not commit.
    if (!this.#hasMajority(wanted)) return;
    shard.outgoing = voters;
    shard.voters = [...wanted];
    for (const id of newcomers) learners.delete(id);
    // Who gives up its vote has everything.
    for (const id of copies) if (voters.includes(id) && !wanted.includes(id)) learners.set(id, 0);
  }
}
