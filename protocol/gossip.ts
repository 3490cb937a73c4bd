/**
 * What nodes tell each other about who is there, as frames. `README.md` has every body as a table. A body is an array of
 * definite length, so that a part of a sync may be as small as what is in it; facts are flat, their number follows from
 * the length of their array.
 */
import { unreachable } from "../src/lib/assert.ts";
import { type ByteWriter, CborReader } from "./cbor.ts";
import { ProtocolError } from "./errors.ts";
import { beginFrame, endFrame, type Frame } from "./frame.ts";
import {
  DISK_STATES,
  type GossipFacts,
  type GossipMessage,
  type LeaderHint,
  type LoadFact,
  MEMBER_STATES,
  type MemberFact,
} from "./gossip-messages.ts";
import { isNodeId, type NodeId, shardId, term } from "./ids.ts";
import { GOSSIP_BODY_BYTES_MAX, GOSSIP_SUSPECTORS_MAX, SHARDS_MAX } from "./limits.ts";
import { PEER_TYPES } from "./peer.ts";

const MESSAGE_KINDS = { ping: 1, ack: 2, nack: 3, pingRequest: 4, sync: 5 } as const satisfies Record<
  GossipMessage["kind"],
  number
>;
const U32_MAX = 0xffff_ffff;
const VERSION_CHARACTERS_MAX = 64;
const VERSION = /^[\x20-\x7e]*$/;

const MEMBER_ITEMS = 4;
const LOAD_ITEMS = 10;
const HINT_ITEMS = 3;

/** Writes a message as a frame. */
export function encodeGossip(writer: ByteWriter, message: GossipMessage): void {
  const mark = beginFrame(writer, PEER_TYPES.gossip, 0, 0);
  writer.arrayHeader(message.kind === "pingRequest" ? 7 : 6);
  writer.uint(MESSAGE_KINDS[message.kind]);
  writer.uint(message.incarnation);
  switch (message.kind) {
    case "ping":
    case "ack":
    case "nack":
      writer.uint(message.sequence);
      break;
    case "pingRequest":
      writer.uint(message.sequence);
      writer.text(message.target);
      break;
    case "sync":
      writer.bool(message.ask);
      break;
    default:
      unreachable(message, "cannot encode a gossip message");
  }
  encodeFacts(writer, message);
  endFrame(writer, mark);
}

/**
 * The message that a frame carries. Throws `ProtocolError` (BAD_REQUEST, TOO_LARGE). Every id in it is one, and every
 * number within its range; what they say may still be wrong.
 */
export function decodeGossip(frame: Frame, from: NodeId, to: NodeId): GossipMessage {
  const { body } = frame;
  if (body.length > GOSSIP_BODY_BYTES_MAX) {
    throw new ProtocolError(
      "TOO_LARGE",
      `a gossip message has ${body.length} bytes, at most ${GOSSIP_BODY_BYTES_MAX} are allowed`,
    );
  }
  const reader = new CborReader(body);
  const items = reader.arrayHeader();
  const number = reader.uint();
  const wanted = number === MESSAGE_KINDS.pingRequest ? 7 : 6;
  if (items !== wanted) reader.refuse(`a gossip message of ${items} items instead of ${wanted}`);
  const incarnation = readU32(reader);
  const message = readMessage(reader, number, { from, to, incarnation });
  reader.expectEnd();
  return message;
}

function readMessage(
  reader: CborReader,
  number: number,
  envelope: { readonly from: NodeId; readonly to: NodeId; readonly incarnation: number },
): GossipMessage {
  switch (number) {
    case MESSAGE_KINDS.ping:
    case MESSAGE_KINDS.ack:
    case MESSAGE_KINDS.nack: {
      const kind = number === MESSAGE_KINDS.ping ? "ping" : number === MESSAGE_KINDS.ack ? "ack" : "nack";
      const sequence = readU32(reader);
      return { kind, ...envelope, sequence, ...decodeFacts(reader) };
    }
    case MESSAGE_KINDS.pingRequest: {
      const [sequence, target] = [readU32(reader), readNode(reader)];
      return { kind: "pingRequest", ...envelope, sequence, target, ...decodeFacts(reader) };
    }
    case MESSAGE_KINDS.sync: {
      const ask = reader.bool();
      return { kind: "sync", ...envelope, ask, ...decodeFacts(reader) };
    }
    default:
      return reader.refuse(`the gossip message kind ${number}`);
  }
}

