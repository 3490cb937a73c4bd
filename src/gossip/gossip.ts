/**
 * Who is there: SWIM (Das, Gupta, Motivala 2002) with suspicions, incarnations and piggybacked facts, and what Lifeguard
 * (Dadgar, Phillips, Currey 2017) added for nodes that are slow themselves.
 *
 * Every node probes one other at a time, in rounds. Who does not answer is probed by a few others as well, so that one bad
 * path is no death; who answers nobody is suspected, everybody hears of it, and if the suspect does not contradict in time it
 * is dead. It contradicts by raising its incarnation, which nobody else does: the newer incarnation wins, and within one the
 * graver state. All this rides on the probes themselves: what a node sends and receives in a second does not depend on how
 * many nodes there are.
 *
 * Beside that the probes carry each node's load and each leader's claim to its shard. Facts are passed on a number of times
 * that grows with the logarithm of the number of nodes, which brings them to all with high probability; now and then two
 * nodes exchange everything, for what is left.
 *
 * The members are told from outside. Gossip never makes anybody a member, nor ends that: who is dead is a member that does
 * not answer, and is asked now and then whether it is back.
 *
 * Pure: messages, ticks and facts go in, messages come out. It does not
 * - survive a restart: the others remember a node's incarnation for it, and it goes beyond that;
 * - authenticate: whoever lets peers in has done that;
 * - tell a node that is cut off from one that died. Nor can anybody else.
 */
import type {
  GossipFacts,
  GossipMessage,
  GossipPingRequest,
  LeaderHint,
  LoadFact,
  MemberFact,
  MemberState,
  NodeLoad,
} from "../../protocol/gossip-messages.ts";
import type { GossipView } from "../../protocol/gossip-view.ts";
import type { NodeId, ShardId, Term } from "../../protocol/ids.ts";
import { unreachable } from "../lib/assert.ts";
import type { Random } from "../lib/prng.ts";
import { isNewerLoad, Knowledge } from "./knowledge.ts";
import { LocalHealth } from "./local-health.ts";
import { News } from "./news.ts";
import { assertGossipOptions, type GossipOptions, probeIntervalMs } from "./options.ts";
import { ProbeOrder, sample } from "./probe-order.ts";
import { type Probe, Probes, SEQUENCES } from "./probes.ts";
import { suspicionTimeoutMs } from "./suspicion.ts";
import { Syncs } from "./syncs.ts";

export interface GossipParts {
  readonly self: NodeId;
  readonly random: Random;
  readonly options: GossipOptions;
  /** When it begins, on the clock that `tick` and `receive` are told. */
  readonly nowMs: number;
  /** This node's view of a member has changed. */
  readonly onChange?: (node: NodeId, state: MemberState, before: MemberState) => void;
}

/** A process that ticks this many times later than it should has stood still. */
const STALL_TICKS = 4;
/** How many of those who hear that a node is suspected probe it soon. */
const CONFIRMERS = 6;
/** The part of a probe's time that a probe for another node has. */
const RELAY_PATIENCE = 0.75;
/** How many are told by the node itself that it leaves; they tell the others. */
const FAREWELLS = 8;
const NO_FACTS: GossipFacts = { members: [], loads: [], leaders: [] };

export class Gossip implements GossipView {
  readonly #self: NodeId;
  readonly #random: Random;
  readonly #options: GossipOptions;
  readonly #onChange: NonNullable<GossipParts["onChange"]>;
  readonly #knowledge: Knowledge;
  readonly #order: ProbeOrder;
  readonly #probes: Probes;
  readonly #health: LocalHealth;
  readonly #syncs: Syncs;
  readonly #news: News;
  /** Since when this node knows of each suspicion. */
  readonly #suspectedMs = new Map<NodeId, number>();
  #messages: GossipMessage[] = [];
  #incarnation = 0;
  #loadVersion = 0;
  #loadToldMs = Number.NEGATIVE_INFINITY;
  #hasLeft = false;
  /** It has received what somebody else knows. */
  #isInformed = false;
  #tickedMs: number;
  #nextProbeMs: number;
  #nextDeadPingMs: number;
  #nextSyncMs: number;
  #syncedMs = Number.NEGATIVE_INFINITY;

