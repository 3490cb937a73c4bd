/**
 * The memtable: the newest entries, in memory.
 *
 * There is no object per entry. The bytes of whole batches are copied into one arena as they are; a node is a few
 * 32-bit integers in a second array that say where its key and value lie, its sequence number, and which node has the
 * key's version before. Both arrays are over shared memory, so a sealed memtable is handed to the thread that writes its
 * table without being copied. Bytes are never moved, and a version that somebody may still read is never changed.
 *
 * A write puts its entries into a hash table, where a get finds them. Their order is made when somebody asks for it: by a
 * scan, for itself and the scans that follow (`skip-list.ts`), or by the thread that writes the table, for itself.
 *
 * Range tombstones are few and have a list of their own beside: sets of fragments (`range-deletes.ts`), each
 * at least twice as large as the next. A new one is a set of one, merged with the last as long as that is not; so
 * adding costs little, asking looks into few sets, and a set that somebody reads is never changed.
 */
import { assert } from "../lib/assert.ts";
import { xxh32Of } from "../lib/hash.ts";
import { type Cursor, Entry, SEQUENCE_MAX } from "./cursor.ts";
import { copyBytes, readU32, readU64 } from "./fixed-width.ts";
import {
  KEY_LENGTH,
  KEY_OFFSET,
  MemtableNodes,
  NODE_INTS,
  OLDER,
  SEQUENCE_HIGH,
  SEQUENCE_LOW,
  VALUE_LENGTH,
} from "./memtable-nodes.ts";
import { NewestIndex } from "./newest-index.ts";
import { NodeCursor, type NodeOrder, SortedNodes } from "./node-order.ts";
import { sortedNodes } from "./node-sort.ts";
import { mergeRangeDeletes, RangeDeletes } from "./range-deletes.ts";
import { SkipList } from "./skip-list.ts";
import {
  EXPIRY_BYTES,
  OPERATION_DELETE,
  OPERATION_DELETE_RANGE,
  OPERATION_HEADER_BYTES,
  OPERATION_PUT_EXPIRING,
} from "./write-batch.ts";

const TWO_32 = 0x1_0000_0000;
/** Offsets are 32-bit integers. */
export const ARENA_BYTES_MAX = 0x7fff_ffff;
/** What a range tombstone is counted for beside its operation: its keys' copies and its fragments, about. */
const RANGE_DELETE_BYTES = 256;
const NO_SETS: readonly RangeDeletes[] = [];
/** A version that is older than so many others of its key is sought in another way than from one to the next. */
const VERSIONS_WALKED = 16;

/** What another thread needs to read a sealed memtable. */
export interface SharedMemtable {
  readonly nodes: SharedArrayBuffer;
  readonly arena: SharedArrayBuffer;
  readonly count: number;
  readonly rangeDeletes: readonly RangeDeletesFields[];
}

/** A `RangeDeletes` as structured cloning leaves it. */
type RangeDeletesFields = Pick<RangeDeletes, "starts" | "ends" | "sequences">;

/** What a memtable's entries are in, without them: another one can have it, when nobody reads this one any more. */
export interface MemtableMemory {
  readonly data: MemtableNodes;
  readonly newest: NewestIndex;
}

export class Memtable {
  readonly #data: MemtableNodes;
  #arenaUsed = 0;
  #count = 0;
  #rangeDeletes = NO_SETS;
  #rangeDeleteCount = 0;
  readonly #newest: NewestIndex;
  readonly #list: SkipList;
  /** The order for a thread that may only read; the owner's is the list. */
  #sorted: NodeOrder | undefined;

  /**
   * `capacityBytes`: what it holds before it has to grow, which copies. Memory is taken from the system as it is used.
   * `memory`: that of another memtable, of the same capacity.
   */
  constructor(capacityBytes: number, memory = newMemory(capacityBytes)) {
    this.#data = memory.data;
    this.#newest = memory.newest;
    this.#newest.clear();
    this.#list = new SkipList(this.#data);
  }

