import { ProtocolError } from "../../protocol/errors.ts";
import type { NodeId, Term } from "../../protocol/ids.ts";
import type { SnapshotAck, SnapshotPart } from "../../protocol/peer-messages.ts";
import { xxh32 } from "../lib/hash.ts";
import type { ShardSpace } from "./shard-space.ts";
import { HeadBuilder, type SnapshotHead } from "./snapshot-format.ts";

/** A snapshot that is there as a whole: the head here, the entries in the other half of the shard's space. */
export interface WholeSnapshot {
  readonly from: NodeId;
  /** The leader's term. */
  readonly leaderTerm: Term;
  readonly head: SnapshotHead;
}

interface Stream {
  readonly from: NodeId;
  readonly term: Term;
  readonly number: number;
  head: HeadBuilder;
  next: number;
  digest: number;
}

/**
 * Takes a snapshot that a leader sends. Its entries go to the half of the shard's space that is not in use, where they
 * mean nothing until the shard changes over. Parts are taken in order, each once, and acknowledged when they are in the
 * engine; if that can't take more, nothing is acknowledged, and the sender waits. A later stream replaces an earlier one.
 */
export class SnapshotReceiver {
  readonly #self: NodeId;
  readonly #space: ShardSpace | undefined;
  #stream: Stream | undefined;

  constructor(self: NodeId, space: ShardSpace | undefined) {
    this.#self = self;
    this.#space = space;
  }

  /**
   * Takes a part. `ack`: what to answer, `undefined` for nothing; `whole`: the snapshot, if this was all of it that was
   * missing. The sender's term must not be an old one.
   */
  receive(part: SnapshotPart): {
    readonly ack: SnapshotAck | undefined;
    readonly whole: WholeSnapshot | undefined;
  } {
    const stream = this.#streamOf(part);
    // The middle of a stream whose beginning this node does not have, in this life at least.
    if (stream === undefined) return { ack: this.#answer(part, 0, true), whole: undefined };
    if (part.part !== stream.next) return { ack: this.#answer(part, stream.next, false), whole: undefined };
    if (this.#space?.isFull === true) return { ack: undefined, whole: undefined };
    if (!this.#take(stream, part)) {
      this.forget();
      return { ack: this.#answer(part, 0, true), whole: undefined };
    }
    const ack = this.#answer(part, stream.next, false);
    if (!part.last) return { ack, whole: undefined };
    const { from, term: leaderTerm } = stream;
    const { head } = stream.head;
    // The slices are not needed any more, and may be large.
    stream.head = new HeadBuilder();
    return { ack, whole: { from, leaderTerm, head } };
  }

  /** Forgets what has arrived; the half that it is in is the caller's to clear, if it was not changed over to. */
  forget(): void {
    this.#stream = undefined;
  }

  refuse(part: SnapshotPart): SnapshotAck {
    return this.#answer(part, 0, true);
  }

  #streamOf(part: SnapshotPart): Stream | undefined {
    const stream = this.#stream;
    const isKnown = stream?.from === part.from && stream.number === part.stream;
    if (isKnown) return stream;
    if (part.part !== 0) return undefined;
    // A leader numbers its streams upwards: this one was given up for the one that is known.
    if (stream?.from === part.from && part.term <= stream.term && part.stream < stream.number) {
      return undefined;
    }
    this.#space?.clearOther();
    this.#stream = {
      ...{ from: part.from, term: part.term, number: part.stream, head: new HeadBuilder() },
      ...{ next: 0, digest: 0 },
    };
    return this.#stream;
  }

  #take(stream: Stream, part: SnapshotPart): boolean {
    const digest = xxh32(part.data, stream.digest);
    if (digest !== part.digest) return false;
    try {
      stream.head.read(part.data, (key, value, expiresAt) => this.#space!.gather(key, value, expiresAt));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return false;
    }
    this.#space?.fill();
    stream.digest = digest;
    stream.next++;
    return true;
  }

  #answer({ from, term, stream }: SnapshotPart, next: number, refused: boolean): SnapshotAck {
    return { kind: "snapshotAck", from: this.#self, to: from, term, stream, next, refused };
  }
}
