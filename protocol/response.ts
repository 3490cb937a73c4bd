/** What nodes answer, as frames. `README.md` has every body as a table. */
import { unreachable } from "../src/lib/assert.ts";
import { type ByteWriter, CborReader } from "./cbor.ts";
import { ERRORS, errorName, ProtocolError } from "./errors.ts";
import { beginFrame, endFrame, type Frame } from "./frame.ts";
import { isNodeId } from "./ids.ts";
import { SCAN_ENTRIES_MAX } from "./limits.ts";
import type { ClientResponse, ErrorResponse, KeyValue, LeaderHint } from "./messages.ts";
import { decodePlain, encodePlain } from "./plain.ts";
import {
  clusterStatusShape,
  explanationShape,
  groupLogShape,
  joinedShape,
  keyspacesShape,
  nodeStatusShape,
  placementShape,
  topologyShape,
} from "./status-shapes.ts";
import { expectItems } from "./write-body.ts";

/** Frame types of answers. A number is never given a second meaning. */
export const RESPONSE_TYPES = {
  pong: 128,
  value: 129,
  boolean: 130,
  integer: 131,
  entries: 132,
  topology: 133,
  nodeStatus: 134,
  clusterStatus: 135,
  groupLog: 136,
  unchanged: 137,
  explanation: 138,
  snapshot: 140,
  keyspaces: 144,
  joined: 139,
  placement: 141,
  error: 191,
} as const satisfies Record<ClientResponse["kind"], number>;

/** Writes the frame of the answer to the request `requestId`. */
export function encodeResponse(writer: ByteWriter, response: ClientResponse, requestId: number): void {
  const mark = beginFrame(writer, RESPONSE_TYPES[response.kind], 0, requestId);
  encodeResponseBody(writer, response);
  endFrame(writer, mark);
}

/**
 * The answer that a frame carries. Its byte strings are views of the frame's body. Throws `ProtocolError` (BAD_REQUEST)
 * for what no node sends.
 */
export function decodeResponse(frame: Frame): ClientResponse {
  const { body } = frame;
  switch (frame.type) {
    case RESPONSE_TYPES.topology:
      return { kind: "topology", topology: topologyShape(decodePlain(body), "topology") };
    case RESPONSE_TYPES.nodeStatus:
      return { kind: "nodeStatus", status: nodeStatusShape(decodePlain(body), "status") };
    case RESPONSE_TYPES.clusterStatus:
      return { kind: "clusterStatus", status: clusterStatusShape(decodePlain(body), "status") };
    case RESPONSE_TYPES.groupLog:
      return { kind: "groupLog", log: groupLogShape(decodePlain(body), "log") };
    case RESPONSE_TYPES.explanation:
      return { kind: "explanation", explanation: explanationShape(decodePlain(body), "explanation") };
    case RESPONSE_TYPES.keyspaces:
      return { kind: "keyspaces", keyspaces: keyspacesShape(decodePlain(body), "keyspaces") };
    case RESPONSE_TYPES.joined:
      return { kind: "joined", cluster: joinedShape(decodePlain(body), "cluster") };
    case RESPONSE_TYPES.placement:
      return { kind: "placement", placement: placementShape(decodePlain(body), "placement") };
  }
  const reader = new CborReader(body);
  const response = decodeArray(frame.type, reader);
  reader.expectEnd();
  return response;
}

