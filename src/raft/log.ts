import {
  INDEX_ZERO,
  indexPlus,
  type LogIndex,
  logIndex,
  type NodeId,
  TERM_ZERO,
  type Term,
} from "../../protocol/ids.ts";
import type { AppendRequest, Entry } from "../../protocol/peer-messages.ts";
import { assert, broken } from "../lib/assert.ts";
import { ConfigurationHistory, type Membership } from "./configuration.ts";
import { NOTHING } from "./outbox.ts";
import type { Install, LogReader, ReceivedSnapshot } from "./types.ts";

/**
 * The log as Raft sees it: what the owner has been handed (read back through a `LogReader`), and after it the tail that
 * the next Output will carry. A tail that begins at or before the owner's last entry stands for a truncation there.
 *
 *     firstIndex ... delivered ≤ min(commit, persisted)   persisted < tail ... lastIndex
 *
 * A snapshot that is newer than the log replaces all of it (Raft §7): until the owner has been handed the `Install`, the
 * log that it still has counts for nothing.
 */
export class RaftLog {
  readonly #owner: LogReader;
  readonly #history: ConfigurationHistory;
  /** The owner's log, or what will be in its place once the owner has done what `#install` says. */
  #stored: LogReader;
  #install: Install | undefined;
  #tail: Entry[] = [];
  #tailBytes = 0;
  #last: LogIndex;
  #lastTerm: Term;
  #persisted: LogIndex;
  #commit: LogIndex;
  #delivered: LogIndex;

  /**
   * Everything that `stored` has is taken as durable. `commit` is what was known to be committed, at least; up to `applied`
   * entries need not be handed out again. `membership` is what holds at `applied`, or where the log begins.
   */
  constructor(stored: LogReader, membership: Membership, commit: LogIndex, applied: LogIndex = INDEX_ZERO) {
    assert(
      applied <= stored.lastIndex,
      `raft log: applied up to ${applied}, but the log ends at ${stored.lastIndex}`,
    );
    this.#owner = stored;
    this.#stored = stored;
    this.#history = new ConfigurationHistory(membership, stored.configurations());
    this.#last = stored.lastIndex;
    this.#lastTerm = stored.term(stored.lastIndex) ?? TERM_ZERO;
    this.#persisted = stored.lastIndex;
    // What was compacted was applied, and what was applied, committed. A commit index beyond the log lost its entries in the crash
    // that tore the log's end; they were not acknowledged by this node then, and will come again.
    this.#delivered = logIndex(Math.max(stored.firstIndex - 1, applied));
    this.#commit = logIndex(Math.max(this.#delivered, Math.min(commit, stored.lastIndex)));
    this.#history.committed(this.#commit);
  }

  /** The latest configuration in the log, committed or not: the one that holds (thesis §4.1). */
  get membership(): Membership {
    return this.#history.current;
  }

  /** Whether `node` votes in the latest configuration that is known to be committed, or in one behind it. */
  isVoterOfAny(node: NodeId): boolean {
    return this.#history.isVoterOfAny(node);
  }

  /** The first entry that is left. */
  get firstIndex(): LogIndex {
    return this.#stored.firstIndex;
  }

  get lastIndex(): LogIndex {
    return this.#last;
  }

  get lastTerm(): Term {
    return this.#lastTerm;
  }

  /** Everything up to here is known to be durable on this node. */
  get persisted(): LogIndex {
    return this.#persisted;
  }

  get commit(): LogIndex {
    return this.#commit;
  }

