import { keyHead } from "./key-head.ts";
import { KEY_LENGTH, KEY_OFFSET, type MemtableNodes } from "./memtable-nodes.ts";

/** One in so many nodes is a sample. */
const SAMPLE_EVERY = 4;

/**
 * Where to begin a search among a memtable's nodes: some of them, in order, with four bytes of each one's key, behind what
 * all keys begin with. A search here stays within some hundred kilobytes; every node that a skip list looks at on its way
 * is two places in tens of megabytes. What comes later is not among them, and they are as right as before without it.
 */
export class NodeSamples {
  #nodes = new Int32Array(0);
  #heads = new Uint32Array(0);
  #prefix = new Uint8Array(0);

  get byteLength(): number {
    return this.#nodes.length * 8;
  }

  /** Takes samples of `list`, which is in order. */
  take(source: MemtableNodes, list: Int32Array): void {
    const { nodes, arena } = source;
    const count = Math.floor(list.length / SAMPLE_EVERY);
    this.#nodes = new Int32Array(count);
    this.#heads = new Uint32Array(count);
    if (count === 0) return;
    const first = list[SAMPLE_EVERY - 1]!;
    const last = list[count * SAMPLE_EVERY - 1]!;
    const firstAt = nodes[first + KEY_OFFSET]!;
    const lastAt = nodes[last + KEY_OFFSET]!;
    const end = Math.min(nodes[first + KEY_LENGTH]!, nodes[last + KEY_LENGTH]!);
    let prefix = 0;
    while (prefix < end && arena[firstAt + prefix] === arena[lastAt + prefix]) prefix++;
    this.#prefix = arena.slice(firstAt, firstAt + prefix);
    for (let i = 0; i < count; i++) {
      const node = list[(i + 1) * SAMPLE_EVERY - 1]!;
      const start = nodes[node + KEY_OFFSET]!;
      this.#nodes[i] = node;
      this.#heads[i] = keyHead(arena, start + prefix, start + nodes[node + KEY_LENGTH]!);
    }
  }

  /** The last sample that is before `key[start, end)` by its first bytes, or 0. */
  before(key: Uint8Array, start: number, end: number): number {
    const prefix = this.#prefix;
    const rest = start + prefix.length;
    if (rest > end) return 0;
    for (let i = 0; i < prefix.length; i++) if (key[start + i] !== prefix[i]) return 0;
    const sought = keyHead(key, rest, end);
    const heads = this.#heads;
    let low = 0;
    let high = heads.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (heads[middle]! < sought) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? 0 : this.#nodes[low - 1]!;
  }
}
