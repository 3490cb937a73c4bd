/**
 * The composition root of a node: builds its parts over an injected outside world, starts them in the order in which they
 * need each other, and stops them in the reverse one. Nothing here happens on the way of a request.
 */
import { version } from "../package.json";
import { errorResponse } from "../protocol/errors.ts";
import type { NodeLoad } from "../protocol/gossip-messages.ts";
import type { ReplySink, RequestHandler, Routing } from "../protocol/handler.ts";
import { type GroupId, type NodeId, SYSTEM_GROUP, shardOfGroup } from "../protocol/ids.ts";
import type { ClientRequest } from "../protocol/messages.ts";
import type { ConfigurationReport, GroupMessage } from "../protocol/peer-messages.ts";
import type { PeerListener } from "../protocol/peer-network.ts";
import { Administration } from "./cluster/administration.ts";
import { ClusterGossip, gossipOptions } from "./cluster/cluster-gossip.ts";
import { GatherStatus, membersShown } from "./cluster/cluster-status.ts";
import { createPlacement, firstSets, type Placement } from "./cluster/driven-facts.ts";
import { Founding } from "./cluster/founding.ts";
import { type Identity, LOCK_FILE, randomId, readIdentity, writeIdentity } from "./cluster/identity.ts";
import { factsOfJoined, joinCluster } from "./cluster/joining.ts";
import { KeptIdentity } from "./cluster/kept-identity.ts";
import { Keyspaces } from "./cluster/keyspaces.ts";
import { LeaderHints } from "./cluster/leader-hints.ts";
import { Membership } from "./cluster/membership.ts";
import { nodeStatus } from "./cluster/node-status.ts";
import { Replicas } from "./cluster/replicas.ts";
import { Search } from "./cluster/search.ts";
import { topologyOf } from "./cluster/topology.ts";
import {
  addressOf,
  DEFAULT_LIMITS,
  moveLimitsOf,
  type NodeConfig,
  type ReplicationLimits,
  type WaitingLimits,
} from "./config.ts";
import { type Env, FileError, type FileLock, type Listener } from "./env/env.ts";
import { parseAddress } from "./lib/address.ts";
import { LinearizableMode } from "./modes/linearizable.ts";
import { Router } from "./router.ts";
import { DEFAULT_SERVER_LIMITS } from "./server/limits.ts";
import { createPeers, type PeerAddress, type Peers } from "./server/peers.ts";
import { createServer, type Server } from "./server/server.ts";
import { ApplyBuffer } from "./shard/apply-buffer.ts";
import { ENGINE_LIMITS } from "./shard/engine-keys.ts";
import { LogDamageError } from "./shard/log-segment.ts";
import { LogStore, type LogStoreOptions, LogSyncError } from "./shard/log-store.ts";
import { PauseWatch } from "./shard/pause-watch.ts";
import type { ReadingSnapshots } from "./shard/reading-snapshots.ts";
import { RequestStats } from "./shard/request-stats.ts";
import { SealTracker } from "./shard/seal-tracker.ts";
import { ShardHost } from "./shard/shard-host.ts";
import { DEFAULT_SNAPSHOT_SIZES, type SnapshotSizes } from "./shard/snapshot-format.ts";
import type { SystemFacts } from "./shard/system-facts.ts";
import { encodeSystemCommand, SystemMachine } from "./shard/system-machine.ts";
import { StartError } from "./start-error.ts";
import { makeDurableDirectory } from "./storage/durable-directory.ts";
import type { Engine } from "./storage/engine.ts";
import { openLsm } from "./storage/lsm.ts";
import type { LsmOptions } from "./storage/lsm-options.ts";
import { StorageError } from "./storage/storage-error.ts";
import { DEFAULT_TIMING_OPTIONS, faultOfTimings, type NodeTimings, timingsOf } from "./timings.ts";

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
  /** The node was removed, and nothing counts on it any more: `why` is a sentence, and the process should end. */
  readonly onRemoved?: (why: string) => void;
  /** Sizes of the storage and of appends, where they are not to be the defaults. */
  readonly engine?: Partial<LsmOptions>;
  readonly log?: LogStoreOptions;
  readonly replication?: ReplicationLimits;
  readonly snapshots?: SnapshotSizes;
  readonly logBytesMax?: number;
  readonly waiting?: WaitingLimits;
}

