import type { ErrorName } from "../../protocol/errors.ts";
import { FlotillaError } from "../client/client.ts";

const READ_FIRST = "Read what is there before you write again.";
/** What to do about an error, where there is something to do. */
const ADVICE: Partial<Record<ErrorName, string>> = {
  UNAVAILABLE: "status shows which nodes run and which shards have a leader.",
  OVERLOADED: "Try again in a moment.",
  NOT_AN_INTEGER: "Only whole numbers of 64 bits can be added to.",
  SESSION_EXPIRED: READ_FIRST,
  CROSS_SHARD: "Give the keys a common {tag}, or leave out --atomic.",
  READ_ONLY: "Free space on the node's disk; reads work meanwhile.",
};

/** An error in a sentence, and what to do in another. Errors that are no `FlotillaError` are thrown on. */
export function failureText(error: unknown): string {
  if (!(error instanceof FlotillaError)) throw error;
  return `${error.message}. ${adviceOn(error)}`.trimEnd();
}

function adviceOn(error: FlotillaError): string {
  if (error.cause !== undefined && error.message.startsWith("cannot connect")) {
    return "Is a node running there? npm start runs a local cluster; --addr names another one.";
  }
  if (error.code === "TIMEOUT")
    return error.outcome === "unknown" ? READ_FIRST : "Try again; status shows how the nodes are.";
  return ADVICE[error.code] ?? "";
}

/** The same for programs. */
export function failureJson(error: unknown): unknown {
  if (!(error instanceof FlotillaError)) throw error;
  const { code, message, outcome, retryable } = error;
  return { error: { code, message, outcome, retryable } };
}