  constructor(parts: GossipParts) {
    const { self, random, options, nowMs } = parts;
    assertGossipOptions(options);
    this.#self = self;
    this.#random = random;
    this.#options = options;
    this.#onChange = parts.onChange ?? (() => {});
    this.#knowledge = new Knowledge(options.confirmations + 1);
    this.#knowledge.add(self);
    this.#news = new News(this.#knowledge, options);
    this.#order = new ProbeOrder(random);
    this.#probes = new Probes(random.below(SEQUENCES));
    this.#health = new LocalHealth(options.illHealthMax);
    this.#syncs = new Syncs(this.#knowledge, options.syncBytesMax, options.syncsMax);
    // Nodes that start together do not act together.
    this.#tickedMs = nowMs;
    this.#nextProbeMs = nowMs + random.float() * options.probeIntervalMs;
    this.#nextDeadPingMs = nowMs + random.float() * options.deadPingMs;
    this.#nextSyncMs = nowMs + this.#syncPauseMs();
  }

  /** The members, this node included, as the cluster has agreed on them. What is known of others is forgotten. */
  setMembers(nodes: Iterable<NodeId>): void {
    const members = new Set(nodes);
    for (const node of [...this.#knowledge.nodes]) {
      if (node !== this.#self && !members.has(node)) this.#forget(node);
    }
    for (const node of members) {
      if (this.#knowledge.has(node)) continue;
      this.#knowledge.add(node);
      this.#order.add(node);
    }
  }

  /** Time has passed; to be called every `tickMs`. Returns what is to be sent. */
  tick(nowMs: number): readonly GossipMessage[] {
    if (this.#hasLeft) return [];
    this.#noticeStall(nowMs);
    this.#followProbes(nowMs);
    this.#judgeSuspects(nowMs);
    this.#probeNext(nowMs);
    this.#pingDead(nowMs);
    this.#sync(nowMs);
    return this.#take();
  }

  /** A message came. Those of strangers are passed over. Returns what is to be sent. */
  receive(message: GossipMessage, nowMs: number): readonly GossipMessage[] {
    const { from, incarnation } = message;
    if (this.#hasLeft || from === this.#self || !this.#knowledge.has(from)) return [];
    this.#knowledge.heard(from, incarnation, nowMs);
    const wasPresent = this.#knowledge.isPresent(from);
    this.#believe({ node: from, state: "alive", incarnation, suspectedBy: [] }, from, nowMs);
    for (const fact of message.members) this.#believe(fact, from, nowMs);
    for (const fact of message.loads) this.#believeLoad(fact);
    for (const hint of message.leaders) {
      if (this.#knowledge.mergeHint(hint)) this.#news.leader(hint.shard);
    }
    this.#answer(message, nowMs);
    // Who was away has missed things, and so have we: who has only just started, all of them.
    if (!this.#isInformed || (!wasPresent && this.#knowledge.isPresent(from))) this.#syncWith(from, nowMs);
    return this.#take();
  }

  /** There is a reason to look at this node soon: its connection broke, or came. */
  hurry(node: NodeId): void {
    if (node !== this.#self && this.#knowledge.has(node)) this.#order.hurry(node);
  }

  /** What this node does and has now; the others are told when it is time for that, and of a disk's state at once. */
  setLoad(load: NodeLoad, nowMs: number): void {
    const told = this.#knowledge.load(this.#self);
    const { loadMs, loadMsPerNode } = this.#options;
    const pauseMs = Math.max(loadMs, loadMsPerNode * this.#knowledge.present);
    const isUrgent = told === undefined || told.load.disk !== load.disk;
    const isSame =
      told !== undefined && told.incarnation === this.#incarnation && isSameLoad(load, told.load);
    if (isSame || (!isUrgent && nowMs < this.#loadToldMs + pauseMs)) return;
    this.#loadToldMs = nowMs;
    this.#loadVersion++;
    this.#knowledge.mergeLoad({
      ...{ node: this.#self, incarnation: this.#incarnation, version: this.#loadVersion },
      load,
    });
    this.#news.load(this.#self);
  }

  /** This node leads a shard in this term. */
  noteLeader(shard: ShardId, term: Term): void {
    if (this.#knowledge.mergeHint({ shard, term, leader: this.#self })) this.#news.leader(shard);
  }

  /** This node stops. Returns the farewells to send; nothing else happens from now on. */
  leave(nowMs: number): readonly GossipMessage[] {
    if (this.#hasLeft) return [];
    const fact: MemberFact = {
      ...{ node: this.#self, state: "left", incarnation: this.#incarnation },
      suspectedBy: [],
    };
    this.#knowledge.mergeMember(fact, nowMs);
    const isOther = (node: NodeId) => node !== this.#self && this.#knowledge.isPresent(node);
    for (const node of sample(this.#random, this.#knowledge.nodes, FAREWELLS, isOther)) {
      this.#ping(node, this.#probes.nextSequence(), { ...NO_FACTS, members: [fact] });
    }
    this.#hasLeft = true;
    return this.#take();
  }

  /** How often this node was called dead or suspect and is alive; it grows with each restart as well. */
  get incarnation(): number {
    return this.#incarnation;
  }

  stateOf(node: NodeId): MemberState | undefined {
    return this.#knowledge.state(node);
  }

  deadSinceMs(node: NodeId): number | undefined {
    return this.#knowledge.deadSinceMs(node);
  }

  heardMs(node: NodeId): number | undefined {
    return this.#knowledge.heardMs(node);
  }

  loadOf(node: NodeId): NodeLoad | undefined {
    return this.#knowledge.load(node)?.load;
  }

  leaderHintOf(shard: ShardId): LeaderHint | undefined {
    const hint = this.#knowledge.hint(shard);
    return hint !== undefined && this.#knowledge.has(hint.leader) ? hint : undefined;
  }

  #forget(node: NodeId): void {
    this.#knowledge.remove(node);
    this.#order.remove(node);
    this.#probes.forget(node);
    this.#syncs.forget(node);
    this.#news.forget(node);
    this.#suspectedMs.delete(node);
  }

  #answer(message: GossipMessage, nowMs: number): void {
    const { from } = message;
    switch (message.kind) {
      case "ping":
        this.#send({ kind: "ack", ...this.#envelope(from), sequence: message.sequence });
        return;
      case "ack":
        this.#answered(message.sequence);
        return;
      case "nack":
        this.#probes.nacked(message.sequence);
        return;
      case "pingRequest":
        this.#help(message, nowMs);
        return;
      case "sync":
        this.#isInformed = true;
        if (message.ask) this.#syncs.begin(from, false);
        return;
      default:
        unreachable(message, "cannot answer a gossip message");
    }
  }

  #answered(sequence: number): void {
    const { probe, relay } = this.#probes.answered(sequence);
    if (probe !== undefined) this.#health.note(-1);
    if (relay === undefined) return;
    this.#send({ kind: "ack", ...this.#envelope(relay.from), sequence: relay.wanted });
  }

  #help({ from, target, sequence }: GossipPingRequest, nowMs: number): void {
    if (target === this.#self || !this.#knowledge.has(target)) return;
    const relay = this.#probes.relay(from, sequence, target, nowMs);
    if (relay !== undefined) this.#ping(target, relay.sequence);
  }

  /** A process that stood still has heard nobody: that is no reason to think ill of them. */
  #noticeStall(nowMs: number): void {
    const lateMs = nowMs - this.#tickedMs - this.#options.tickMs;
    this.#tickedMs = nowMs;
    if (lateMs < this.#options.tickMs * STALL_TICKS) return;
    this.#health.note(1);
    this.#probes.shift(lateMs);
    this.#knowledge.shift(lateMs);
    for (const [node, sinceMs] of this.#suspectedMs) this.#suspectedMs.set(node, sinceMs + lateMs);
  }

  #probeNext(nowMs: number): void {
    if (nowMs < this.#nextProbeMs) return;
    const intervalMs = probeIntervalMs(this.#options, this.#knowledge.present) * this.#health.factor;
    this.#nextProbeMs = Math.max(this.#nextProbeMs + intervalMs, nowMs);
    const target = this.#order.next(
      (node) => this.#knowledge.isPresent(node) && !this.#probes.isProbing(node),
    );
    if (target === undefined) return;
    const { incarnation } = this.#knowledge.fact(target)!;
    const { sequence } = this.#probes.start(target, incarnation, this.#health.factor, nowMs);
    this.#ping(target, sequence);
  }

  /** Asks others where the target is silent, and suspects it where they have no answer either. */
  #followProbes(nowMs: number): void {
    const { probeTimeoutMs, probeMs } = this.#options;
    for (const probe of this.#probes.own) {
      const agoMs = (nowMs - probe.startedMs) / probe.patience;
      if (agoMs >= probeMs) this.#probeFailed(probe, nowMs);
      else if (agoMs >= probeTimeoutMs && probe.helpers < 0) this.#askHelpers(probe);
    }
    // Those who asked have to hear of it before their own time is over (Lifeguard §IV.A).
    for (const { from, wanted } of this.#probes.expireRelays(nowMs - probeTimeoutMs * RELAY_PATIENCE)) {
      this.#send({ kind: "nack", ...this.#envelope(from), sequence: wanted });
    }
  }

  #askHelpers(probe: Probe): void {
    const { target, sequence } = probe;
    const canHelp = (node: NodeId) =>
      node !== this.#self && node !== target && this.#knowledge.state(node) === "alive";
    const helpers = sample(this.#random, this.#knowledge.nodes, this.#options.helpers, canHelp);
    probe.helpers = helpers.length;
    for (const helper of helpers) {
      this.#send({ kind: "pingRequest", ...this.#envelope(helper), sequence, target });
    }
    // Once more by the direct way: it may have been this ping alone that was lost.
    this.#ping(target, sequence);
  }

  #probeFailed(probe: Probe, nowMs: number): void {
    const { target, helpers, nacks } = probe;
    this.#probes.end(probe);
    // Where all who helped were heard, and had no answer either, it is not this node that is deaf. Where there was nobody to
    // help nothing tells which of the two it is.
    if (nacks < helpers) this.#health.note(1);
    const fact = this.#knowledge.fact(target);
    if (fact === undefined || !this.#knowledge.isPresent(target)) return;
    // It has contradicted, or come back, while the probe was under way.
    if (fact.incarnation > probe.incarnation) return;
    this.#believe({ ...fact, state: "suspect", suspectedBy: [this.#self] }, this.#self, nowMs);
    // The suspect is to hear of it, and to be heard.
    this.#order.hurry(target);
  }

  #judgeSuspects(nowMs: number): void {
    for (const [node, sinceMs] of this.#suspectedMs) {
      const fact = this.#knowledge.fact(node)!;
      const { present } = this.#knowledge;
      if (nowMs < sinceMs + suspicionTimeoutMs(this.#options, present, fact.suspectedBy.length)) continue;
      this.#believe({ ...fact, state: "dead", suspectedBy: [] }, this.#self, nowMs);
    }
  }

  /** One of those that are gone, in turn, may be back. */
  #pingDead(nowMs: number): void {
    if (nowMs < this.#nextDeadPingMs) return;
    this.#nextDeadPingMs = nowMs + this.#options.deadPingMs;
    const isGone = (node: NodeId) => !this.#knowledge.isPresent(node);
    const [node] = sample(this.#random, this.#knowledge.nodes, 1, isGone);
    if (node !== undefined) this.#ping(node, this.#probes.nextSequence());
  }

  #sync(nowMs: number): void {
    if (nowMs >= this.#nextSyncMs) {
      this.#nextSyncMs = nowMs + this.#syncPauseMs();
      const isOther = (node: NodeId) => node !== this.#self && this.#knowledge.state(node) === "alive";
      const [node] = sample(this.#random, this.#knowledge.nodes, 1, isOther);
      if (node !== undefined) this.#syncWith(node, nowMs);
    }
    for (const { to, ask, members, loads, leaders } of this.#syncs.parts()) {
      this.#send({
        ...{ kind: "sync", from: this.#self, to, incarnation: this.#incarnation, ask },
        ...{ members, loads, leaders },
      });
    }
  }

  #syncWith(node: NodeId, nowMs: number): void {
    if (nowMs < this.#syncedMs + this.#options.syncPauseMs) return;
    if (this.#syncs.begin(node, true)) this.#syncedMs = nowMs;
  }

  #syncPauseMs(): number {
    const { syncMs, syncMsPerFact } = this.#options;
    const pauseMs = Math.max(syncMs, syncMsPerFact * this.#knowledge.size);
    return pauseMs * (0.5 + this.#random.float());
  }

  /** Takes over what `by` says of a member. */
  #believe(fact: MemberFact, by: NodeId, nowMs: number): void {
    const { node } = fact;
    if (node === this.#self) {
      this.#contradict(fact);
      return;
    }
    const before = this.#knowledge.fact(node);
    if (before === undefined || !this.#knowledge.mergeMember(this.#doubted(fact, before, by), nowMs)) return;
    this.#news.member(node);
    const { state, incarnation } = this.#knowledge.fact(node)!;
    if (state !== "suspect") this.#suspectedMs.delete(node);
    // Who has contradicted is accused anew, and has all the time again.
    else if (before.state !== "suspect" || before.incarnation < incarnation) {
      this.#suspectedMs.set(node, nowMs);
      // A few of those who hear of it look for themselves: more would only be in each other's way.
      if (this.#random.below(this.#knowledge.present) < CONFIRMERS) this.#order.hurry(node);
    }
    if (state !== before.state) this.#onChange(node, state, before.state);
  }

  /**
   * Another one's word that a node is dead is one more suspicion here, and this node's own clock decides: where two parts of
   * a cluster find each other again, each has called the other's nodes dead, and those had no chance to contradict. Who has
   * only just started knows nothing better, and takes the word for it.
   */
  #doubted(fact: MemberFact, before: MemberFact, by: NodeId): MemberFact {
    if (fact.state !== "dead" || !this.#isInformed || by === this.#self) return fact;
    if (before.state === "dead" || before.state === "left") return fact;
    return { ...fact, state: "suspect", suspectedBy: [by] };
  }

  /** What others say of this node: it is alive, and its incarnation the highest. */
  #contradict({ state, incarnation }: MemberFact): void {
    const isAhead = incarnation > this.#incarnation;
    const isAccused = incarnation === this.#incarnation && state !== "alive";
    if (!isAhead && !isAccused) return;
    if (state === "suspect" || state === "dead") this.#health.note(1);
    this.#riseAbove(incarnation);
  }

  #riseAbove(incarnation: number): void {
    this.#incarnation = incarnation + 1;
    // What an earlier life has told of itself counts for less from now on.
    this.#loadToldMs = Number.NEGATIVE_INFINITY;
    this.#knowledge.mergeMember(
      { node: this.#self, state: "alive", incarnation: this.#incarnation, suspectedBy: [] },
      0,
    );
    this.#news.member(this.#self);
  }

  #believeLoad(fact: LoadFact): void {
    if (fact.node === this.#self) {
      // An earlier life of this node has said more than this one: who has heard that would not listen to what it says now.
      const own = { incarnation: this.#incarnation, version: this.#loadVersion };
      if (isNewerLoad(fact, own)) this.#riseAbove(fact.incarnation);
      return;
    }
    if (this.#knowledge.mergeLoad(fact)) this.#news.load(fact.node);
  }

  #ping(to: NodeId, sequence: number, facts?: GossipFacts): void {
    this.#send({ kind: "ping", ...this.#envelope(to, facts), sequence });
  }

  #envelope(to: NodeId, facts: GossipFacts = this.#news.take(to)) {
    return { from: this.#self, to, incarnation: this.#incarnation, ...facts };
  }

  #send(message: GossipMessage): void {
    this.#messages.push(message);
  }

  #take(): readonly GossipMessage[] {
    const messages = this.#messages;
    this.#messages = [];
    return messages;
  }
}

/** Whether nothing worth telling has changed. */
function isSameLoad(a: NodeLoad, b: NodeLoad): boolean {
  return (
    a.shards === b.shards &&
    a.leaders === b.leaders &&
    a.dataBytes === b.dataBytes &&
    a.requestsPerSecond === b.requestsPerSecond &&
    a.disk === b.disk &&
    a.version === b.version
  );
}
