/**
 * The members of a Raft group as the bytes of a log entry: a CBOR array of three arrays of node ids, `[voters, outgoing,
 * learners]`. What the lists mean stands with `Configuration`; `src/raft/configuration.ts` has the rules for changing them.
 */
import { ByteWriter, CborReader } from "./cbor.ts";
import { isNodeId, type NodeId } from "./ids.ts";
import type { Configuration } from "./peer-messages.ts";

/** Most ids in one of the lists. */
export const CONFIGURATION_NODES_MAX = 1024;

/** The bytes of `configuration`, the caller's to keep. */
export function encodeConfiguration(configuration: Configuration): Uint8Array {
  const writer = new ByteWriter();
  writer.arrayHeader(3);
  for (const nodes of [configuration.voters, configuration.outgoing, configuration.learners]) {
    writer.arrayHeader(nodes.length);
    for (const node of nodes) writer.text(node);
  }
  return writer.copy();
}

/** Throws `ProtocolError` (BAD_REQUEST) where `data` is none, or names a node twice in one list. */
export function decodeConfiguration(data: Uint8Array): Configuration {
  const reader = new CborReader(data);
  const lists = reader.arrayHeader();
  if (lists !== 3) reader.refuse(`${lists} lists of members`);
  const voters = readNodes(reader);
  const outgoing = readNodes(reader);
  const learners = readNodes(reader);
  reader.expectEnd();
  return { voters, outgoing, learners };
}

function readNodes(reader: CborReader): readonly NodeId[] {
  const count = reader.arrayHeader();
  if (count < 0 || count > CONFIGURATION_NODES_MAX) reader.refuse(`a list of ${count} members`);
  const nodes = new Set<NodeId>();
  for (let i = 0; i < count; i++) {
    const name = reader.text();
    if (!isNodeId(name)) reader.refuse("a member's name that is none");
    if (nodes.has(name)) reader.refuse(`${name} twice`);
    nodes.add(name);
  }
  return [...nodes];
}
