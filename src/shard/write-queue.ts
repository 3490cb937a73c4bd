import { errorResponse } from "../../protocol/errors.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import { INDEX_ZERO, type LogIndex, type Term } from "../../protocol/ids.ts";
import type { ErrorResponse, WriteRequest } from "../../protocol/messages.ts";
import type { RaftCore } from "../raft/types.ts";
import type { AppliedState } from "./applied-state.ts";
import { CommandBatch } from "./command-batch.ts";
import { EntryClock } from "./entry-clock.ts";
import { Proposal, ProposalQueue } from "./proposals.ts";
import type { ShardParts } from "./shard-parts.ts";

type Parts = Pick<ShardParts, "clock" | "buffers" | "stats" | "limits">;

/**
 * How far the log's time may be behind the leader's clock where nobody writes. While keys wait to expire: so long may a
 * stale read find one after its deadline. Else: so long may one idle group keep the engine from dropping what has expired
 * in others.
 */
const EXPIRY_STAMP_MS = 60_000;
const IDLE_STAMP_MS = 600_000;

/** The writes of a shard on their way: gathered for one entry, then in the log until that is applied. */
export class WriteQueue {
  readonly #parts: Parts;
  readonly #core: RaftCore;
  readonly #state: Pick<AppliedState, "logTimeMs" | "mayExpire">;
  readonly #batch: CommandBatch;
  #gathering: Proposal | undefined;
  readonly #proposals = new ProposalQueue();
  readonly #clock: EntryClock;
  /** The latest time that this node gave to an entry as leader. */
  #stampedMs = 0;
  /** What the leader last knew every member to have: told to all in the next entry. */
  floor: LogIndex = INDEX_ZERO;

  constructor(parts: Parts, core: RaftCore, state: Pick<AppliedState, "logTimeMs" | "mayExpire">) {
    this.#parts = parts;
    this.#core = core;
    this.#state = state;
    this.#batch = new CommandBatch(parts.buffers);
    this.#clock = new EntryClock(parts.clock);
  }

  /** The time that an entry would get now, in milliseconds since the epoch. */
  get timeMs(): number {
    return this.#clock.after(Math.max(this.#stampedMs, this.#state.logTimeMs));
  }

  /** Whether the log's time is so far behind that an entry should move it though nobody writes. */
  get isTimeDue(): boolean {
    const behindMs = this.timeMs - this.#state.logTimeMs;
    return behindMs >= (this.#state.mayExpire ? EXPIRY_STAMP_MS : IDLE_STAMP_MS);
  }

  /** Whether writes are gathered that were not proposed yet. */
  get hasGathered(): boolean {
    return this.#gathering !== undefined;
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#proposals.waiting + (this.#gathering?.count ?? 0);
  }

  /** Whether so much is gathered that it should be proposed at once. */
  get isFull(): boolean {
    return this.#batch.byteLength >= this.#parts.limits.entryBytesMax;
  }

  add(request: WriteRequest, sink: ReplySink, requestId: number, nowMs: number): void {
    this.#batch.add(request);
    if (this.#gathering === undefined) this.#gathering = new Proposal(this.#parts.stats, nowMs);
    this.#gathering.add(sink, requestId);
  }

  /** Proposes what was gathered; if this node does not lead, it is answered so. */
  propose(): void {
    const proposal = this.#gathering;
    if (proposal === undefined) return;
    this.#gathering = undefined;
    const index = this.#core.propose(this.#takeBatch());
    if (index === undefined) {
      proposal.fail(notLeader());
      return;
    }
    proposal.index = index;
    proposal.term = this.#core.term;
    this.#proposals.push(proposal);
  }

  /**
   * Proposes an entry of its own: `command`, or none, where only the header matters. Nothing may be gathered. The entry's
   * index; `undefined` if this node does not lead.
   */
  proposeAlone(command: Uint8Array | undefined): LogIndex | undefined {
    if (command !== undefined) this.#batch.addRaw(command);
    return this.#core.propose(this.#takeBatch());
  }

  /** The entry is applied now: who waits for it. */
  applied(index: LogIndex, term: Term): Proposal | undefined {
    return this.#proposals.applied(index, term);
  }

  /** Gives up on what was proposed before `startedBeforeMs`: it may still happen. */
  expireProposed(startedBeforeMs: number): void {
    this.#proposals.expire(startedBeforeMs);
  }

  /** Gives up on writes that the log has not taken for so long: a full or a hanging disk. */
  expireGathered(startedBeforeMs: number): void {
    const proposal = this.#gathering;
    if (proposal === undefined || proposal.startedMs >= startedBeforeMs) return;
    this.#gathering = undefined;
    this.#batch.clear();
    proposal.fail(
      errorResponse("UNAVAILABLE", "this node's disk did not take the write in time; nothing was done"),
    );
  }

  #takeBatch(): Uint8Array {
    this.#stampedMs = this.timeMs;
    return this.#batch.take(this.#stampedMs, this.floor);
  }
}

export function notLeader(): ErrorResponse {
  return errorResponse("NOT_LEADER", "this node does not lead the shard any more; nothing was done");
}
