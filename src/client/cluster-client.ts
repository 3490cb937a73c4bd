import type { ErrorName } from "../../protocol/errors.ts";
import { DEFAULT_KEYSPACE, isNodeId, type NodeId, shardId } from "../../protocol/ids.ts";
import {
  ANY_DEADLINE,
  ASK_TOPOLOGY,
  type ChangeMember,
  type ChangeReplica,
  type ClusterStatus,
  type Consistency,
  type DeadlineCondition,
  type Expire,
  type GroupLogStatus,
  type Join,
  type JoinedCluster,
  type KeyExplanation,
  type Keyspace,
  type KeyspaceMode,
  type KeyValue,
  NO_SESSION,
  type NodeStatus,
  type PlacementStatus,
  type Topology,
  type Ttl,
} from "../../protocol/messages.ts";
import { slotOf } from "../../protocol/slots.ts";
import {
  BOOLEAN,
  CLUSTER_STATUS,
  EXPLANATION,
  GROUP_LOG,
  INTEGER,
  JOINED,
  NODE_STATUS,
  PLACEMENT,
  PONG,
  TEXT,
  TIME,
  TOPOLOGY,
  VALUE,
} from "./answers.ts";
import { type Bytes, toBytes } from "./bytes.ts";
import type { Answer, Outgoing } from "./call.ts";
import { CLEAR, type ExpiryOptions, expiryOf, type PutOptions } from "./deadline.ts";
import { FlotillaError } from "./errors.ts";
import { type KeyRunner, KeyspaceRunner } from "./key-runner.ts";
import { createKeyspace, dropKeyspace, findKeyspace, listKeyspaces } from "./keyspaces.ts";
import { byShard, deleteMany, getMany, putBatch, putMany, throwFirst } from "./many-keys.ts";
import { type ClientCounts, type ClientEnv, RequestRunner, type RunnerOptions } from "./request-runner.ts";
import { type ScanOptions, scanShards } from "./scan.ts";

export interface ClientOptions {
  /** `host:port` of one node or more: where to ask first. The other nodes are learned from them. */
  readonly addresses: readonly string[];
  /** How long a request may take, all its retries included. Default 5000 ms. */
  readonly requestTimeoutMs?: number;
  /** How long making one connection may take. Default 1000 ms. */
  readonly connectTimeoutMs?: number;
  /**
   * After this long without a sign of life of a node, reads that wait for it are sent to another one, which answers unless
   * it takes the leader. Default 300 ms.
   */
  readonly quietMs?: number;
  /** After this long without a sign of life, a node that owes answers counts as lost. Default 2000 ms. */
  readonly silenceMs?: number;
  /**
   * Number writes, so that a retry after a lost answer happens once. Default true. Without, a write whose answer is lost
   * fails with outcome `unknown`, and the first write to each shard saves the opening of a session.
   */
  readonly sessions?: boolean;
  /** Most writes under way in a shard; more wait. Default 1024. */
  readonly sessionWindow?: number;
}

export interface ReadOptions {
  /**
   * `linearizable` (default): the latest acknowledged write. `lease`: the same, as long as no node's clock drifts by more than the
   * cluster was told; where it was told nothing, just the same. `stale`: what the nearest replica has that is not busy, which
   * may be older.
   */
  readonly consistency?: Consistency;
}

export interface BatchOptions {
  /** Refuse with CROSS_SHARD where the keys do not all lie in one shard. Default false. */
  readonly atomic?: boolean;
}

const REQUEST_TIMEOUT_MS = 5000;
const CONNECT_TIMEOUT_MS = 1000;
const QUIET_MS = 300;
const SILENCE_MS = 2000;
const SESSION_WINDOW = 1024;
/**
 * A client of one cluster. Every method may be called at any time, thousands of times at once; requests pipeline.
 * Promises reject with `FlotillaError` and nothing else. Bytes that are passed in are borrowed until the promise
 * settles; bytes that are handed out belong to the caller.
 */
export class Client {
  readonly #runner: RequestRunner;
  /** The same, for requests on keys. */
  readonly #keys: KeyRunner;
  /** Which keyspace its keys are in. */
  readonly keyspaceName: string;

  private constructor(runner: RequestRunner, keyspace?: Keyspace) {
    this.#runner = runner;
    this.#keys = keyspace === undefined ? runner : new KeyspaceRunner(runner, keyspace.id);
    this.keyspaceName = keyspace?.name ?? DEFAULT_KEYSPACE;
  }

