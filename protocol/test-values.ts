/** Arbitrary messages for property tests: fast-check's generators of everything that the codecs carry. */
import fc from "fast-check";
import { encodeConfiguration } from "./configuration.ts";
import { ERRORS, type ErrorName } from "./errors.ts";
import { DISK_STATES, MEMBER_STATES } from "./gossip-messages.ts";
import { groupId, indexPlus, keyspaceId, logIndex, nodeId, shardId, term } from "./ids.ts";
import { SNAPSHOT_LEASE_MS_MAX } from "./limits.ts";
import type { ClientRequest, ClientResponse, WriteRequest } from "./messages.ts";
import type { GroupMessage } from "./peer-messages.ts";

const bytes = fc.uint8Array({ maxLength: 300 });
const key = fc.uint8Array({ maxLength: 40 });
/** Numbers around the places where CBOR changes its form. */
export const wholeNumber = fc.oneof(
  fc.constantFrom(0, 1, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1),
  fc.nat(),
  fc.maxSafeNat(),
);
export const int64 = fc.oneof(
  fc.constantFrom(0n, 23n, 24n, -1n, -24n, -25n, -256n, -257n, -(2n ** 32n), 2n ** 53n, -(2n ** 53n) - 1n),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
);
const node = fc.stringMatching(/^[A-Za-z0-9._-]{1,20}$/).map(nodeId);
const stamp = fc.record({ session: wholeNumber, sequence: wholeNumber, acknowledgedBelow: wholeNumber });
const consistency = fc.constantFrom("linearizable" as const, "stale" as const, "lease" as const);
const shard = fc.nat(1023).map(shardId);
/** Mostly none: then it is not there. */
const keyspace = fc.option(fc.constantFrom(1, 23, 24, 239, 240, 65_536, 2 ** 32 - 1).map(keyspaceId), {
  nil: undefined,
});
const keyValue = fc.record({ key, value: bytes });
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });

const putWith = {
  kind: fc.constant("putWith" as const),
  stamp,
  keyspace,
  key,
  value: bytes,
  answersOld: fc.boolean(),
};

export const anyWrite: fc.Arbitrary<WriteRequest> = fc.oneof(
  fc.record({
    kind: fc.constant("put" as const),
    stamp,
    keyspace,
    key,
    value: bytes,
    condition: fc.constantFrom("always" as const, "ifAbsent" as const, "ifPresent" as const),
  }),
  fc.record({
    ...putWith,
    condition: fc.constantFrom("always" as const, "ifAbsent" as const, "ifPresent" as const),
    expiry: fc.constantFrom("after" as const, "at" as const),
    expiryMs: wholeNumber,
  }),
  fc.record({
    ...putWith,
    condition: fc.constant("always" as const),
    expiry: fc.constantFrom("clear" as const, "keep" as const),
    expiryMs: fc.constant(0),
  }),
  fc.record({
    kind: fc.constant("expire" as const),
    stamp,
    keyspace,
    key,
    expiry: fc.constantFrom("after" as const, "at" as const),
    expiryMs: wholeNumber,
    condition: fc.record({
      ifNone: fc.boolean(),
      ifSome: fc.boolean(),
      ifLater: fc.boolean(),
      ifEarlier: fc.boolean(),
    }),
    answersOld: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("delete" as const), stamp, keyspace, key }),
  fc.record({ kind: fc.constant("increment" as const), stamp, keyspace, key, delta: int64 }),
  fc.record({
    kind: fc.constant("compareAndSet" as const),
    stamp,
    keyspace,
    key,
    expected: optional(bytes),
    value: optional(bytes),
  }),
  fc.record({
    kind: fc.constant("batch" as const),
    stamp,
    keyspace,
    entries: fc.array(keyValue, { minLength: 1, maxLength: 20 }),
  }),
  fc.record({ kind: fc.constant("openSession" as const), shard }),
);

