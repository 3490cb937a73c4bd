import { ERRORS, type ErrorName } from "../../protocol/errors.ts";
import type { ClientRequest } from "../../protocol/messages.ts";

/** What is known about a write that failed: it did not happen and will not, or it may have happened or may yet. */
export type Outcome = "notDone" | "unknown";

/**
 * Why a request failed. `code` is one of the protocol's errors; `retryable` says whether asking again, later, may
 * succeed; `outcome` says whether a write may have happened all the same (for reads it is always `notDone`). The
 * client has already retried whatever was safe to retry.
 */
export class FlotillaError extends Error {
  override readonly name = "FlotillaError";
  readonly code: ErrorName;
  readonly retryable: boolean;
  readonly outcome: Outcome;

  constructor(code: ErrorName, message: string, outcome: Outcome, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.retryable = ERRORS[code].retryable;
    this.outcome = outcome;
  }
}

/** The sentence part that says what happened to a write. */
export function outcomeInWords(outcome: Outcome): string {
  return outcome === "unknown" ? "it may have happened" : "nothing was changed";
}

/** What a request asks, in a few words for messages: `put of "user:1"`. */
export function describeRequest(request: ClientRequest): string {
  switch (request.kind) {
    case "put":
    case "putWith":
    case "expire":
    case "ttl":
    case "delete":
    case "increment":
    case "compareAndSet":
    case "get":
    case "explain":
    case "exists":
      return `${request.kind} of ${quoteKey(request.key)}`;
    case "batch":
      return `batch of ${request.entries.length} keys (first ${quoteKey(request.entries[0]?.key ?? new Uint8Array())})`;
    case "scan":
      return `scan from ${quoteKey(request.start)}`;
    case "openSession":
      return `opening a session on shard ${request.shard}`;
    case "openSnapshot":
      return `a snapshot of shard ${request.shard}`;
    case "closeSnapshot":
    case "ping":
    case "topology":
      return request.kind;
    case "status":
      return `status of the ${request.scope}`;
    case "changeMember":
      return `${request.action} of node ${request.node}`;
    case "changeReplica": {
      const where = request.shard === undefined ? "every shard" : `shard ${request.shard}`;
      return `${request.action} of ${request.node} in ${where}`;
    }
    case "join":
      return `joining of node ${request.node}`;
    case "rebalance":
      return request.dryRun ? "looking at what is to be moved" : request.kind;
    case "transferLeader":
      return `handing leadership to ${request.to}`;
    case "groupLog":
      return "reading a group's log";
    case "createKeyspace":
      return `creation of keyspace ${JSON.stringify(request.name)}`;
    case "dropKeyspace":
      return `drop of keyspace ${request.id}`;
    case "listKeyspaces":
      return "list of keyspaces";
  }
}

const SHOWN_BYTES_MAX = 48;

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const escaped = (character: string): string => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;

/** A key as text where it is text, byte by byte where it is not; what could disturb a line is escaped in both. */
function quoteKey(key: Uint8Array): string {
  const shown = key.subarray(0, SHOWN_BYTES_MAX);
  let text: string;
  try {
    text = strictUtf8.decode(shown).replace(/\p{Cc}/gu, escaped);
  } catch {
    text = Array.from(shown, (byte) => String.fromCharCode(byte))
      .join("")
      .replace(/[^ -~]/g, escaped);
  }
  return `"${text}${key.length > SHOWN_BYTES_MAX ? "..." : ""}"`;
}
