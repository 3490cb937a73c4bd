/**
 * What clients and nodes say to each other, as frames: requests here, their answers in `response.ts`, the bodies of
 * writes in `write-body.ts`. `README.md` has every body as a table.
 *
 * A body is one CBOR array, of exactly the items that its table says; only topology and status answers are maps. What is
 * wrong with a body is told in an answer to its request and the connection goes on: unlike a wrong frame, it does not
 * put in doubt where the next one begins.
 */
import { type ByteWriter, CborReader } from "./cbor.ts";
import { ProtocolError } from "./errors.ts";
import { beginFrame, endFrame, type Frame } from "./frame.ts";
import { isKeyspaceName, isNodeId, type NodeId, type ShardId } from "./ids.ts";
import { CLIENT_FRAME_BYTES_MAX, SCAN_ENTRIES_MAX, SNAPSHOT_LEASE_MS_MAX } from "./limits.ts";
import type {
  AdminRequest,
  ChangeMember,
  ChangeReplica,
  ClientRequest,
  Consistency,
  Join,
  KeyspaceMode,
  ReadRequest,
  Scan,
  Ttl,
} from "./messages.ts";
import {
  beginKeyBody,
  decodeKey,
  decodeKeyspace,
  decodeKeyspaceId,
  decodeShard,
  decodeWriteBody,
  encodeKey,
  encodeWriteBody,
  endKeyBody,
  expectItems,
  expectKeyBody,
  WRITE_TYPES,
} from "./write-body.ts";

export { decodeResponse, encodeResponse, RESPONSE_TYPES } from "./response.ts";
export { decodeWrite, encodeWrite, type KeepKeyspaces, type LogCommand } from "./write-body.ts";

/** Frame types of requests. A number is never given a second meaning. */
export const REQUEST_TYPES = {
  ...WRITE_TYPES,
  get: 16,
  exists: 17,
  scan: 18,
  ttl: 19,
  explain: 20,
  openSnapshot: 21,
  closeSnapshot: 22,
  ping: 32,
  topology: 33,
  status: 34,
  changeMember: 35,
  transferLeader: 36,
  groupLog: 37,
  createKeyspace: 48,
  dropKeyspace: 49,
  listKeyspaces: 50,
  join: 38,
  rebalance: 39,
  changeReplica: 40,
} as const satisfies Record<ClientRequest["kind"], number>;

const CONSISTENCIES = ["linearizable", "stale", "lease"] as const satisfies readonly Consistency[];
const TTL_FORMS = ["left", "at"] as const satisfies readonly Ttl["form"][];
const MODES = ["raft", "quorum"] as const satisfies readonly KeyspaceMode[];
/** Far more than any cluster allows: what it does, it says in words. */
const JOIN_LABELS_MAX = 256;
const SCOPES = ["node", "cluster"] as const;
const ACTIONS = [
  "drain",
  "undrain",
  "remove",
  "replace",
] as const satisfies readonly ChangeMember["action"][];
const REPLICA_ACTIONS = [
  "add",
  "promote",
  "demote",
  "remove",
] as const satisfies readonly ChangeReplica["action"][];

/**
 * Writes the frame of a request. Throws `ProtocolError` (TOO_LARGE, BAD_REQUEST) if the request is outside of the
 * limits; nothing is written then.
 */
export function encodeRequest(
  writer: ByteWriter,
  request: ClientRequest,
  requestId: number,
  flags = 0,
): void {
  const mark = beginFrame(writer, REQUEST_TYPES[request.kind], flags, requestId);
  try {
    encodeRequestBody(writer, request);
    // Length field and checksum: what the length counts is the same number of bytes.
    const length = writer.length - mark;
    if (length > CLIENT_FRAME_BYTES_MAX) {
      throw new ProtocolError(
        "TOO_LARGE",
        `a ${request.kind} takes a frame of ${length} bytes, at most ${CLIENT_FRAME_BYTES_MAX} are allowed`,
      );
    }
  } catch (error) {
    writer.truncate(mark);
    throw error;
  }
  endFrame(writer, mark);
}