  /** The term of an entry, or of the place just before the first one that is left; `undefined` elsewhere. */
  term(index: LogIndex): Term | undefined {
    if (index > this.#last) return undefined;
    if (index === this.#last) return this.#lastTerm;
    const first = this.#tailFirst();
    return index >= first ? this.#tail[index - first]!.term : this.#stored.term(index);
  }

  /**
   * Entries [low, high), cut off before their data exceeds `bytesMax` but never empty for a range that isn't. The array
   * is borrowed and may be shared with an Output: nobody changes it.
   */
  entries(low: LogIndex, high: LogIndex, bytesMax: number): readonly Entry[] {
    const tail = this.#tail;
    const first = this.#tailFirst();
    if (low === first && high === this.#last + 1 && this.#tailBytes <= bytesMax) return tail;
    const found =
      low < first ? this.#stored.entries(low, logIndex(Math.min(high, first)), bytesMax) : ([] as Entry[]);
    let at = indexPlus(low, found.length);
    if (at < first || at >= high) return found;
    let bytes = 0;
    for (const entry of found) bytes += entry.data.length;
    for (; at < high; at = indexPlus(at, 1)) {
      const entry = tail[at - first]!;
      bytes += entry.data.length;
      if (bytes > bytesMax && found.length > 0) break;
      found.push(entry);
    }
    return found;
  }

  /** Appends a leader's own entry. `data` is owned by the log from now on. */
  append(term: Term, kind: Entry["kind"], data: Uint8Array): LogIndex {
    const index = indexPlus(this.#last, 1);
    this.#push({ index, term, kind, data });
    return index;
  }

  /** Whether a candidate's log holds everything that this one might have helped to commit (Raft §5.4.1). */
  isUpToDate(lastIndex: LogIndex, lastTerm: Term): boolean {
    return lastTerm > this.#lastTerm || (lastTerm === this.#lastTerm && lastIndex >= this.#last);
  }

  /**
   * A follower's side of an append from the leader of the current term (Raft §5.3, figure 2): the last index up to which
   * this log now equals the leader's, or `undefined` if `prevIndex` did not match. Entries are cut only where one differs
   * from the leader's: an append that arrives late and ends earlier than the log takes nothing away.
   */
  accept(request: AppendRequest): LogIndex | undefined {
    const { prevIndex, prevTerm, entries } = request;
    // What is committed equals the leader's log whatever the request says (leader completeness, §5.4).
    if (prevIndex >= this.#commit && this.term(prevIndex) !== prevTerm) return undefined;
    const end = indexPlus(prevIndex, entries.length);
    let at = Math.max(0, this.#stored.firstIndex - 1 - prevIndex);
    while (at < entries.length && this.term(indexPlus(prevIndex, at + 1)) === entries[at]!.term) at++;
    if (at < entries.length) this.#replaceFrom(entries, at, indexPlus(prevIndex, at + 1));
    const matched = logIndex(Math.max(end, this.#commit));
    this.commitTo(logIndex(Math.min(request.commit, end)));
    return matched;
  }

  /**
   * The last index up to `index` whose term is at most `maxTerm`: between two logs, one of which has `maxTerm` at
   * `index`, nothing after it can be equal. Going back term by term like this finds the place where two logs part in one
   * round trip a term (Raft §5.3, end). The place before the first entry that is left bounds the search.
   */
  lastWithTermUpTo(index: LogIndex, maxTerm: Term): LogIndex {
    let at = logIndex(Math.min(index, this.#last));
    for (;;) {
      const term = this.term(at);
      if (term === undefined || term <= maxTerm) return at;
      at = indexPlus(at, -1);
    }
  }

  /** Raises the commit index; a lower one changes nothing. */
  commitTo(index: LogIndex): void {
    if (index <= this.#commit) return;
    if (index > this.#last) {
      broken(
        `raft log: told to commit ${index}, but the log ends at ${this.#last}: acknowledged entries were lost`,
      );
    }
    this.#commit = index;
    this.#history.committed(index);
  }

  /**
   * Forgets everything for a snapshot, which is newer than the commit index and not part of this log. It counts as
   * durable from now on, since nothing of a later Output may be done before its Install.
   */
  install({ index, lastTerm, membership }: ReceivedSnapshot): void {
    assert(index > this.#commit, `raft log: a snapshot at ${index}, but ${this.#commit} is committed`);
    this.#install = { index, term: lastTerm, membership };
    this.#stored = emptyLog(index, lastTerm);
    this.#history.reset(membership);
    this.#tail = [];
    this.#tailBytes = 0;
    this.#last = index;
    this.#lastTerm = lastTerm;
    this.#persisted = index;
    this.#commit = index;
    this.#delivered = index;
  }

  get hasInstall(): boolean {
    return this.#install !== undefined;
  }

  /** What the owner has to install before it does anything else, handed out once. */
  takeInstall(): Install | undefined {
    const install = this.#install;
    this.#install = undefined;
    this.#stored = this.#owner;
    return install;
  }

  /** The log is durable up to `index`, if the entry there is still the one of `entryTerm`. */
  persistedTo(index: LogIndex, entryTerm: Term): void {
    if (index <= this.#persisted) return;
    // An entry that was not handed out can't be what was written: this speaks of one that has been cut away.
    if (index >= this.#tailFirst() || this.term(index) !== entryTerm) return;
    this.#persisted = index;
  }

  get hasTail(): boolean {
    return this.#tail.length > 0;
  }

  /** The entries to append, handed out once. From now on they are read back from the owner. */
  takeTail(): readonly Entry[] {
    if (this.#tail.length === 0) return NOTHING;
    const tail = this.#tail;
    this.#tail = [];
    this.#tailBytes = 0;
    return tail;
  }

  get hasCommitted(): boolean {
    const next = this.#nextToDeliver();
    return next <= this.#persisted && next <= this.#commit;
  }

  /** The next entries to apply, about `bytesMax` of them: committed, durable here, and not handed out before. */
  takeCommitted(bytesMax: number): readonly Entry[] {
    if (!this.hasCommitted) return NOTHING;
    const next = this.#nextToDeliver();
    const high = logIndex(Math.min(this.#persisted, this.#commit) + 1);
    const entries = this.#stored.entries(next, high, bytesMax);
    if (entries.length === 0 || entries[0]!.index !== next) {
      broken(`raft log: entry ${next} is durable and committed, but its owner doesn't have it`);
    }
    this.#delivered = indexPlus(next, entries.length - 1);
    return entries;
  }

  /** What the owner compacted, it has applied, in an earlier life perhaps. */
  #nextToDeliver(): LogIndex {
    return logIndex(Math.max(this.#delivered + 1, this.#stored.firstIndex));
  }

  #tailFirst(): LogIndex {
    return indexPlus(this.#last, 1 - this.#tail.length);
  }

  #push(entry: Entry): void {
    if (this.#tail.length === 0) {
      const { lastIndex } = this.#stored;
      if (entry.index === INDEX_ZERO || entry.index > lastIndex + 1) {
        broken(
          `raft log: entry ${entry.index} follows on what the owner was handed, but its log ends at ${lastIndex}`,
        );
      }
    }
    this.#tail.push(entry);
    this.#tailBytes += entry.data.length;
    this.#last = entry.index;
    this.#lastTerm = entry.term;
    if (entry.kind === "config") this.#history.appended(entry);
  }

  /** Lets `entries[at...]` follow on `index - 1`, cutting away what was there. */
  #replaceFrom(entries: readonly Entry[], at: number, index: LogIndex): void {
    if (index <= this.#last) {
      assert(index > this.#commit, `raft log: a leader overwrites entry ${index}, which is committed`);
      this.#tail = this.#tail.slice(0, Math.max(0, index - this.#tailFirst()));
      this.#tailBytes = 0;
      for (const entry of this.#tail) this.#tailBytes += entry.data.length;
      this.#persisted = logIndex(Math.min(this.#persisted, index - 1));
      this.#history.cut(index);
    }
    for (; at < entries.length; at++, index = indexPlus(index, 1)) {
      const entry = entries[at]!;
      if (entry.index !== index) {
        broken(`raft log: an append has entry ${entry.index} in the place of ${index}`);
      }
      this.#push(entry);
    }
  }
}

/** A log from which everything up to `last` is gone. */
function emptyLog(last: LogIndex, lastTerm: Term): LogReader {
  return {
    firstIndex: indexPlus(last, 1),
    lastIndex: last,
    term: (index) => (index === last ? lastTerm : undefined),
    entries: () => [],
    configurations: () => NOTHING,
  };
}