export function createNode(env: Env, config: NodeConfig, options: NodeOptions): FlotillaNode {
  return new Node(env, config, options);
}

const STARTING = errorResponse("UNAVAILABLE", "this node is starting: it has not read its data yet");

/** What there is once the data directory was read. */
interface Running {
  readonly lock: FileLock;
  readonly engine: Engine;
  readonly logStore: LogStore;
  readonly host: ShardHost;
  readonly founding: Founding;
  readonly router: Router;
  readonly membership: Membership;
  readonly replicas: Replicas;
  readonly keyspaces: Keyspaces;
  readonly placement: Placement;
  readonly search: Search;
}

class Node implements FlotillaNode, RequestHandler, PeerListener {
  /** Where the other nodes are; the peers look into it. */
  readonly #addresses = new Map<NodeId, readonly PeerAddress[]>();
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
  #isStopping = false;
  #started: Promise<void> = Promise.resolve();
  #isToldRemoved = false;
  /** Others that do not speak with this node any more because it was removed. */
  readonly #shutOutBy = new Set<NodeId>();
  #refusal: string | undefined;
  #hasFounded = false;
  /** The facts that were last done something about. */
  #followed: SystemFacts | undefined;
  /** What is written beside the data, once there is anything. */
  #kept!: KeptIdentity;

