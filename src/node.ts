/**
 * The composition root of a node: builds its parts over an injected outside world, starts them in the order in which they
 * need each other, and stops them in the reverse one. Nothing here happens on the way of a request.
 */
import { version } from "../package.json";
import { errorResponse } from "../protocol/errors.ts";
import type { NodeLoad } from "../protocol/gossip-messages.ts";
import type { ReplySink, RequestHandler, Routing } from "../protocol/handler.ts";
import { type GroupId, groupId, type NodeId, SYSTEM_GROUP, shardId, shardOfGroup } from "../protocol/ids.ts";
import { ASK_TOPOLOGY, type ClientRequest } from "../protocol/messages.ts";
import type { GroupMessage } from "../protocol/peer-messages.ts";
import type { PeerListener } from "../protocol/peer-network.ts";
import { Administration } from "./administration.ts";
import { ClusterGossip, gossipOptions, type LedShard } from "./cluster-gossip.ts";
import { GatherStatus } from "./cluster-status.ts";
import { DEFAULT_LIMITS, type NodeConfig, type ReplicationLimits } from "./config.ts";
import { type Env, FileError, type FileLock, type Listener } from "./env/env.ts";
import { type Identity, LOCK_FILE, randomId, readIdentity, writeIdentity } from "./identity.ts";
import { Keyspaces } from "./keyspaces.ts";
import { parseAddress } from "./lib/address.ts";
import { Slab } from "./lib/slab.ts";
import { Membership } from "./membership.ts";
import { LinearizableMode } from "./modes/linearizable.ts";
import { nodeStatus } from "./node-status.ts";
import { founders, NO_MEMBERS } from "./raft/configuration.ts";
import { createRaft } from "./raft/raft.ts";
import { Router } from "./router.ts";
import { DEFAULT_SERVER_LIMITS } from "./server/limits.ts";
import { createPeers, type PeerAddress, type Peers } from "./server/peers.ts";
import { createServer, type Server } from "./server/server.ts";
import { ApplyBuffer } from "./shard/apply-buffer.ts";
import { ENGINE_LIMITS, EngineKeys, metaKey } from "./shard/engine-keys.ts";
import { KeyValueMachine } from "./shard/key-value-machine.ts";
import { LogDamageError } from "./shard/log-segment.ts";
import { isDiskFull, LogStore, type LogStoreOptions, LogSyncError } from "./shard/log-store.ts";
import { PauseWatch } from "./shard/pause-watch.ts";
import { RequestStats } from "./shard/request-stats.ts";
import { SealTracker } from "./shard/seal-tracker.ts";
import { Shard } from "./shard/shard.ts";
import { ShardHost } from "./shard/shard-host.ts";
import { ShardReader } from "./shard/shard-reader.ts";
import { ShardSpace } from "./shard/shard-space.ts";
import type { StreamSlots } from "./shard/snapshot-exchange.ts";
import { DEFAULT_SNAPSHOT_SIZES, type SnapshotSizes } from "./shard/snapshot-format.ts";
import { encodeSystemCommand, SystemMachine } from "./shard/system-machine.ts";
import { StartError } from "./start-error.ts";
import { makeDurableDirectory } from "./storage/durable-directory.ts";
import type { Engine } from "./storage/engine.ts";
import { openLsm } from "./storage/lsm.ts";
import type { LsmOptions } from "./storage/lsm-options.ts";
import { StorageError } from "./storage/storage-error.ts";
import { DEFAULT_TIMING_OPTIONS, faultOfTimings, type NodeTimings, timingsOf } from "./timings.ts";
import { TopologySource, versionOf } from "./topology.ts";

/** A node. Requests may also be handed to it directly, without a socket. */
export interface FlotillaNode extends RequestHandler {
  /** Resolves when the node listens and has recovered its data. Rejects with `StartError`, having changed nothing. */
  start(): Promise<void>;
  /** Resolves when every shard has a leader that this node knows. Rejects with `StartError` if the cluster refuses this node. */
  ready(): Promise<void>;
  /** Hands leadership over, answers what is under way, makes everything durable and closes. */
  stop(): Promise<void>;
}

