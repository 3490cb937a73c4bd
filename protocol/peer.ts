/**
 * What nodes say to each other, as frames. `README.md` has every body as a table.
 *
 * All Raft messages that a turn of the loop produced for one peer, of all groups, travel as one frame: a CBOR array
 * without a length, of arrays. Where they come from and go to is known from the connection, and the index of an entry
 * from its place. Forwarded client requests and their answers use the same connections, with the clients' types.
 */
import { unreachable } from "../src/lib/assert.ts";
import { type ByteWriter, CborReader } from "./cbor.ts";
import { decodeConfiguration } from "./configuration.ts";
import { ProtocolError } from "./errors.ts";
import { beginFrame, endFrame, type Frame } from "./frame.ts";
import {
  type GroupId,
  groupId,
  indexPlus,
  type LogIndex,
  logIndex,
  type NodeId,
  type Term,
  term,
} from "./ids.ts";
import { HELLO_BYTES_MAX, SHARDS_MAX } from "./limits.ts";
import type { AppendRequest, ConfigurationReport, Entry, GroupMessage, PeerHello } from "./peer-messages.ts";
import { decodePlain, encodePlain } from "./plain.ts";
import { helloShape, reportsShape } from "./status-shapes.ts";

/** Frame types between peers, apart from those of clients. A number is never given a second meaning. */
export const PEER_TYPES = { hello: 64, raft: 65, ping: 66, pong: 67, gossip: 68, report: 69 } as const;

const MESSAGE_TYPES = {
  vote: 1,
  voteReply: 2,
  append: 3,
  appendReply: 4,
  heartbeat: 5,
  heartbeatReply: 6,
  timeoutNow: 7,
  snapshotPart: 8,
  snapshotAck: 9,
} as const satisfies Record<GroupMessage["kind"], number>;

const ENTRY_KINDS = ["noop", "commands", "config"] as const satisfies readonly Entry["kind"][];

/** Writes the frame with which each side of a peer connection begins. */
export function encodeHello(writer: ByteWriter, hello: PeerHello): void {
  const mark = beginFrame(writer, PEER_TYPES.hello, 0, 0);
  writer.append(encodePlain(hello));
  endFrame(writer, mark);
}

/** The hello that a frame carries. Throws `ProtocolError` (BAD_REQUEST, TOO_LARGE). */
export function decodeHello(frame: Frame): PeerHello {
  if (frame.body.length > HELLO_BYTES_MAX) {
    throw new ProtocolError(
      "TOO_LARGE",
      `a hello has ${frame.body.length} bytes, at most ${HELLO_BYTES_MAX} are allowed`,
    );
  }
  return helloShape(decodePlain(frame.body), "hello");
}

/** A flag of pings and of frames of Raft messages: the sender would rather not lead, for its disk is slow or it is about to stop. */
export const FLAG_DECLINES = 1;

/** Writes a frame that tells who the members of shards are; nobody answers. */
export function encodeReports(writer: ByteWriter, reports: readonly ConfigurationReport[]): void {
  const mark = beginFrame(writer, PEER_TYPES.report, 0, 0);
  writer.append(encodePlain(reports));
  endFrame(writer, mark);
}

/** Throws `ProtocolError` (BAD_REQUEST). */
export function decodeReports(frame: Frame): readonly ConfigurationReport[] {
  return reportsShape(decodePlain(frame.body), "reports");
}

/** Writes a ping or a pong, which have no body; a pong repeats the ping's request id. */
export function encodePeerSignal(
  writer: ByteWriter,
  type: "ping" | "pong",
  requestId: number,
  flags = 0,
): void {
  endFrame(writer, beginFrame(writer, PEER_TYPES[type], flags, requestId));
}

/** Starts a frame of Raft messages; the mark that it returns is for `endBundle`. */
export function beginBundle(writer: ByteWriter, flags = 0): number {
  const mark = beginFrame(writer, PEER_TYPES.raft, flags, 0);
  writer.beginArray();
  return mark;
}

export function endBundle(writer: ByteWriter, mark: number): void {
  writer.endArray();
  endFrame(writer, mark);
}

/** Adds a message to the frame that `beginBundle` began. The entries' indices must follow `prevIndex` without a gap. */
export function appendMessage(writer: ByteWriter, group: GroupId, message: GroupMessage): void {
  switch (message.kind) {
    case "vote":
      begin(writer, 7, group, message);
      writer.bool(message.preVote);
      writer.uint(message.lastIndex);
      writer.uint(message.lastTerm);
      writer.bool(message.transfer);
      return;
    case "voteReply":
      begin(writer, 5, group, message);
      writer.bool(message.preVote);
      writer.bool(message.granted);
      return;
    case "append":
      begin(writer, 7, group, message);
      writer.uint(message.prevIndex);
      writer.uint(message.prevTerm);
      writer.uint(message.commit);
      encodeEntries(writer, message);
      return;
    case "appendReply":
      begin(writer, 7, group, message);
      writer.bool(message.accepted);
      writer.uint(message.index);
      writer.uint(message.hintIndex);
      writer.uint(message.hintTerm);
      return;
    case "heartbeat":
      begin(writer, 6, group, message);
      writer.uint(message.commit);
      writer.uint(message.readRound);
      writer.bool(message.quiesce);
      return;
    case "heartbeatReply":
      begin(writer, 4, group, message);
      writer.uint(message.readRound);
      return;
    case "timeoutNow":
      begin(writer, 3, group, message);
      return;
    case "snapshotPart":
      begin(writer, 8, group, message);
      writer.uint(message.stream);
      writer.uint(message.part);
      writer.bool(message.last);
      writer.uint(message.digest);
      writer.bytes(message.data);
      return;
    case "snapshotAck":
      begin(writer, 6, group, message);
      writer.uint(message.stream);
      writer.uint(message.next);
      writer.bool(message.refused);
      return;
    default:
      unreachable(message, "cannot encode a Raft message");
  }
}

