import { errorResponse } from "../../protocol/errors.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import type { LogIndex } from "../../protocol/ids.ts";
import type { ErrorResponse, ReadRequest } from "../../protocol/messages.ts";

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

/** Linearizable reads of a shard on their way: gathered, then in a round that waits for a quorum, then for applying. */
export class ReadQueue {
  #gathered: WaitingRead[] = [];
  #rounds: Round[] = [];

  get hasGathered(): boolean {
    return this.#gathered.length > 0;
  }

  /** Reads that wait. */
  get waiting(): number {
    return this.#rounds.reduce((sum, round) => sum + round.reads.length, this.#gathered.length);
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

  /** Gives up on rounds whose first read came before `startedBeforeMs`. Returns how many reads that were. */
  expire(startedBeforeMs: number): number {
    if (this.#rounds.length === 0 || this.#rounds[0]!.reads[0]!.startedMs >= startedBeforeMs) return 0;
    return this.#fail(
      (waiting) => waiting.reads[0]!.startedMs < startedBeforeMs,
      errorResponse("UNAVAILABLE", "no majority confirmed this read in time"),
    );
  }

  /** The reads of the next round that may be served with everything up to `applied` applied, or `undefined`. */
  takeReady(applied: LogIndex): readonly WaitingRead[] | undefined {
    const first = this.#rounds[0];
    if (first?.index === undefined || first.index > applied) return undefined;
    this.#rounds.shift();
    return first.reads;
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
