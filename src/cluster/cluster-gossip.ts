import type { GossipMessage, MemberState, NodeLoad } from "../../protocol/gossip-messages.ts";
import type { GossipView } from "../../protocol/gossip-view.ts";
import type { NodeId, ShardId, Term } from "../../protocol/ids.ts";
import type { GossipNetwork } from "../../protocol/peer-network.ts";
import type { Env, Timer } from "../env/env.ts";
import { Gossip } from "../gossip/gossip.ts";
import { DEFAULT_GOSSIP, type GossipOptions, slowedDown } from "../gossip/options.ts";
import { DEFAULT_TIMING_OPTIONS, type NodeTimings } from "../timings.ts";

export interface ClusterGossipParts {
  readonly env: Pick<Env, "clock" | "random" | "log">;
  readonly self: NodeId;
  readonly options: GossipOptions;
  readonly network: GossipNetwork;
  /** What this node does and has, asked for twice a second, and tells each shard that it leads, at each tick. */
  readonly load: () => NodeLoad;
  readonly led: (note: (shard: ShardId, term: Term) => void) => void;
  readonly onFatal: (error: Error) => void;
}

/** How often this node looks at its load. */
const LOAD_MS = 500;

/** Who waits longer until a leader is missed waits as much longer until a node is. */
export function gossipOptions({ electionTicks, tickMs }: NodeTimings): GossipOptions {
  const factor = (electionTicks * tickMs) / DEFAULT_TIMING_OPTIONS.electionTimeoutMs;
  return factor <= 1 ? DEFAULT_GOSSIP : slowedDown(DEFAULT_GOSSIP, factor);
}

/** Runs a node's gossip: gives it time, carries its messages, tells it what there is to tell, and the log what it hears. */
export class ClusterGossip {
  readonly #parts: ClusterGossipParts;
  readonly #gossip: Gossip;
  readonly #note = (shard: ShardId, term: Term) => this.#gossip.noteLeader(shard, term);
  #timer: Timer | undefined;
  #loadMs = Number.NEGATIVE_INFINITY;

  constructor(parts: ClusterGossipParts) {
    const { env, self, options } = parts;
    this.#parts = parts;
    this.#gossip = new Gossip({
      ...{ self, random: env.random, options, nowMs: env.clock.nowMs() },
      onChange: (node, state, before) => this.#tell(node, state, before),
    });
  }

  /** What this node has heard. Its times are those of `env.clock.nowMs`. */
  get view(): GossipView {
    return this.#gossip;
  }

  start(): void {
    this.#scheduleTick();
  }

  /** Says goodbye, and says nothing more. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#send(this.#gossip.leave(this.#nowMs));
  }

  /** The members are these, this node included. */
  membersChanged(nodes: Iterable<NodeId>): void {
    this.#gossip.setMembers(nodes);
  }

  received(message: GossipMessage): void {
    this.#send(this.#gossip.receive(message, this.#nowMs));
  }

  /** A connection to the node came or broke: that is no proof of anything, but a reason to look. */
  connectionChanged(node: NodeId): void {
    this.#gossip.hurry(node);
  }

  get #nowMs(): number {
    return this.#parts.env.clock.nowMs();
  }

  #scheduleTick(): void {
    const { env, options, onFatal } = this.#parts;
    this.#timer = env.clock.timer(options.tickMs, () => {
      this.#scheduleTick();
      try {
        this.#tick();
      } catch (error) {
        onFatal(error as Error);
      }
    });
  }

  #tick(): void {
    const nowMs = this.#nowMs;
    if (nowMs >= this.#loadMs + LOAD_MS) {
      this.#loadMs = nowMs;
      this.#gossip.setLoad(this.#parts.load(), nowMs);
    }
    this.#parts.led(this.#note);
    this.#send(this.#gossip.tick(nowMs));
  }

  #send(messages: readonly GossipMessage[]): void {
    for (const message of messages) this.#parts.network.gossip(message);
  }

  #tell(node: NodeId, state: MemberState, before: MemberState): void {
    const { log } = this.#parts.env;
    if (state === "dead") log.warn("a node is dead, as far as the others and this one can tell", { node });
    else if (state === "left") log.info("a node has left", { node });
    else if (state === "suspect") log.debug("a node does not answer", { node });
    else if (before !== "suspect") log.info("a node is alive again", { node });
  }
}
