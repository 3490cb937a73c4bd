/**
 * The other nodes. Every node dials every other one, so two nodes share two connections: over the one that a node dialled
 * (`peer-link.ts`) go its Raft messages and the requests that it forwards, and come the answers to those; the one that it
 * accepted (`peer-guest.ts`) is the same seen from the other end. So each side watches over its own way of sending, and
 * nobody has to agree on which of two crossing connections survives. Gossip goes over either.
 */
import { type ErrorName, errorResponse } from "../../protocol/errors.ts";
import type { GossipMessage } from "../../protocol/gossip-messages.ts";
import type { ReplySink, RequestHandler } from "../../protocol/handler.ts";
import type { GroupId, NodeId } from "../../protocol/ids.ts";
import type { ClientRequest, PeerStatus, QueueStatus } from "../../protocol/messages.ts";
import type { ConfigurationReport, GroupMessage, PeerHello } from "../../protocol/peer-messages.ts";
import type { GossipNetwork, PeerListener, PeerNetwork } from "../../protocol/peer-network.ts";
import type { Connection, Env, Timer } from "../env/env.ts";
import { assert } from "../lib/assert.ts";
import { assertServerLimits, type ServerLimits } from "./limits.ts";
import { PeerGuest } from "./peer-guest.ts";
import { PeerLink } from "./peer-link.ts";
import type { Served } from "./served.ts";
import type { PeerAcceptor } from "./server.ts";
import { Turn } from "./turn.ts";

export interface PeerAddress {
  readonly host: string;
  readonly port: number;
}

/** Why a peer is not let in. */
export interface Refusal {
  readonly error: ErrorName;
  readonly message: string;
}

export interface PeersParts {
  readonly env: Pick<Env, "clock" | "random" | "transport" | "log">;
  readonly self: NodeId;
  /** All other members, and where each may be, the likeliest place first; may change, and `membersChanged` says so. */
  readonly addresses: ReadonlyMap<NodeId, readonly PeerAddress[]>;
  /** What this node says of itself, asked for at each handshake. */
  readonly hello: () => PeerHello;
  /** Judges the hello of a node that is a member; `undefined` lets it in. */
  readonly admit: (hello: PeerHello) => Refusal | undefined;
  /** A node that is in no `addresses` wants to talk to this one: why it can't, or can't yet. */
  readonly stranger: (hello: PeerHello) => Refusal;
  /** Hears that a node which this one has called has let it in, whether it is itself let in or not. */
  readonly wasLetInBy: (node: NodeId) => void;
  /** `node` refused this one. Connecting is tried again, as long as `stop` is not called. */
  readonly refused: (node: NodeId, error: ErrorName, message: string) => void;
  readonly listener: PeerListener;
  /** A member told something about members. */
  readonly heardGossip: (message: GossipMessage) => void;
  /** Whether this node would rather not lead, which it tells with all that it sends; and what others tell of themselves. */
  readonly leading?: {
    readonly declines: () => boolean;
    readonly heard: (node: NodeId, declines: boolean) => void;
  };
  /** Executes the requests that peers forward. */
  readonly handler: RequestHandler;
  readonly limits: ServerLimits;
}

/** How the connection to a peer is. */
export type LinkStatus = Omit<PeerStatus, "state">;

export interface Peers extends PeerNetwork, GossipNetwork, PeerAcceptor {
  /** Starts to connect to all members. */
  start(): void;
  /** `addresses` names other nodes now: connects to new ones, and leaves those that are gone. */
  membersChanged(): void;
  /** Closes all connections, for good; forwarded requests that wait are answered as at a disconnect. */
  stop(): void;
  /** All other members, in the order of their ids. */
  status(): LinkStatus[];
  /** What waits to be sent to a peer, and what was forwarded to one and is not answered yet. */
  readonly queues: readonly QueueStatus[];
  /** Raft messages that were dropped since the start, because a peer was not connected or did not take them. */
  readonly droppedMessages: number;
}

export function createPeers(parts: PeersParts): Peers {
  assertServerLimits(parts.limits);
  assert(!parts.addresses.has(parts.self), `${parts.self} can't be its own peer`);
  return new PeerSet(parts);
}

class PeerSet implements Peers {
  readonly #parts: PeersParts;
  readonly #turn: Turn;
  readonly #links = new Map<NodeId, PeerLink>();
  #droppedByFormer = 0;
  #isStarted = false;
  /** The newest accepted connection of each node. */
  readonly #guests = new Map<NodeId, PeerGuest>();
  #sweepTimer: Timer | undefined;

