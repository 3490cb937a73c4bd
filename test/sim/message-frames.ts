import { ByteWriter } from "../../protocol/cbor.ts";
import { FRAME_LENGTH_MIN, FrameReader } from "../../protocol/frame.ts";
import { type GroupId, nodeId } from "../../protocol/ids.ts";
import { PEER_FRAME_BYTES_MAX } from "../../protocol/limits.ts";
import {
  appendMessage,
  beginBundle,
  decodeBundle,
  decodeReports,
  endBundle,
  PEER_TYPES,
} from "../../protocol/peer.ts";
import type { ConfigurationReport, GroupMessage } from "../../protocol/peer-messages.ts";

/** A frame in a piece of a byte stream, its length field included. */
interface Piece {
  readonly start: number;
  readonly end: number;
  /** It holds messages of Raft. */
  readonly isRaft: boolean;
  /** It is a message of gossip. */
  readonly isGossip: boolean;
  /** It says who the members of groups are. */
  readonly isReport: boolean;
}

const LENGTH_BYTES = 4;
/** Length, type, flags and request id; and the checksum at the end. */
const HEADER_BYTES = 10;
const CHECKSUM_BYTES = 4;

/**
 * Cuts what a node sends at once, which is whole frames, into these. What is none (the preamble of a connection) is one
 * piece.
 */
export function messageFrames(bytes: Uint8Array): Piece[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const pieces: Piece[] = [];
  for (let start = 0; start < bytes.length; ) {
    const length = start + LENGTH_BYTES < bytes.length ? view.getUint32(start) : 0;
    const end = start + LENGTH_BYTES + length;
    if (length < FRAME_LENGTH_MIN || end > bytes.length)
      return [{ start: 0, end: bytes.length, isRaft: false, isGossip: false, isReport: false }];
    const type = bytes[start + LENGTH_BYTES];
    pieces.push({
      ...{ start, end },
      isRaft: type === PEER_TYPES.raft,
      isGossip: type === PEER_TYPES.gossip,
      isReport: type === PEER_TYPES.report,
    });
    start = end;
  }
  return pieces;
}

/** Visits the messages of Raft in what `from` sends to `to` at once. Their data are views of `bytes`. */
export function visitMessages(
  from: string,
  to: string,
  bytes: Uint8Array,
  visit: (group: GroupId, message: GroupMessage) => void,
): void {
  for (const { start, end, isRaft } of messageFrames(bytes)) {
    if (!isRaft) continue;
    const body = bytes.subarray(start + HEADER_BYTES, end - CHECKSUM_BYTES);
    const frame = { type: PEER_TYPES.raft, flags: 0, requestId: 0, body };
    decodeBundle(frame, nodeId(from), nodeId(to), visit);
  }
}

/** Visits what a node sends at once of who the members of its groups are. */
export function visitReports(bytes: Uint8Array, visit: (report: ConfigurationReport) => void): void {
  for (const { start, end, isReport } of messageFrames(bytes)) {
    if (!isReport) continue;
    const body = bytes.subarray(start + HEADER_BYTES, end - CHECKSUM_BYTES);
    for (const report of decodeReports({ type: PEER_TYPES.report, flags: 0, requestId: 0, body }))
      visit(report);
  }
}

/** Whose messages they are stands with the connection, not in the frame. */
const ANYBODY = nodeId("x");

/** The messages of a frame that has messages of Raft, each in a frame of its own. */
export function singleMessages(frame: Uint8Array): Uint8Array[] {
  const reader = new FrameReader(PEER_FRAME_BYTES_MAX);
  reader.push(frame);
  const single: Uint8Array[] = [];
  decodeBundle(reader.next()!, ANYBODY, ANYBODY, (group, message) => {
    const writer = new ByteWriter();
    const mark = beginBundle(writer);
    appendMessage(writer, group, message);
    endBundle(writer, mark);
    single.push(writer.copy());
  });
  return single;
}
