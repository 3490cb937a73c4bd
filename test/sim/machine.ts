/**
 * A machine of a simulated cluster: a disk that stays, and on it, one after the other, the processes of one node. The node
 * is the one that ships; clock, disk, network and threads are twins that can fail at any operation.
 */
import type { ReplySink, Routing } from "../../protocol/handler.ts";
import type { ShardId } from "../../protocol/ids.ts";
import {
  ASK_TOPOLOGY,
  type ClientRequest,
  type ClientResponse,
  type GroupLogStatus,
  type NodeStatus,
  type Topology,
} from "../../protocol/messages.ts";
import type { Member, NodeConfig } from "../../src/config.ts";
import { type Env, FileError, type FileHandle, type FileSystem } from "../../src/env/env.ts";
import { fromUtf8 } from "../../src/lib/bytes.ts";
import { type Random, seededRandom } from "../../src/lib/prng.ts";
import { createNode, type FlotillaNode, type NodeOptions } from "../../src/node.ts";
import { DEFAULT_TIMING_OPTIONS } from "../../src/timings.ts";
import { inlineBackground } from "../support/inline-background.ts";
import { MemoryFileSystem } from "../support/memory-fs.ts";
import { type Damage, damageDisk, mustRefuse } from "./disk-damage.ts";
import { DurableLog } from "./durable-log.ts";
import type { MemoryNetwork } from "./network.ts";
import { SimulatedProcess } from "./process.ts";

/** How a process ends: with its page cache kept, or with everything lost that was not synced. */
export type EndOfProcess = "killed" | "powerLost";

export interface MachineParts {
  readonly network: MemoryNetwork;
  readonly member: Member;
  readonly members: readonly Member[];
  /** It asks the others to be taken in, once it is installed. */
  readonly joins: boolean;
  readonly shards: number;
  /** On how many nodes each shard is; the default, if it is not said. */
  readonly replicas?: number;
  /** What its node is told of the clocks; nothing: there are no leases. */
  readonly leaseDriftPercent?: number;
  readonly lostAfterMs?: number;
  readonly sizes: Pick<
    NodeOptions,
    "engine" | "log" | "replication" | "snapshots" | "logBytesMax" | "waiting"
  >;
  readonly random: Random;
  /** Hears what happens to the machine. */
  readonly tell: (event: string) => void;
}

/** What a request came to. `lost`: the process ended first. `refused`: there was none. */
export type Answer = ClientResponse | "lost" | "refused";

/** A request that the node was asked and has not answered. */
interface Call {
  readonly askedAtMs: number;
  readonly resolve: (answer: Answer) => void;
  readonly request: ClientRequest;
}

export class SimulatedMachine implements ReplySink {
  readonly name: string;
  readonly #parts: MachineParts;
  #disk = new MemoryFileSystem();
  #process: SimulatedProcess | undefined;
  #node: FlotillaNode | undefined;
  #isServing = false;
  #durableLog: DurableLog | undefined;
  readonly #calls = new Map<number, Call>();
  #nextCall = 1;
  /** Operations on the disk until the process ends, and how it ends then. */
  #operationsLeft = Number.POSITIVE_INFINITY;
  #endsBy: EndOfProcess = "powerLost";
  #isStopping = false;
  /** The next sync fails, and the process has to stop. */
  #failsNextSync = false;
  /** A disk fault was injected into this process: it may end, and say so. */
  #mayFail = false;
  /** Longest time that a sync takes, in milliseconds. */
  syncMsMax = 4;
  /** Until when no sync of the Raft log ends, on the clock of the world. */
  #logHeldUntilMs = 0;
  #wallOffsetMs = 0;
  #clockRate = 1;
  /** When its wall clock was set, and until when it was suspended: not both at once. */
  #clockSetAtMs = Number.NEGATIVE_INFINITY;
  #suspendedUntilMs = Number.NEGATIVE_INFINITY;
  readonly #damages: Damage[] = [];
  #isWiped = false;
  #failedStarts = 0;
  /** What went wrong that no injected fault explains. */
  readonly failures: string[] = [];

  /** Whether there is such a machine: one that joins comes when it is installed. */
  #isInstalled: boolean;
  #isRemoved = false;

