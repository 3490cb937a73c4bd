/**
 * What comes before the data of a snapshot: up to where the group is applied in it, who its members are, sessions and the
 * like. It takes the place of what a replica is, so nothing of it is believed before all of it was looked at.
 */
import { CONFIGURATION_NODES_MAX } from "../../protocol/configuration.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { type LogIndex, logIndex, type NodeId, type Term, term } from "../../protocol/ids.ts";
import { decodePlain, encodePlain } from "../../protocol/plain.ts";
import { list, node, type Shape, whole } from "../../protocol/shape.ts";
import type { Membership } from "../raft/configuration.ts";
import { type PlainMembership, plainMembership } from "./shard-meta.ts";

/** Longest head. A group's sessions are most of it, and are bounded so that they fit (`sessions.ts`). */
export const HEAD_BYTES_MAX = 32 * 1024 * 1024;

export interface SnapshotHead {
  /** The last entry whose effects the snapshot has, and its term. */
  readonly index: LogIndex;
  readonly term: Term;
  readonly membership: Membership;
  readonly logTimeMs: number;
  readonly floor: LogIndex;
  /** The state machine's dump; `null` if it never had one. */
  readonly dump: unknown;
}

type PlainHead = [
  index: number,
  term: number,
  ...members: PlainMembership,
  logTimeMs: number,
  floor: number,
  dump: unknown,
];
const FIELDS = 9;

/** The head, owned by the caller. */
export function encodeHead(head: SnapshotHead): Uint8Array {
  const plain: PlainHead = [
    ...([head.index, head.term] as const),
    ...plainMembership(head.membership),
    ...([head.logTimeMs, head.floor, head.dump] as const),
  ];
  return encodePlain(plain).slice();
}

/**
 * The head that `bytes` are, of a leader of `leaderTerm`. Throws `ProtocolError` (BAD_REQUEST) that says what can't be.
 * `checkDump` does the same for the dump.
 */
export function decodeHead(
  bytes: Uint8Array,
  leaderTerm: Term,
  checkDump: (dump: unknown) => void,
): SnapshotHead {
  const plain = decodePlain(bytes);
  if (!Array.isArray(plain) || plain.length !== FIELDS) {
    throw new ProtocolError("BAD_REQUEST", `the head of a snapshot is no array of ${FIELDS} items`);
  }
  const index = whole(1, Number.MAX_SAFE_INTEGER)(plain[0], "index");
  const upToIndex = whole(0, index);
  const membership = {
    index: logIndex(upToIndex(plain[2], "members' index")),
    configuration: {
      voters: members(plain[3], "voters"),
      outgoing: members(plain[4], "outgoing"),
      learners: members(plain[5], "learners"),
    },
  };
  if (membership.configuration.voters.length === 0) {
    throw new ProtocolError("BAD_REQUEST", "the head of a snapshot names no voters");
  }
  const head = {
    index: logIndex(index),
    term: term(whole(1, leaderTerm)(plain[1], "term")),
    membership,
    logTimeMs: time(plain[6], "time"),
    floor: logIndex(upToIndex(plain[7], "floor")),
    dump: plain[8] as unknown,
  };
  if (head.dump !== null) checkDump(head.dump);
  return head;
}

/** Members of one kind: sorted, as they are everywhere, each once. */
const members: Shape<readonly NodeId[]> = (value, path) => {
  const nodes = list(node)(value, path);
  if (nodes.length > CONFIGURATION_NODES_MAX || nodes.some((id, at) => at > 0 && nodes[at - 1]! >= id)) {
    throw new ProtocolError(
      "BAD_REQUEST",
      `${path}: more than ${CONFIGURATION_NODES_MAX} members, or not sorted`,
    );
  }
  return nodes;
};

const time: Shape<number> = (value, path) => {
  if (typeof value === "number" && value >= 0 && value <= Number.MAX_SAFE_INTEGER) return value;
  throw new ProtocolError("BAD_REQUEST", `${path}: ${value} is no time`);
};