/**
 * The request that a frame carries. Its byte strings are views of the frame's body. Throws `ProtocolError`: BAD_REQUEST
 * or TOO_LARGE, to be told in an answer to the frame's request id.
 */
export function decodeRequest(frame: Frame): ClientRequest {
  const reader = new CborReader(frame.body);
  const request = decodeWriteBody(frame.type, reader) ?? decodeReadBody(frame.type, reader);
  reader.expectEnd();
  return request;
}

function encodeRequestBody(writer: ByteWriter, request: ClientRequest): void {
  switch (request.kind) {
    case "get":
    case "exists":
    case "explain":
      beginKeyBody(writer, 2, request);
      encodeKey(writer, request.key);
      encodeConsistency(writer, request.consistency);
      endKeyBody(writer, request);
      return;
    case "scan":
      encodeScan(writer, request);
      return;
    case "openSnapshot":
      checkLease(request.leaseMs);
      beginKeyBody(writer, 3, request);
      writer.uint(request.shard);
      writer.uint(request.leaseMs);
      encodeConsistency(writer, request.consistency);
      endKeyBody(writer, request);
      return;
    case "closeSnapshot":
      writer.arrayHeader(1);
      writer.uint(request.snapshot);
      return;
    case "ttl":
      beginKeyBody(writer, 3, request);
      encodeKey(writer, request.key);
      writer.uint(TTL_FORMS.indexOf(request.form));
      encodeConsistency(writer, request.consistency);
      endKeyBody(writer, request);
      return;
    case "ping":
      writer.arrayHeader(0);
      return;
    case "topology":
      writer.arrayHeader(2);
      if (request.known === undefined) writer.nil();
      else writer.uint(request.known);
      writer.bool(request.subscribe);
      return;
    case "status":
      writer.arrayHeader(1);
      writer.uint(SCOPES.indexOf(request.scope));
      return;
    case "changeMember":
      writer.arrayHeader(4);
      writer.uint(ACTIONS.indexOf(request.action));
      writer.text(request.node);
      writer.text(request.successor);
      writer.bool(request.forwarded);
      return;
    case "changeReplica":
      writer.arrayHeader(4);
      writer.uint(REPLICA_ACTIONS.indexOf(request.action));
      writer.text(request.node);
      encodeShardOrNull(writer, request.shard);
      writer.bool(request.forwarded);
      return;
    case "join":
      encodeJoin(writer, request);
      return;
    case "rebalance":
      writer.arrayHeader(2);
      writer.bool(request.dryRun);
      writer.bool(request.forwarded);
      return;
    case "transferLeader":
      writer.arrayHeader(3);
      writer.text(request.to);
      encodeShardOrNull(writer, request.shard);
      writer.bool(request.forwarded);
      return;
    case "groupLog":
      writer.arrayHeader(2);
      encodeShardOrNull(writer, request.shard);
      writer.uint(request.limit);
      return;
    case "createKeyspace":
      writer.arrayHeader(4);
      writer.text(request.name);
      writer.uint(MODES.indexOf(request.mode));
      writer.uint(request.token);
      writer.bool(request.forwarded);
      return;
    case "dropKeyspace":
      writer.arrayHeader(2);
      writer.uint(request.id);
      writer.bool(request.forwarded);
      return;
    case "listKeyspaces":
      writer.arrayHeader(2);
      encodeConsistency(writer, request.consistency);
      writer.bool(request.forwarded);
      return;
    default:
      encodeWriteBody(writer, request);
  }
}

