/**
 * What a node is told when it is built. Limits of a single part stand with that part (`protocol/limits.ts`,
 * `src/server/limits.ts`), and times in `timings.ts`; here is what concerns the node as a whole.
 */
import type { NodeId } from "../protocol/ids.ts";
import { SHARDS_MAX } from "../protocol/limits.ts";
import type { LogLevel } from "./env/env.ts";
import { formatAddress } from "./lib/address.ts";
import { MOVE_LIMITS, type MoveLimits } from "./placement/plan.ts";
import type { TimingOptions } from "./timings.ts";

export interface NodeConfig {
  readonly id: NodeId;
  /** What to listen on: a name or an address of this machine, or `0.0.0.0`. */
  readonly host: string;
  readonly port: number;
  readonly dataDirectory: string;
  /** `host:port` where the others and clients reach this node, if it is not where it listens. */
  readonly address?: string | undefined;
  /** What it shares, and fails, with other nodes: `host`, `zone`. */
  readonly labels?: Readonly<Record<string, string>>;
  /** The nodes that found the cluster, this one included, ordered by id; nobody: it is alone, or joins, or was told before. */
  readonly members: readonly Member[];
  /** Addresses of nodes of a cluster that is there already: this one joins it. */
  readonly seeds?: readonly string[];
  /** What the cluster is founded with (`Settings`), where it is not the default; one that is there knows it. */
  readonly shards?: number | undefined;
  readonly replicas?: number | undefined;
  readonly virtualNodes?: number | undefined;
  /** Most that replicas on their way to other nodes may take in the whole cluster, if it is not the default. */
  readonly moveMibPerSecond?: number | undefined;
  /** What the text mode does with a command that another node leads: `forward` it, or answer MOVED. */
  readonly redirect?: "forward" | "moved";
  readonly logLevel: LogLevel;
  /** Times that are not the defaults. */
  readonly timings?: Partial<TimingOptions>;
}

export interface Member {
  readonly id: NodeId;
  /** Where the others reach it. */
  readonly host: string;
  readonly port: number;
  /** `host:port`, with brackets around an IPv6 address. */
  readonly address: string;
}

const MIB = 1024 * 1024;

/** How much a leader sends ahead of one follower's answers. */
export interface ReplicationLimits {
  /** Most bytes of entries in one append. */
  readonly appendBytesMax: number;
  /** Most appends, and bytes of them, on their way to one follower. */
  readonly inflightAppendsMax: number;
  readonly inflightBytesMax: number;
}

/** How much may wait inside of a node until a majority, or a leader, has answered. */
export interface WaitingLimits {
  /** Writes, and reads, of one shard that wait for a majority. */
  readonly requestsMax: number;
  /** Bytes of requests that were passed on to leaders, those of this node included, and are not answered. */
  readonly forwardedBytesMax: number;
}

/** What may wait, and how large things may get, inside of a node. */
export const DEFAULT_LIMITS = {
  /** Data of a log entry beyond this goes out at once, and the rest of the turn into the next entry. */
  entryBytesMax: 1 * MIB,
  waiting: { requestsMax: 65_536, forwardedBytesMax: 256 * MIB },
  /**
   * Log that is kept for members that are behind. Beyond it is forgotten what this node has in its tables, and who needs
   * it is sent a snapshot.
   */
  logBytesMax: 256 * MIB,
  /** Snapshots that a node sends at a time. */
  snapshotStreamsMax: 2,
  replication: { appendBytesMax: 1 * MIB, inflightAppendsMax: 64, inflightBytesMax: 4 * MIB },
  /** Scans over all shards that this node coordinates, and scans of single shards that it serves. */
  scans: {
    gathers: { activeMax: 8, waitingMax: 4096, waitMsMax: 5_000 },
    shardScans: { activeMax: 32, waitingMax: 4096, waitMsMax: 5_000 },
  },
  /** Snapshots that a node keeps for clients that scan them. */
  readingSnapshotsMax: 4096,
  /** Requests on the way to the leader, for clients that know nothing of shards. */
  forwarding: { retryMs: 20, waitingMax: 65_536 },
} as const;

export const DEFAULT_HOST = "127.0.0.1";
export const DEFAULT_PORT = 7001;
export const DEFAULT_SHARDS = 8;
export const DEFAULT_REPLICAS = 3;
export const DEFAULT_VIRTUAL_NODES = 150;
export const DEFAULT_MOVE_MIB_PER_SECOND = MOVE_LIMITS.bytesPerSecond / MIB;
export const MOVE_MIB_PER_SECOND_MAX = 65_536;

/** What moves of replicas may take where this node has the say. */
export function moveLimitsOf({ moveMibPerSecond }: NodeConfig): MoveLimits {
  if (moveMibPerSecond === undefined) return MOVE_LIMITS;
  return { ...MOVE_LIMITS, bytesPerSecond: moveMibPerSecond * MIB };
}

/** Whether a cluster may have this number of shards. */
export function isShardCount(count: number): boolean {
  return Number.isInteger(count) && count >= 1 && count <= SHARDS_MAX && (count & (count - 1)) === 0;
}

/** A member, with its address spelled out. */
export function memberAt(id: NodeId, host: string, port: number): Member {
  return { id, host, port, address: formatAddress({ host, port }) };
}

/** Where others reach the node. */
export function addressOf({ id, address, members, host, port }: NodeConfig): string {
  const self = members.find((member) => member.id === id) ?? memberAt(id, reachableHost(host), port);
  return address ?? self.address;
}

/** Where others reach what listens on `host`: nobody can connect to an address that only means everywhere. */
export function reachableHost(host: string): string {
  return host === "0.0.0.0" || host === "::" ? DEFAULT_HOST : host;
}
