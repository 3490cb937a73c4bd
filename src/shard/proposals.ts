import { errorResponse } from "../../protocol/errors.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import type { LogIndex, Term } from "../../protocol/ids.ts";
import { INDEX_ZERO, TERM_ZERO } from "../../protocol/ids.ts";
import type { ClientResponse, ErrorResponse } from "../../protocol/messages.ts";
import type { RequestStats } from "./request-stats.ts";
import type { AnswerReceiver } from "./state-machine.ts";

/** The requests behind one entry that this node proposed, in the order of its commands. */
export class Proposal implements AnswerReceiver {
  index: LogIndex = INDEX_ZERO;
  term: Term = TERM_ZERO;
  /** When the first of the requests came. */
  readonly startedMs: number;
  readonly #stats: RequestStats;
  readonly #sinks: ReplySink[] = [];
  readonly #ids: number[] = [];
  #answered = 0;
  #latencyMs = 0;

  constructor(stats: RequestStats, nowMs: number) {
    this.#stats = stats;
    this.startedMs = nowMs;
  }

  get count(): number {
    return this.#sinks.length;
  }

  add(sink: ReplySink, requestId: number): void {
    this.#sinks.push(sink);
    this.#ids.push(requestId);
  }

  /** The entry is being applied: answers follow. */
  beginAnswers(nowMs: number): void {
    this.#latencyMs = nowMs - this.startedMs;
  }

  answer(response: ClientResponse): void {
    const at = this.#answered++;
    if (response.kind === "error") this.#stats.errors++;
    this.#stats.write(this.#latencyMs);
    this.#sinks[at]!.reply(this.#ids[at]!, response);
  }

  /** Answers all requests with one error. */
  fail(response: ErrorResponse): void {
    this.#stats.errors += this.#sinks.length;
    for (const [at, sink] of this.#sinks.entries()) sink.reply(this.#ids[at]!, response);
  }
}

/** The proposals of a shard that are in the log and not applied yet, by index. */
export class ProposalQueue {
  #queue: Proposal[] = [];
  #head = 0;

  /** Requests that wait. */
  waiting = 0;

  push(proposal: Proposal): void {
    this.#queue.push(proposal);
    this.waiting += proposal.count;
  }

  /**
   * The proposal whose entry is applied now, if the entry is this node's. An entry of a later term means that every
   * proposal of an earlier one that is left was overwritten and never happens: terms never go back along a log. There may
   * be several, and proposals of this node's next term of office behind them, at the same indexes.
   */
  applied(index: LogIndex, entryTerm: Term): Proposal | undefined {
    for (;;) {
      const first = this.#queue[this.#head];
      if (first === undefined || first.term > entryTerm) return undefined;
      if (first.term === entryTerm) {
        if (first.index !== index) return undefined;
        this.#shift();
        return first;
      }
      this.#shift();
      first.fail(
        errorResponse(
          "NOT_LEADER",
          "another leader took over before this write was replicated; it did not happen",
        ),
      );
    }
  }

  /** Gives up waiting for what was proposed before `startedBeforeMs`: it may still happen. */
  expire(startedBeforeMs: number): void {
    for (;;) {
      const first = this.#queue[this.#head];
      if (first === undefined || first.startedMs >= startedBeforeMs) return;
      this.#shift();
      first.fail(
        errorResponse(
          "TIMEOUT",
          "no majority confirmed this write in time; it may have happened or may still happen",
        ),
      );
    }
  }

  #shift(): void {
    this.waiting -= this.#queue[this.#head]!.count;
    this.#head++;
    if (this.#head > 64 && this.#head * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
  }
}
