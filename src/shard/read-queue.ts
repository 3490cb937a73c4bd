import { errorResponse } from "../../protocol/errors.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import type { LogIndex } from "../../protocol/ids.ts";
import type { ErrorResponse, ReadRequest } from "../../protocol/messages.ts";

const NOT_IN_TIME = errorResponse("UNAVAILABLE", "no majority confirmed this read in time");

export interface WaitingRead {
  readonly request: ReadRequest;
  readonly sink: ReplySink;
  readonly requestId: number;
  readonly startedMs: number;
}

/** The reads of one read round (thesis §6.4), and from which applied index on they may be served. */
interface Round {
  readonly round: number;
  readonly reads: WaitingRead[];
  index: LogIndex | undefined;
}

/** Reads that may be served once `index` is applied. */
export interface ReadyReads {
  readonly index: LogIndex;
  readonly reads: readonly WaitingRead[];
  /** They have waited for the log's time already, which is to be enough for them. */
  readonly hasWaited: boolean;
}

/**
 * Linearizable reads of a shard on their way: gathered, then in a round that waits for a quorum, then for applying. Those
 * for which a lease is enough are gathered apart: their round may be confirmed before older ones are.
 */
export class ReadQueue {
  #gathered: WaitingRead[] = [];
  #gatheredForLease: WaitingRead[] = [];
  #rounds: Round[] = [];
  /** Reads that were granted, and wait for an entry that moves the log's time. By index. */
  #late: ReadyReads[] = [];

  get hasGathered(): boolean {
    return this.#gathered.length > 0 || this.#gatheredForLease.length > 0;
  }

  /** Reads that wait. */
  get waiting(): number {
    const gathered = this.#gathered.length + this.#gatheredForLease.length;
    const rounds = this.#rounds.reduce((sum, round) => sum + round.reads.length, gathered);
    return this.#late.reduce((sum, late) => sum + late.reads.length, rounds);
  }

  add(read: WaitingRead): void {
    if (read.request.consistency === "lease") this.#gatheredForLease.push(read);
    else this.#gathered.push(read);
  }

  /**
   * Has `open` open a read round for what was gathered, with a lease or without; it waits for that round from now on. Where
   * there is none because this node does not lead, the reads are answered with `refusal`: how many were.
   */
  submit(open: (byLease: boolean) => number | undefined, refusal: () => ErrorResponse): number {
    // Those first, for a round that is open can't be confirmed at once any more.
    const byLease = this.#gatheredForLease;
    const byQuorum = this.#gathered;
    let refused = 0;
    if (byLease.length > 0) {
      this.#gatheredForLease = [];
      refused += this.#wait(byLease, open(true), refusal);
    }
    if (byQuorum.length > 0) {
      this.#gathered = [];
      refused += this.#wait(byQuorum, open(false), refusal);
    }
    return refused;
  }

  #wait(reads: WaitingRead[], round: number | undefined, refusal: () => ErrorResponse): number {
    if (round === undefined) {
      return answerAll(reads, refusal());
    }
    const last = this.#rounds.at(-1);
    if (last?.round === round) last.reads.push(...reads);
    else this.#rounds.push({ round, reads, index: undefined });
    return 0;
  }

  /** A round is confirmed: its reads may be served once `index` is applied. */
  granted(round: number, index: LogIndex): void {
    for (const waiting of this.#rounds) if (waiting.round === round) waiting.index = index;
  }

  /** Rounds up to `round` that were not granted never will be. Returns how many reads that were. */
  lost(round: number): number {
    return this.#fail(
      (waiting) => waiting.round <= round && waiting.index === undefined,
      errorResponse("UNAVAILABLE", "leadership was lost before a majority confirmed this read"),
    );
  }

  /** Reads that were ready wait until `index` is applied. */
  wait(reads: readonly WaitingRead[], index: LogIndex): void {
    this.#late.push({ index, reads, hasWaited: true });
  }

  /** Gives up on rounds whose first read came before `startedBeforeMs`. Returns how many reads that were. */
  expire(startedBeforeMs: number): number {
    const late = this.#expireLate(startedBeforeMs);
    if (this.#rounds.length === 0 || this.#rounds[0]!.reads[0]!.startedMs >= startedBeforeMs) return late;
    return late + this.#fail((waiting) => waiting.reads[0]!.startedMs < startedBeforeMs, NOT_IN_TIME);
  }

  /** The next reads that may be served with everything up to `applied` applied, or `undefined`. */
  takeReady(applied: LogIndex): ReadyReads | undefined {
    if (this.#late.length > 0 && this.#late[0]!.index <= applied) return this.#late.shift();
    for (let at = 0; at < this.#rounds.length; at++) {
      const { index, reads } = this.#rounds[at]!;
      if (index === undefined || index > applied) continue;
      if (at === 0) this.#rounds.shift();
      else this.#rounds.splice(at, 1);
      return { index, reads, hasWaited: false };
    }
    return undefined;
  }

  #expireLate(startedBeforeMs: number): number {
    if (this.#late.length === 0) return 0;
    const isOver = ({ reads }: ReadyReads) => reads[0]!.startedMs < startedBeforeMs;
    const over = this.#late.filter(isOver);
    this.#late = this.#late.filter((late) => !isOver(late));
    let count = 0;
    for (const { reads } of over) count += answerAll(reads, NOT_IN_TIME);
    return count;
  }

  #fail(which: (round: Round) => boolean, response: ErrorResponse): number {
    const failed = this.#rounds.filter(which);
    if (failed.length === 0) return 0;
    this.#rounds = this.#rounds.filter((round) => !which(round));
    let count = 0;
    for (const { reads } of failed) count += answerAll(reads, response);
    return count;
  }
}

/** Returns how many they are. */
function answerAll(reads: readonly WaitingRead[], response: ErrorResponse): number {
  for (const { sink, requestId } of reads) sink.reply(requestId, response);
  return reads.length;
}