  constructor(parts: PeersParts) {
    this.#parts = parts;
    this.#turn = new Turn(parts.env.clock);
    this.membersChanged();
  }

  membersChanged(): void {
    const { addresses } = this.#parts;
    for (const [node, link] of this.#links) {
      // Who is somewhere else is dialled anew, and may still call from where it was.
      const places = addresses.get(node);
      if (places === undefined || link.mayBeAt(places)) continue;
      this.#links.delete(node);
      this.#droppedByFormer += link.droppedMessages;
      link.stop();
    }
    for (const node of [...addresses.keys()].sort()) {
      if (this.#links.has(node)) continue;
      const link = new PeerLink(node, addresses.get(node)!, this.#parts, this.#turn);
      this.#links.set(node, link);
      if (this.#isStarted) link.start();
    }
    for (const [node, link] of this.#links) {
      if (addresses.has(node)) continue;
      this.#links.delete(node);
      this.#droppedByFormer += link.droppedMessages;
      link.stop();
      this.#guests.get(node)?.replace();
      this.#guests.delete(node);
    }
  }

  start(): void {
    this.#isStarted = true;
    for (const link of this.#links.values()) link.start();
    this.#scheduleSweep();
  }

  stop(): void {
    this.#isStarted = false;
    this.#sweepTimer?.cancel();
    for (const link of this.#links.values()) link.stop();
    for (const guest of this.#guests.values()) guest.leave();
  }

  status(): LinkStatus[] {
    const nowMs = this.#parts.env.clock.nowMs();
    const nodes = [...this.#links.keys()].sort();
    return nodes.map((node) => this.#links.get(node)!.status(nowMs));
  }

  get queues(): readonly QueueStatus[] {
    const { limits } = this.#parts;
    let [bytes, requests] = [0, 0];
    for (const link of this.#links.values()) {
      bytes = Math.max(bytes, link.queuedBytes);
      requests = Math.max(requests, link.forwards);
    }
    return [
      { name: "peerMessages", unit: "bytes", used: bytes, max: limits.peerQueuedBytesMax },
      { name: "peerForwards", unit: "requests", used: requests, max: limits.peerForwardsMax },
    ];
  }

  get droppedMessages(): number {
    let sum = this.#droppedByFormer;
    for (const link of this.#links.values()) sum += link.droppedMessages;
    return sum;
  }

  send(group: GroupId, message: GroupMessage): void {
    // A group may know of a member before this node knows where it is, or after it has forgotten.
    const link = this.#links.get(message.to);
    if (link === undefined) this.#droppedByFormer++;
    else link.send(group, message);
  }

  flush(): void {
    for (const link of this.#links.values()) link.flush();
  }

  forward(node: NodeId, request: ClientRequest, sink: ReplySink, requestId: number): void {
    const link = this.#links.get(node);
    if (link === undefined) {
      sink.reply(requestId, errorResponse("UNAVAILABLE", `${node} is no peer of this node`));
    } else link.forward(request, sink, requestId);
  }

  gossip(message: GossipMessage): void {
    const isSent = this.#links.get(message.to)?.gossip(message) ?? false;
    if (!isSent) this.#guests.get(message.to)?.gossip(message);
  }

  report(node: NodeId, reports: readonly ConfigurationReport[]): void {
    this.#links.get(node)?.report(reports);
  }

  silentMs(node: NodeId): number {
    return this.#links.get(node)?.silentMs ?? Number.POSITIVE_INFINITY;
  }

  accept(connection: Connection): Served {
    return new PeerGuest(connection, this.#parts, this.#turn, {
      admitted: (guest, node) => {
        // A node has one way of sending. If it comes again, its old connection is dead, whether we noticed or not.
        this.#guests.get(node)?.replace();
        this.#guests.set(node, guest);
        this.#links.get(node)?.hurry();
      },
      heard: (node) => this.#links.get(node)?.heard(),
      left: (guest, node) => {
        if (this.#guests.get(node) === guest) this.#guests.delete(node);
      },
    });
  }

  #scheduleSweep(): void {
    this.#sweepTimer = this.#parts.env.clock.timer(this.#parts.limits.sweepMs, () => {
      this.#scheduleSweep();
      for (const link of this.#links.values()) link.sweep();
    });
  }
}
