import type { ClientResponse } from "../../protocol/messages.ts";
import type { CommandBatchReader } from "./command-batch.ts";

/** Receives the answers to the commands of an entry, in order; `undefined` where nobody waits for them. */
export interface AnswerReceiver {
  answer(response: ClientResponse): void;
}

/**
 * What the entries of a group's log mean. Deterministic: the state is a function of the entries alone, the same on every
 * replica (no clock, no chance, no order of a hash table).
 */
export interface StateMachine {
  /** The latest deadline that any of its keys has got, in log time: from then on, time changes nothing any more. */
  readonly horizonMs: number;
  /** Applies the commands that the reader stands before: one entry's. */
  apply(commands: CommandBatchReader, receiver: AnswerReceiver | undefined): void;
  /** All state that is not in the engine's key space, as plain data for `restore`. */
  dump(): unknown;
  /** Throws `ProtocolError` (BAD_REQUEST) where `dump`, which another node sent, is none. */
  checkDump(dump: unknown): void;
  restore(dump: unknown): void;
}