function decodeReadBody(type: number, reader: CborReader): ReadRequest | AdminRequest {
  switch (type) {
    case REQUEST_TYPES.get: {
      const named = expectKeyBody(reader, 2);
      const key = decodeKey(reader);
      const consistency = decodeConsistency(reader);
      return { kind: "get", key, consistency, keyspace: decodeKeyspace(reader, named) };
    }
    case REQUEST_TYPES.exists: {
      const named = expectKeyBody(reader, 2);
      const key = decodeKey(reader);
      const consistency = decodeConsistency(reader);
      return { kind: "exists", key, consistency, keyspace: decodeKeyspace(reader, named) };
    }
    case REQUEST_TYPES.explain: {
      const named = expectKeyBody(reader, 2);
      const key = decodeKey(reader);
      const consistency = decodeConsistency(reader);
      return { kind: "explain", key, consistency, keyspace: decodeKeyspace(reader, named) };
    }
    case REQUEST_TYPES.scan:
      return decodeScan(reader);
    case REQUEST_TYPES.openSnapshot: {
      const named = expectKeyBody(reader, 3);
      const shard = decodeShard(reader);
      const leaseMs = reader.uint();
      checkLease(leaseMs);
      const consistency = decodeConsistency(reader);
      const keyspace = decodeKeyspace(reader, named);
      return { kind: "openSnapshot", shard, leaseMs, consistency, keyspace };
    }
    case REQUEST_TYPES.closeSnapshot:
      expectItems(reader, 1);
      return { kind: "closeSnapshot", snapshot: reader.uint() };
    case REQUEST_TYPES.ttl: {
      const named = expectKeyBody(reader, 3);
      const key = decodeKey(reader);
      const number = reader.uint();
      const form = TTL_FORMS[number] ?? reader.refuse(`the form ${number} of a time to live`);
      const consistency = decodeConsistency(reader);
      return { kind: "ttl", key, form, consistency, keyspace: decodeKeyspace(reader, named) };
    }
    case REQUEST_TYPES.ping:
      expectItems(reader, 0);
      return { kind: "ping" };
    case REQUEST_TYPES.topology: {
      expectItems(reader, 2);
      const known = reader.takeNil() ? undefined : reader.uint();
      return { kind: "topology", known, subscribe: reader.bool() };
    }
    case REQUEST_TYPES.status: {
      expectItems(reader, 1);
      const number = reader.uint();
      const scope = SCOPES[number] ?? reader.refuse(`the status scope ${number}`);
      return { kind: "status", scope };
    }
    case REQUEST_TYPES.changeMember: {
      expectItems(reader, 4);
      const number = reader.uint();
      const action = ACTIONS[number] ?? reader.refuse(`the change of members ${number}`);
      const node = decodeNode(reader);
      const successor = reader.text();
      if (successor !== "" && !isNodeId(successor)) reader.refuse("a successor that is no node id");
      return { kind: "changeMember", action, node, successor, forwarded: reader.bool() };
    }
    case REQUEST_TYPES.changeReplica: {
      expectItems(reader, 4);
      const number = reader.uint();
      const action = REPLICA_ACTIONS[number] ?? reader.refuse(`the change of a replica ${number}`);
      const [node, shard] = [decodeNode(reader), decodeShardOrNull(reader)];
      return { kind: "changeReplica", action, node, shard, forwarded: reader.bool() };
    }
    case REQUEST_TYPES.join:
      return decodeJoin(reader);
    case REQUEST_TYPES.rebalance: {
      expectItems(reader, 2);
      const dryRun = reader.bool();
      return { kind: "rebalance", dryRun, forwarded: reader.bool() };
    }
    case REQUEST_TYPES.transferLeader: {
      expectItems(reader, 3);
      const [to, shard] = [decodeNode(reader), decodeShardOrNull(reader)];
      return { kind: "transferLeader", to, shard, forwarded: reader.bool() };
    }
    case REQUEST_TYPES.groupLog: {
      expectItems(reader, 2);
      const shard = decodeShardOrNull(reader);
      return { kind: "groupLog", shard, limit: reader.uint() };
    }
    case REQUEST_TYPES.createKeyspace: {
      expectItems(reader, 4);
      const name = reader.text();
      if (!isKeyspaceName(name)) reader.refuse(`the keyspace's name ${JSON.stringify(name.slice(0, 64))}`);
      const number = reader.uint();
      const mode = MODES[number] ?? reader.refuse(`the mode ${number} of a keyspace`);
      const token = reader.uint();
      return { kind: "createKeyspace", name, mode, token, forwarded: reader.bool() };
    }
    case REQUEST_TYPES.dropKeyspace: {
      expectItems(reader, 2);
      const id = decodeKeyspaceId(reader);
      return { kind: "dropKeyspace", id, forwarded: reader.bool() };
    }
    case REQUEST_TYPES.listKeyspaces: {
      expectItems(reader, 2);
      const consistency = decodeConsistency(reader);
      return { kind: "listKeyspaces", consistency, forwarded: reader.bool() };
    }
    default:
      throw new ProtocolError("BAD_REQUEST", `there is no request of type ${type}`);
  }
}

