/**
 * Sorts a memtable's nodes. The first bytes in which the keys differ are packed, with the place in the list, into 64-bit
 * numbers, which the machine sorts faster than it could look at the keys; those that agree in these bytes are sorted by
 * the next ones (a radix sort from the most significant digit on, with very large digits).
 */
import { KEY_LENGTH, KEY_OFFSET, type MemtableNodes, NODE_INTS } from "./memtable-nodes.ts";

/** So few are compared one by one. */
const FEW = 12;
/** So many keys are looked at to see what all share. */
const SAMPLES = 64;

/** The nodes from `first` on, `count` of them, which came in this order, in the inner order. */
export function sortedNodes(source: MemtableNodes, first: number, count: number): Int32Array {
  const list = new Int32Array(count);
  for (let i = 0; i < count; i++) list[i] = first + i * NODE_INTS;
  if (count > FEW) new NodeSort(source, list).sort(0, count, 0);
  else sortFew(source, list, 0, count, 0);
  return list;
}

class NodeSort {
  readonly #source: MemtableNodes;
  readonly #list: Int32Array;
  readonly #numbers: BigUint64Array;
  /** The same, as low and high halves, in the order of all machines that Bun runs on. */
  readonly #halves: Uint32Array;
  readonly #copy: Int32Array;
  /** Whether a key ends where the packed bytes begin. */
  #isAnyEnding = false;

  constructor(source: MemtableNodes, list: Int32Array) {
    this.#source = source;
    this.#list = list;
    this.#numbers = new BigUint64Array(list.length);
    this.#halves = new Uint32Array(this.#numbers.buffer);
    this.#copy = new Int32Array(list.length);
  }

  /** Sorts `list[start, end)`, whose keys share `known` bytes at least, and which is in the order of coming. */
  sort(start: number, end: number, known: number): void {
    let from = start;
    let shared = known;
    for (;;) {
      if (end - from <= FEW) {
        sortFew(this.#source, this.#list, from, end, shared);
        return;
      }
      shared = this.#pack(from, end, shared);
      if (!this.#isAnyEnding) break;
      // Keys that end there are equal, and before all others.
      const longer = this.#endingFirst(from, end, shared);
      this.#list.subarray(from, longer).reverse();
      from = longer;
    }
    this.#sortPacked(from, end, shared);
  }

  /**
   * Packs the bytes behind those that all keys of `list[start, end)` share, and returns how many these are: `known` at
   * least. What a few keys share all are likely to share, and the keys, which lie far apart, are looked at once.
   */
  #pack(start: number, end: number, known: number): number {
    const step = Math.max(1, Math.floor((end - start) / SAMPLES));
    const guess = this.#sharedBytes(start, end, known, step);
    if (this.#tryPack(start, end, known, guess)) return guess;
    const shared = this.#sharedBytes(start, end, known, 1);
    this.#tryPack(start, end, shared, shared);
    return shared;
  }

  /** Packs the bytes behind the first `shared` ones, which all keys have to share, or returns false. */
  #tryPack(start: number, end: number, known: number, shared: number): boolean {
    const { nodes, arena } = this.#source;
    const list = this.#list;
    const count = end - start;
    const mask = indexMask(count);
    const halves = this.#halves;
    const first = nodes[list[start]! + KEY_OFFSET]!;
    let isAnyEnding = false;
    for (let i = 0; i < count; i++) {
      const node = list[start + i]!;
      const offset = nodes[node + KEY_OFFSET]!;
      const rest = nodes[node + KEY_LENGTH]! - shared;
      if (rest <= 0) {
        if (rest < 0) return false;
        isAnyEnding = true;
      }
      for (let b = known; b < shared; b++) if (arena[offset + b] !== arena[first + b]) return false;
      const at = offset + shared;
      let high: number;
      let low: number;
      if (rest >= 8) {
        high = (arena[at]! << 24) | (arena[at + 1]! << 16) | (arena[at + 2]! << 8) | arena[at + 3]!;
        low = (arena[at + 4]! << 24) | (arena[at + 5]! << 16) | (arena[at + 6]! << 8) | arena[at + 7]!;
      } else {
        high = 0;
        low = 0;
        for (let b = 0; b < 4; b++) high = (high << 8) | (b < rest ? arena[at + b]! : 0);
        for (let b = 4; b < 8; b++) low = (low << 8) | (b < rest ? arena[at + b]! : 0);
      }
      halves[2 * (start + i)] = (low & ~mask) | i;
      halves[2 * (start + i) + 1] = high;
    }
    this.#isAnyEnding = isAnyEnding;
    return true;
  }

  /** Sorts by the packed bytes, the first of which differs, then by the bytes behind them. */
  #sortPacked(start: number, end: number, shared: number): void {
    const list = this.#list;
    const count = end - start;
    const mask = indexMask(count);
    const halves = this.#halves.subarray(2 * start, 2 * end);
    this.#numbers.subarray(start, end).sort();
    const copy = this.#copy;
    for (let i = start; i < end; i++) copy[i] = list[i]!;
    for (let i = 0; i < count; i++) list[start + i] = copy[start + (halves[2 * i]! & mask)]!;
    // Sorting a group overwrites what was packed of its keys, but not what was of later ones.
    let group = 0;
    for (let i = 1; i <= count; i++) {
      if (
        i < count &&
        halves[2 * i + 1] === halves[2 * group + 1] &&
        ((halves[2 * i]! ^ halves[2 * group]!) & ~mask) === 0
      )
        continue;
      if (i - group > 1) this.sort(start + group, start + i, shared);
      group = i;
    }
  }

  /** How many first bytes every `step`-th key of `list[start, end)` shares with the others. */
  #sharedBytes(start: number, end: number, known: number, step: number): number {
    const { nodes, arena } = this.#source;
    const list = this.#list;
    const first = nodes[list[start]! + KEY_OFFSET]!;
    let shared = nodes[list[start]! + KEY_LENGTH]!;
    for (let i = start + step; i < end && shared > known; i += step) {
      const offset = nodes[list[i]! + KEY_OFFSET]!;
      const most = Math.min(shared, nodes[list[i]! + KEY_LENGTH]!);
      let at = known;
      while (at < most && arena[first + at] === arena[offset + at]) at++;
      shared = at;
    }
    return shared;
  }

  /** Moves the nodes whose keys are `length` long to the front, keeping the order otherwise; returns where the others begin. */
  #endingFirst(start: number, end: number, length: number): number {
    const { nodes } = this.#source;
    const list = this.#list;
    const copy = this.#copy;
    let ending = start;
    let others = 0;
    for (let i = start; i < end; i++) {
      const node = list[i]!;
      if (nodes[node + KEY_LENGTH] === length) list[ending++] = node;
      else copy[start + others++] = node;
    }
    if (ending > start) for (let i = 0; i < others; i++) list[ending + i] = copy[start + i]!;
    return ending;
  }
}

/** The bits of a packed number that tell which of `count` nodes it is. */
function indexMask(count: number): number {
  return 2 ** Math.ceil(Math.log2(count)) - 1;
}

/** Sorts by insertion. */
function sortFew(source: MemtableNodes, list: Int32Array, start: number, end: number, shared: number): void {
  for (let i = start + 1; i < end; i++) {
    const node = list[i]!;
    let at = i;
    while (at > start && source.isNodeBefore(node, list[at - 1]!, shared)) {
      list[at] = list[at - 1]!;
      at--;
    }
    list[at] = node;
  }
}
