import type { ReplySink } from "../../protocol/handler.ts";
import type { NodeId } from "../../protocol/ids.ts";
import { ASK_TOPOLOGY } from "../../protocol/messages.ts";
import type { PeerNetwork } from "../../protocol/peer-network.ts";
import type { Env } from "../env/env.ts";
import type { Peers } from "../server/peers.ts";
import { findCluster } from "./joining.ts";
import type { Membership } from "./membership.ts";

export interface SearchParts {
  readonly env: Pick<Env, "clock" | "random" | "transport">;
  readonly self: NodeId;
  readonly peers: Pick<Peers, "status"> & Pick<PeerNetwork, "forward">;
  readonly membership: Membership;
  /** Where this node was told that there are others: `host:port`. */
  readonly seeds: readonly string[];
  readonly onFatal: (error: Error) => void;
}

/** After so many turns without another node others are asked where these are. */
const ALONE_TURNS_MAX = 3;

/** How a node finds others that are not where it knows them to be, or of which it has not heard. */
export class Search {
  readonly #parts: SearchParts;
  #metStranger = false;
  /** For how many turns no other node was connected. */
  #aloneTurns = 0;
  #isAsking = false;

  constructor(parts: SearchParts) {
    this.#parts = parts;
  }

  /** A node that this one does not know has called it. */
  metStranger(): void {
    this.#metStranger = true;
  }

  /** To be called about once a second. */
  turn(): void {
    if (this.#metStranger) this.#askPeers();
    const peers = this.#parts.peers.status();
    const isAlone = peers.length > 0 && !peers.some(({ connected }) => connected);
    this.#aloneTurns = isAlone ? this.#aloneTurns + 1 : 0;
    const isLost = this.#aloneTurns >= ALONE_TURNS_MAX && this.#parts.membership.facts.clusterId !== "";
    if (isLost && !this.#isAsking) this.#askAround();
  }

  /** Asks the others who the nodes are. */
  #askPeers(): void {
    this.#metStranger = false;
    const { peers, membership } = this.#parts;
    const sink: ReplySink = {
      reply: (_id, response) => {
        if (response.kind !== "topology") return;
        membership.hearOf(response.topology.clusterId, response.topology.nodes);
      },
    };
    for (const { id } of peers.status()) peers.forward(id, ASK_TOPOLOGY, sink, 0);
  }

  /**
   * A node that finds none of the others may have been away while all of them went elsewhere: it asks wherever it was ever told
   * that there is one.
   */
  #askAround(): void {
    const { env, self, membership, seeds, onFatal } = this.#parts;
    this.#isAsking = true;
    const others = membership.nodes.flatMap(({ id }) => (id === self ? [] : membership.placesOf(id)));
    findCluster(env, [...new Set([...seeds, ...others])]).then((found) => {
      this.#isAsking = false;
      if (found !== undefined) membership.hearOf(found.clusterId, found.nodes);
    }, onFatal);
  }
}
