/**
 * What a node has heard: of every member how it is and what it carries, and who leads which shard. Facts come in any order,
 * more than once and over any number of others. Whether one is news depends on the two facts alone, never on when or from
 * whom it came; that is why all nodes end up with the same.
 */
import {
  type LeaderHint,
  type LoadFact,
  MEMBER_STATES,
  type MemberFact,
  type MemberState,
} from "../../protocol/gossip-messages.ts";
import type { NodeId, ShardId } from "../../protocol/ids.ts";

/** A member, as this node knows it. */
interface Known {
  fact: MemberFact;
  load: LoadFact | undefined;
  /** When this node heard it itself. */
  heardMs: number | undefined;
  deadSinceMs: number | undefined;
  /** It has shown a lower incarnation than it once had: it was restarted, and does not know how far it was. */
  forgot: boolean;
}

const NOBODY: readonly NodeId[] = [];

export class Knowledge {
  readonly #known = new Map<NodeId, Known>();
  readonly #hints = new Map<ShardId, LeaderHint>();
  readonly #suspectorsMax: number;
  #present = 0;

  /** `suspectorsMax`: of so many who suspect a node, the names are kept. */
  constructor(suspectorsMax: number) {
    this.#suspectorsMax = suspectorsMax;
  }

  /** Members that are neither dead nor have left, as far as this node knows; itself included. */
  get present(): number {
    return this.#present;
  }

  get nodes(): Iterable<NodeId> {
    return this.#known.keys();
  }

  get shards(): Iterable<ShardId> {
    return this.#hints.keys();
  }

  /** How many facts there are. */
  get size(): number {
    return this.#known.size * 2 + this.#hints.size;
  }

  has(node: NodeId): boolean {
    return this.#known.has(node);
  }

  add(node: NodeId): void {
    const fact: MemberFact = { node, state: "alive", incarnation: 0, suspectedBy: NOBODY };
    this.#known.set(node, {
      fact,
      load: undefined,
      heardMs: undefined,
      deadSinceMs: undefined,
      forgot: false,
    });
    this.#present++;
  }

  remove(node: NodeId): void {
    if (this.isPresent(node)) this.#present--;
    this.#known.delete(node);
  }

  fact(node: NodeId): MemberFact | undefined {
    return this.#known.get(node)?.fact;
  }

  state(node: NodeId): MemberState | undefined {
    return this.#known.get(node)?.fact.state;
  }

  isPresent(node: NodeId): boolean {
    const state = this.state(node);
    return state === "alive" || state === "suspect";
  }

  load(node: NodeId): LoadFact | undefined {
    return this.#known.get(node)?.load;
  }

  hint(shard: ShardId): LeaderHint | undefined {
    return this.#hints.get(shard);
  }

  heardMs(node: NodeId): number | undefined {
    return this.#known.get(node)?.heardMs;
  }

  deadSinceMs(node: NodeId): number | undefined {
    return this.#known.get(node)?.deadSinceMs;
  }

  /** This process stood still for so long: it can't tell whether the dead were dead in that time. */
  shift(byMs: number): void {
    for (const known of this.#known.values()) {
      if (known.deadSinceMs !== undefined) known.deadSinceMs += byMs;
    }
  }

  /** A message came from the node itself, which is at `incarnation`. */
  heard(node: NodeId, incarnation: number, nowMs: number): void {
    const known = this.#known.get(node)!;
    known.heardMs = nowMs;
    known.forgot = incarnation < known.fact.incarnation;
  }

  /** What the node itself should hear first of all: it has been called dead or suspect, or was restarted and has forgotten. */
  owed(node: NodeId): MemberFact | undefined {
    const known = this.#known.get(node);
    if (known === undefined) return undefined;
    return known.fact.state !== "alive" || known.forgot ? known.fact : undefined;
  }

  /** Takes over what is said about a member. True if that is news, and to be passed on. */
  mergeMember(fact: MemberFact, nowMs: number): boolean {
    const known = this.#known.get(fact.node);
    if (known === undefined) return false;
    const order = compare(fact, known.fact);
    if (order < 0) return false;
    if (order === 0) return this.#join(known, fact.suspectedBy);
    const wasPresent = this.isPresent(fact.node);
    known.fact = { ...fact, suspectedBy: fact.suspectedBy.slice(0, this.#suspectorsMax) };
    const isPresent = this.isPresent(fact.node);
    if (wasPresent !== isPresent) {
      this.#present += isPresent ? 1 : -1;
      known.deadSinceMs = isPresent ? undefined : nowMs;
    }
    return true;
  }

  /** The same for what a member carries. */
  mergeLoad(fact: LoadFact): boolean {
    const known = this.#known.get(fact.node);
    if (known === undefined) return false;
    if (known.load !== undefined && !isNewerLoad(fact, known.load)) return false;
    known.load = fact;
    return true;
  }

  /** The same for who leads a shard. A leader that is no member may become one: whether it is, is asked later. */
  mergeHint(hint: LeaderHint): boolean {
    const known = this.#hints.get(hint.shard);
    if (known !== undefined && known.term >= hint.term) return false;
    this.#hints.set(hint.shard, hint);
    return true;
  }

  /** More nodes suspect it, each by itself. */
  #join(known: Known, suspectors: readonly NodeId[]): boolean {
    let { suspectedBy } = known.fact;
    for (const node of suspectors) {
      if (suspectedBy.length >= this.#suspectorsMax || suspectedBy.includes(node)) continue;
      suspectedBy = [...suspectedBy, node];
    }
    if (suspectedBy === known.fact.suspectedBy) return false;
    known.fact = { ...known.fact, suspectedBy };
    return true;
  }
}

/** Positive if `a` is newer than `b` (SWIM §4.2): by incarnation, and within one by the weight of the state. */
function compare(a: MemberFact, b: MemberFact): number {
  if (a.incarnation !== b.incarnation) return a.incarnation - b.incarnation;
  return MEMBER_STATES.indexOf(a.state) - MEMBER_STATES.indexOf(b.state);
}

export function isNewerLoad(
  a: Pick<LoadFact, "incarnation" | "version">,
  b: Pick<LoadFact, "incarnation" | "version">,
): boolean {
  return a.incarnation !== b.incarnation ? a.incarnation > b.incarnation : a.version > b.version;
}