export interface NodeOptions {
  /** The node can't trust its disk or its state any more. The process must end at once. */
  readonly onFatal: (error: Error) => void;
  /** Sizes of the storage and of appends, where they are not to be the defaults. */
  readonly engine?: Partial<LsmOptions>;
  readonly log?: LogStoreOptions;
  readonly replication?: ReplicationLimits;
  readonly snapshots?: SnapshotSizes;
  readonly logBytesMax?: number;
}

export function createNode(env: Env, config: NodeConfig, options: NodeOptions): FlotillaNode {
  return new Node(env, config, options);
}

/** How large the buffers are that a node's own log entries are cut from. */
const SLAB_BYTES = 256 * 1024;

const STARTING = errorResponse("UNAVAILABLE", "this node is starting: it has not read its data yet");

/** What there is once the data directory was read. */
interface Running {
  readonly lock: FileLock;
  readonly engine: Engine;
  readonly logStore: LogStore;
  readonly host: ShardHost;
  readonly router: Router;
  readonly membership: Membership;
}

class Node implements FlotillaNode, RequestHandler, PeerListener {
  /** Where the other nodes are; the peers look into it. */
  readonly #addresses: Map<NodeId, PeerAddress>;
  readonly #env: Env;
  readonly #config: NodeConfig;
  readonly #options: NodeOptions;
  readonly #timings: NodeTimings;
  readonly #stats = new RequestStats();
  readonly #peers: Peers;
  readonly #gossip: ClusterGossip;
  readonly #server: Server;
  readonly #startedMs: number;
  readonly #startedAtMs: number;
  #running: Running | undefined;
  #isRemoved = false;
  #metStranger = false;
  #refusal: string | undefined;

