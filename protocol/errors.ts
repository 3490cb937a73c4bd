import type { ErrorResponse, LeaderHint } from "./messages.ts";

/**
 * The errors that travel. A number is never given a second meaning.
 *
 * `outcome` says what a client needs to know about a write: `notDone` (it did not happen and will not), or `unknown`
 * (it may have happened or may still happen). `retryable`: the same request may succeed if it is sent again, elsewhere
 * or later. A write with outcome `unknown` may be retried only with the same session number, which makes it happen once.
 */
export const ERRORS = {
  BAD_REQUEST: { code: 1, retryable: false, outcome: "notDone" },
  TOO_LARGE: { code: 2, retryable: false, outcome: "notDone" },
  /** This node does not lead the shard; the hint names who does, if it is known. */
  NOT_LEADER: { code: 3, retryable: true, outcome: "notDone" },
  /** The shard has no leader that this node knows of, or no majority can be reached. Nothing was done. */
  UNAVAILABLE: { code: 4, retryable: true, outcome: "notDone" },
  /** No answer in time, or leadership was lost on the way. */
  TIMEOUT: { code: 5, retryable: true, outcome: "unknown" },
  /** Too much work is waiting. Nothing was done. */
  OVERLOADED: { code: 6, retryable: true, outcome: "notDone" },
  NOT_AN_INTEGER: { code: 7, retryable: false, outcome: "notDone" },
  /** The session is not known (it expired): whether an earlier attempt happened can't be told any more. */
  SESSION_EXPIRED: { code: 8, retryable: false, outcome: "unknown" },
  /** The keys of an atomic batch lie in different shards. */
  CROSS_SHARD: { code: 9, retryable: false, outcome: "notDone" },
  SHUTTING_DOWN: { code: 10, retryable: true, outcome: "notDone" },
  /** A disk of the node is full: it serves reads only. */
  READ_ONLY: { code: 11, retryable: true, outcome: "notDone" },
  UNSUPPORTED_VERSION: { code: 12, retryable: false, outcome: "notDone" },
  WRONG_CLUSTER: { code: 13, retryable: false, outcome: "notDone" },
  /** The peer's data directory is not the one that the cluster knows under this node id. */
  WRONG_INCARNATION: { code: 14, retryable: false, outcome: "notDone" },
  BAD_FRAME: { code: 15, retryable: false, outcome: "notDone" },
  /** There is no keyspace of that number or name; it was dropped, perhaps. */
  NO_KEYSPACE: { code: 17, retryable: false, outcome: "notDone" },
  /** The node was removed from the cluster, for good. */
  REMOVED: { code: 18, retryable: false, outcome: "notDone" },
  /** The node keeps no such snapshot, or not any more. */
  SNAPSHOT_GONE: { code: 19, retryable: false, outcome: "notDone" },
  INTERNAL: { code: 16, retryable: false, outcome: "unknown" },
} as const satisfies Record<string, { code: number; retryable: boolean; outcome: "notDone" | "unknown" }>;

export type ErrorName = keyof typeof ERRORS;

const NAMES = new Map<number, ErrorName>(
  Object.entries(ERRORS).map(([name, { code }]) => [code, name as ErrorName]),
);

/** The name of an error number; an unknown one (from a newer server) reads as INTERNAL. */
export function errorName(code: number): ErrorName {
  return NAMES.get(code) ?? "INTERNAL";
}

/** An error as an answer. `leader`: with NOT_LEADER, who leads as far as is known. */
export function errorResponse(error: ErrorName, message: string, leader?: LeaderHint): ErrorResponse {
  return { kind: "error", error, message, leader };
}

/** The other side broke the protocol; the connection ends with this reason. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  readonly error: ErrorName;
  constructor(error: ErrorName, message: string) {
    super(message);
    this.error = error;
  }
}
