import { assert } from "../lib/assert.ts";

/** What one server and its peers may use up. All bounds are per node or per connection, as their comments say. */
export interface ServerLimits {
  /** Open connections of clients; one more is answered with an error and closed. Peers come in all the same. */
  readonly connectionsMax: number;
  /** Connections beyond that which may be open for a moment, until it is known whether they are peers. */
  readonly guestsMax: number;
  /** How long a new connection may take until its preamble (binary) or its first whole command (text) is there. */
  readonly handshakeMsMax: number;
  /** How long nothing more may come of a request that has begun to arrive; then the connection is cut. */
  readonly stalledRequestMsMax: number;
  /** Bytes of requests that have begun to arrive, of all clients; beyond it the connections with the most are cut. */
  readonly unfinishedBytesMax: number;
  /** Requests of one client connection that wait for their answers; beyond it nothing more is read from it. */
  readonly requestsInFlightMax: number;
  /** Bytes of answers that a client has not taken; beyond it nothing more is read from it. */
  readonly replyBytesPause: number;
  /** The same; beyond it the connection is cut. */
  readonly replyBytesMax: number;
  /** How long answers may wait without the client taking all of what was queued; then the connection is cut. */
  readonly unreadReplyMsMax: number;
  /** How long a stopping server waits for the answers that are under way, and after that for its peers to leave. */
  readonly stopMsMax: number;
  /** How often deadlines are looked at: they are kept to this precision. */
  readonly sweepMs: number;
  /**
   * Text mode: most bytes that a connection's replies over many keys (MGET, KEYS, SCANRANGE) gather before they are
   * written, together with what its client has not taken.
   */
  readonly gatherBytesMax: number;
  /** Text mode: how many places of unfinished SCANs a node remembers. */
  readonly scanCursorsMax: number;

  /** Bytes that wait for a peer to take them; beyond it Raft messages are dropped and forwarded requests refused. */
  readonly peerQueuedBytesMax: number;
  /** Bytes that may wait before a message of gossip on a connection; where more do, it is not sent over that one. */
  readonly gossipQueuedBytesMax: number;
  /** A frame of Raft messages is closed when it has grown to this. */
  readonly peerBundleBytes: number;
  /** Forwarded requests that wait for one peer's answers. */
  readonly peerForwardsMax: number;
  /** How long a forwarded request may take. */
  readonly forwardMsMax: number;
  /** From the start of connecting until both hellos are through. */
  readonly peerHandshakeMsMax: number;
  /** A peer that was silent for this long is pinged: one that somebody watches, since groups that it leads are asleep, and others. */
  readonly peerPingMs: number;
  readonly peerIdlePingMs: number;
  /** A peer that was silent for this long is given up, and its connection is made anew. */
  readonly peerSilentMsMax: number;
  /** The first wait before connecting again; it doubles up to the second. Each is jittered downwards by up to a half. */
  readonly reconnectMsMin: number;
  readonly reconnectMsMax: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULT_SERVER_LIMITS: ServerLimits = {
  connectionsMax: 10_000,
  guestsMax: 256,
  handshakeMsMax: 10_000,
  stalledRequestMsMax: 30_000,
  unfinishedBytesMax: 256 * MIB,
  requestsInFlightMax: 1024,
  replyBytesPause: 1 * MIB,
  replyBytesMax: 128 * MIB,
  unreadReplyMsMax: 30_000,
  stopMsMax: 3_000,
  sweepMs: 100,
  gatherBytesMax: 64 * MIB,
  scanCursorsMax: 16_384,

  peerQueuedBytesMax: 64 * MIB,
  gossipQueuedBytesMax: 256 * KIB,
  peerBundleBytes: 1 * MIB,
  peerForwardsMax: 65_536,
  forwardMsMax: 5_000,
  peerHandshakeMsMax: 2_000,
  peerPingMs: 100,
  peerIdlePingMs: 500,
  peerSilentMsMax: 2_000,
  reconnectMsMin: 50,
  reconnectMsMax: 1_000,
};

/** Asserts the relations between limits that the server relies on. */
export function assertServerLimits(limits: ServerLimits): void {
  assert(limits.connectionsMax >= 1, "connectionsMax must allow a connection");
  assert(limits.requestsInFlightMax >= 1, "requestsInFlightMax must allow a request");
  assert(limits.replyBytesPause <= limits.replyBytesMax, "reading must pause before a connection is cut");
  assert(limits.gatherBytesMax < limits.replyBytesMax, "gathered replies must not cut their connection");
  assert(
    limits.replyBytesPause <= limits.gatherBytesMax,
    "unread replies alone must not keep any from gathering",
  );
  assert(limits.sweepMs > 0, "deadlines must be looked at");
  assert(limits.peerPingMs <= limits.peerIdlePingMs, "who is watched must not be heard more seldom");
  assert(
    limits.peerIdlePingMs * 4 <= limits.peerSilentMsMax,
    "a peer must have most of the time that it may be silent for its answer to a ping",
  );
  assert(limits.peerBundleBytes <= limits.peerQueuedBytesMax, "a bundle must fit into a peer's queue");
  assert(limits.reconnectMsMin <= limits.reconnectMsMax, "the first wait must not be the longest");
}
