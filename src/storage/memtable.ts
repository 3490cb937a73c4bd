/**
 * The memtable: the newest entries, sorted, in memory (a skip list: Pugh, "Skip Lists: A Probabilistic Alternative to
 * Balanced Trees", 1990).
 *
 * There is no object per entry. The bytes of whole batches are copied into one arena as they are; a node is a few
 * 32-bit integers in a second array that say where its key and value lie, its sequence number, and what comes next on
 * each of its levels. Both arrays are over shared memory, so a sealed memtable is handed to the thread that writes its
 * table without being copied. Bytes are never moved, and a version that somebody may still read is never changed.
 *
 * Range tombstones are few and have a list of their own beside the skip list: sets of fragments (`range-deletes.ts`), each
 * at least twice as large as the next. A new one is a set of one, merged with the last as long as that is not; so
 * adding costs little, asking looks into few sets, and a set that somebody reads is never changed.
 */
import { assert } from "../lib/assert.ts";
import { type Cursor, Entry, SEQUENCE_MAX } from "./cursor.ts";
import { readU32, readU64 } from "./fixed-width.ts";
import { type KeyedNodes, NewestIndex } from "./newest-index.ts";
import { mergeRangeDeletes, RangeDeletes } from "./range-deletes.ts";
import {
  EXPIRY_BYTES,
  OPERATION_DELETE,
  OPERATION_DELETE_RANGE,
  OPERATION_HEADER_BYTES,
  OPERATION_PUT_EXPIRING,
} from "./write-batch.ts";

const HEIGHT_MAX = 12;
// A node: key offset, key length, value length (-1: tombstone), sequence low and high half, then `height` links.
const KEY_LENGTH = 1;
const VALUE_LENGTH = 2;
const SEQUENCE_LOW = 3;
const SEQUENCE_HIGH = 4;
const LINKS = 5;
/** The head's place; 0 is the end of every list. */
const HEAD = 1;
const FIRST_FREE = HEAD + LINKS + HEIGHT_MAX;
const TWO_32 = 0x1_0000_0000;
/** Offsets are 32-bit integers. */
export const ARENA_BYTES_MAX = 0x7fff_ffff;
/** What a range tombstone is counted for beside its operation: its keys' copies and its fragments, about. */
const RANGE_DELETE_BYTES = 256;
const NO_SETS: readonly RangeDeletes[] = [];

/** What another thread needs to read a sealed memtable. */
export interface SharedMemtable {
  readonly nodes: SharedArrayBuffer;
  readonly arena: SharedArrayBuffer;
  readonly count: number;
  readonly rangeDeletes: readonly RangeDeletesFields[];
}

/** A `RangeDeletes` as structured cloning leaves it. */
type RangeDeletesFields = Pick<RangeDeletes, "starts" | "ends" | "sequences">;

export class Memtable {
  #nodes: Int32Array;
  #arena: Uint8Array;
  #nodesUsed = FIRST_FREE;
  #arenaUsed = 0;
  #height = 1;
  #count = 0;
  #random = 0x2545f491;
  #rangeDeletes = NO_SETS;
  #rangeDeleteCount = 0;
  readonly #newest = new NewestIndex();
  /** What the index needs; replaced when an array grows. */
  #keyed: KeyedNodes;
  /** The last node before the searched place on each level, of the latest search for an insertion. */
  readonly #before = new Int32Array(HEIGHT_MAX).fill(HEAD);

  /** `capacityBytes`: what it holds before it has to grow, which copies. Memory is taken from the system as it is used. */
  constructor(capacityBytes: number) {
    this.#arena = new Uint8Array(new SharedArrayBuffer(capacityBytes));
    this.#nodes = new Int32Array(new SharedArrayBuffer(Math.max(1024, capacityBytes >> 2) * 4));
    this.#keyed = { nodes: this.#nodes, arena: this.#arena };
  }