function encodeResponseBody(writer: ByteWriter, response: ClientResponse): void {
  switch (response.kind) {
    case "pong":
    case "unchanged":
      writer.arrayHeader(0);
      return;
    case "value":
      writer.arrayHeader(2);
      if (response.value === undefined) writer.nil();
      else writer.bytes(response.value);
      writer.uint(wholeMs(response.ageMs));
      return;
    case "boolean":
      writer.arrayHeader(1);
      writer.bool(response.value);
      return;
    case "integer":
      writer.arrayHeader(1);
      writer.int(response.value);
      return;
    case "entries":
      writer.arrayHeader(2);
      writer.bool(response.more);
      writer.arrayHeader(response.entries.length * 2);
      for (const { key, value } of response.entries) {
        writer.bytes(key);
        writer.bytes(value);
      }
      return;
    case "snapshot":
      writer.arrayHeader(3);
      writer.uint(response.snapshot);
      writer.text(response.node);
      writer.text(response.address);
      return;
    case "topology":
      writer.append(encodePlain(response.topology));
      return;
    case "nodeStatus":
    case "clusterStatus":
      writer.append(encodePlain(response.status));
      return;
    case "groupLog":
      writer.append(encodePlain(response.log));
      return;
    case "keyspaces":
      writer.append(encodePlain(response.keyspaces));
      return;
    case "explanation":
      writer.append(encodePlain(response.explanation));
      return;
    case "joined":
      writer.append(encodePlain(response.cluster));
      return;
    case "placement":
      writer.append(encodePlain(response.placement));
      return;
    case "error":
      encodeError(writer, response);
      return;
    default:
      unreachable(response, "cannot encode a response");
  }
}

function decodeArray(type: number, reader: CborReader): ClientResponse {
  switch (type) {
    case RESPONSE_TYPES.pong:
      expectItems(reader, 0);
      return { kind: "pong" };
    case RESPONSE_TYPES.unchanged:
      expectItems(reader, 0);
      return { kind: "unchanged" };
    case RESPONSE_TYPES.value: {
      expectItems(reader, 2);
      const value = reader.bytesOrNil();
      return { kind: "value", value, ageMs: reader.uint() };
    }
    case RESPONSE_TYPES.boolean:
      expectItems(reader, 1);
      return { kind: "boolean", value: reader.bool() };
    case RESPONSE_TYPES.integer:
      expectItems(reader, 1);
      return { kind: "integer", value: reader.int() };
    case RESPONSE_TYPES.entries:
      return decodeEntries(reader);
    case RESPONSE_TYPES.snapshot: {
      expectItems(reader, 3);
      const snapshot = reader.uint();
      const { node, address } = decodeAddress(reader);
      return { kind: "snapshot", snapshot, node, address };
    }
    case RESPONSE_TYPES.error:
      return decodeError(reader);
    default:
      throw new ProtocolError("BAD_REQUEST", `there is no answer of type ${type}`);
  }
}

function decodeEntries(reader: CborReader): ClientResponse {
  expectItems(reader, 2);
  const more = reader.bool();
  const items = reader.arrayHeader();
  if (items < 0 || items % 2 !== 0 || items / 2 > SCAN_ENTRIES_MAX) {
    reader.refuse(`a scan's answer of ${items} keys and values`);
  }
  const entries: KeyValue[] = [];
  for (let i = 0; i < items; i += 2) {
    const key = reader.bytes();
    entries.push({ key, value: reader.bytes() });
  }
  return { kind: "entries", entries, more };
}

function encodeError(writer: ByteWriter, response: ErrorResponse): void {
  writer.arrayHeader(3);
  writer.uint(ERRORS[response.error].code);
  writer.text(response.message);
  if (response.leader === undefined) {
    writer.nil();
    return;
  }
  writer.arrayHeader(2);
  writer.text(response.leader.node);
  writer.text(response.leader.address);
}

function decodeError(reader: CborReader): ErrorResponse {
  expectItems(reader, 3);
  const error = errorName(reader.uint());
  const message = reader.text();
  return { kind: "error", error, message, leader: reader.takeNil() ? undefined : decodeLeader(reader) };
}

function decodeLeader(reader: CborReader): LeaderHint {
  expectItems(reader, 2);
  return decodeAddress(reader);
}

/** Who a node is and where it is reached. */
function decodeAddress(reader: CborReader): LeaderHint {
  const node = reader.text();
  if (!isNodeId(node)) reader.refuse(`the node id ${JSON.stringify(node.slice(0, 64))}`);
  return { node, address: reader.text() };
}

/** An age as it travels: whole milliseconds, rounded up, since it must not be understated. */
function wholeMs(ageMs: number): number {
  return ageMs === 0 ? 0 : Math.min(Math.max(0, Math.ceil(ageMs)), Number.MAX_SAFE_INTEGER);
}
