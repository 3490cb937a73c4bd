import { decodeConfiguration } from "../../protocol/configuration.ts";
import type { LogIndex, Term } from "../../protocol/ids.ts";
import type { Entry } from "../../protocol/peer-messages.ts";
import { broken } from "../lib/assert.ts";
import type { Membership } from "../raft/configuration.ts";
import type { Proposal } from "./proposals.ts";
import { encodeMeta, type ShardMeta } from "./shard-meta.ts";
import type { ShardParts } from "./shard-parts.ts";
import type { SnapshotHead } from "./snapshot-format.ts";

type Parts = Pick<ShardParts, "group" | "clock" | "buffers" | "machine" | "space">;

/** What a replica is by the entries that it applied: its state machine, and what the group is beside it. */
export class AppliedState {
  readonly #parts: Parts;
  #index: LogIndex;
  #logTimeMs: number;
  #floor: LogIndex;
  #membership: Membership;
  /** Where the log began when the last snapshot took its place. */
  #base: ShardMeta["base"];

  /** As the engine has it; the machine gets its dump back here. */
  constructor(parts: Parts, meta: ShardMeta) {
    this.#parts = parts;
    this.#index = meta.applied;
    this.#logTimeMs = meta.logTimeMs;
    this.#floor = meta.floor;
    this.#membership = meta.membership;
    this.#base = meta.base;
    if (meta.dump !== null) parts.machine.restore(meta.dump);
  }

  /** The last entry that was applied. */
  get index(): LogIndex {
    return this.#index;
  }

  /** The latest time of an applied entry, in milliseconds since the epoch. */
  get logTimeMs(): number {
    return this.#logTimeMs;
  }

  /** Whether there are keys that the log's time has yet to expire. */
  get mayExpire(): boolean {
    return this.#parts.machine.horizonMs > this.#logTimeMs;
  }

  /** The highest floor that an applied entry told: all members have the log up to here. */
  get floor(): LogIndex {
    return this.#floor;
  }

  /** The members as of what is applied. */
  get membership(): Membership {
    return this.#membership;
  }

  /** Applies the next entry. `proposal`: who waits for its answers. */
  apply(entry: Entry, proposal: Proposal | undefined): void {
    const { group, clock, buffers, machine } = this.#parts;
    if (entry.index !== this.#index + 1)
      broken(`group ${group}: entry ${entry.index} follows ${this.#index}`);
    if (entry.kind === "commands") {
      const { reader } = buffers;
      reader.open(entry.data);
      // A new leader's clock may be behind the old one's, whose last entries it had not applied when it gave out times.
      this.#logTimeMs = Math.max(this.#logTimeMs, reader.timeMs);
      reader.timeMs = this.#logTimeMs;
      if (reader.floor > this.#floor) this.#floor = reader.floor;
      proposal?.beginAnswers(clock.nowMs());
      machine.apply(reader, proposal);
    } else if (entry.kind === "config") {
      this.#membership = { index: entry.index, configuration: decodeConfiguration(entry.data) };
    }
    this.#index = entry.index;
  }

  /** Becomes what the snapshot is, whose data have taken their place. */
  install(head: SnapshotHead): void {
    this.#index = head.index;
    this.#logTimeMs = Math.max(this.#logTimeMs, head.logTimeMs);
    this.#floor = head.floor;
    this.#membership = head.membership;
    this.#base = { index: head.index, term: head.term };
    this.#parts.machine.restore(head.dump);
  }

  /** What a snapshot of this state says before its data. `term`: that of the entry at `index`. */
  snapshotHead(term: Term): SnapshotHead {
    return {
      ...{ index: this.#index, term, membership: this.#membership },
      ...{ logTimeMs: this.#logTimeMs, floor: this.#floor, dump: this.#parts.machine.dump() },
    };
  }

  /** What has to be in the engine together with the data. Borrowed until the next such call. */
  meta(): Uint8Array {
    return encodeMeta({
      applied: this.#index,
      logTimeMs: this.#logTimeMs,
      floor: this.#floor,
      dump: this.#parts.machine.dump(),
      half: this.#parts.space?.half ?? 0,
      membership: this.#membership,
      base: this.#base,
    });
  }
}
