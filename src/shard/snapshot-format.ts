/**
 * What the parts of a snapshot carry: first the head, in slices, then the entries of the shard in the order of their keys.
 * The head is what a group is beside its data: up to where it is applied, who its members are, sessions and the like.
 */
import { ByteWriter, CborReader } from "../../protocol/cbor.ts";
import { type LogIndex, logIndex, type NodeId, type Term, term } from "../../protocol/ids.ts";
import { decodePlain, encodePlain } from "../../protocol/plain.ts";
import type { Membership } from "../raft/configuration.ts";

/** About how large a part is; one with a large value is larger. */
export const PART_BYTES = 128 * 1024;
/** Longest head: a group's sessions have to fit. */
const HEAD_BYTES_MAX = 512 * 1024 * 1024;

const HEAD = 0;
const ENTRIES = 1;

export interface SnapshotHead {
  /** The last entry whose effects the snapshot has, and its term. */
  readonly index: LogIndex;
  readonly term: Term;
  readonly membership: Membership;
  readonly logTimeMs: number;
  readonly floor: LogIndex;
  /** The state machine's dump; `null` if it never had one. */
  readonly dump: unknown;
}

type Nodes = readonly NodeId[];
type PlainHead = [
  index: number,
  term: number,
  membersAt: number,
  voters: Nodes,
  outgoing: Nodes,
  learners: Nodes,
  logTimeMs: number,
  floor: number,
  dump: unknown,
];

/** The head, owned by the caller. */
export function encodeHead({
  index,
  term: of,
  membership,
  logTimeMs,
  floor,
  dump,
}: SnapshotHead): Uint8Array {
  const { voters, outgoing, learners } = membership.configuration;
  const head: PlainHead = [
    ...([index, of, membership.index] as const),
    ...([voters, outgoing, learners] as const),
    ...([logTimeMs, floor, dump] as const),
  ];
  return encodePlain(head).slice();
}

function decodeHead(bytes: Uint8Array): SnapshotHead {
  const [index, of, at, voters, outgoing, learners, logTimeMs, floor, dump] = decodePlain(bytes) as PlainHead;
  const membership = { index: logIndex(at), configuration: { voters, outgoing, learners } };
  return { index: logIndex(index), term: term(of), membership, logTimeMs, floor: logIndex(floor), dump };
}

/** A part of the head. */
export function encodeHeadSlice(head: Uint8Array, at: number): Uint8Array {
  const writer = new ByteWriter();
  writer.arrayHeader(2);
  writer.uint(HEAD);
  writer.bytes(head.subarray(at, at + PART_BYTES));
  return writer.copy();
}

/** Gathers the entries of one part. */
export class EntriesPart {
  readonly #writer = new ByteWriter(PART_BYTES);

  constructor() {
    this.#begin();
  }

  get isFull(): boolean {
    return this.#writer.length >= PART_BYTES;
  }

  /** `expiresAt`: as the engine has it, 0 for what stays. */
  add(key: Uint8Array, value: Uint8Array, expiresAt: number): void {
    this.#writer.bytes(key);
    this.#writer.bytes(value);
    this.#writer.uint(expiresAt);
  }

  /** The part, owned by the caller; the next one is begun. */
  take(): Uint8Array {
    this.#writer.endArray();
    const part = this.#writer.copy();
    this.#begin();
    return part;
  }

  #begin(): void {
    this.#writer.reset();
    this.#writer.beginArray();
    this.#writer.uint(ENTRIES);
  }
}

/** Takes an entry, borrowed. */
export type EntryVisitor = (key: Uint8Array, value: Uint8Array, expiresAt: number) => void;

/** Puts a head together from its slices. */
export class HeadBuilder {
  readonly #slices: Uint8Array[] = [];
  #bytes = 0;

  /** The head, once it is whole: to be asked when all parts are there. */
  get head(): SnapshotHead {
    const bytes = new Uint8Array(this.#bytes);
    let at = 0;
    for (const slice of this.#slices) {
      bytes.set(slice, at);
      at += slice.length;
    }
    return decodeHead(bytes);
  }

  /** Reads a part: entries go to `visit`, borrowed. Throws `ProtocolError` (BAD_REQUEST). */
  read(part: Uint8Array, visit: EntryVisitor): void {
    const reader = new CborReader(part);
    const items = reader.arrayHeader();
    const kind = reader.uint();
    if (kind === HEAD && items === 2) this.#addSlice(reader);
    else if (kind === ENTRIES && items === -1) {
      while (!reader.atBreak()) visit(reader.bytes(), reader.bytes(), reader.uint());
    } else reader.refuse(`a snapshot's part of kind ${kind} with ${items} items`);
    reader.expectEnd();
  }

  #addSlice(reader: CborReader): void {
    const slice = reader.bytes().slice();
    this.#bytes += slice.length;
    if (this.#bytes > HEAD_BYTES_MAX) reader.refuse(`a snapshot's head of more than ${HEAD_BYTES_MAX} bytes`);
    this.#slices.push(slice);
  }
}
