import { ProtocolError } from "../../protocol/errors.ts";
import type { NodeId, Term } from "../../protocol/ids.ts";
import type { SnapshotAck, SnapshotPart } from "../../protocol/peer-messages.ts";
import { xxh32 } from "../lib/hash.ts";
import type { ShardSpace } from "./shard-space.ts";
import { PartReader } from "./snapshot-format.ts";
import { decodeHead, type SnapshotHead } from "./snapshot-head.ts";

/** A snapshot that is there as a whole: the head here, the entries in the other half of the shard's space. */
export interface WholeSnapshot {
  readonly from: NodeId;
  /** The leader's term. */
  readonly leaderTerm: Term;
  readonly head: SnapshotHead;
}

/** What came of a part. */
export interface Taken {
  /** What to answer; `undefined` for nothing, and it will come again. */
  readonly ack: SnapshotAck | undefined;
  /** The snapshot, if this was all of it that was missing. */
  readonly whole: WholeSnapshot | undefined;
  /** Why the stream was given up, if it was because of what this part has. */
  readonly fault: string | undefined;
}

/** A leader leads a term in one life only, so its term and a number that it counts up make a stream unique. */
interface Stream {
  readonly from: NodeId;
  readonly term: Term;
  readonly number: number;
  readonly reader: PartReader;
  /** Once it is whole, which it is when the first entries have come, or the last part. */
  head: SnapshotHead | undefined;
  next: number;
  digest: number;
}

/**
 * Takes a snapshot that a leader sends. Its entries go to the half of the shard's space that is not in use, where they
 * mean nothing until the shard changes over. Parts are taken in order, each once, and acknowledged when they are in the
 * engine; if that can't take more, nothing is acknowledged, and the sender waits. A later stream replaces an earlier one.
 * What is damaged or can't be ends its stream, and changes nothing else.
 */
export class SnapshotReceiver {
  readonly #self: NodeId;
  readonly #space: ShardSpace | undefined;
  readonly #checkDump: (dump: unknown) => void;
  #stream: Stream | undefined;

  /** `checkDump` throws `ProtocolError` where a dump is none. */
  constructor(self: NodeId, space: ShardSpace | undefined, checkDump: (dump: unknown) => void) {
    this.#self = self;
    this.#space = space;
    this.#checkDump = checkDump;
  }

  /** Takes a part. The sender's term must not be an old one. */
  receive(part: SnapshotPart): Taken {
    const stream = this.#streamOf(part);
    // The middle of a stream whose beginning this node does not have, in this life at least.
    if (stream === undefined) return answered(this.#answer(part, 0, true));
    if (part.part !== stream.next) return answered(this.#answer(part, stream.next, false));
    if (this.#space?.isFull === true) return answered(undefined);
    try {
      this.#take(stream, part);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.forget();
      return { ack: this.#answer(part, 0, true), whole: undefined, fault: error.message };
    }
    const ack = this.#answer(part, stream.next, false);
    if (!part.last) return answered(ack);
    return {
      ack,
      whole: { from: stream.from, leaderTerm: stream.term, head: stream.head! },
      fault: undefined,
    };
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
    const { from, term, stream: number } = part;
    if (stream !== undefined) {
      if (stream.from === from && stream.term === term && stream.number === number) return stream;
      // A leader numbers its streams upwards: this one was given up for the one that is known.
      if (term < stream.term || (term === stream.term && number < stream.number)) return undefined;
    }
    if (part.part !== 0) return undefined;
    this.#space?.clearOther();
    const reader = new PartReader();
    this.#stream = { from, term, number, reader, head: undefined, next: 0, digest: 0 };
    return this.#stream;
  }

  /** Throws `ProtocolError` where the part is damaged, or what it says can't be. */
  #take(stream: Stream, part: SnapshotPart): void {
    const digest = xxh32(part.data, stream.digest);
    if (digest !== part.digest) {
      throw new ProtocolError("BAD_REQUEST", `part ${part.part} has digest ${digest}, not ${part.digest}`);
    }
    const { reader } = stream;
    reader.read(part.data, (key, value, expiresAt) => {
      if (this.#space === undefined) throw new ProtocolError("BAD_REQUEST", "the group has no data");
      this.#space.gather(key, value, expiresAt);
    });
    // Before anything of it counts: what can't be is refused before the data are sent.
    if (stream.head === undefined && (reader.hasEntries || part.last)) {
      stream.head = decodeHead(reader.takeHead(), stream.term, this.#checkDump);
    }
    this.#space?.fill();
    stream.digest = digest;
    stream.next++;
  }

  #answer({ from, term, stream }: SnapshotPart, next: number, refused: boolean): SnapshotAck {
    return { kind: "snapshotAck", from: this.#self, to: from, term, stream, next, refused };
  }
}

function answered(ack: SnapshotAck | undefined): Taken {
  return { ack, whole: undefined, fault: undefined };
}
