/**
 * What the author of a client needs, in one place; `README.md` says what it all means. Codecs are pure functions and
 * small classes over byte arrays: they do no I/O and know nothing of sockets.
 */
export { ByteWriter, CborReader } from "./cbor.ts";
export {
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
  REQUEST_TYPES,
  RESPONSE_TYPES,
} from "./client.ts";
export { ERRORS, type ErrorName, errorName, ProtocolError } from "./errors.ts";
export { beginFrame, endFrame, FLAG_FORWARDED, type Frame, FrameReader } from "./frame.ts";
export { isNodeId, type NodeId, nodeId, type ShardId, shardId } from "./ids.ts";
export * from "./limits.ts";
export * from "./messages.ts";
export {
  chooseVersion,
  encodePreamble,
  encodePreambleReply,
  PROTOCOL_VERSION,
  type Preamble,
  type PreambleReply,
  type PreambleRole,
  parsePreamble,
  parsePreambleReply,
} from "./preamble.ts";
export { shardOfSlot, slotOf } from "./slots.ts";
