/**
 * The keyspaces as one node knows them, and what operators ask about them. The system group decides which there are
 * (`shard/keyspaces.ts`); every node hears of it by and by.
 */
import { errorResponse } from "../../protocol/errors.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import type { GroupId, KeyspaceId, NodeId } from "../../protocol/ids.ts";
import type {
  CreateKeyspace,
  DropKeyspace,
  ErrorResponse,
  KeyspaceRequest,
} from "../../protocol/messages.ts";
import type { PeerNetwork } from "../../protocol/peer-network.ts";
import type { Clock } from "../env/env.ts";
import type { KeyValueMachine } from "../shard/key-value-machine.ts";
import { faultOfKeyspace, type KeyspaceFact, type KeyspaceFacts, NO_KEYSPACES } from "../shard/keyspaces.ts";
import type { Shard } from "../shard/shard.ts";
import type { ShardHost } from "../shard/shard-host.ts";
import type { SystemCommand } from "../shard/system-facts.ts";
import { encodeSystemCommand } from "../shard/system-machine.ts";

export interface KeyspacesParts {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly host: Pick<ShardHost, "systemShard" | "shards">;
  readonly network: Pick<PeerNetwork, "forward">;
  /** What a replica of this node holds. */
  readonly machineOf: (group: GroupId) => Pick<KeyValueMachine, "missingOf"> | undefined;
  /** How long a request may wait until what it asked for has come about. */
  readonly timeoutMs: number;
}

const POLL_MS = 20;
const NO_LEADER = errorResponse("UNAVAILABLE", "the system group has no leader now; try again");

interface Waiting {
  /** The id to answer with, once it has come about. */
  readonly done: () => KeyspaceId | undefined;
  readonly deadlineMs: number;
  readonly sink: ReplySink;
  readonly requestId: number;
}

export class Keyspaces {
  readonly #parts: KeyspacesParts;
  #facts: KeyspaceFacts = NO_KEYSPACES;
  #ids: ReadonlySet<KeyspaceId> = new Set();
  #waiting: Waiting[] = [];

  constructor(parts: KeyspacesParts) {
    this.#parts = parts;
  }

  /** What the system group's machine says now. One that replays its log has not come to everything yet. */
  learn(facts: KeyspaceFacts): void {
    if (facts.version <= this.#facts.version) return;
    this.#facts = facts;
    this.#ids = new Set(facts.live.map(({ id }) => id));
  }

  /** Why there can be no request on a keyspace, or `undefined`. */
  refusal(id: KeyspaceId): ErrorResponse | undefined {
    if (this.#ids.has(id)) return undefined;
    // This node may be the last to hear of a new one.
    return id >= this.#facts.next
      ? errorResponse("UNAVAILABLE", `this node does not know of keyspace ${id} yet`)
      : errorResponse("NO_KEYSPACE", `keyspace ${id} was dropped`);
  }

  execute(request: KeyspaceRequest, sink: ReplySink, requestId: number): void {
    const { systemShard } = this.#parts.host;
    if (request.kind === "listKeyspaces" && request.consistency === "stale") this.#list(sink, requestId);
    else if (!systemShard.isLeader) this.#passOn(systemShard.leader, request, sink, requestId);
    else if (request.kind === "listKeyspaces") this.#list(sink, requestId);
    else if (request.kind === "createKeyspace") this.#create(request, sink, requestId);
    else this.#drop(request, sink, requestId);
  }

  /** On the leaders of shards: tells their logs of drops that they have not heard of. To be called about once a second. */
  carryOut(): void {
    for (const shard of this.#parts.host.shards) {
      if (shard.isLeader && shard !== this.#parts.host.systemShard) this.#tell(shard);
    }
  }

  #tell(shard: Shard): void {
    const missing = this.#parts.machineOf(shard.group)?.missingOf(this.#facts);
    if (missing !== undefined) shard.proposeRaw(missing);
  }

  #list(sink: ReplySink, requestId: number): void {
    const keyspaces = this.#facts.live.map(({ id, name, mode }) => ({ id, name, mode }));
    sink.reply(requestId, { kind: "keyspaces", keyspaces });
  }

  #create({ name, mode, token }: CreateKeyspace, sink: ReplySink, requestId: number): void {
    const isIt = (one: KeyspaceFact) => one.name === name && one.token === token;
    const done = () => this.#facts.live.find(isIt)?.id;
    const known = done();
    const fault =
      mode === "quorum"
        ? "keyspaces of mode quorum are not offered yet; there is raft"
        : faultOfKeyspace(this.#facts, name);
    if (known !== undefined) {
      // It was sent twice, as happens when an answer is lost.
      sink.reply(requestId, { kind: "integer", value: BigInt(known) });
    } else if (fault !== undefined) {
      sink.reply(requestId, errorResponse("BAD_REQUEST", fault));
    } else {
      this.#decide({ kind: "createKeyspace", name, token }, done, sink, requestId);
    }
  }

  #drop({ id }: DropKeyspace, sink: ReplySink, requestId: number): void {
    if (id >= this.#facts.next) {
      sink.reply(requestId, errorResponse("NO_KEYSPACE", `there never was a keyspace ${id}`));
      return;
    }
    const done = () => (this.#ids.has(id) ? undefined : id);
    if (this.#ids.has(id)) this.#decide({ kind: "dropKeyspace", id }, done, sink, requestId);
    else this.#wait(done, sink, requestId);
  }

  /** Has the system group decide, and waits until it has. A leader that hands over can't begin with it. */
  #decide(command: SystemCommand, done: Waiting["done"], sink: ReplySink, requestId: number): void {
    const { systemShard } = this.#parts.host;
    const index = systemShard.proposeRaw(encodeSystemCommand(command));
    if (index === undefined) sink.reply(requestId, NO_LEADER);
    else this.#wait(done, sink, requestId);
  }

  /** Has the node that leads the system group do it, once. */
  #passOn(leader: NodeId | undefined, request: KeyspaceRequest, sink: ReplySink, requestId: number): void {
    const { network, self } = this.#parts;
    if (leader === undefined || leader === self || request.forwarded) sink.reply(requestId, NO_LEADER);
    else network.forward(leader, { ...request, forwarded: true }, sink, requestId);
  }

  #wait(done: Waiting["done"], sink: ReplySink, requestId: number): void {
    const deadlineMs = this.#parts.clock.nowMs() + this.#parts.timeoutMs;
    this.#waiting.push({ done, deadlineMs, sink, requestId });
    if (this.#waiting.length === 1) this.#poll();
  }

  #poll(): void {
    const nowMs = this.#parts.clock.nowMs();
    this.#waiting = this.#waiting.filter(({ done, deadlineMs, sink, requestId }) => {
      const id = done();
      if (id === undefined && nowMs < deadlineMs) return true;
      const late = errorResponse("TIMEOUT", "it has not come about yet, and still may");
      sink.reply(requestId, id === undefined ? late : { kind: "integer", value: BigInt(id) });
      return false;
    });
    if (this.#waiting.length > 0) this.#parts.clock.timer(POLL_MS, () => this.#poll());
  }
}