  /** A read-only view of a memtable that another thread has sealed, for its cursor: `get` is the owner's. */
  static attach(shared: SharedMemtable): Memtable {
    const table = new Memtable(0);
    const data = table.#data;
    data.nodes = new Int32Array(shared.nodes);
    data.arena = new Uint8Array(shared.arena);
    table.#count = shared.count;
    table.#sorted = new SortedNodes(data, sortedNodes(data, NODE_INTS, shared.count));
    table.#rangeDeletes = shared.rangeDeletes.map(
      ({ starts, ends, sequences }) => new RangeDeletes(starts, ends, sequences),
    );
    return table;
  }

  share(): SharedMemtable {
    return {
      nodes: this.#data.nodes.buffer as SharedArrayBuffer,
      arena: this.#data.arena.buffer as SharedArrayBuffer,
      count: this.#count,
      rangeDeletes: this.#rangeDeletes.map(({ starts, ends, sequences }) => ({ starts, ends, sequences })),
    };
  }

  /** For another memtable, when this one is not used any more. */
  get memory(): MemtableMemory {
    return { data: this.#data, newest: this.#newest };
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
    return (
      this.#arenaUsed +
      this.#count * NODE_INTS * 4 +
      this.#newest.byteLength +
      this.#list.byteLength +
      this.#rangeDeleteCount * RANGE_DELETE_BYTES
    );
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
    this.#reserve(end - start, count);
    const data = this.#data;
    const { arena } = data;
    copyBytes(arena, at, bytes, start, end);
    this.#arenaUsed = at + end - start;
    const newest = this.#newest;
    for (let i = 0; i < count; i++) {
      const keyLength = readU32(arena, at + 1);
      const valueLength = readU32(arena, at + 5);
      const kind = arena[at];
      at += OPERATION_HEADER_BYTES;
      const keyEnd = at + keyLength;
      const valueEnd = keyEnd + valueLength;
      if (kind === OPERATION_DELETE_RANGE) {
        this.#deleteRange(arena.slice(at, keyEnd), arena.slice(keyEnd, valueEnd), sequence + i, keepUpTo);
      } else {
        const hash = xxh32Of(arena, at, keyEnd);
        const slot = newest.slotOf(data, arena, at, keyEnd, hash);
        const before = newest.nodeIn(slot);
        let node = before;
        if (before === 0 || data.sequence(before) <= keepUpTo) {
          node = ++this.#count * NODE_INTS;
          data.nodes[node + OLDER] = before;
          newest.set(slot, hash, node);
        }
        this.#set(node, at, keyLength, kind === OPERATION_DELETE ? -1 : valueLength, sequence + i);
      }
      at = valueEnd;
    }
    assert(at === this.#arenaUsed, `memtable: a batch of ${count} operations ended at ${at}`);
  }

  /**
   * The value of `key` at `sequence` and the time `now`: a view of the arena, valid until that is another memtable's memory;
   * `null` if it is gone, `undefined` if the memtable knows nothing of the key.
   */
  get(key: Uint8Array, sequence: number, now: number): Uint8Array | null | undefined {
    const rangeDelete = this.#rangeDeletes.length === 0 ? 0 : this.newestRangeDelete(key, sequence);
    const data = this.#data;
    let node = this.#newest.find(data, key);
    if (node !== 0 && data.sequence(node) > sequence) node = this.#olderVersion(node, key, sequence);
    if (node === 0) return rangeDelete === 0 ? undefined : null;
    const { nodes, arena } = data;
    const valueLength = nodes[node + VALUE_LENGTH]!;
    if (valueLength < 0 || (rangeDelete !== 0 && data.sequence(node) < rangeDelete)) return null;
    const keyStart = nodes[node + KEY_OFFSET]!;
    let start = keyStart + nodes[node + KEY_LENGTH]!;
    const end = start + valueLength;
    if (arena[keyStart - OPERATION_HEADER_BYTES] === OPERATION_PUT_EXPIRING) {
      if (readU64(arena, start) <= now) return null;
      start += EXPIRY_BYTES;
    }
    return arena.subarray(start, end);
  }

  /** The newest entry of `key`, and the newest deletion of a range over it (0: there is none): for who asks why. */
  newest(key: Uint8Array): { readonly entry: Entry | undefined; readonly rangeDelete: number } {
    const rangeDelete = this.newestRangeDelete(key, SEQUENCE_MAX);
    const node = this.#newest.find(this.#data, key);
    if (node === 0) return { entry: undefined, rangeDelete };
    const entry = new Entry();
    this.#data.read(entry, node);
    return { entry, rangeDelete };
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

  /** For what is in it now. */
  cursor(): Cursor {
    if (this.#sorted !== undefined) return new NodeCursor(this.#data, this.#sorted);
    this.#list.update(this.#count);
    return new NodeCursor(this.#data, this.#list);
  }

  /** The newest version of `key` that is not above `sequence`, or 0. `newest`, a version of it, is above. */
  #olderVersion(newest: number, key: Uint8Array, sequence: number): number {
    const data = this.#data;
    let node = newest;
    for (let step = 0; step < VERSIONS_WALKED; step++) {
      node = data.nodes[node + OLDER]!;
      if (node === 0 || data.sequence(node) <= sequence) return node;
    }
    // In order, the versions of a key follow each other, newest first.
    this.#list.update(this.#count);
    const found = this.#list.atOrAfter(key, sequence);
    return found !== 0 && data.hasKey(found, key, 0, key.length) ? found : 0;
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

  #set(node: number, keyOffset: number, keyLength: number, valueLength: number, sequence: number): void {
    const { nodes } = this.#data;
    nodes[node + KEY_OFFSET] = keyOffset;
    nodes[node + KEY_LENGTH] = keyLength;
    nodes[node + VALUE_LENGTH] = valueLength;
    nodes[node + SEQUENCE_LOW] = sequence | 0;
    nodes[node + SEQUENCE_HIGH] = (sequence / TWO_32) | 0;
  }

  /** Makes room for so many more bytes and entries. */
  #reserve(bytes: number, entries: number): void {
    const data = this.#data;
    const arenaBytes = this.#arenaUsed + bytes;
    if (arenaBytes > data.arena.length) {
      assert(
        arenaBytes <= ARENA_BYTES_MAX,
        `memtable: ${arenaBytes} bytes are more than a memtable can hold`,
      );
      const capacity = Math.min(ARENA_BYTES_MAX, Math.max(arenaBytes, data.arena.length * 2));
      const larger = new Uint8Array(new SharedArrayBuffer(capacity));
      larger.set(data.arena.subarray(0, this.#arenaUsed));
      data.arena = larger;
    }
    const ints = (this.#count + 1 + entries) * NODE_INTS;
    if (ints > data.nodes.length) {
      const larger = new Int32Array(new SharedArrayBuffer(Math.max(ints, data.nodes.length * 2) * 4));
      larger.set(data.nodes.subarray(0, (this.#count + 1) * NODE_INTS));
      data.nodes = larger;
    }
    this.#newest.reserve(entries);
  }
}

function newMemory(capacityBytes: number): MemtableMemory {
  const nodes = new Int32Array(new SharedArrayBuffer(Math.max(1024, capacityBytes >> 2) * 4));
  const arena = new Uint8Array(new SharedArrayBuffer(capacityBytes));
  return { data: new MemtableNodes(nodes, arena), newest: new NewestIndex() };
}
