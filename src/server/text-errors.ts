/**
 * Errors of the node in the words of the text mode. Clients look at the first word:
 *
 * | error | first word | why this one |
 * |---|---|---|
 * | NOT_LEADER, UNAVAILABLE, SHUTTING_DOWN | CLUSTERDOWN | Redis Cluster's "no node serves this slot now": nothing was done |
 * | TIMEOUT | TIMEOUT | Redis has no such error: the write may have happened or may still happen |
 * | OVERLOADED | TRYAGAIN | Redis Cluster's "not now": nothing was done, and clients retry it |
 * | READ_ONLY | MISCONF | what Redis answers to writes when its disk is full |
 * | CROSS_SHARD | CROSSSLOT | the same thing |
 * | NOT_AN_INTEGER | ERR | Redis' own sentences |
 * | all others | ERR | |
 */
import type { ErrorName } from "../../protocol/errors.ts";
import type { ClientResponse } from "../../protocol/messages.ts";

const FIRST_WORDS: Partial<Record<ErrorName, string>> = {
  NOT_LEADER: "CLUSTERDOWN",
  UNAVAILABLE: "CLUSTERDOWN",
  SHUTTING_DOWN: "CLUSTERDOWN",
  TIMEOUT: "TIMEOUT",
  OVERLOADED: "TRYAGAIN",
  READ_ONLY: "MISCONF",
};

export const NOT_AN_INTEGER = "ERR value is not an integer or out of range";
/** To what needs the topology, while there is none. */
export const STARTING = "CLUSTERDOWN this node is starting: it knows nothing of the cluster yet";
export const SYNTAX_ERROR = "ERR syntax error";
export const CROSS_SLOT = "CROSSSLOT Keys in request don't hash to the same slot";
const OVERFLOW = "ERR increment or decrement would overflow";

/** The error line, without its `-`, for a response that is an error, or that its command did not expect. */
export function errorText(response: ClientResponse): string {
  if (response.kind !== "error") return `ERR the node answered with an unexpected ${response.kind}`;
  const { error, message } = response;
  if (error === "NOT_AN_INTEGER") return message.includes("overflow") ? OVERFLOW : NOT_AN_INTEGER;
  if (error === "CROSS_SHARD") return CROSS_SLOT;
  return `${FIRST_WORDS[error] ?? "ERR"} ${message}`;
}

/** For an option or a feature of Redis that is not there: said, never silently ignored. */
export function notSupported(what: string): string {
  return `ERR ${what} is not supported`;
}