function encodeJoin(writer: ByteWriter, { node, incarnation, address, labels, forwarded }: Join): void {
  writer.arrayHeader(5);
  for (const text of [node, incarnation, address]) writer.text(text);
  const names = Object.keys(labels);
  writer.arrayHeader(names.length * 2);
  for (const name of names) {
    writer.text(name);
    writer.text(labels[name]!);
  }
  writer.bool(forwarded);
}

function decodeJoin(reader: CborReader): Join {
  expectItems(reader, 5);
  const [node, incarnation, address] = [decodeNode(reader), reader.text(), reader.text()];
  const items = reader.arrayHeader();
  if (items < 0 || items % 2 !== 0 || items > 2 * JOIN_LABELS_MAX) reader.refuse(`${items} items of labels`);
  const labels: [string, string][] = [];
  for (let i = 0; i < items; i += 2) labels.push([reader.text(), reader.text()]);
  return {
    kind: "join",
    ...{ node, incarnation, address, labels: Object.fromEntries(labels), forwarded: reader.bool() },
  };
}

function encodeScan(writer: ByteWriter, scan: Scan): void {
  checkScanLimit(scan.limit);
  beginKeyBody(writer, 7, scan);
  encodeKey(writer, scan.start);
  if (scan.end === undefined) writer.nil();
  else encodeKey(writer, scan.end);
  writer.uint(scan.limit);
  writer.bool(scan.keysOnly);
  encodeConsistency(writer, scan.consistency);
  encodeShardOrNull(writer, scan.shard);
  if (scan.snapshot === undefined) writer.nil();
  else writer.uint(scan.snapshot);
  endKeyBody(writer, scan);
}

function encodeShardOrNull(writer: ByteWriter, shard: ShardId | undefined): void {
  if (shard === undefined) writer.nil();
  else writer.uint(shard);
}

function decodeShardOrNull(reader: CborReader): ShardId | undefined {
  return reader.takeNil() ? undefined : decodeShard(reader);
}

function decodeNode(reader: CborReader): NodeId {
  const node = reader.text();
  if (!isNodeId(node)) reader.refuse(`the node id ${JSON.stringify(node.slice(0, 64))}`);
  return node;
}

function decodeScan(reader: CborReader): Scan {
  const named = expectKeyBody(reader, 7);
  const start = decodeKey(reader);
  const end = reader.takeNil() ? undefined : decodeKey(reader);
  const limit = reader.uint();
  checkScanLimit(limit);
  const keysOnly = reader.bool();
  const consistency = decodeConsistency(reader);
  const shard = decodeShardOrNull(reader);
  const snapshot = reader.takeNil() ? undefined : reader.uint();
  const keyspace = decodeKeyspace(reader, named);
  return { kind: "scan", start, end, limit, keysOnly, consistency, shard, snapshot, keyspace };
}

function checkLease(leaseMs: number): void {
  if (leaseMs >= 1 && leaseMs <= SNAPSHOT_LEASE_MS_MAX) return;
  throw new ProtocolError(
    "BAD_REQUEST",
    `a snapshot has a lease of ${leaseMs} ms, from 1 to ${SNAPSHOT_LEASE_MS_MAX} are allowed`,
  );
}

function checkScanLimit(limit: number): void {
  if (limit >= 1 && limit <= SCAN_ENTRIES_MAX) return;
  throw new ProtocolError(
    "BAD_REQUEST",
    `a scan has a limit of ${limit}, from 1 to ${SCAN_ENTRIES_MAX} are allowed`,
  );
}

function encodeConsistency(writer: ByteWriter, consistency: Consistency): void {
  writer.uint(CONSISTENCIES.indexOf(consistency));
}

function decodeConsistency(reader: CborReader): Consistency {
  const number = reader.uint();
  return CONSISTENCIES[number] ?? reader.refuse(`the consistency ${number}`);
}
