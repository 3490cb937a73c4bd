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

/** Linearizable reads of a shard on their way: gathered, then in a round that waits for a quorum, then for applying. */
export class ReadQueue {
  #gathered: WaitingRead[] = [];
  #rounds: Round[] = [];
  /** Reads that were granted, and wait for an entry that moves the log's time. By index. */
  #late: ReadyReads[] = [];

  get hasGathered(): boolean {
    return this.#gathered.length > 0;
  }

  /** Reads that wait. */
  get waiting(): number {
    const rounds = this.#rounds.reduce((sum, round) => sum + round.reads.length, this.#gathered.length);
    return this.#late.reduce((sum, late) => sum + late.reads.length, rounds);
  }

  add(read: WaitingRead): void {
    this.#gathered.push(read);
  }

  /** What was gathered waits for read round `round` from now on. */
  submitted(round: number): void {
    const last = this.#rounds.at(-1);
    if (last?.round === round) last.reads.push(...this.#gathered);
    else this.#rounds.push({ round, reads: this.#gathered, index: undefined });
    this.#gathered = [];
  }

  /** This node is not the leader: what was gathered is answered so. */
  refuseGathered(response: ErrorResponse): number {
    const refused = this.#gathered;
    this.#gathered = [];
    for (const read of refused) read.sink.reply(read.requestId, response);
    return refused.length;
  }

  /** Rounds up to `round` are confirmed: they may be served once `index` is applied. */
  granted(round: number, index: LogIndex): void {
    for (const waiting of this.#rounds) {
      if (waiting.round > round) break;
      waiting.index ??= index;
    }
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
    const first = this.#rounds[0];
    if (first?.index === undefined || first.index > applied) return undefined;
    this.#rounds.shift();
    return { index: first.index, reads: first.reads, hasWaited: false };
  }

  #expireLate(startedBeforeMs: number): number {
    if (this.#late.length === 0) return 0;
    const isOver = ({ reads }: ReadyReads) => reads[0]!.startedMs < startedBeforeMs;
    const over = this.#late.filter(isOver);
    this.#late = this.#late.filter((late) => !isOver(late));
    let count = 0;
    for (const { reads } of over) {
      count += reads.length;
      for (const read of reads) read.sink.reply(read.requestId, NOT_IN_TIME);
    }
    return count;
  }

  #fail(which: (round: Round) => boolean, response: ErrorResponse): number {
    const failed = this.#rounds.filter(which);
    if (failed.length === 0) return 0;
    this.#rounds = this.#rounds.filter((round) => !which(round));
    let count = 0;
    for (const { reads } of failed) {
      count += reads.length;
      for (const read of reads) read.sink.reply(read.requestId, response);
    }
    return count;
  }
}