  /** A read-only view of a memtable that another thread has sealed, for its cursor: `find` is the owner's. */
  static attach(shared: SharedMemtable): Memtable {
    const table = new Memtable(0);
    table.#nodes = new Int32Array(shared.nodes);
    table.#arena = new Uint8Array(shared.arena);
    table.#count = shared.count;
    table.#height = HEIGHT_MAX;
    table.#rangeDeletes = shared.rangeDeletes.map(
      ({ starts, ends, sequences }) => new RangeDeletes(starts, ends, sequences),
    );
    return table;
  }

  share(): SharedMemtable {
    return {
      nodes: this.#nodes.buffer as SharedArrayBuffer,
      arena: this.#arena.buffer as SharedArrayBuffer,
      count: this.#count,
      rangeDeletes: this.#rangeDeletes.map(({ starts, ends, sequences }) => ({ starts, ends, sequences })),
    };
  }

  /** Entries in it, without range tombstones; overwritten ones count. */
  get count(): number {
    return this.#count;
  }

  get isEmpty(): boolean {
    return this.#count === 0 && this.#rangeDeletes.length === 0;
  }

  /** Its range tombstones, in sets that never change; replaced by the next one that comes. */
  get rangeDeletes(): readonly RangeDeletes[] {
    return this.#rangeDeletes;
  }

  /** Memory in use, in bytes. */
  get byteLength(): number {
    return this.#arenaUsed + (this.#nodesUsed - FIRST_FREE) * 4 + this.#rangeDeleteCount * RANGE_DELETE_BYTES;
  }

  /**
   * Inserts `count` encoded operations, which are `bytes[start, end)`, with the sequence numbers from `sequence` on.
   * The bytes are copied. `keepUpTo` is the newest sequence number that a snapshot or an iterator reads at: a version
   * above it that is overwritten is not kept, and its node serves the new one.
   */
  insert(
    bytes: Uint8Array,
    start: number,
    end: number,
    count: number,
    sequence: number,
    keepUpTo = SEQUENCE_MAX,
  ): void {
    let at = this.#arenaUsed;
    const length = end - start;
    if (at + length > this.#arena.length) this.#growArena(length);
    const arena = this.#arena;
    arena.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), at);
    this.#arenaUsed = at + length;
    const nodesNeeded = this.#nodesUsed + count * (LINKS + HEIGHT_MAX);
    if (nodesNeeded > this.#nodes.length) this.#growNodes(nodesNeeded);
    for (let i = 0; i < count; i++) {
      const keyLength = readU32(arena, at + 1);
      const valueLength = readU32(arena, at + 5);
      const kind = arena[at];
      at += OPERATION_HEADER_BYTES;
      if (kind === OPERATION_DELETE_RANGE) {
        const middle = at + keyLength;
        const end = middle + valueLength;
        this.#deleteRange(arena.slice(at, middle), arena.slice(middle, end), sequence + i, keepUpTo);
        at = end;
        continue;
      }
      const put = kind !== OPERATION_DELETE;
      const newest = this.#newest.find(this.#keyed, arena, at, at + keyLength);
      if (newest !== 0 && this.sequence(newest) > keepUpTo) {
        this.#set(newest, at, keyLength, put ? valueLength : -1, sequence + i);
      } else {
        this.#link(at, keyLength, put ? valueLength : -1, sequence + i);
      }
      at += keyLength + valueLength;
    }
    assert(at === this.#arenaUsed, `memtable: a batch of ${count} operations ended at ${at}`);
  }

  /**
   * The node of the newest entry of `key` that is not above `sequence`, or 0. Valid as long as the memtable; read it
   * with `isTombstone` and `value`.
   */
  find(key: Uint8Array, sequence: number): number {
    const newest = this.#newest.find(this.#keyed, key, 0, key.length);
    if (newest === 0 || this.sequence(newest) <= sequence) return newest;
    // An older version is wanted: versions of a key follow each other in the list, newest first.
    const node = this.#firstAtOrAfter(key, sequence);
    if (node === 0) return 0;
    const nodes = this.#nodes;
    const length = key.length;
    if (nodes[node + KEY_LENGTH] !== length) return 0;
    const arena = this.#arena;
    const offset = nodes[node]!;
    for (let i = 0; i < length; i++) if (arena[offset + i] !== key[i]) return 0;
    return node;
  }

  /**
   * The value of `key` at `sequence` and the time `now`, as `value` gives it; `null` if it is gone, `undefined` if the
   * memtable knows nothing of the key.
   */
  get(key: Uint8Array, sequence: number, now: number): Uint8Array | null | undefined {
    const rangeDelete = this.#rangeDeletes.length === 0 ? 0 : this.newestRangeDelete(key, sequence);
    const node = this.find(key, sequence);
    if (node === 0) return rangeDelete === 0 ? undefined : null;
    if (this.isTombstone(node) || this.sequence(node) < rangeDelete) return null;
    const expiresAt = this.expiresAt(node);
    return expiresAt !== 0 && expiresAt <= now ? null : this.value(node);
  }

  /** The newest sequence number not above `sequence` at which a range with `key` in it was deleted; 0 if there is none. */
  newestRangeDelete(key: Uint8Array, sequence: number): number {
    let newest = 0;
    for (const set of this.#rangeDeletes) {
      const found = set.newestOver(key, 0, key.length, sequence);
      if (found > newest) newest = found;
    }
    return newest;
  }

  isTombstone(node: number): boolean {
    return this.#nodes[node + VALUE_LENGTH]! < 0;
  }

  /** From which time on the node's value is gone; 0: it stays. */
  expiresAt(node: number): number {
    const keyStart = this.#nodes[node]!;
    // The operation that brought the node lies in the arena as it came, its header right before its key.
    if (this.#arena[keyStart - OPERATION_HEADER_BYTES] !== OPERATION_PUT_EXPIRING) return 0;
    return readU64(this.#arena, keyStart + this.#nodes[node + KEY_LENGTH]!);
  }

  /** The value of a node that is no tombstone: a view of the arena, valid as long as it is referred to. */
  value(node: number): Uint8Array {
    const nodes = this.#nodes;
    const keyStart = nodes[node]!;
    const start = keyStart + nodes[node + KEY_LENGTH]!;
    const expiring = this.#arena[keyStart - OPERATION_HEADER_BYTES] === OPERATION_PUT_EXPIRING;
    return this.#arena.subarray(expiring ? start + EXPIRY_BYTES : start, start + nodes[node + VALUE_LENGTH]!);
  }

  cursor(): Cursor {
    return new MemtableCursor({
      read: (entry, node) => this.#read(entry, node),
      first: () => this.#nodes[HEAD + LINKS]!,
      last: () => this.#last(),
      next: (node) => this.#nodes[node + LINKS]!,
      atOrAfter: (key, sequence) => this.#firstAtOrAfter(key, sequence),
      before: (key, start, end, sequence) => this.#lastBefore(key, start, end, sequence),
    });
  }

  #deleteRange(start: Uint8Array, end: Uint8Array, sequence: number, keepUpTo: number): void {
    // As with entries: a tombstone that nobody reads without the newer one over the same keys is not kept.
    const stillRead = (older: number): boolean => older <= keepUpTo;
    const sets = this.#rangeDeletes.slice();
    let set = new RangeDeletes([start], [end], [[sequence]]);
    while (sets.length > 0 && sets.at(-1)!.count < set.count * 2) {
      set = mergeRangeDeletes([sets.pop()!, set], stillRead);
    }
    sets.push(set);
    this.#rangeDeletes = sets;
    this.#rangeDeleteCount++;
  }

  #link(keyOffset: number, keyLength: number, valueLength: number, sequence: number): void {
    const nodes = this.#nodes;
    const arena = this.#arena;
    const before = this.#before;
    let level = this.#height - 1;
    let at = HEAD;
    // Where the walk stood last, so that it isn't compared again on the level below.
    let known = 0;
    // How many first bytes the key shares with the nodes before and behind its place, as far as they are known: what lies
    // between them shares as many, and is compared from there on.
    let sharedBefore = 0;
    let sharedBehind = 0;
    for (;;) {
      const next = nodes[at + LINKS + level]!;
      if (next !== 0 && next !== known) {
        const offset = nodes[next]!;
        const length = nodes[next + KEY_LENGTH]!;
        const most = Math.min(keyLength, length);
        let shared = Math.min(sharedBefore, sharedBehind);
        while (shared < most && arena[offset + shared] === arena[keyOffset + shared]) shared++;
        // An equal key has a lower sequence number, so it comes after the new entry.
        const ahead =
          shared < most ? arena[offset + shared]! < arena[keyOffset + shared]! : length < keyLength;
        if (ahead) {
          at = next;
          sharedBefore = shared;
          continue;
        }
        known = next;
        sharedBehind = shared;
      }
      before[level] = at;
      if (level === 0) break;
      level--;
    }
    const height = this.#randomHeight();
    while (this.#height < height) before[this.#height++] = HEAD;
    const node = this.#nodesUsed;
    this.#nodesUsed = node + LINKS + height;
    this.#set(node, keyOffset, keyLength, valueLength, sequence);
    for (let i = 0; i < height; i++) {
      const previous = before[i]! + LINKS + i;
      nodes[node + LINKS + i] = nodes[previous]!;
      nodes[previous] = node;
    }
    this.#count++;
    this.#newest.put(this.#keyed, node);
  }

  #set(node: number, keyOffset: number, keyLength: number, valueLength: number, sequence: number): void {
    const nodes = this.#nodes;
    nodes[node] = keyOffset;
    nodes[node + KEY_LENGTH] = keyLength;
    nodes[node + VALUE_LENGTH] = valueLength;
    nodes[node + SEQUENCE_LOW] = sequence | 0;
    nodes[node + SEQUENCE_HIGH] = (sequence / TWO_32) | 0;
  }

  /** One to twelve, each next a quarter as likely. The shape of the list needs no chance that comes from outside. */
  #randomHeight(): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x;
    let height = 1;
    while (height < HEIGHT_MAX && (x & 3) === 0) {
      height++;
      x >>>= 2;
    }
    return height;
  }

  sequence(node: number): number {
    const nodes = this.#nodes;
    return nodes[node + SEQUENCE_HIGH]! * TWO_32 + (nodes[node + SEQUENCE_LOW]! >>> 0);
  }

  /** Whether a node comes before (key, sequence) in the inner order. */
  #isBefore(node: number, key: Uint8Array, start: number, keyEnd: number, sequence: number): boolean {
    const nodes = this.#nodes;
    const arena = this.#arena;
    const length = nodes[node + KEY_LENGTH]!;
    const keyLength = keyEnd - start;
    let a = nodes[node]!;
    let b = start;
    const end = a + Math.min(length, keyLength);
    while (a < end && arena[a] === key[b]) {
      a++;
      b++;
    }
    if (a < end) return arena[a]! < key[b]!;
    if (length !== keyLength) return length < keyLength;
    return this.sequence(node) > sequence;
  }

  #lastBefore(key: Uint8Array, start: number, end: number, sequence: number): number {
    const nodes = this.#nodes;
    let at = HEAD;
    let known = 0;
    for (let level = this.#height - 1; level >= 0; level--) {
      for (;;) {
        const next = nodes[at + LINKS + level]!;
        if (next === 0 || next === known) break;
        if (!this.#isBefore(next, key, start, end, sequence)) {
          known = next;
          break;
        }
        at = next;
      }
    }
    return at === HEAD ? 0 : at;
  }

  #firstAtOrAfter(key: Uint8Array, sequence: number): number {
    const before = this.#lastBefore(key, 0, key.length, sequence);
    return this.#nodes[(before === 0 ? HEAD : before) + LINKS]!;
  }

  #last(): number {
    const nodes = this.#nodes;
    let at = HEAD;
    for (let level = this.#height - 1; level >= 0; level--) {
      for (let next = nodes[at + LINKS + level]!; next !== 0; next = nodes[at + LINKS + level]!) at = next;
    }
    return at === HEAD ? 0 : at;
  }

  #read(entry: Entry, node: number): void {
    const nodes = this.#nodes;
    const arena = this.#arena;
    const keyStart = nodes[node]!;
    const keyEnd = keyStart + nodes[node + KEY_LENGTH]!;
    const valueLength = nodes[node + VALUE_LENGTH]!;
    entry.keyBytes = arena;
    entry.keyStart = keyStart;
    entry.keyEnd = keyEnd;
    entry.sequence = this.sequence(node);
    entry.tombstone = valueLength < 0;
    entry.expiresAt = this.expiresAt(node);
    entry.valueBytes = arena;
    entry.valueEnd = keyEnd + Math.max(valueLength, 0);
    entry.valueStart = entry.expiresAt === 0 ? keyEnd : keyEnd + EXPIRY_BYTES;
  }

  #growArena(more: number): void {
    const needed = this.#arenaUsed + more;
    assert(needed <= ARENA_BYTES_MAX, `memtable: ${needed} bytes are more than a memtable can hold`);
    const capacity = Math.min(ARENA_BYTES_MAX, Math.max(needed, this.#arena.length * 2));
    const larger = new Uint8Array(new SharedArrayBuffer(capacity));
    larger.set(this.#arena.subarray(0, this.#arenaUsed));
    this.#arena = larger;
    this.#keyed = { nodes: this.#nodes, arena: larger };
  }

  #growNodes(needed: number): void {
    const larger = new Int32Array(new SharedArrayBuffer(Math.max(needed, this.#nodes.length * 2) * 4));
    larger.set(this.#nodes.subarray(0, this.#nodesUsed));
    this.#nodes = larger;
    this.#keyed = { nodes: larger, arena: this.#arena };
  }
}

/** What a cursor asks of its memtable. */
interface MemtableWalk {
  read(entry: Entry, node: number): void;
  first(): number;
  last(): number;
  next(node: number): number;
  atOrAfter(key: Uint8Array, sequence: number): number;
  before(key: Uint8Array, start: number, end: number, sequence: number): number;
}

class MemtableCursor implements Cursor {
  valid = false;
  readonly entry = new Entry();
  #node = 0;
  readonly #walk: MemtableWalk;

  constructor(walk: MemtableWalk) {
    this.#walk = walk;
  }

  seekToFirst(): void {
    this.#to(this.#walk.first());
  }
  seekToLast(): void {
    this.#to(this.#walk.last());
  }
  seek(key: Uint8Array, sequence: number): void {
    this.#to(this.#walk.atOrAfter(key, sequence));
  }
  seekBefore(key: Uint8Array): void {
    this.#to(this.#walk.before(key, 0, key.length, Number.MAX_SAFE_INTEGER));
  }
  next(): void {
    this.#to(this.#walk.next(this.#node));
  }
  prev(): void {
    const { keyBytes, keyStart, keyEnd, sequence } = this.entry;
    this.#to(this.#walk.before(keyBytes, keyStart, keyEnd, sequence));
  }
  #to(node: number): void {
    this.#node = node;
    this.valid = node !== 0;
    if (node !== 0) this.#walk.read(this.entry, node);
  }
}