  constructor(parts: MachineParts) {
    this.#parts = parts;
    this.#isInstalled = !parts.joins;
    this.name = parts.member.host;
    this.#watchDisk();
  }

  /** The process that runs, if one does, for who wants to know whether anything has happened since. */
  get process(): SimulatedProcess | undefined {
    return this.#process;
  }

  /** What its disk has of the Raft log for good. */
  get durableLog(): DurableLog {
    this.#durableLog ??= new DurableLog(this.#disk);
    return this.#durableLog;
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  /** Whether it has a process that stands still. */
  get isPaused(): boolean {
    return this.#process?.isPaused === true;
  }

  /** Whether the node was told to stop, and has not ended yet. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  get isInstalled(): boolean {
    return this.#isInstalled;
  }

  /** A machine that joins is there from now on, and boots. */
  install(): void {
    this.#isInstalled = true;
    this.boot();
  }

  /** An operator removes the node. One that has no identity yet is refused then, and nobody starts it again. */
  remove(): void {
    this.#isRemoved = true;
  }

  /** Starts a process, if there is none. */
  boot(): void {
    if (!this.#isInstalled) return;
    // Nobody tries for ever to start a node that says that its disk is damaged.
    if (this.#process !== undefined || this.#failedStarts === STARTS_MAX) return;
    this.#tell("boots");
    // A start may put other files in the place of those that are there.
    this.#durableLog = undefined;
    this.#mayFail = this.#disk.capacityBytes !== Number.POSITIVE_INFINITY || this.#damages.length > 0;
    const { network, random, member, members, joins, shards, replicas, sizes } = this.#parts;
    const { leaseDriftPercent = 0, lostAfterMs = DEFAULT_TIMING_OPTIONS.lostAfterMs } = this.#parts;
    const process = new SimulatedProcess(network.clock, (error) => this.#failed("uncaught", error));
    process.wallOffsetMs = this.#wallOffsetMs;
    process.drift(this.#clockRate);
    this.#process = process;
    const fs = processFiles(
      this.#disk,
      process,
      () => this.#beforeChange(),
      (path) => {
        if (SEGMENT.test(path)) this.#tell("lets a segment of its log go");
      },
      (path) => random.float() * this.syncMsMax + this.#heldMs(path),
    );
    const env: Env = {
      clock: process,
      random: seededRandom(random.below(2 ** 31)),
      fs,
      transport: network.attach(this.name, process),
      background: inlineBackground(fs, () => process.sleep(random.below(3))),
      log: {
        ...{ debug: silent, warn: silent, error: silent },
        info: (message) => {
          if (message.includes("snapshot") || message.includes("replica")) this.#tell(message);
        },
      },
    };
    const config: NodeConfig = {
      id: member.id,
      host: member.host,
      port: member.port,
      dataDirectory: "/data",
      members: joins ? [] : members,
      ...(joins ? { seeds: members.filter(({ id }) => id !== member.id).map(({ address }) => address) } : {}),
      ...(joins ? {} : { shards, replicas }),
      logLevel: "error",
      timings: { leaseDriftPercent, lostAfterMs },
    };
    // A start that believes what is damaged writes over it: an identity, or the end of a log that it takes for torn.
    const missed = this.#damages.find((damage) => mustRefuse(this.#disk, damage));
    process.run(() => {
      const node = createNode(env, config, {
        ...sizes,
        onFatal: (error) => process.run(() => this.#failed("fatal", error)),
      });
      this.#node = node;
      node.start().then(
        () => {
          if (this.#node !== node) return;
          this.#tell("has started");
          this.#failedStarts = 0;
          if (missed !== undefined) {
            this.failures.push(
              `${this.name} has started, though ${missed.path} is damaged at ${missed.start}`,
            );
          }
          this.#isServing = true;
        },
        (error) =>
          process.run(() => {
            if (this.#damages.length > 0) this.#failedStarts++;
            this.#failed("start", error);
          }),
      );
    });
  }

  /** Whether its disk was damaged or lost: the cluster has to do without it, and may do so for ever. */
  get isExcused(): boolean {
    return this.#isWiped || this.#damages.length > 0;
  }

  /** Whether this node's disk says that it takes part: all founders had met it, or the cluster was founded. */
  get takesPart(): boolean {
    if (!this.#disk.exists(IDENTITY)) return false;
    try {
      const { facts, founding } = JSON.parse(fromUtf8(this.#disk.readFile(IDENTITY)));
      return facts.clusterId !== "" || founding.isNotedByAll;
    } catch {
      // It is damaged.
      return false;
    }
  }

  /** The node comes back with an empty disk. */
  wipe(): void {
    this.end("powerLost");
    this.#tell("has lost its disk");
    this.#isWiped = true;
    this.#damages.length = 0;
    this.#failedStarts = 0;
    this.#disk = new MemoryFileSystem();
    this.#durableLog = undefined;
    this.#watchDisk();
  }

  /** Changes a bit of a file, or writes a block over it that was meant for another place. `isStopped`: see `damageDisk`. */
  damage(how: "bitflip" | "misdirect", random: Random, isStopped = false): void {
    const damage = damageDisk(this.#disk, how, random, isStopped);
    if (damage === undefined) return;
    this.#damages.push(damage);
    this.#mayFail = true;
    const { path, start, bytes } = damage;
    this.#tell(`has ${bytes.length} wrong bytes at ${start} of ${path}`);
  }

  /** The monotonic clock runs `rate` times as fast as time. */
  drift(rate: number): void {
    this.#clockRate = rate;
    this.#process?.drift(rate);
  }

  /** The wall clock is off by so much from now on. */
  setWallClock(offsetMs: number): void {
    const nowMs = this.#parts.network.clock.nowMs();
    // A wall clock that is set back as a machine wakes up hides the pause, and nobody could tell.
    if (nowMs < this.#suspendedUntilMs + CLOCKS_APART_MS) return;
    this.#clockSetAtMs = nowMs;
    this.#tell(`has a wall clock that is off by ${offsetMs} ms`);
    this.#wallOffsetMs = offsetMs;
    if (this.#process !== undefined) this.#process.wallOffsetMs = offsetMs;
  }

  /** Ends the process at once. */
  end(how: EndOfProcess): void {
    if (this.#process === undefined) return;
    this.#tell(how === "killed" ? "is killed" : "loses its power");
    if (this.#process.isSuspended) this.#suspendedUntilMs = Number.NEGATIVE_INFINITY;
    this.#process.die();
    this.#process = undefined;
    this.#node = undefined;
    this.#isServing = false;
    this.#isStopping = false;
    this.#operationsLeft = Number.POSITIVE_INFINITY;
    this.#failsNextSync = false;
    this.#logHeldUntilMs = 0;
    this.#parts.network.detach(this.name, how === "killed" ? "killed" : "powerless");
    if (how === "powerLost") {
      const { capacityBytes } = this.#disk;
      this.#disk = this.#disk.crash(this.#parts.random);
      this.#durableLog = undefined;
      this.#disk.capacityBytes = capacityBytes;
      this.#watchDisk();
    }
    for (const { resolve } of this.#calls.values()) resolve("lost");
    this.#calls.clear();
  }

  /** Ends the process in the middle of a disk operation, after `operations` more. */
  endAtOperation(operations: number, how: EndOfProcess): void {
    this.#operationsLeft = operations;
    this.#endsBy = how;
  }

  /** The next sync of a file fails. */
  failNextSync(): void {
    this.#failsNextSync = true;
  }

  /** Syncs of the Raft log take so long at least for a while, and others overtake them. */
  holdLog(forMs: number): void {
    this.#logHeldUntilMs = this.#parts.network.clock.nowMs() + forMs;
  }

  #heldMs(path: string): number {
    return path.startsWith(LOG) ? Math.max(0, this.#logHeldUntilMs - this.#parts.network.clock.nowMs()) : 0;
  }

  /** The disk takes `bytes` more; `undefined`: there is room again. */
  limitDisk(bytes: number | undefined): void {
    this.#tell(bytes === undefined ? "has room on its disk" : `has ${bytes} bytes left on its disk`);
    if (bytes !== undefined) this.#mayFail = true;
    this.#disk.capacityBytes = bytes === undefined ? Number.POSITIVE_INFINITY : this.#disk.usedBytes + bytes;
  }

  pause(): void {
    this.#tell("is paused");
    this.#process?.pause();
  }

  resume(): void {
    this.#tell("goes on");
    if (this.#process?.isSuspended === true) this.#suspendedUntilMs = this.#parts.network.clock.nowMs();
    this.#process?.resume();
  }

  /** The process stands still, and with it the machine's monotonic clock. */
  suspend(): void {
    // As with `setWallClock`: the node has to have had a look at its clocks in between.
    if (this.#parts.network.clock.nowMs() < this.#clockSetAtMs + CLOCKS_APART_MS) return;
    if (this.#process === undefined || this.#process.isPaused) return;
    this.#tell("is suspended");
    this.#suspendedUntilMs = Number.POSITIVE_INFINITY;
    this.#process.suspend();
  }

  /** Stops the node in an orderly way; the process ends when that is done. */
  stop(): void {
    const node = this.#node;
    const process = this.#process;
    if (node === undefined || process === undefined || !this.#isServing || this.#isStopping) return;
    this.#isStopping = true;
    this.#tell("stops");
    process.run(() => {
      node.stop().then(
        () => {
          this.#tell("has stopped");
          if (!process.isDead) this.end("killed");
        },
        (error) => process.run(() => this.#failed("stop", error)),
      );
    });
  }

  /** Has the node execute a request. Never rejects. */
  execute(request: ClientRequest, routing: Routing): Promise<Answer> {
    const { promise, resolve } = Promise.withResolvers<Answer>();
    const process = this.#process;
    const node = this.#node;
    // A node that stops closes its connections before its engine: what reads the engine at once comes before that.
    const isLate = this.#isStopping && "consistency" in request && request.consistency === "stale";
    if (process === undefined || node === undefined || isLate) {
      resolve("refused");
      return promise;
    }
    const id = this.#nextCall++;
    this.#calls.set(id, { askedAtMs: this.#parts.network.clock.nowMs(), resolve, request });
    const sink: ReplySink = {
      reply: (requestId, response) => {
        if (!process.isDead) this.reply(requestId, response);
      },
    };
    process.run(() => node.execute(request, sink, id, routing));
    return promise;
  }

  reply(id: number, response: ClientResponse): void {
    const call = this.#calls.get(id);
    if (call === undefined) {
      this.failures.push(`request ${id} was answered twice, at last with ${JSON.stringify(response)}`);
      return;
    }
    this.#calls.delete(id);
    call.resolve(ownedCopy(response));
  }

  /** The oldest request that waits for its answer, as words. */
  get oldestCall(): string | undefined {
    const [oldest] = this.#calls.values();
    return oldest === undefined ? undefined : `${oldest.request.kind} of ${Math.round(oldest.askedAtMs)} ms`;
  }

  /** What the node says of itself, if it can be asked now. */
  status(): NodeStatus | undefined {
    let status: NodeStatus | undefined;
    this.#look({ kind: "status", scope: "node" }, (response) => {
      if (response.kind === "nodeStatus") status = response.status;
    });
    return status;
  }

  /** Who holds what as the node knows it, if it can be asked now. */
  topology(): Topology | undefined {
    let topology: Topology | undefined;
    this.#look(ASK_TOPOLOGY, (response) => {
      if (response.kind === "topology") topology = response.topology;
    });
    return topology;
  }

  /** What the node says of a replica and the last `limit` entries of its log, if it can be asked now. */
  describe(shard: ShardId | undefined, limit: number): GroupLogStatus | undefined {
    let log: GroupLogStatus | undefined;
    this.#look({ kind: "groupLog", shard, limit }, (response) => {
      if (response.kind === "groupLog") log = response.log;
    });
    return log;
  }

  /** Asks what is answered at once, if there is somebody to ask. */
  #look(request: ClientRequest, use: (response: ClientResponse) => void): void {
    const process = this.#process;
    if (process === undefined || process.isPaused || !this.#isServing) return;
    this.#node!.execute(request, { reply: (_id, response) => use(response) }, 1, "redirect");
  }

  #tell(event: string): void {
    this.#parts.tell(`${this.name} ${event}`);
  }

  #failed(where: string, error: unknown): void {
    this.#tell(`fails: ${where}: ${(error as Error).message}`);
    const isRefused = where === "start" && (error as Error).message.includes("REMOVED");
    if (isRefused && this.#isRemoved) this.#isInstalled = false;
    else if (!this.#mayFail) this.failures.push(`${this.name}, ${where}: ${(error as Error).stack ?? error}`);
    this.end("killed");
  }

  /** The process is about to change something on its disk. */
  #beforeChange(): void {
    if (this.#operationsLeft-- > 0) return;
    this.end(this.#endsBy);
    throw new FileError("EIO", "the process has ended");
  }

  #watchDisk(): void {
    this.#disk.onOperation = (operation, path) => {
      if (operation === "sync" && this.#failsNextSync) {
        this.#failsNextSync = false;
        this.#mayFail = true;
        this.#tell(`fails to sync ${path}`);
        throw new FileError("EIO", `${path}: the sync failed`);
      }
    };
  }
}

const silent = (): void => {};
const CLOCKS_APART_MS = 200;

const IDENTITY = "/data/identity.json";
const LOG = "/data/raft-log/";
const SEGMENT = /^\/data\/raft-log\/\d{12}\.log$/;
/** How often a node whose disk is damaged is started again. */
const STARTS_MAX = 3;

/** A response whose bytes stay as they are. */
function ownedCopy(response: ClientResponse): ClientResponse {
  if (response.kind === "value") return { ...response, value: response.value?.slice() };
  if (response.kind !== "entries") return response;
  const entries = response.entries.map(({ key, value }) => ({ key: key.slice(), value: value.slice() }));
  return { ...response, entries };
}

/**
 * The disk as one process has it: gone with the process, its locks released. A sync takes `syncMs` milliseconds.
 * `beforeChange` may throw, and nothing is changed then. `gone` hears what was removed, or has another name now.
 */
function processFiles(
  disk: MemoryFileSystem,
  process: SimulatedProcess,
  beforeChange: () => void,
  gone: (path: string) => void,
  syncMs: (path: string) => number,
): FileSystem {
  const alive = (): void => {
    if (process.isDead) throw new FileError("EIO", "this process has ended");
  };
  const changing = (): void => {
    alive();
    beforeChange();
  };
  const slowly = (path: string): Promise<void> => process.sleep(syncMs(path));
  return {
    open: (path, mode) => {
      if (mode === "create") changing();
      else alive();
      return processFile(disk.open(path, mode), alive, changing, slowly);
    },
    exists: (path) => {
      alive();
      return disk.exists(path);
    },
    list: (directory) => {
      alive();
      return disk.list(directory);
    },
    makeDirectory: (directory) => {
      alive();
      disk.makeDirectory(directory);
    },
    removeDirectory: (directory) => {
      changing();
      disk.removeDirectory(directory);
    },
    rename: (from, to) => {
      changing();
      disk.rename(from, to);
      gone(from);
    },
    link: (from, to) => {
      changing();
      disk.link(from, to);
    },
    remove: (path) => {
      changing();
      const isThere = disk.exists(path);
      disk.remove(path);
      if (isThere) gone(path);
    },
    syncDirectory: async (directory) => {
      await slowly(directory);
      changing();
      disk.syncDirectorySync(directory);
    },
    syncDirectorySync: (directory) => {
      changing();
      disk.syncDirectorySync(directory);
    },
    // A machine runs one process at a time, and locks end with it.
    lock: () => ({ release: silent }),
    lockHolder: () => undefined,
  };
}

function processFile(
  file: FileHandle,
  alive: () => void,
  changing: () => void,
  slowly: (path: string) => Promise<void>,
): FileHandle {
  return {
    path: file.path,
    size: () => {
      alive();
      return file.size();
    },
    read: (target, targetOffset, length, position) => {
      alive();
      return file.read(target, targetOffset, length, position);
    },
    write: (bytes, start, end, position) => {
      changing();
      file.write(bytes, start, end, position);
    },
    truncate: (length) => {
      changing();
      file.truncate(length);
    },
    syncNow: () => {
      changing();
      file.syncNow();
    },
    close: () => file.close(),
    sync: async () => {
      await slowly(file.path);
      changing();
      file.syncNow();
    },
  };
}
