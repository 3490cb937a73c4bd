import { type Cursor, Entry } from "./cursor.ts";
import type { MemtableNodes } from "./memtable-nodes.ts";

/** The nodes of a memtable in the inner order. Places are numbers; 0 is nowhere. */
export interface NodeOrder {
  first(): number;
  last(): number;
  next(place: number): number;
  previous(place: number): number;
  /** The first place at or after (`key`, `sequence`). */
  atOrAfter(key: Uint8Array, sequence: number): number;
  /** The last place whose key is below `key`. */
  before(key: Uint8Array): number;
  nodeAt(place: number): number;
}

/** The order as a list of all nodes, for who reads a memtable once and must not write to it. */
export class SortedNodes implements NodeOrder {
  readonly #source: MemtableNodes;
  readonly #list: Int32Array;

  /** `list`: all nodes, in the inner order. */
  constructor(source: MemtableNodes, list: Int32Array) {
    this.#source = source;
    this.#list = list;
  }

  first(): number {
    return this.next(0);
  }

  last(): number {
    return this.#list.length;
  }

  next(place: number): number {
    return place < this.#list.length ? place + 1 : 0;
  }

  previous(place: number): number {
    return place - 1;
  }

  atOrAfter(key: Uint8Array, sequence: number): number {
    return this.next(this.#countBefore(key, sequence));
  }

  before(key: Uint8Array): number {
    return this.#countBefore(key, Number.MAX_SAFE_INTEGER);
  }

  nodeAt(place: number): number {
    return this.#list[place - 1]!;
  }

  #countBefore(key: Uint8Array, sequence: number): number {
    let low = 0;
    let high = this.#list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#source.isBefore(this.#list[middle]!, key, 0, key.length, sequence)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export class NodeCursor implements Cursor {
  valid = false;
  readonly entry = new Entry();
  #place = 0;
  readonly #source: MemtableNodes;
  readonly #order: NodeOrder;

  constructor(source: MemtableNodes, order: NodeOrder) {
    this.#source = source;
    this.#order = order;
  }

  seekToFirst(): void {
    this.#to(this.#order.first());
  }
  seekToLast(): void {
    this.#to(this.#order.last());
  }
  seek(key: Uint8Array, sequence: number): void {
    this.#to(this.#order.atOrAfter(key, sequence));
  }
  seekBefore(key: Uint8Array): void {
    this.#to(this.#order.before(key));
  }
  next(): void {
    this.#to(this.#order.next(this.#place));
  }
  prev(): void {
    this.#to(this.#order.previous(this.#place));
  }
  #to(place: number): void {
    this.#place = place;
    this.valid = place !== 0;
    if (place !== 0) this.#source.read(this.entry, this.#order.nodeAt(place));
  }
}
