/**
 * Where a text connection's commands belong. A client that knows no cluster is served by any node, which forwards what
 * it does not lead. Where the node was started with `--redirect moved`, its clients are taken for cluster clients: a
 * command that another node leads is answered `MOVED`, one whose keys lie in several slots `CROSSSLOT`, as Redis Cluster
 * does. That is advice, not what correctness rests on: a command that slips through, since leaders change, is forwarded.
 *
 * There is no `ASK` here. Redis needs it while a slot is being moved and has two owners; here a shard is moved by
 * changing the members of its Raft group, which has one leader before, in between and after.
 */
import { createHash } from "node:crypto";
import type { ReplySink, RequestHandler } from "../../protocol/handler.ts";
import type { NodeId } from "../../protocol/ids.ts";
import type { ClientRequest, ClientResponse, ShardPlace, Topology } from "../../protocol/messages.ts";
import { shardOfSlot, slotOf } from "../../protocol/slots.ts";
import type { Clock } from "../env/env.ts";
import { parseAddress } from "../lib/address.ts";
import type { Arguments, TextCommand, TextSession } from "./text-command.ts";
import { CROSS_SLOT } from "./text-errors.ts";

/** `forward`: any node takes any command. `moved`: clients are told where a command belongs. */
export type TextRedirect = "forward" | "moved";

/** How old the topology may be that commands are routed by: finding out costs more than a command with many shards. */
const AGE_MS_MAX = 10;

/** The topology as this node knows it, for commands to look into at once. */
export class TextRoutes implements ReplySink {
  readonly self: NodeId;
  readonly #handler: RequestHandler;
  readonly #clock: Pick<Clock, "nowMs">;
  #topology: Topology | undefined;
  #askedMs = Number.NEGATIVE_INFINITY;
  readonly #hexIds = new Map<NodeId, string>();

  constructor(self: NodeId, handler: RequestHandler, clock: Pick<Clock, "nowMs">) {
    this.self = self;
    this.#handler = handler;
    this.#clock = clock;
  }

  /**
   * `undefined` while the node starts, or has joined and has not heard yet who holds what: a client that is told of no
   * slots forgets all nodes that it knows.
   */
  topology(): Topology | undefined {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#askedMs >= AGE_MS_MAX) {
      this.#askedMs = nowMs;
      const known = this.#topology?.view;
      this.#handler.execute({ kind: "topology", known, subscribe: false }, this, 0, "redirect");
    }
    return this.#topology?.shards.length === 0 ? undefined : this.#topology;
  }

  reply(_requestId: number, response: ClientResponse): void {
    if (response.kind !== "topology") return;
    if (response.topology.clusterId !== this.#topology?.clusterId) this.#hexIds.clear();
    this.#topology = response.topology;
  }

  placeOfSlot(slot: number): ShardPlace | undefined {
    const topology = this.topology();
    return topology?.shards[shardOfSlot(slot, topology.shards.length)];
  }

  /** Where clients reach a node. */
  endpointOf(node: NodeId): { readonly host: string; readonly port: number } | undefined {
    const address = this.#topology?.nodes.find(({ id }) => id === node)?.address;
    return address === undefined ? undefined : parseAddress(address);
  }

  /** A node's id as Redis Cluster has them, 40 hexadecimal digits: the same on every node, and for ever. */
  hexId(node: NodeId): string {
    let id = this.#hexIds.get(node);
    if (id === undefined) {
      id = createHash("sha1").update(`${this.#topology?.clusterId}/${node}`).digest("hex");
      this.#hexIds.set(node, id);
    }
    return id;
  }

  /** Why a cluster client's command is not for this node to carry out: an error line. `undefined`: it is. */
  misrouted(command: TextCommand, args: Arguments, readsStale: boolean): string | undefined {
    if (command.firstKey === 0) return undefined;
    const slot = slotOf(args[command.firstKey]!);
    const last = command.lastKey < 0 ? args.length + command.lastKey : command.lastKey;
    for (let i = command.firstKey + command.keyStep; i <= last; i += command.keyStep) {
      if (slotOf(args[i]!) !== slot) return CROSS_SLOT;
    }
    const place = this.placeOfSlot(slot);
    // Without a leader there is nobody to point at: the command waits for one, as a forwarded one does.
    if (place === undefined || place.leader === null || place.leader === this.self) return undefined;
    if (readsStale && command.flags.includes("readonly") && place.replicas.includes(this.self)) {
      return undefined;
    }
    const endpoint = this.endpointOf(place.leader);
    return endpoint === undefined ? undefined : `MOVED ${slot} ${endpoint.host}:${endpoint.port}`;
  }
}

/**
 * `request`, on keys, as its connection wants it: in the keyspace that it has chosen, and if it has said READONLY, read from
 * this node's replica, whatever that has.
 */
export function asAskedBy(
  { keyspace, readsStale }: Pick<TextSession, "keyspace" | "readsStale">,
  request: ClientRequest,
): ClientRequest {
  // A scan is not of this node's replicas alone.
  const isStale = readsStale && "consistency" in request && request.kind !== "scan";
  if (keyspace === undefined && !isStale) return request;
  return { ...request, keyspace, ...(isStale ? { consistency: "stale" } : {}) } as ClientRequest;
}
