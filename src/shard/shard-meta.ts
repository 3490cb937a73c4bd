/**
 * What the engine keeps of a group beside its data: how far the log is applied, and what that made of the group. It is
 * written with every table, so data and applied index are durable together.
 */
import {
  INDEX_ZERO,
  type LogIndex,
  logIndex,
  type NodeId,
  TERM_ZERO,
  type Term,
  term,
} from "../../protocol/ids.ts";
import type { Configuration } from "../../protocol/peer-messages.ts";
import { decodePlain, encodePlain } from "../../protocol/plain.ts";
import type { Membership } from "../raft/configuration.ts";
import type { Half } from "./engine-keys.ts";

export interface ShardMeta {
  readonly applied: LogIndex;
  /** The latest time of an applied entry, in milliseconds since the epoch. */
  readonly logTimeMs: number;
  /** What all members had in their logs, as an applied entry told. */
  readonly floor: LogIndex;
  /** What the state machine is beside the data; `null` for a new one. */
  readonly dump: unknown;
  /** Which half of the shard's space the data are in. */
  readonly half: Half;
  /** The members as of what is applied. */
  readonly membership: Membership;
  /** The last entry of the last snapshot that took the place of the log; 0 for none. */
  readonly base: { readonly index: LogIndex; readonly term: Term };
}

type Nodes = readonly NodeId[];
/** Members as the engine and snapshots have them. */
export type PlainMembership = [index: number, voters: Nodes, outgoing: Nodes, learners: Nodes];
type PlainMeta = [
  applied: number,
  logTimeMs: number,
  floor: number,
  dump: unknown,
  half: Half,
  members: PlainMembership,
  base: [index: number, term: number],
];

export function plainMembership({ index, configuration }: Membership): PlainMembership {
  return [index, configuration.voters, configuration.outgoing, configuration.learners];
}

/** Borrowed until the next call of `encodePlain`. */
export function encodeMeta(meta: ShardMeta): Uint8Array {
  const plain: PlainMeta = [
    ...([meta.applied, meta.logTimeMs, meta.floor, meta.dump, meta.half] as const),
    plainMembership(meta.membership),
    [meta.base.index, meta.base.term],
  ];
  return encodePlain(plain);
}

/** What the engine has, or of a new group what it begins with. */
export function decodeMeta(bytes: Uint8Array | undefined, founders: Configuration): ShardMeta {
  if (bytes === undefined) {
    return {
      ...{ applied: INDEX_ZERO, logTimeMs: 0, floor: INDEX_ZERO, dump: null, half: 0 },
      membership: { index: INDEX_ZERO, configuration: founders },
      base: { index: INDEX_ZERO, term: TERM_ZERO },
    };
  }
  const [applied, logTimeMs, floor, dump, half, members, base] = decodePlain(bytes) as PlainMeta;
  const [at, voters, outgoing, learners] = members;
  return {
    ...{ applied: logIndex(applied), logTimeMs, floor: logIndex(floor), dump, half },
    membership: { index: logIndex(at), configuration: { voters, outgoing, learners } },
    base: { index: logIndex(base[0]), term: term(base[1]) },
  };
}