  constructor(env: Env, config: NodeConfig, options: NodeOptions) {
    this.#env = env;
    this.#config = config;
    this.#options = options;
    this.#timings = timingsOf({ ...DEFAULT_TIMING_OPTIONS, ...config.timings });
    this.#startedMs = env.clock.nowMs();
    this.#startedAtMs = Math.max(0, Math.round(env.clock.wallMs()));
    const others = config.members.filter((member) => member.id !== config.id);
    this.#addresses = new Map(others.map(({ id, host, port }) => [id, { host, port }]));
    this.#peers = createPeers({
      env,
      self: config.id,
      addresses: this.#addresses,
      hello: () => this.#running!.membership.hello(),
      admit: (hello) => {
        if (this.#running === undefined) return { error: "UNAVAILABLE", message: STARTING.message };
        return this.#running.membership.admit(hello);
      },
      stranger: () => {
        this.#metStranger = true;
      },
      refused: (by, error, message) => {
        const hopeless = this.#running?.membership.refused(by, error, message);
        if (hopeless !== undefined) this.#refusal = hopeless;
      },
      listener: this,
      heardGossip: (message) => this.#gossip.received(message),
      pace: {
        isSlow: () => this.#running?.host.diskPace.isSlow === true,
        heard: (node, isSlow) => this.#running?.host.heardPace(node, isSlow),
      },
      handler: this,
      limits: DEFAULT_SERVER_LIMITS,
    });
    this.#gossip = new ClusterGossip({
      ...{ env, self: config.id, network: this.#peers, onFatal: options.onFatal },
      options: gossipOptions(this.#timings),
      load: () => this.#load(),
      led: () => this.#led(),
    });
    this.#server = createServer({
      env,
      handler: this,
      peers: this.#peers,
      info: { node: config.id, version, processId: process.pid },
      redirect: config.redirect ?? "forward",
      limits: DEFAULT_SERVER_LIMITS,
    });
  }

  async start(): Promise<void> {
    const fault = faultOfTimings({ ...DEFAULT_TIMING_OPTIONS, ...this.#config.timings });
    if (fault !== undefined) throw new StartError(fault);
    const listener = await this.#listen();
    try {
      this.#running = await this.#recover();
    } catch (error) {
      listener.close();
      throw error;
    }
    this.#peers.start();
    this.#gossip.start();
  }

  async ready(): Promise<void> {
    const { host } = this.#running!;
    while (host.shards.some((shard) => shard.leader === undefined)) {
      if (this.#refusal !== undefined) throw new StartError(this.#refusal);
      await new Promise<void>((resolve) => this.#env.clock.timer(this.#timings.tickMs, resolve));
    }
  }

  async stop(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    await running.host.handOver();
    await this.#server.stop();
    this.#gossip.stop();
    this.#peers.stop();
    await running.host.stop();
    // Tables instead of a log to replay: the next start is quick. A full disk would be waited for.
    if (running.host.readOnlyReason === undefined) await running.engine.flush();
    await running.engine.close();
    running.logStore.close();
    running.lock.release();
    await this.#env.background.close();
  }

  execute(request: ClientRequest, sink: ReplySink, requestId: number, routing: Routing): void {
    if (this.#running === undefined) sink.reply(requestId, STARTING);
    else this.#running.router.execute(request, sink, requestId, routing);
  }

  received(group: GroupId, message: GroupMessage): void {
    this.#running?.host.received(group, message);
  }

  connected(node: NodeId): void {
    this.#running?.host.connected(node);
    this.#gossip.connectionChanged(node);
  }

  disconnected(node: NodeId): void {
    this.#running?.host.disconnected(node);
    this.#gossip.connectionChanged(node);
  }

  async #listen(): Promise<Listener> {
    const { host, port } = this.#config;
    try {
      return await this.#server.listen(host, port);
    } catch (error) {
      throw new StartError((error as Error).message, { cause: error });
    }
  }

  async #recover(): Promise<Running> {
    const { fs } = this.#env;
    const directory = this.#config.dataDirectory;
    makeDurableDirectory(fs, directory);
    const lock = fs.lock(`${directory}/${LOCK_FILE}`);
    if (lock === undefined) {
      throw new StartError(
        `${directory} is in use by another process; every node needs a data directory of its own (--data)`,
      );
    }
    try {
      const { identity: known, isNew } = readIdentity(this.#env, this.#config);
      const { promiseMs } = this.#timings;
      const identity = { ...known, promiseMs };
      if (known.promiseMs > promiseMs) await this.#outlive(known.promiseMs);
      if (isNew || known.promiseMs !== promiseMs) writeIdentity(fs, directory, identity);
      return await this.#build(lock, identity);
    } catch (error) {
      lock.release();
      const isExpected = [LogDamageError, LogSyncError, StorageError, FileError].some(
        (kind) => error instanceof kind,
      );
      throw isExpected ? new StartError((error as Error).message, { cause: error }) : error;
    }
  }

  /** Before it was restarted with other times, this node promised something that a leader may still rely on. */
  async #outlive(promiseMs: number): Promise<void> {
    await new Promise<void>((resolve) => this.#env.clock.timer(2 * promiseMs, resolve));
  }

  async #build(lock: FileLock, identity: Identity): Promise<Running> {
    const env = this.#env;
    const { id, shards: shardCount, dataDirectory } = this.#config;
    const { leaseMs, promiseMs, tickMs } = this.#timings;
    const seals = new SealTracker();
    const { onFatal } = this.#options;
    const options = { ...ENGINE_LIMITS, ...this.#options.engine, onFatal };
    const engine = await openLsm(env, `${dataDirectory}/engine`, options, seals);
    const logStore = LogStore.open(env, `${dataDirectory}/raft-log`, this.#options.log);
    const membership = new Membership({
      self: id,
      incarnation: identity.incarnation,
      listed: this.#config.members,
      joins: identity.joins,
      shards: shardCount,
      facts: identity.facts,
      lease: { leaseMs, promiseMs },
      isInGroup: (node) => host.shards.some((shard) => shard.hasMember(node)),
    });
    const systemMachine = new SystemMachine((facts) => {
      keyspaces.learn(facts.keyspaces);
      if (!membership.learn(facts)) return;
      this.#keepFacts({ ...identity, facts: membership.facts });
      this.#followMembership(membership, host);
    });
    const buffer = new ApplyBuffer(engine);
    const host: ShardHost = new ShardHost({
      env,
      self: id,
      members: votersAmong(membership),
      desiredMembers: () => membership.desired,
      timings: this.#timings,
      engine,
      buffer,
      logStore,
      seals,
      stats: this.#stats,
      logBytesMax: this.#options.logBytesMax ?? DEFAULT_LIMITS.logBytesMax,
      network: this.#peers,
      onFatal,
      onMaintenance: () => {
        // Groups have let go of nodes that were removed, perhaps, or others have told of nodes.
        this.#followMembership(membership, host);
        if (this.#metStranger) this.#askWho(membership);
        keyspaces.carryOut();
        if (!host.systemShard.isLeader) return;
        for (const command of membership.missingFacts(() => randomId(env.random))) {
          host.systemShard.proposeRaw(encodeSystemCommand(command));
        }
      },
    });
    const keys = new EngineKeys();
    const machines = Array.from(
      { length: shardCount },
      (_, shard) => new KeyValueMachine(shardId(shard), buffer, keys),
    );
    const keyspaces: Keyspaces = new Keyspaces({
      ...{ self: id, clock: env.clock, host, network: this.#peers, machines },
      timeoutMs: this.#timings.requestTimeoutMs,
    });
    const shared = {
      engine,
      logStore,
      systemMachine,
      machines,
      host,
      keys,
      slab: new Slab(SLAB_BYTES),
      streams: { active: 0, max: DEFAULT_LIMITS.snapshotStreamsMax },
      joins: identity.joins,
      pauses: leaseMs === 0 ? undefined : new PauseWatch(env.clock, tickMs),
    };
    const shards = Array.from({ length: shardCount + 1 }, (_, group) =>
      this.#buildShard(groupId(group), shared),
    );
    seals.attach(shards);
    host.start(shards);
    this.#followMembership(membership, host);
    return {
      lock,
      engine,
      logStore,
      host,
      membership,
      router: this.#buildRouter(host, engine, logStore, membership, keyspaces),
    };
  }

  /** The nodes of the cluster are others than they were, perhaps. */
  #followMembership(membership: Membership, host: ShardHost): void {
    const nodes = membership.connected.filter((node) => node.id !== this.#config.id);
    for (const { id, address } of nodes) {
      const place = parseAddress(address);
      if (place !== undefined && !this.#addresses.has(id)) this.#addresses.set(id, place);
    }
    for (const id of this.#addresses.keys()) {
      if (!nodes.some((node) => node.id === id)) this.#addresses.delete(id);
    }
    if (membership.facts.nodes[this.#config.id]?.role === "removed" && !this.#isRemoved) {
      this.#isRemoved = true;
      this.#env.log.warn(
        "this node was removed from the cluster: it serves nothing any more, and can be stopped",
      );
    }
    this.#peers.membersChanged();
    this.#gossip.membersChanged(membership.nodes.map(({ id }) => id));
    host.membersChanged(votersAmong(membership));
  }

  /** What this node tells the others of itself. */
  #load(): NodeLoad {
    const { host, engine } = this.#running!;
    const [, ...shards] = host.shards;
    const { memtableBytes, tableBytes } = engine.stats();
    return {
      shards: shards.length,
      leaders: shards.filter((shard) => shard.isLeader).length,
      dataBytes: memtableBytes + tableBytes,
      requestsPerSecond: this.#stats.perSecond,
      disk: host.readOnlyReason === undefined ? "ok" : "full",
      startedAtMs: this.#startedAtMs,
      version,
    };
  }

  #led(): LedShard[] {
    const [, ...shards] = this.#running!.host.shards;
    const led = shards.filter((shard) => shard.isLeader);
    return led.map(({ group, term }) => ({ shard: shardOfGroup(group), term }));
  }

  /** Asks the others who the nodes are. */
  #askWho(membership: Membership): void {
    this.#metStranger = false;
    const sink: ReplySink = {
      reply: (_id, response) => {
        if (response.kind !== "topology") return;
        membership.hearOf(response.topology.clusterId, response.topology.nodes);
      },
    };
    for (const node of this.#addresses.keys()) this.#peers.forward(node, ASK_TOPOLOGY, sink, 0);
  }

  /** The log and the engine have the facts as well: a full disk is no reason to stop, the next start writes them. */
  #keepFacts(identity: Identity): void {
    try {
      writeIdentity(this.#env.fs, this.#config.dataDirectory, identity);
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      this.#env.log.warn("what the cluster agreed on could not be written beside the data", { error });
    }
  }

  #buildShard(
    group: GroupId,
    parts: {
      readonly engine: Engine;
      readonly logStore: LogStore;
      readonly systemMachine: SystemMachine;
      /** By shard. */
      readonly machines: readonly KeyValueMachine[];
      readonly host: ShardHost;
      readonly keys: EngineKeys;
      readonly slab: Slab;
      readonly streams: StreamSlots;
      readonly joins: boolean;
      readonly pauses: PauseWatch | undefined;
    },
  ): Shard {
    const { engine, logStore, systemMachine, machines, host, keys, slab, streams, joins, pauses } = parts;
    const isSystem = group === SYSTEM_GROUP;
    const meta = engine.getSync(metaKey(group))?.slice();
    return Shard.recover(
      {
        self: this.#config.id,
        group,
        founders: joins ? NO_MEMBERS : founders(this.#config.members.map((member) => member.id)),
        clock: this.#env.clock,
        pauses,
        logStore,
        machine: isSystem ? systemMachine : machines[shardOfGroup(group)]!,
        reader: isSystem ? undefined : new ShardReader(shardOfGroup(group), engine, keys),
        space: isSystem ? undefined : new ShardSpace(shardOfGroup(group), engine, keys),
        streams,
        snapshots: this.#options.snapshots ?? DEFAULT_SNAPSHOT_SIZES,
        flushEngine: () => engine.flush(),
        log: this.#env.log,
        fail: this.#options.onFatal,
        slab,
        stats: this.#stats,
        limits: { ...DEFAULT_LIMITS, quiesceTicks: this.#timings.quiesceTicks },
        send: (of, message) => this.#peers.send(of, message),
        wake: (shard) => host.wake(shard),
      },
      meta,
      (log, hardState, applied, membership) =>
        createRaft(
          {
            id: this.#config.id,
            membership,
            lease: this.#timings.leaseMs,
            heartbeatTicks: this.#timings.heartbeatTicks,
            electionTicks: this.#timings.electionTicks,
            random: this.#env.random,
            ...(this.#options.replication ?? DEFAULT_LIMITS.replication),
          },
          log,
          hardState,
          applied,
        ),
    );
  }

  #buildRouter(
    host: ShardHost,
    engine: Engine,
    logStore: LogStore,
    membership: Membership,
    keyspaces: Keyspaces,
  ): Router {
    const { id, members, shards } = this.#config;
    const { clock } = this.#env;
    const self = { id, address: members.find((member) => member.id === id)!.address };
    const addressOf = (node: NodeId) => membership.connected.find((known) => known.id === node)?.address;
    const mode = new LinearizableMode({
      self: id,
      clock,
      host,
      network: this.#peers,
      stats: this.#stats,
      forwarding: { ...DEFAULT_LIMITS.forwarding, waitMs: this.#timings.forwardWaitMs },
      addressOf,
    });
    const status = () =>
      nodeStatus({
        self,
        version,
        clusterId: () => membership.facts.clusterId,
        uptimeMs: () => clock.nowMs() - this.#startedMs,
        peers: () => this.#peers.status(),
        connections: () => this.#server.connections,
        host,
        stats: this.#stats,
        engine,
        logStore,
      });
    const topology = topologySource(shards, host, membership);
    return new Router({
      shards,
      clock,
      mode,
      scanLimits: DEFAULT_LIMITS.scans,
      topology: (request) => topology.answer(request),
      administration: new Administration({
        ...{ self: id, clock, host, membership, network: this.#peers },
        timeoutMs: this.#timings.requestTimeoutMs,
      }),
      keyspaces,
      nodeStatus: () => ({ kind: "nodeStatus", status: status() }),
      clusterStatus: (sink, requestId) => {
        new GatherStatus({
          clock,
          network: this.#peers,
          members: membership.nodes,
          shards,
          own: status(),
          deadlineMs: this.#timings.statusTimeoutMs,
          sink,
          requestId,
        });
      },
    });
  }
}

/** Every member holds every shard. */
function topologySource(shards: number, host: ShardHost, membership: Membership): TopologySource {
  return new TopologySource({
    shards,
    facts: () => ({
      version: versionOf(membership.facts),
      clusterId: membership.facts.clusterId,
      nodes: membership.connected,
    }),
    marksOf: (shard) => [host.shard(shard).leader, host.shard(shard).members],
    place: (shard) => {
      const { leader, term, voters, learners } = host.shard(shard).status();
      return { leader, term, replicas: [...voters, ...learners].sort() };
    },
  });
}

/** Those who can lead, sorted. */
function votersAmong(membership: Membership): readonly NodeId[] {
  return membership.nodes.filter(({ role }) => role === "voter").map(({ id }) => id);
}