  /** Resolves once a node has answered with the topology; rejects when none did within `requestTimeoutMs`. */
  static async open(options: ClientOptions, env: ClientEnv): Promise<Client> {
    if (options.addresses.length === 0) {
      throw new FlotillaError("BAD_REQUEST", "cannot connect: the list of addresses is empty", "notDone");
    }
    const runner = new RequestRunner(withDefaults(options), env);
    try {
      await runner.refresh();
    } catch (error) {
      runner.close();
      const cause = error as FlotillaError;
      const where = options.addresses.join(", ");
      throw new FlotillaError(
        cause.code,
        `cannot connect to a cluster at ${where}: ${cause.message}`,
        "notDone",
        { cause },
      );
    }
    return new Client(runner);
  }

  /**
   * The same client with its keys in the keyspace of that name: it shares connections and sessions with this one, and closing
   * either closes both. The name is resolved here, once: after the keyspace was dropped all requests on its keys are
   * rejected with NO_KEYSPACE, also if there is another one of its name. Rejects so if there is none.
   */
  async keyspace(name: string): Promise<Client> {
    if (name === DEFAULT_KEYSPACE) return new Client(this.#runner);
    return new Client(this.#runner, await findKeyspace(this.#runner, name));
  }

  /** Creates a keyspace. BAD_REQUEST if there is one of that name, and for the mode `quorum`, which is not offered yet. */
  createKeyspace(name: string, options: { readonly mode?: KeyspaceMode } = {}): Promise<Keyspace> {
    return createKeyspace(this.#runner, name, options.mode ?? "raft");
  }

  /** The keyspaces that somebody created, by number; `default`, which is always there, is not among them. */
  listKeyspaces(): Promise<readonly Keyspace[]> {
    return listKeyspaces(this.#runner);
  }

  /** Removes a keyspace with all of its keys, for good. Resolves when that is decided; the space is given back by and by. */
  dropKeyspace(name: string): Promise<void> {
    return dropKeyspace(this.#runner, name);
  }

  /** The value of `key`; `undefined` if there is no such key. */
  get(key: Bytes, options?: ReadOptions): Promise<Uint8Array | undefined> {
    return this.#get(key, options, VALUE);
  }

  /** The value of `key` read as UTF-8; what is not UTF-8 becomes U+FFFD. */
  getText(key: Bytes, options?: ReadOptions): Promise<string | undefined> {
    return this.#get(key, options, TEXT);
  }

  exists(key: Bytes, options?: ReadOptions): Promise<boolean> {
    const bytes = toBytes(key);
    const consistency = options?.consistency ?? "linearizable";
    return this.#toShard({ kind: "exists", key: bytes, consistency }, bytes, BOOLEAN);
  }

  /**
   * Sets `key`, for as long as the options say. `false`: the condition did not hold, and nothing was written. What is
   * wrong with the options is a BAD_REQUEST.
   */
  put(key: Bytes, value: Bytes, options?: PutOptions): Promise<boolean> {
    const keyBytes = toBytes(key);
    const valueBytes = toBytes(value);
    const condition = options?.condition ?? "always";
    const change = options === undefined ? CLEAR : expiryOf(options);
    if (typeof change === "string") return refused("BAD_REQUEST", `cannot put: ${change}`);
    const request: Outgoing =
      change.expiry === "clear"
        ? { kind: "put", stamp: NO_SESSION, key: keyBytes, value: valueBytes, condition }
        : {
            ...{ kind: "putWith", stamp: NO_SESSION, key: keyBytes, value: valueBytes, condition },
            ...{ expiry: change.expiry, expiryMs: change.expiryMs, answersOld: false },
          };
    return this.#toShard(request, keyBytes, BOOLEAN);
  }

  /**
   * For how many milliseconds `key` is still there, by the clock of its shard's leader: Infinity if it has no deadline,
   * `undefined` if there is no such key.
   */
  ttl(key: Bytes, options?: ReadOptions): Promise<number | undefined> {
    return this.#ttl(key, "left", options);
  }

  /** When `key` will be gone, in milliseconds since the Unix epoch; Infinity and `undefined` as for `ttl`. */
  expiresAt(key: Bytes, options?: ReadOptions): Promise<number | undefined> {
    return this.#ttl(key, "at", options);
  }

  /** Has `key` gone in so many milliseconds, or at a time, whatever deadline it had. `false`: there is no such key. */
  expire(key: Bytes, deadline: number | Omit<ExpiryOptions, "keepTtl">): Promise<boolean> {
    const change = expiryOf(typeof deadline === "number" ? { ttlMs: deadline } : deadline);
    if (typeof change === "string") return refused("BAD_REQUEST", `cannot set a deadline: ${change}`);
    if (change.expiry === "clear" || change.expiry === "keep") {
      return refused("BAD_REQUEST", "cannot set a deadline: none was given (persist takes it away)");
    }
    return this.#expire(key, change.expiry, change.expiryMs, ANY_DEADLINE);
  }

  /** Takes the deadline of `key` away. `false`: it has none, or there is no such key. */
  persist(key: Bytes): Promise<boolean> {
    return this.#expire(key, "clear", 0, { ...ANY_DEADLINE, ifSome: true });
  }

  /** Removes `key`. `false`: there was none. */
  delete(key: Bytes): Promise<boolean> {
    const bytes = toBytes(key);
    return this.#toShard({ kind: "delete", stamp: NO_SESSION, key: bytes }, bytes, BOOLEAN);
  }

  /**
   * Adds `delta` (default 1) to the decimal number that `key` holds, 0 if there is no such key, and returns the sum.
   * NOT_AN_INTEGER: the value is no number of 64 bits, or the sum would not be.
   */
  increment(key: Bytes, delta: bigint | number = 1n): Promise<bigint> {
    const bytes = toBytes(key);
    if (typeof delta === "number" && !Number.isSafeInteger(delta)) {
      return refused(
        "BAD_REQUEST",
        `cannot increment by ${delta}: it is no safe integer (a bigint may be larger)`,
      );
    }
    return this.#toShard(
      { kind: "increment", stamp: NO_SESSION, key: bytes, delta: BigInt(delta) },
      bytes,
      INTEGER,
    );
  }

  /**
   * Sets `key` to `value` if it holds `expected`; `undefined` stands for "no such key" on either side, so that it can
   * create and delete. `false`: it held something else, and nothing was written.
   */
  compareAndSet(key: Bytes, expected: Bytes | undefined, value: Bytes | undefined): Promise<boolean> {
    const bytes = toBytes(key);
    const newValue = value === undefined ? undefined : toBytes(value);
    const oldValue = expected === undefined ? undefined : toBytes(expected);
    return this.#toShard(
      { kind: "compareAndSet", stamp: NO_SESSION, key: bytes, expected: oldValue, value: newValue },
      bytes,
      BOOLEAN,
    );
  }

  /**
   * Sets all `entries`. Those that lie in one shard are set together or not at all; between shards there is no such
   * promise, unless `atomic` asks for one and the keys lie in one shard (a `{hash tag}` sees to that). Where it fails, the
   * parts of other shards may have been written; the error says of how many.
   */
  async batch(entries: Iterable<readonly [key: Bytes, value: Bytes]>, options?: BatchOptions): Promise<void> {
    const groups = byShard(toEntries(entries), this.#keys.shards);
    if (options?.atomic === true && groups.length > 1) {
      return refused("CROSS_SHARD", `cannot write a batch at once: its keys lie in ${groups.length} shards`);
    }
    const results = await Promise.allSettled(groups.map((group) => putBatch(this.#keys, group)));
    throwFirst(results, "shard", "written");
  }

  /** The values of `keys`, in their order; `undefined` where there is none. Each is read on its own, all of them at once. */
  getMany(keys: Iterable<Bytes>, options?: ReadOptions): Promise<(Uint8Array | undefined)[]> {
    return getMany(this.#keys, Array.from(keys, toBytes), options?.consistency ?? "linearizable");
  }

  /**
   * Sets any number of entries. Unlike `batch`, it cuts what is too much for one request into parts, so that not even the
   * entries of one shard are set together. Where it fails, others may have been written; the error says of how many shards.
   */
  putMany(entries: Iterable<readonly [key: Bytes, value: Bytes]>): Promise<void> {
    return putMany(this.#keys, toEntries(entries));
  }

  /** Removes `keys`, each on its own, all of them at once, and returns how many there were. */
  deleteMany(keys: Iterable<Bytes>): Promise<number> {
    return deleteMany(this.#keys, Array.from(keys, toBytes));
  }

  /**
   * Entries in the byte order of their keys, over all shards, fetched as the caller gets to them. What is read last is as
   * current as what is read first; all together are no snapshot. To go on later, or after an error, scan `after` the last key.
   */
  scan(options: ScanOptions = {}): AsyncGenerator<KeyValue, void> {
    return scanShards(this.#keys, options);
  }

  /** Asks a node (any, or the one at `address`) for a sign of life; how long that took, in milliseconds. */
  ping(address?: string): Promise<number> {
    const startMs = this.#runner.nowMs();
    return this.#runner
      .run({ kind: "ping" }, PONG, address === undefined ? "any" : { address })
      .then(() => this.#runner.nowMs() - startMs);
  }

  /** Who the nodes are, and who leads which shard, as one node knows it. */
  topology(): Promise<Topology> {
    return this.#runner.run(ASK_TOPOLOGY, TOPOLOGY, "any");
  }

  /** How many requests this client has sent to where they belong, and how many had to be told where that is. */
  get counts(): ClientCounts {
    return this.#runner.counts;
  }

  /** How the whole cluster is (default), or how one node is: any, or the one at `address`. */
  status(options?: { readonly scope?: "cluster"; readonly address?: string }): Promise<ClusterStatus>;
  status(options: { readonly scope: "node"; readonly address?: string }): Promise<NodeStatus>;
  status(
    options: { readonly scope?: "cluster" | "node"; readonly address?: string } = {},
  ): Promise<ClusterStatus | NodeStatus> {
    const route = options.address === undefined ? "any" : { address: options.address };
    const scope = options.scope ?? "cluster";
    return this.#runner.run<ClusterStatus | NodeStatus>(
      { kind: "status", scope },
      scope === "node" ? NODE_STATUS : CLUSTER_STATUS,
      route,
    );
  }

  /** Has a node give all its replicas to others; it stays a node of the cluster. Resolves when the cluster has noted it. */
  drainNode(node: string): Promise<boolean> {
    return this.#changeMember("drain", node, "");
  }

  /** A node that was drained may hold replicas again. */
  undrainNode(node: string): Promise<boolean> {
    return this.#changeMember("undrain", node, "");
  }

  /**
   * Removes a node for good: others get its replicas, and its name is never used again. Resolves when the cluster has noted
   * it; `status` shows how far the shards have come.
   */
  removeNode(node: string): Promise<boolean> {
    return this.#changeMember("remove", node, "");
  }

  /** As `removeNode`; what `node` holds goes to `successor`, another node of the cluster. */
  replaceNode(node: string, successor: string): Promise<boolean> {
    if (!isNodeId(successor)) return refused("BAD_REQUEST", `"${successor}" is no node's id`);
    return this.#changeMember("replace", node, successor);
  }

  /**
   * Gives `node` a copy of a shard (of every shard without one), without a vote, which it keeps until it gets a vote, is removed
   * or drains. It serves stale reads. Resolves when the shard's leader sends it what there is.
   */
  addReplica(node: string, options: { readonly shard?: number } = {}): Promise<boolean> {
    return this.#changeReplica("add", node, options.shard);
  }

  /**
   * Gives a vote to the copy that `node` has of a shard, or to all of its copies: once it has everything, in the place of another
   * node's vote where the shard has as many as it should. Resolves when it votes. The cluster goes on evening votes out.
   */
  promoteReplica(node: string, options: { readonly shard?: number } = {}): Promise<boolean> {
    return this.#changeReplica("promote", node, options.shard);
  }

  /** Gives the vote of `node` in a shard, or all of its votes, to other nodes; it keeps a copy without one. */
  demoteReplica(node: string, options: { readonly shard?: number } = {}): Promise<boolean> {
    return this.#changeReplica("demote", node, options.shard);
  }

  /**
   * Takes what `node` has of a shard away from it; a vote goes to another node. Without a shard: all of its copies that have no vote
   * (`drainNode` has a node give its votes away).
   */
  removeReplica(node: string, options: { readonly shard?: number } = {}): Promise<boolean> {
    return this.#changeReplica("remove", node, options.shard);
  }

  /**
   * What replicas are being moved to other nodes and which will be, as far as the node knows that is asked. The cluster moves
   * them by itself; without `dryRun` it looks at once what there is to do.
   */
  rebalance(options: { readonly dryRun: boolean }): Promise<PlacementStatus> {
    return this.#runner.run(
      { kind: "rebalance", dryRun: options.dryRun, forwarded: false },
      PLACEMENT,
      "any",
    );
  }

  /** Asks the cluster to take a node in: what a node does that was started with `--join`. */
  join(node: Omit<Join, "kind" | "forwarded">): Promise<JoinedCluster> {
    return this.#runner.run({ kind: "join", ...node, forwarded: false }, JOINED, "any");
  }

  /** Hands the leadership of `shard` to the node `to`; without a shard, of all that the node at `address` leads. */
  transferLeader(
    to: string,
    options: { readonly shard?: number; readonly address?: string } = {},
  ): Promise<boolean> {
    if (!isNodeId(to)) return refused("BAD_REQUEST", `"${to}" is no node's id`);
    const shard = options.shard === undefined ? undefined : shardId(options.shard);
    const route = options.address === undefined ? "any" : { address: options.address };
    return this.#runner.run({ kind: "transferLeader", to, shard, forwarded: false }, BOOLEAN, route);
  }

  /** Where the leader's engine looks for `key`, and what it finds there. */
  explain(key: Bytes, options?: ReadOptions): Promise<KeyExplanation> {
    const bytes = toBytes(key);
    const consistency = options?.consistency ?? "linearizable";
    return this.#toShard({ kind: "explain", key: bytes, consistency }, bytes, EXPLANATION);
  }

  /** How a node's replica of a shard (of the system group without one) is, and the last entries of its log. */
  groupLog(
    options: { readonly shard?: number; readonly address?: string; readonly limit?: number } = {},
  ): Promise<GroupLogStatus> {
    const shard = options.shard === undefined ? undefined : shardId(options.shard);
    const route = options.address === undefined ? "any" : { address: options.address };
    return this.#runner.run({ kind: "groupLog", shard, limit: options.limit ?? 20 }, GROUP_LOG, route);
  }

  /** Closes all connections. What is under way fails; so does everything that is asked for later. */
  close(): void {
    this.#runner.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #changeMember(action: ChangeMember["action"], node: string, successor: NodeId | ""): Promise<boolean> {
    if (!isNodeId(node)) return refused("BAD_REQUEST", `"${node}" is no node's id`);
    return this.#runner.run(
      { kind: "changeMember", action, node, successor, forwarded: false },
      BOOLEAN,
      "any",
    );
  }

  #changeReplica(action: ChangeReplica["action"], node: string, shard: number | undefined): Promise<boolean> {
    if (!isNodeId(node)) return refused("BAD_REQUEST", `"${node}" is no node's id`);
    const which = shard === undefined ? undefined : shardId(shard);
    return this.#runner.run(
      { kind: "changeReplica", action, node, shard: which, forwarded: false },
      BOOLEAN,
      "any",
    );
  }

  #ttl(key: Bytes, form: Ttl["form"], options: ReadOptions | undefined): Promise<number | undefined> {
    const bytes = toBytes(key);
    const consistency = options?.consistency ?? "linearizable";
    return this.#toShard({ kind: "ttl", key: bytes, form, consistency }, bytes, TIME);
  }

  #expire(
    key: Bytes,
    expiry: Expire["expiry"],
    expiryMs: number,
    condition: DeadlineCondition,
  ): Promise<boolean> {
    const bytes = toBytes(key);
    const target = { kind: "expire", stamp: NO_SESSION, key: bytes } as const;
    return this.#toShard({ ...target, expiry, expiryMs, condition, answersOld: false }, bytes, BOOLEAN);
  }

  #get<T>(key: Bytes, options: ReadOptions | undefined, answer: Answer<T>): Promise<T> {
    const bytes = toBytes(key);
    const consistency = options?.consistency ?? "linearizable";
    return this.#toShard({ kind: "get", key: bytes, consistency }, bytes, answer);
  }

  #toShard<T>(request: Outgoing, key: Uint8Array, answer: Answer<T>): Promise<T> {
    return this.#keys.run(request, answer, { slot: slotOf(key) });
  }
}

function withDefaults(options: ClientOptions): RunnerOptions {
  return {
    addresses: options.addresses,
    requestTimeoutMs: options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
    connectTimeoutMs: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    quietMs: options.quietMs ?? QUIET_MS,
    silenceMs: options.silenceMs ?? SILENCE_MS,
    sessions: options.sessions ?? true,
    sessionWindow: options.sessionWindow ?? SESSION_WINDOW,
  };
}

const toEntries = (entries: Iterable<readonly [key: Bytes, value: Bytes]>): KeyValue[] =>
  Array.from(entries, ([key, value]) => ({ key: toBytes(key), value: toBytes(value) }));

const refused = (code: ErrorName, message: string): Promise<never> =>
  Promise.reject(new FlotillaError(code, message, "notDone"));