export const anyRequest: fc.Arbitrary<ClientRequest> = fc.oneof(
  { weight: 3, arbitrary: anyWrite },
  fc.record({
    kind: fc.constantFrom("get" as const, "exists" as const, "explain" as const),
    ...{ keyspace, key, consistency },
  }),
  fc.record({
    kind: fc.constant("ttl" as const),
    keyspace,
    key,
    form: fc.constantFrom("left" as const, "at" as const),
    consistency,
  }),
  fc.record({
    kind: fc.constant("scan" as const),
    keyspace,
    start: key,
    end: optional(key),
    limit: fc.integer({ min: 1, max: 10_000 }),
    keysOnly: fc.boolean(),
    consistency,
    shard: optional(shard),
    snapshot: optional(wholeNumber),
  }),
  fc.record({
    kind: fc.constant("openSnapshot" as const),
    ...{ keyspace, shard, consistency },
    leaseMs: fc.integer({ min: 1, max: SNAPSHOT_LEASE_MS_MAX }),
  }),
  fc.record({ kind: fc.constant("closeSnapshot" as const), snapshot: wholeNumber }),
  fc.record({ kind: fc.constant("ping" as const) }),
  fc.record({
    kind: fc.constant("topology" as const),
    known: optional(wholeNumber),
    subscribe: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant("status" as const),
    scope: fc.constantFrom("node" as const, "cluster" as const),
  }),
  fc.record({
    kind: fc.constant("changeMember" as const),
    action: fc.constantFrom("drain" as const, "undrain" as const, "remove" as const, "replace" as const),
    node,
    successor: fc.oneof(node, fc.constant("" as const)),
    forwarded: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant("changeReplica" as const),
    action: fc.constantFrom("add" as const, "promote" as const, "demote" as const, "remove" as const),
    node,
    shard: optional(shard),
    forwarded: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant("join" as const),
    node,
    incarnation: fc.string({ unit: "grapheme", maxLength: 30 }),
    address: fc.string({ unit: "grapheme", maxLength: 30 }),
    labels: fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), fc.string({ unit: "grapheme", maxLength: 30 }), {
      noNullPrototype: true,
    }),
    forwarded: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("rebalance" as const), dryRun: fc.boolean(), forwarded: fc.boolean() }),
  fc.record({
    kind: fc.constant("transferLeader" as const),
    to: node,
    shard: optional(shard),
    forwarded: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant("createKeyspace" as const),
    name: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,20}$/),
    mode: fc.constantFrom("raft" as const, "quorum" as const),
    token: wholeNumber,
    forwarded: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant("dropKeyspace" as const),
    id: fc.constantFrom(1, 240, 2 ** 32 - 1).map(keyspaceId),
    forwarded: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("listKeyspaces" as const), consistency, forwarded: fc.boolean() }),
  fc.record({ kind: fc.constant("groupLog" as const), shard: optional(shard), limit: wholeNumber }),
);

const text = fc.string({ unit: "grapheme", maxLength: 30 });
// Without -0, which travels as 0.
const anyDouble = fc.double({ noNaN: true }).map((value) => value + 0);
const fraction = fc.double({ min: 0, max: 1, noNaN: true }).map((value) => value + 0);
const latency = fc.option(fc.record({ p50: wholeNumber, p99: anyDouble, max: wholeNumber }));
const memberLists = {
  voters: fc.array(node, { maxLength: 3 }),
  outgoing: fc.array(node, { maxLength: 3 }),
  learners: fc.array(node, { maxLength: 3 }),
};
const shardStatus = {
  shard: fc.integer({ min: -1, max: 1023 }),
  role: fc.constantFrom("leader" as const, "follower" as const, "candidate" as const),
  leader: fc.option(node),
  term: wholeNumber,
  lastIndex: wholeNumber,
  commitIndex: wholeNumber,
  appliedIndex: wholeNumber,
  ...memberLists,
  replicas: fc.array(fc.record({ node, matchIndex: wholeNumber, active: fc.boolean() }), {
    maxLength: 2,
  }),
};
export const nodeLoad = fc.record({
  ...{ shards: fc.nat(1024), leaders: fc.nat(1024) },
  ...{ dataBytes: wholeNumber, requestsPerSecond: wholeNumber, startedAtMs: wholeNumber },
  disk: fc.constantFrom(...DISK_STATES),
  version: fc.stringMatching(/^[ -~]{0,64}$/),
});
const nodeStatus = fc.record({
  id: node,
  address: text,
  version: text,
  clusterId: text,
  uptimeMs: wholeNumber,
  readOnly: fc.boolean(),
  peers: fc.array(
    fc.record({
      ...{ id: node, address: text, state: fc.constantFrom(...MEMBER_STATES) },
      ...{ connected: fc.boolean(), lastHeardMs: fc.option(wholeNumber) },
    }),
    { maxLength: 3 },
  ),
  shards: fc.array(fc.record(shardStatus), { maxLength: 3 }),
  requests: fc.record({
    reads: wholeNumber,
    writes: wholeNumber,
    errors: wholeNumber,
    connections: wholeNumber,
    redirected: wholeNumber,
    perSecond: anyDouble,
    readMs: latency,
    writeMs: latency,
  }),
  storage: fc.record({
    memtableBytes: wholeNumber,
    tables: wholeNumber,
    tableBytes: wholeNumber,
    cacheHitRate: fc.option(fraction),
    logBytes: wholeNumber,
    compactions: wholeNumber,
    syncMs: latency,
    slowDisk: fc.boolean(),
    slowDiskSpells: wholeNumber,
  }),
  memory: fc.record({ residentBytes: wholeNumber, heapBytes: wholeNumber }),
  queues: fc.array(
    fc.record({
      name: fc.string(),
      unit: fc.constantFrom("bytes", "requests"),
      used: wholeNumber,
      max: wholeNumber,
    }),
    { maxLength: 3 },
  ),
});

