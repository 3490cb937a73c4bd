/** Finds who serves a request: key → slot → shard → mode, or all shards, or this node itself. */
import { errorResponse } from "../protocol/errors.ts";
import type { ReplySink, RequestHandler, Routing } from "../protocol/handler.ts";
import { type ShardId, shardId } from "../protocol/ids.ts";
import type {
  Batch,
  ClientRequest,
  ClientResponse,
  InKeyspace,
  QueueStatus,
  Scan,
  TopologyRequest,
} from "../protocol/messages.ts";
import { shardOfSlot, slotOf } from "../protocol/slots.ts";
import type { Administration } from "./cluster/administration.ts";
import type { Keyspaces } from "./cluster/keyspaces.ts";
import type { Clock } from "./env/env.ts";
import { GatherScan, partLimit } from "./gather-scan.ts";
import { unreachable } from "./lib/assert.ts";
import type { LinearizableMode } from "./modes/linearizable.ts";
import { ScanGate, type ScanGateLimits } from "./scan-gate.ts";
import type { ReadingSnapshots } from "./shard/reading-snapshots.ts";

export interface RouterParts {
  /** Into how many shards the keys are cut; 0 while the cluster is being founded. */
  readonly shards: () => number;
  readonly clock: Pick<Clock, "nowMs">;
  readonly mode: LinearizableMode;
  readonly scanLimits: { readonly gathers: ScanGateLimits; readonly shardScans: ScanGateLimits };
  readonly topology: (request: TopologyRequest) => ClientResponse;
  readonly nodeStatus: () => ClientResponse;
  readonly administration: Administration;
  readonly snapshots: Pick<ReadingSnapshots, "scan" | "close">;
  readonly keyspaces: Pick<Keyspaces, "refusal" | "execute">;
  /** Answers by itself, when the other nodes have answered or a deadline has passed. */
  readonly clusterStatus: (sink: ReplySink, requestId: number) => void;
}

const PONG: ClientResponse = { kind: "pong" };
const FOUNDING = errorResponse(
  "UNAVAILABLE",
  "this node knows of no shards yet: it has just joined, or the cluster is being founded",
);
/** What needs no shards. */
const ABOUT_NODES: ReadonlySet<ClientRequest["kind"]> = new Set(
  (
    [
      "ping",
      "topology",
      "status",
      "changeMember",
      "changeReplica",
      "join",
      "rebalance",
      "groupLog",
      "listKeyspaces",
    ] as const
  ).values(),
);

export class Router implements RequestHandler {
  readonly #parts: RouterParts;

  // Scans of one shard have a gate of their own: they are what the gathers of other nodes wait for.
  readonly #gathers: ScanGate;
  readonly #shardScans: ScanGate;