  constructor(env: Env, config: NodeConfig, options: NodeOptions) {
    this.#env = env;
    this.#config = config;
    this.#options = options;
    this.#timings = timingsOf({ ...DEFAULT_TIMING_OPTIONS, ...config.timings });
    this.#startedMs = env.clock.nowMs();
    this.#startedAtMs = Math.max(0, Math.round(env.clock.wallMs()));
    this.#peers = createPeers({
      env,
      self: config.id,
      addresses: this.#addresses,
      hello: () => this.#running!.membership.hello(),
      admit: (hello) => {
        if (this.#running === undefined) return { error: "UNAVAILABLE", message: STARTING.message };
        return this.#running.membership.admit(hello);
      },
      stranger: (hello) => {
        this.#running?.search.metStranger();
        return (
          this.#running?.membership.refusalOf(hello) ?? { error: "UNAVAILABLE", message: STARTING.message }
        );
      },
      refused: (by, error, message) => {
        if (error === "REMOVED") {
          this.#noteRemoval(message);
          this.#shutOutBy.add(by);
        }
        const hopeless = this.#running?.membership.refused(by, error, message);
        if (hopeless === undefined) return;
        this.#refusal = hopeless;
        if (error === "REMOVED") this.#options.onRemoved?.(hopeless);
      },
      wasLetInBy: (node) => this.#running?.founding.wasLetInBy(node),
      listener: this,
      heardGossip: (message) => this.#gossip.received(message),
      leading: {
        declines: () => this.#running?.host.declinesToLead === true,
        heard: (node, declines) => this.#running?.host.heardWhetherDeclines(node, declines),
      },
      handler: this,
      limits: DEFAULT_SERVER_LIMITS,
    });
    this.#gossip = new ClusterGossip({
      ...{ env, self: config.id, network: this.#peers, onFatal: options.onFatal },
      options: gossipOptions(this.#timings),
      load: () => this.#load(),
      led: (note) => {
        for (const { group, isLeader, term } of this.#running!.host.shards) {
          if (isLeader && group !== SYSTEM_GROUP) note(shardOfGroup(group), term);
        }
      },
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

  start(): Promise<void> {
    this.#started = this.#start();
    return this.#started;
  }

  async #start(): Promise<void> {
    const fault = faultOfTimings({ ...DEFAULT_TIMING_OPTIONS, ...this.#config.timings });
    if (fault !== undefined) throw new StartError(fault);
    const listener = await this.#listen();
    try {
      this.#running = await this.#recover();
    } catch (error) {
      listener.close();
      throw error;
    }
    this.#follow();
    this.#peers.start();
    this.#gossip.start();
  }

  async ready(): Promise<void> {
    const { host, membership } = this.#running!;
    const isReady = () =>
      membership.current !== undefined && host.shards.every((shard) => shard.leader !== undefined);
    while (!isReady()) {
      if (this.#refusal !== undefined) throw new StartError(this.#refusal);
      await new Promise<void>((resolve) => this.#env.clock.timer(this.#timings.tickMs, resolve));
    }
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    // One that is still recovering is stopped when it can be; why it failed to start is told by `start`.
    await this.#started.catch(() => {});
    const running = this.#running;
    if (running === undefined) return;
    await running.host.handOver();
    await this.#server.stop();
    this.#gossip.stop();
    this.#peers.stop();
    await running.host.stop();
    running.replicas.readings.closeAll();
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

  reported(reports: readonly ConfigurationReport[]): void {
    const { host } = this.#running ?? {};
    if (host?.systemShard.isLeader === true) {
      host.systemShard.proposeRaw(encodeSystemCommand({ kind: "actual", reports }));
    }
  }

  connected(node: NodeId): void {
    this.#shutOutBy.delete(node);
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
      return await this.#build(lock, await this.#join(identity));
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

  /** A node that belongs to no cluster yet, and founds none, asks to be taken in; what it is told is its own from then on. */
  async #join(identity: Identity): Promise<Identity> {
    const { node, incarnation, seeds, founders, facts } = identity;
    if (founders.length > 0 || facts.clusterId !== "") return identity;
    const request = {
      node,
      incarnation,
      address: addressOf(this.#config),
      labels: this.#config.labels ?? {},
    };
    const cluster = await joinCluster(this.#env, seeds, request, () => this.#isStopping);
    if (cluster === undefined) throw new StartError(`${node} was stopped before it could join`);
    const joined = { ...identity, facts: factsOfJoined(cluster) };
    writeIdentity(this.#env.fs, this.#config.dataDirectory, joined);
    return joined;
  }

  async #build(lock: FileLock, identity: Identity): Promise<Running> {
    const env = this.#env;
    const { id, dataDirectory, members, labels = {} } = this.#config;
    const { leaseMs, promiseMs, tickMs } = this.#timings;
    this.#kept = new KeptIdentity(env, dataDirectory, identity, this.#options.onFatal);
    const seals = new SealTracker();
    const { onFatal } = this.#options;
    const options = { ...ENGINE_LIMITS, ...this.#options.engine, onFatal };
    const engine = await openLsm(env, `${dataDirectory}/engine`, options, seals);
    const logStore = LogStore.open(env, `${dataDirectory}/raft-log`, this.#options.log);
    const founding = new Founding({
      ...{ self: id, founders: identity.founders.map((founder) => founder.id), state: identity.founding },
      log: env.log,
      write: (state) => this.#kept.write({ founding: state }),
    });
    const membership = new Membership({
      self: id,
      incarnation: identity.incarnation,
      ...{ address: addressOf(this.#config), labels, founders: identity.founders, founding, listed: members },
      ...{ settings: identity.settings, facts: identity.facts, place: firstSets },
      lease: { leaseMs, promiseMs },
      isInGroup: (node) => host.shards.some((shard) => shard.hasMember(node)),
    });
    const systemMachine = new SystemMachine((facts) => {
      keyspaces.learn(facts.keyspaces);
      if (membership.learn(facts)) this.#keepFacts(membership);
    });
    const buffer = new ApplyBuffer(engine);
    const host: ShardHost = new ShardHost({
      env,
      self: id,
      desiredMembers: (group) => membership.desired(group),
      leaderPreference: (group) => membership.leaderPreference(group),
      mayTakePart: () => membership.mayTakePart,
      timings: this.#timings,
      engine,
      buffer,
      logStore,
      seals,
      stats: this.#stats,
      logBytesMax: this.#options.logBytesMax ?? DEFAULT_LIMITS.logBytesMax,
      waitingRequestsMax: this.#waiting.requestsMax,
      network: this.#peers,
      onFatal,
      onTick: () => this.#tick(running),
      onMaintenance: () => this.#maintain(running),
    });
    const limits = moveLimitsOf(this.#config);
    const replicas = new Replicas({
      ...{ env, self: id, timings: this.#timings, engine, logStore, host, membership, systemMachine, buffer },
      address: addressOf(this.#config),
      founders: identity.founders.map((founder) => founder.id),
      replication: this.#options.replication ?? DEFAULT_LIMITS.replication,
      waitingRequestsMax: this.#waiting.requestsMax,
      snapshots: this.#options.snapshots ?? DEFAULT_SNAPSHOT_SIZES,
      sendBytesPerSecond: limits.bytesPerSecond,
      pauses: leaseMs === 0 ? undefined : new PauseWatch(env.clock, tickMs),
      stats: this.#stats,
      isKept: () => this.#kept.written.facts === membership.kept,
      send: (group, message) => this.#peers.send(group, message),
      fail: onFatal,
    });
    const keyspaces: Keyspaces = new Keyspaces({
      ...{ self: id, clock: env.clock, host, network: this.#peers },
      machineOf: (group) => replicas.machineOf(group),
      timeoutMs: this.#timings.requestTimeoutMs,
    });
    const placement = createPlacement({
      ...{ host, membership, clock: env.clock, log: env.log, heard: this.#gossip.view },
      ...{ lostAfterMs: this.#timings.lostAfterMs, limits },
    });
    const running: Running = {
      ...{ lock, engine, logStore, host, founding, membership, replicas, keyspaces, placement },
      search: new Search({
        ...{ env, self: id, peers: this.#peers, membership, seeds: identity.seeds, onFatal },
      }),
      router: this.#buildRouter(host, engine, logStore, membership, placement, keyspaces, replicas.readings),
    };
    replicas.recover();
    host.start();
    return running;
  }

  /** Does what new facts want, and tells the system group's leader what has come of it. */
  #tick({ host, membership, replicas, placement, router }: Running): void {
    if (membership.current !== this.#followed) {
      this.#follow();
      host.followMembers();
      router.factsChanged();
      placement.driver.turn();
    }
    if (membership.facts.clusterId === "") {
      // Said again once a second: the first time may have been before a majority was there.
      if (host.systemShard.isLeader && !this.#hasFounded) this.#proposeFacts();
      this.#hasFounded = host.systemShard.isLeader;
      return;
    }
    const news = replicas.takeReports(this.#env.clock.nowMs());
    if (news.length === 0) return;
    const { leader } = host.systemShard;
    if (leader === this.#config.id) this.reported(news);
    else if (leader !== undefined) this.#peers.report(leader, news);
  }

  #maintain({ host, founding, membership, keyspaces, placement, search }: Running): void {
    if (!membership.mayTakePart) founding.tellMissing();
    // Groups have let go of nodes that were removed, perhaps, or others have told of nodes.
    this.#follow();
    this.#keepFacts(membership);
    search.turn();
    keyspaces.carryOut();
    if (host.systemShard.isLeader) this.#proposeFacts();
    placement.driver.turn();
  }

  #proposeFacts(): void {
    const { host, membership } = this.#running!;
    for (const command of membership.missingFacts(() => randomId(this.#env.random))) {
      host.systemShard.proposeRaw(encodeSystemCommand(command));
    }
  }

  #follow(): void {
    const running = this.#running;
    if (running === undefined) return;
    this.#followed = running.membership.current;
    this.#followMembership(running.membership);
    running.replicas.follow();
  }

  /** The nodes of the cluster are others than they were, perhaps. */
  #followMembership(membership: Membership): void {
    const others = membership.connected.filter(({ id }) => id !== this.#config.id);
    // Once all say so it need not ask them again and again.
    const nodes = others.every(({ id }) => this.#shutOutBy.has(id)) ? [] : others;
    for (const { id } of nodes) {
      const places = membership.placesOf(id).map(parseAddress);
      const usable = places.filter((place) => place !== undefined);
      if (usable.length > 0) this.#addresses.set(id, usable);
    }
    for (const id of this.#addresses.keys()) {
      if (!nodes.some((node) => node.id === id)) this.#addresses.delete(id);
    }
    if (membership.isRemoved) this.#noteRemoval(`${this.#config.id} was removed from the cluster, for good`);
    this.#peers.membersChanged();
    // Of who was removed it has to be known for a while yet whether it could still give what it has.
    this.#gossip.membersChanged(membership.connected.map(({ id }) => id));
  }

  #noteRemoval(message: string): void {
    if (this.#isToldRemoved) return;
    this.#isToldRemoved = true;
    this.#env.log.warn(`${message}: once others hold what it has, it ends`);
  }

  /** What this node tells the others of itself. */
  #load(): NodeLoad {
    const { host, engine } = this.#running!;
    const shards = host.shards.filter(({ group }) => group !== SYSTEM_GROUP);
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

  get #waiting(): WaitingLimits {
    return this.#options.waiting ?? DEFAULT_LIMITS.waiting;
  }

  #keepFacts({ kept }: Membership): void {
    if (this.#kept.written.facts !== kept) this.#kept.write({ facts: kept });
  }

  #buildRouter(
    host: ShardHost,
    engine: Engine,
    logStore: LogStore,
    membership: Membership,
    placement: Placement,
    keyspaces: Keyspaces,
    snapshots: ReadingSnapshots,
  ): Router {
    const { id } = this.#config;
    const { clock } = this.#env;
    const self = { id, address: addressOf(this.#config) };
    const leaders = new LeaderHints({
      ...{ self: id, host },
      holdersOf: (shard) => membership.facts.shards[shard]?.actual.voters ?? [],
      isConnected: (node) => Number.isFinite(this.#peers.silentMs(node)),
      heardOf: (shard) => this.#gossip.view.leaderHintOf(shard),
    });
    const mode = new LinearizableMode({
      self: id,
      clock,
      host,
      leaders,
      network: this.#peers,
      stats: this.#stats,
      forwarding: {
        ...DEFAULT_LIMITS.forwarding,
        waitMs: this.#timings.forwardWaitMs,
        bytesMax: this.#waiting.forwardedBytesMax,
      },
      addressOf: (node) => membership.addressOf(node),
    });
    const { view } = this.#gossip;
    const status = () =>
      nodeStatus({
        self,
        version,
        clusterId: () => membership.facts.clusterId,
        uptimeMs: () => clock.nowMs() - this.#startedMs,
        peers: () =>
          this.#peers.status().map((peer) => ({ ...peer, state: view.stateOf(peer.id) ?? "alive" })),
        connections: () => this.#server.connections,
        queues: () => [
          ...this.#server.queues,
          mode.queue,
          ...router.queues,
          ...host.queues,
          ...this.#peers.queues,
          snapshots.queue,
        ],
        host,
        stats: this.#stats,
        engine,
        logStore,
      });
    const topology = topologyOf(host, membership, leaders, view);
    const router: Router = new Router({
      shards: () => membership.facts.shards.length,
      clock,
      mode,
      scanLimits: DEFAULT_LIMITS.scans,
      snapshots,
      topology: (request) => topology.answer(request),
      administration: new Administration({
        ...{ self: id, clock, host, membership, placement, leaders, network: this.#peers },
        timeoutMs: this.#timings.requestTimeoutMs,
      }),
      keyspaces,
      nodeStatus: () => ({ kind: "nodeStatus", status: status() }),
      clusterStatus: (sink, requestId) => {
        new GatherStatus({
          clock,
          network: this.#peers,
          members: membersShown(membership).map(({ id: node, address }) => ({
            ...{ id: node, address, state: view.stateOf(node) ?? "alive", load: view.loadOf(node) },
            standing: membership.facts.nodes[node]?.state ?? "member",
          })),
          sets: membership.facts.shards,
          outlook: (heldOf) => placement.outlook(heldOf),
          own: status(),
          deadlineMs: this.#timings.statusTimeoutMs,
          sink,
          requestId,
        });
      },
    });
    return router;
  }
}
