/** The probes that are under way: this node's own, and those that it makes for others. */
import type { NodeId } from "../../protocol/ids.ts";

/** A probe of this node. */
export interface Probe {
  readonly target: NodeId;
  readonly sequence: number;
  startedMs: number;
  /** That of the target when the probe began. */
  readonly incarnation: number;
  /** By how much its times are longer than usual. */
  readonly patience: number;
  /** How many others were asked; -1: it was not time for that yet. */
  helpers: number;
  /** How many of these have said that they had no answer either. */
  nacks: number;
}

/** A probe of `target` for `from`, who calls it by the number `wanted`. */
export interface Relay {
  readonly from: NodeId;
  readonly wanted: number;
  readonly target: NodeId;
  readonly sequence: number;
  startedMs: number;
}

/** Most probes that a node makes for others at a time: who asks for more gets no answer. */
const RELAYS_MAX = 1024;
export const SEQUENCES = 2 ** 32;

export class Probes {
  #own: Probe[] = [];
  #relays: Relay[] = [];
  #sequence: number;

  /** `sequence`: where to begin to count; answers to an earlier process of this node are to be told from those to this one. */
  constructor(sequence: number) {
    this.#sequence = sequence;
  }

  get own(): readonly Probe[] {
    return this.#own;
  }

  get relays(): readonly Relay[] {
    return this.#relays;
  }

  isProbing(node: NodeId): boolean {
    return this.#own.some(({ target }) => target === node);
  }

  start(target: NodeId, incarnation: number, patience: number, nowMs: number): Probe {
    const probe = {
      ...{ target, incarnation, sequence: this.nextSequence(), startedMs: nowMs, patience },
      ...{ helpers: -1, nacks: 0 },
    };
    this.#own.push(probe);
    return probe;
  }

  /** `undefined`: there are too many. */
  relay(from: NodeId, wanted: number, target: NodeId, nowMs: number): Relay | undefined {
    if (this.#relays.length >= RELAYS_MAX) return undefined;
    const relay = { from, wanted, target, sequence: this.nextSequence(), startedMs: nowMs };
    this.#relays.push(relay);
    return relay;
  }

  /** A number that no ping under way has. */
  nextSequence(): number {
    this.#sequence = (this.#sequence + 1) % SEQUENCES;
    return this.#sequence;
  }

  /** What an ack of this number, from the target or from who helps, is the answer to; it is over then. */
  answered(sequence: number): { readonly probe?: Probe; readonly relay?: Relay } {
    const probe = this.#own.find((one) => one.sequence === sequence);
    if (probe !== undefined) {
      this.end(probe);
      return { probe };
    }
    const relay = this.#relays.find((one) => one.sequence === sequence);
    if (relay === undefined) return {};
    this.#relays = this.#relays.filter((one) => one !== relay);
    return { relay };
  }

  nacked(sequence: number): void {
    const probe = this.#own.find((one) => one.sequence === sequence);
    if (probe !== undefined) probe.nacks++;
  }

  end(probe: Probe): void {
    this.#own = this.#own.filter((one) => one !== probe);
  }

  /** The relays that began before `beforeMs`, which end with that. */
  expireRelays(beforeMs: number): readonly Relay[] {
    const late = this.#relays.filter(({ startedMs }) => startedMs <= beforeMs);
    if (late.length > 0) this.#relays = this.#relays.filter(({ startedMs }) => startedMs > beforeMs);
    return late;
  }

  forget(node: NodeId): void {
    this.#own = this.#own.filter(({ target }) => target !== node);
    this.#relays = this.#relays.filter(({ target, from }) => target !== node && from !== node);
  }

  /** This process stood still for so long: what has come meanwhile it has not seen. */
  shift(byMs: number): void {
    for (const probe of this.#own) probe.startedMs += byMs;
    for (const relay of this.#relays) relay.startedMs += byMs;
  }
}