  constructor(parts: RouterParts) {
    this.#parts = parts;
    const { gathers, shardScans } = parts.scanLimits;
    this.#gathers = new ScanGate(gathers, parts.clock, (scan, sink, requestId) =>
      this.#gather(scan, sink, requestId),
    );
    this.#shardScans = new ScanGate(shardScans, parts.clock, (scan, sink, requestId, routing) => {
      // A snapshot is of this node, whoever leads its shard now.
      if (scan.snapshot !== undefined) sink.reply(requestId, parts.snapshots.scan(scan));
      else parts.mode.execute(scan.shard!, scan, sink, requestId, routing);
    });
  }

  /** Scans of all shards, and of one, that wait for their turn. */
  get queues(): readonly QueueStatus[] {
    return [this.#gathers.queue("waitingGathers"), this.#shardScans.queue("waitingShardScans")];
  }

  execute(request: ClientRequest, sink: ReplySink, requestId: number, routing: Routing): void {
    const { mode } = this.#parts;
    if (this.#parts.shards() === 0 && !ABOUT_NODES.has(request.kind)) {
      sink.reply(requestId, FOUNDING);
      return;
    }
    const { keyspace } = request as InKeyspace;
    const refusal = keyspace === undefined ? undefined : this.#parts.keyspaces.refusal(keyspace);
    // What is sent on is judged where it comes to: this node may be the last to hear of a new keyspace.
    if (refusal !== undefined && (routing === "redirect" || refusal.error === "NO_KEYSPACE")) {
      sink.reply(requestId, refusal);
      return;
    }
    switch (request.kind) {
      case "get":
      case "explain":
      case "ttl":
      case "put":
      case "putWith":
      case "expire":
      case "delete":
      case "exists":
      case "increment":
      case "compareAndSet":
        mode.execute(this.#shardOf(request.key), request, sink, requestId, routing);
        break;
      case "batch":
        this.#batch(request, sink, requestId, routing);
        break;
      case "scan":
        this.#scan(request, sink, requestId, routing);
        break;
      case "openSession":
        if (this.#refusesShard(request.shard, sink, requestId)) return;
        mode.execute(request.shard, request, sink, requestId, routing);
        break;
      case "openSnapshot":
        if (this.#refusesShard(request.shard, sink, requestId)) return;
        mode.execute(request.shard, request, sink, requestId, routing);
        break;
      case "closeSnapshot":
        sink.reply(requestId, { kind: "boolean", value: this.#parts.snapshots.close(request.snapshot) });
        break;
      case "ping":
        sink.reply(requestId, PONG);
        break;
      case "topology":
        sink.reply(requestId, this.#parts.topology(request));
        break;
      case "status":
        if (request.scope === "node") sink.reply(requestId, this.#parts.nodeStatus());
        else this.#parts.clusterStatus(sink, requestId);
        break;
      case "createKeyspace":
      case "dropKeyspace":
      case "listKeyspaces":
        this.#parts.keyspaces.execute(request, sink, requestId);
        break;
      case "changeMember":
      case "changeReplica":
      case "join":
      case "rebalance":
      case "transferLeader":
      case "groupLog":
        this.#parts.administration.execute(request, sink, requestId);
        break;
      default:
        unreachable(request, "a request");
    }
  }

  /** What the cluster has agreed on is something else than before: somebody may wait for that. */
  factsChanged(): void {
    this.#parts.administration.look();
  }

  #shardOf(key: Uint8Array): ShardId {
    return shardOfSlot(slotOf(key), this.#parts.shards());
  }

  #batch(request: Batch, sink: ReplySink, requestId: number, routing: Routing): void {
    const first = request.entries[0];
    if (first === undefined) {
      sink.reply(requestId, errorResponse("BAD_REQUEST", "an empty batch"));
      return;
    }
    const shard = this.#shardOf(first.key);
    for (const entry of request.entries) {
      if (this.#shardOf(entry.key) === shard) continue;
      sink.reply(
        requestId,
        errorResponse("CROSS_SHARD", "the keys of a batch must lie in one shard; give them one {hash tag}"),
      );
      return;
    }
    this.#parts.mode.execute(shard, request, sink, requestId, routing);
  }

  #scan(request: Scan, sink: ReplySink, requestId: number, routing: Routing): void {
    if (request.snapshot !== undefined && request.shard === undefined) {
      sink.reply(
        requestId,
        errorResponse("BAD_REQUEST", "a snapshot is of one shard; a scan of it has to name that"),
      );
    } else if (request.shard === undefined) this.#gathers.run(request, sink, requestId, routing);
    else if (!this.#refusesShard(request.shard, sink, requestId)) {
      this.#shardScans.run(request, sink, requestId, routing);
    }
  }

  /** No single node leads all shards, so there is nobody to redirect to: the parts are fetched from their leaders. */
  #gather(request: Scan, sink: ReplySink, requestId: number): void {
    const { mode } = this.#parts;
    const shards = this.#parts.shards();
    const gather = new GatherScan(request, shards, sink, requestId);
    const limit = partLimit(request.limit, shards);
    for (let shard = 0; shard < shards; shard++) {
      mode.execute(shardId(shard), { ...request, limit, shard: shardId(shard) }, gather, shard, "forward");
    }
  }

  #refusesShard(shard: ShardId, sink: ReplySink, requestId: number): boolean {
    if (shard < this.#parts.shards()) return false;
    sink.reply(
      requestId,
      errorResponse(
        "BAD_REQUEST",
        `shard ${shard} of a cluster that has ${this.#parts.shards()}, numbered from 0`,
      ),
    );
    return true;
  }
}