const move = fc.record({
  shard: fc.nat(1023),
  add: fc.option(node),
  remove: fc.option(node),
  bytes: wholeNumber,
  reason: fc.option(text),
});

export const anyResponse: fc.Arbitrary<ClientResponse> = fc.oneof(
  fc.record({ kind: fc.constant("pong" as const) }),
  fc.record({
    kind: fc.constant("keyspaces" as const),
    keyspaces: fc.array(
      fc.record({
        id: fc.constantFrom(1, 240, 2 ** 32 - 1).map(keyspaceId),
        name: text,
        mode: fc.constantFrom("raft" as const, "quorum" as const),
      }),
      { maxLength: 3 },
    ),
  }),
  fc.record({ kind: fc.constant("value" as const), value: optional(bytes), ageMs: wholeNumber }),
  fc.record({ kind: fc.constant("boolean" as const), value: fc.boolean() }),
  fc.record({ kind: fc.constant("integer" as const), value: int64 }),
  fc.record({
    kind: fc.constant("entries" as const),
    entries: fc.array(keyValue, { maxLength: 20 }),
    more: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant("topology" as const),
    topology: fc.record({
      version: wholeNumber,
      view: wholeNumber,
      clusterId: text,
      nodes: fc.array(
        fc.record({
          ...{ id: node, address: text, labels: fc.dictionary(text, text, { maxKeys: 2 }) },
          standing: fc.constantFrom("member" as const, "draining" as const, "removed" as const),
          isUp: fc.boolean(),
        }),
        { maxLength: 5 },
      ),
      shards: fc.array(
        fc.record({
          leader: fc.option(node),
          term: wholeNumber,
          replicas: fc.array(node, { maxLength: 5 }),
          copies: fc.array(node, { maxLength: 3 }),
        }),
        { maxLength: 16 },
      ),
    }),
  }),
  fc.record({ kind: fc.constant("unchanged" as const) }),
  fc.record({ kind: fc.constant("snapshot" as const), snapshot: wholeNumber, node, address: text }),
  fc.record({
    kind: fc.constant("explanation" as const),
    explanation: fc.record({
      steps: fc.array(
        fc.record({
          place: text,
          level: fc.option(wholeNumber),
          table: fc.option(wholeNumber),
          verdict: text,
        }),
        { maxLength: 4 },
      ),
      valueBytes: fc.option(wholeNumber),
      expiresAtMs: fc.option(wholeNumber),
    }),
  }),
  fc.record({ kind: fc.constant("nodeStatus" as const), status: nodeStatus }),
  fc.record({
    kind: fc.constant("joined" as const),
    cluster: fc.record({
      clusterId: text,
      shards: fc.integer({ min: 1, max: 1024 }),
      replicas: fc.integer({ min: 1, max: 16 }),
      virtualNodes: fc.integer({ min: 1, max: 10_000 }),
      nodes: fc.array(fc.record({ id: node, address: text }), { maxLength: 3 }),
    }),
  }),
  fc.record({
    kind: fc.constant("placement" as const),
    placement: fc.record({
      nodes: fc.array(
        fc.record({
          id: node,
          state: fc.constantFrom("member" as const, "draining" as const, "removed" as const),
          ring: fraction,
        }),
        { maxLength: 3 },
      ),
      underWay: fc.array(move, { maxLength: 2 }),
      toCome: fc.array(move, { maxLength: 2 }),
      bytes: wholeNumber,
      seconds: anyDouble,
    }),
  }),
  fc.record({
    kind: fc.constant("groupLog" as const),
    log: fc.record({
      ...shardStatus,
      node,
      firstIndex: wholeNumber,
      membersIndex: wholeNumber,
      entries: fc.array(
        fc.record({ index: wholeNumber, term: wholeNumber, kind: text, bytes: wholeNumber }),
        { maxLength: 3 },
      ),
    }),
  }),
  fc.record({
    kind: fc.constant("clusterStatus" as const),
    status: fc.record({
      clusterId: text,
      nodes: fc.array(
        fc.record({
          id: node,
          address: text,
          state: fc.constantFrom(...MEMBER_STATES),
          standing: fc.constantFrom("member" as const, "draining" as const, "removed" as const),
          lastSeenMs: fc.option(wholeNumber),
          load: fc.option(nodeLoad),
          status: fc.option(nodeStatus),
          error: fc.option(text),
        }),
        { maxLength: 2 },
      ),
      shards: fc.array(
        fc.record({
          shard: wholeNumber,
          leader: fc.option(node),
          term: wholeNumber,
          commitIndex: wholeNumber,
          appliedIndex: wholeNumber,
          lag: fc.array(fc.record({ node, entries: fc.option(wholeNumber) }), { maxLength: 2 }),
          copies: fc.array(node, { maxLength: 2 }),
        }),
        { maxLength: 3 },
      ),
      moves: fc.array(
        fc.record({
          shard: wholeNumber,
          joining: fc.array(node, { maxLength: 2 }),
          leaving: fc.array(node, { maxLength: 2 }),
          entriesBehind: fc.option(wholeNumber),
          bytes: fc.option(wholeNumber),
        }),
        { maxLength: 3 },
      ),
      outlook: fc.record({
        ...{ underWay: wholeNumber, toCome: wholeNumber, bytes: wholeNumber, seconds: wholeNumber },
      }),
      available: fraction,
    }),
  }),
  fc.record({
    kind: fc.constant("error" as const),
    error: fc.constantFrom(...(Object.keys(ERRORS) as ErrorName[])),
    message: text,
    leader: optional(fc.record({ node, address: text })),
  }),
);