function encodeFacts(writer: ByteWriter, { members, loads, leaders }: GossipFacts): void {
  writer.arrayHeader(members.length * MEMBER_ITEMS);
  for (const { node, state, incarnation, suspectedBy } of members) {
    writer.text(node);
    writer.uint(MEMBER_STATES.indexOf(state));
    writer.uint(incarnation);
    writer.arrayHeader(suspectedBy.length);
    for (const suspector of suspectedBy) writer.text(suspector);
  }
  writer.arrayHeader(loads.length * LOAD_ITEMS);
  for (const { node, incarnation, version, load } of loads) {
    writer.text(node);
    writer.uint(incarnation);
    writer.uint(version);
    writer.uint(load.shards);
    writer.uint(load.leaders);
    writer.uint(load.dataBytes);
    writer.uint(load.requestsPerSecond);
    writer.uint(DISK_STATES.indexOf(load.disk));
    writer.uint(load.startedAtMs);
    writer.text(load.version);
  }
  writer.arrayHeader(leaders.length * HINT_ITEMS);
  for (const { shard, term, leader } of leaders) {
    writer.uint(shard);
    writer.uint(term);
    writer.text(leader);
  }
}

function decodeFacts(reader: CborReader): GossipFacts {
  const members = readAll(reader, MEMBER_ITEMS, "members", readMember);
  const loads = readAll(reader, LOAD_ITEMS, "loads", readLoad);
  return { members, loads, leaders: readAll(reader, HINT_ITEMS, "leaders", readHint) };
}

function readAll<T>(reader: CborReader, itemsEach: number, what: string, read: (from: CborReader) => T): T[] {
  const items = reader.arrayHeader();
  if (items < 0 || items % itemsEach !== 0) reader.refuse(`${items} items of ${what}`);
  const facts: T[] = [];
  for (let i = 0; i < items; i += itemsEach) facts.push(read(reader));
  return facts;
}

function readMember(reader: CborReader): MemberFact {
  const node = readNode(reader);
  const number = reader.uint();
  const state = MEMBER_STATES[number] ?? reader.refuse(`the member state ${number}`);
  const incarnation = readU32(reader);
  const count = reader.arrayHeader();
  if (count < 0 || count > (state === "suspect" ? GOSSIP_SUSPECTORS_MAX : 0)) {
    reader.refuse(`${count} suspectors of a member that is ${state}`);
  }
  const suspectedBy: NodeId[] = [];
  for (let i = 0; i < count; i++) suspectedBy.push(readNode(reader));
  return { node, state, incarnation, suspectedBy };
}

function readLoad(reader: CborReader): LoadFact {
  const node = readNode(reader);
  const [incarnation, version] = [readU32(reader), reader.uint()];
  const [shards, leaders] = [reader.uint(), reader.uint()];
  const [dataBytes, requestsPerSecond] = [reader.uint(), reader.uint()];
  const number = reader.uint();
  const disk = DISK_STATES[number] ?? reader.refuse(`the disk state ${number}`);
  const startedAtMs = reader.uint();
  const software = reader.text();
  if (software.length > VERSION_CHARACTERS_MAX || !VERSION.test(software)) {
    reader.refuse(`a version of ${software.length} characters that is none`);
  }
  const load = { shards, leaders, dataBytes, requestsPerSecond, disk, startedAtMs, version: software };
  return { node, incarnation, version, load };
}

function readHint(reader: CborReader): LeaderHint {
  const shard = reader.uint();
  if (shard >= SHARDS_MAX) reader.refuse(`the shard ${shard}`);
  return { shard: shardId(shard), term: term(reader.uint()), leader: readNode(reader) };
}

function readNode(reader: CborReader): NodeId {
  const text = reader.text();
  if (!isNodeId(text)) return reader.refuse(`${JSON.stringify(text.slice(0, 80))} instead of a node id`);
  return text;
}

function readU32(reader: CborReader): number {
  const value = reader.uint();
  if (value > U32_MAX) reader.refuse(`the number ${value} where one of 32 bits belongs`);
  return value;
}