/**
 * Hands each message of a bundle to `visit`, in order. Entry data are views of the frame's body. Throws `ProtocolError`
 * (BAD_REQUEST) at the first message that is malformed; those before it have been visited.
 */
export function decodeBundle(
  frame: Frame,
  from: NodeId,
  to: NodeId,
  visit: (group: GroupId, message: GroupMessage) => void,
): void {
  const reader = new CborReader(frame.body);
  if (reader.arrayHeader() !== -1) reader.refuse("a bundle with a length");
  while (!reader.atBreak()) {
    const items = reader.arrayHeader();
    const group = reader.uint();
    if (group > SHARDS_MAX) reader.refuse(`the group ${group}`);
    visit(groupId(group), decodeMessage(reader, items, from, to));
  }
  reader.expectEnd();
}

function decodeMessage(reader: CborReader, items: number, from: NodeId, to: NodeId): GroupMessage {
  const type = reader.uint();
  const messageTerm = readTerm(reader);
  switch (type) {
    case MESSAGE_TYPES.vote: {
      expect(reader, items, 7);
      const preVote = reader.bool();
      const lastIndex = readIndex(reader);
      const lastTerm = readTerm(reader);
      const transfer = reader.bool();
      return { kind: "vote", from, to, term: messageTerm, preVote, lastIndex, lastTerm, transfer };
    }
    case MESSAGE_TYPES.voteReply: {
      expect(reader, items, 5);
      const preVote = reader.bool();
      return { kind: "voteReply", from, to, term: messageTerm, preVote, granted: reader.bool() };
    }
    case MESSAGE_TYPES.append: {
      expect(reader, items, 7);
      const prevIndex = readIndex(reader);
      const prevTerm = readTerm(reader);
      const commit = readIndex(reader);
      const entries = decodeEntries(reader, prevIndex);
      return { kind: "append", from, to, term: messageTerm, prevIndex, prevTerm, commit, entries };
    }
    case MESSAGE_TYPES.appendReply: {
      expect(reader, items, 7);
      const accepted = reader.bool();
      const index = readIndex(reader);
      const hintIndex = readIndex(reader);
      const hintTerm = readTerm(reader);
      return { kind: "appendReply", from, to, term: messageTerm, accepted, index, hintIndex, hintTerm };
    }
    case MESSAGE_TYPES.heartbeat: {
      expect(reader, items, 6);
      const commit = readIndex(reader);
      const readRound = reader.uint();
      return { kind: "heartbeat", from, to, term: messageTerm, commit, readRound, quiesce: reader.bool() };
    }
    case MESSAGE_TYPES.heartbeatReply:
      expect(reader, items, 4);
      return { kind: "heartbeatReply", from, to, term: messageTerm, readRound: reader.uint() };
    case MESSAGE_TYPES.timeoutNow:
      expect(reader, items, 3);
      return { kind: "timeoutNow", from, to, term: messageTerm };
    case MESSAGE_TYPES.snapshotPart: {
      expect(reader, items, 8);
      const [stream, part, last] = [reader.uint(), reader.uint(), reader.bool()];
      const [digest, data] = [reader.uint(), reader.bytes()];
      return { kind: "snapshotPart", from, to, term: messageTerm, stream, part, last, digest, data };
    }
    case MESSAGE_TYPES.snapshotAck: {
      expect(reader, items, 6);
      const [stream, next, refused] = [reader.uint(), reader.uint(), reader.bool()];
      return { kind: "snapshotAck", from, to, term: messageTerm, stream, next, refused };
    }
    default:
      return reader.refuse(`the Raft message type ${type}`);
  }
}

function begin(writer: ByteWriter, items: number, group: GroupId, message: GroupMessage): void {
  writer.arrayHeader(items);
  writer.uint(group);
  writer.uint(MESSAGE_TYPES[message.kind]);
  writer.uint(message.term);
}

function encodeEntries(writer: ByteWriter, { entries }: AppendRequest): void {
  writer.arrayHeader(entries.length * 3);
  for (const entry of entries) {
    writer.uint(entry.term);
    writer.uint(ENTRY_KINDS.indexOf(entry.kind));
    writer.bytes(entry.data);
  }
}

function decodeEntries(reader: CborReader, prevIndex: LogIndex): Entry[] {
  const items = reader.arrayHeader();
  if (items < 0 || items % 3 !== 0) reader.refuse(`${items} items of log entries`);
  if (prevIndex > Number.MAX_SAFE_INTEGER - items) reader.refuse(`log entries after index ${prevIndex}`);
  const entries: Entry[] = [];
  for (let i = 0; i < items / 3; i++) {
    const entryTerm = readTerm(reader);
    const number = reader.uint();
    const kind = ENTRY_KINDS[number] ?? reader.refuse(`the entry kind ${number}`);
    const data = reader.bytes();
    if (kind === "config") decodeConfiguration(data);
    entries.push({ index: indexPlus(prevIndex, i + 1), term: entryTerm, kind, data });
  }
  return entries;
}

function expect(reader: CborReader, items: number, wanted: number): void {
  if (items !== wanted) reader.refuse(`a Raft message of ${items} items instead of ${wanted}`);
}

const readTerm = (reader: CborReader): Term => term(reader.uint());
const readIndex = (reader: CborReader): LogIndex => logIndex(reader.uint());