const from = fc.constant(nodeId("n1"));
const to = fc.constant(nodeId("n2"));
const anyTerm = wholeNumber.map(term);
const anyIndex = fc.maxSafeNat().map((n) => logIndex(Math.floor(n / 2)));
const envelope = { from, to, term: anyTerm };
const members = fc.uniqueArray(fc.constantFrom("n1", "n2", "n3", "n4").map(nodeId));
const entryBody = fc.oneof(
  fc.record({ kind: fc.constantFrom("noop" as const, "commands" as const), data: bytes }),
  fc.record({
    kind: fc.constant("config" as const),
    data: fc.record({ voters: members, outgoing: members, learners: members }).map(encodeConfiguration),
  }),
);

export const anyGroup = fc.nat(1024).map(groupId);

export const anyGroupMessage: fc.Arbitrary<GroupMessage> = fc.oneof(
  fc.record({
    kind: fc.constant("vote" as const),
    ...envelope,
    preVote: fc.boolean(),
    lastIndex: anyIndex,
    lastTerm: anyTerm,
    transfer: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant("voteReply" as const),
    ...envelope,
    preVote: fc.boolean(),
    granted: fc.boolean(),
  }),
  fc
    .record({
      kind: fc.constant("append" as const),
      ...envelope,
      prevIndex: anyIndex,
      prevTerm: anyTerm,
      commit: anyIndex,
      entries: fc.array(fc.tuple(anyTerm, entryBody), { maxLength: 20 }),
    })
    .map((message) => ({
      ...message,
      entries: message.entries.map(([of, body], i) => ({
        index: indexPlus(message.prevIndex, i + 1),
        term: of,
        ...body,
      })),
    })),
  fc.record({
    kind: fc.constant("appendReply" as const),
    ...envelope,
    accepted: fc.boolean(),
    index: anyIndex,
    hintIndex: anyIndex,
    hintTerm: anyTerm,
  }),
  fc.record({
    kind: fc.constant("heartbeat" as const),
    ...envelope,
    commit: anyIndex,
    readRound: wholeNumber,
    quiesce: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("heartbeatReply" as const), ...envelope, readRound: wholeNumber }),
  fc.record({ kind: fc.constant("timeoutNow" as const), ...envelope }),
  fc.record({
    kind: fc.constant("snapshotPart" as const),
    ...envelope,
    stream: wholeNumber,
    part: wholeNumber,
    last: fc.boolean(),
    digest: wholeNumber,
    data: bytes,
  }),
  fc.record({
    kind: fc.constant("snapshotAck" as const),
    ...envelope,
    stream: wholeNumber,
    next: wholeNumber,
    refused: fc.boolean(),
  }),
);
