/** The shapes of what travels as maps: topology, status, hello. `messages.ts` says what the fields mean. */
import { DISK_STATES, MEMBER_STATES, type NodeLoad } from "./gossip-messages.ts";
import { type KeyspaceId, keyspaceId } from "./ids.ts";
import { KEYSPACE_ID_MAX, SHARDS_MAX } from "./limits.ts";
import type {
  ClusterStatus,
  GroupLogStatus,
  JoinedCluster,
  KeyExplanation,
  Keyspace,
  LatencyStatus,
  MoveOutlook,
  MoveStatus,
  NodeStatus,
  PeerStatus,
  PlacementStatus,
  QueueStatus,
  RequestStatus,
  ShardPlace,
  ShardStatus,
  StorageStatus,
  Topology,
  TopologyNode,
} from "./messages.ts";
import type { ConfigurationReport, PeerHello } from "./peer-messages.ts";
import {
  boolean,
  dictionary,
  list,
  node,
  nullable,
  number,
  oneOf,
  record,
  type Shape,
  text,
  whole,
} from "./shape.ts";

export const topologyShape: Shape<Topology> = record<Topology>({
  version: number,
  view: number,
  clusterId: text,
  nodes: list(
    record<TopologyNode>({
      ...{ id: node, address: text, labels: dictionary(text, text) },
      ...{ standing: oneOf("member", "draining", "removed"), isUp: boolean },
    }),
  ),
  shards: list(
    record<ShardPlace>({ leader: nullable(node), term: number, replicas: list(node), copies: list(node) }),
  ),
});

export const keyspaceIdShape: Shape<KeyspaceId> = (value, path) =>
  keyspaceId(whole(1, KEYSPACE_ID_MAX)(value, path));

export const keyspacesShape: Shape<readonly Keyspace[]> = list(
  record<Keyspace>({ id: keyspaceIdShape, name: text, mode: oneOf("raft", "quorum") }),
);
export const joinedShape: Shape<JoinedCluster> = record<JoinedCluster>({
  clusterId: text,
  shards: whole(1, SHARDS_MAX),
  replicas: whole(1, 65_535),
  virtualNodes: whole(1, 65_535),
  nodes: list(record<JoinedCluster["nodes"][number]>({ id: node, address: text })),
});

const moves = list(
  record<MoveStatus>({
    shard: whole(0, SHARDS_MAX - 1),
    add: nullable(node),
    remove: nullable(node),
    bytes: number,
    reason: nullable(text),
  }),
);

export const placementShape: Shape<PlacementStatus> = record<PlacementStatus>({
  nodes: list(
    record<PlacementStatus["nodes"][number]>({
      id: node,
      state: oneOf("member", "draining", "removed"),
      ring: number,
    }),
  ),
  underWay: moves,
  toCome: moves,
  bytes: number,
  seconds: number,
});

const peerStatus = record<PeerStatus>({
  id: node,
  address: text,
  state: oneOf(...MEMBER_STATES),
  connected: boolean,
  lastHeardMs: nullable(number),
});

const shardFields = {
  shard: number,
  role: oneOf("leader", "follower", "candidate", "preCandidate"),
  leader: nullable(node),
  term: number,
  lastIndex: number,
  commitIndex: number,
  appliedIndex: number,
  voters: list(node),
  outgoing: list(node),
  learners: list(node),
  replicas: list(record<ShardStatus["replicas"][number]>({ node, matchIndex: number, active: boolean })),
};
const shardStatus = record<ShardStatus>(shardFields);

export const groupLogShape: Shape<GroupLogStatus> = record<GroupLogStatus>({
  ...shardFields,
  node,
  firstIndex: number,
  membersIndex: number,
  entries: list(
    record<GroupLogStatus["entries"][number]>({ index: number, term: number, kind: text, bytes: number }),
  ),
});

export const explanationShape: Shape<KeyExplanation> = record<KeyExplanation>({
  steps: list(
    record<KeyExplanation["steps"][number]>({
      place: text,
      level: nullable(number),
      table: nullable(number),
      verdict: text,
    }),
  ),
  valueBytes: nullable(number),
  expiresAtMs: nullable(number),
});

const latency = record<LatencyStatus>({ p50: number, p99: number, max: number });

const requests = record<RequestStatus>({
  reads: number,
  writes: number,
  errors: number,
  connections: number,
  redirected: number,
  perSecond: number,
  readMs: nullable(latency),
  writeMs: nullable(latency),
});

const storage = record<StorageStatus>({
  memtableBytes: number,
  tables: number,
  tableBytes: number,
  cacheHitRate: nullable(number),
  logBytes: number,
  compactions: number,
  syncMs: nullable(latency),
  slowDisk: boolean,
  slowDiskSpells: number,
});

export const nodeStatusShape: Shape<NodeStatus> = record<NodeStatus>({
  id: node,
  address: text,
  version: text,
  clusterId: text,
  uptimeMs: number,
  readOnly: boolean,
  peers: list(peerStatus),
  shards: list(shardStatus),
  requests,
  storage,
  memory: record<NodeStatus["memory"]>({ residentBytes: number, heapBytes: number }),
  queues: list(
    record<QueueStatus>({ name: text, unit: oneOf("bytes", "requests"), used: number, max: number }),
  ),
});

const nodeLoad = record<NodeLoad>({
  shards: number,
  leaders: number,
  dataBytes: number,
  requestsPerSecond: number,
  disk: oneOf(...DISK_STATES),
  startedAtMs: number,
  version: text,
});

export const clusterStatusShape: Shape<ClusterStatus> = record<ClusterStatus>({
  clusterId: text,
  nodes: list(
    record<ClusterStatus["nodes"][number]>({
      id: node,
      address: text,
      state: oneOf(...MEMBER_STATES),
      standing: oneOf("member", "draining", "removed"),
      lastSeenMs: nullable(number),
      load: nullable(nodeLoad),
      status: nullable(nodeStatusShape),
      error: nullable(text),
    }),
  ),
  shards: list(
    record<ClusterStatus["shards"][number]>({
      shard: number,
      leader: nullable(node),
      term: number,
      commitIndex: number,
      appliedIndex: number,
      lag: list(record<ClusterStatus["shards"][number]["lag"][number]>({ node, entries: nullable(number) })),
      copies: list(node),
    }),
  ),
  moves: list(
    record<ClusterStatus["moves"][number]>({
      shard: number,
      joining: list(node),
      leaving: list(node),
      entriesBehind: nullable(number),
      bytes: nullable(number),
    }),
  ),
  outlook: record<MoveOutlook>({ underWay: number, toCome: number, bytes: number, seconds: number }),
  available: number,
});

export const helloShape: Shape<PeerHello> = record<PeerHello>({
  node,
  clusterId: text,
  incarnation: text,
  members: list(node),
  settings: record<PeerHello["settings"]>({ shards: number, replicas: number, virtualNodes: number }),
  address: text,
  labels: dictionary(text, text),
  leaseMs: whole(0, 86_400_000),
  promiseMs: whole(0, 86_400_000),
});

export const reportsShape: Shape<readonly ConfigurationReport[]> = list(
  record<ConfigurationReport>({
    shard: whole(0, SHARDS_MAX - 1),
    ...{ term: number, index: number, voters: list(node), outgoing: list(node), learners: list(node) },
  }),
);
