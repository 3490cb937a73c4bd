/**
 * The order of a memtable's entries, for those who read in order: a skip list (Pugh, "Skip Lists: A Probabilistic
 * Alternative to Balanced Trees", 1990) over its nodes, which brings itself up to date when somebody asks.
 *
 * Until then new nodes only wait. Where nobody reads in order, as while a store is filled, they are never linked at all:
 * finding a place among entries that lie all over the memory was most of what a write cost. And those that waited together
 * are sorted first and linked one after the other, each from the place of the one before: that looks at far fewer nodes.
 */
import { KEY_LENGTH, KEY_OFFSET, type MemtableNodes, NEXT, NODE_INTS, TOWER } from "./memtable-nodes.ts";
import type { NodeOrder } from "./node-order.ts";
import { NodeSamples } from "./node-samples.ts";
import { sortedNodes } from "./node-sort.ts";

const HEIGHT_MAX = 12;
/** The head is node 0, whose tower comes first. 0 is the end of every level, too. */
const HEAD = 0;
const FIRST_TOWER = HEIGHT_MAX - 1;
/** When more wait than this part of what is linked, all are linked anew. */
const ANEW_FROM = 1 / 4;
/** After so many steps from a sample, many nodes must have come behind it: then the towers lead there sooner. */
const STEPS_FROM_SAMPLE = 24;

export class SkipList implements NodeOrder {
  readonly #source: MemtableNodes;
  /** The links of levels 1 and up, of the nodes that have them. */
  #towers = new Int32Array(256);
  #towersUsed = FIRST_TOWER;
  #height = 1;
  /** Linked nodes, the first so many that came. */
  #linked = 0;
  readonly #samples = new NodeSamples();
  #random = 0x2545f491;
  /** On each level the last node before the place of the latest search for a place. */
  readonly #before = new Int32Array(HEIGHT_MAX);

  constructor(source: MemtableNodes) {
    this.#source = source;
    // The nodes may have been another memtable's.
    source.nodes[HEAD + NEXT] = 0;
    source.nodes[HEAD + TOWER] = 0;
  }

  get byteLength(): number {
    return (this.#towersUsed - FIRST_TOWER) * 4 + this.#samples.byteLength;
  }

  /** Links all of the memtable's first `count` nodes that are not. */
  update(count: number): void {
    const waiting = count - this.#linked;
    if (waiting === 0) return;
    const anew = waiting > this.#linked * ANEW_FROM;
    const from = anew ? 0 : this.#linked;
    const list = sortedNodes(this.#source, (from + 1) * NODE_INTS, count - from);
    if (anew) this.#linkAll(list);
    else this.#linkAmong(list);
    this.#linked = count;
  }

  first(): number {
    return this.#source.nodes[HEAD + NEXT]!;
  }

  last(): number {
    let at = HEAD;
    for (let level = this.#height - 1; level >= 0; level--) {
      for (let next = this.#next(at, level); next !== 0; next = this.#next(at, level)) at = next;
    }
    return at;
  }

  next(node: number): number {
    return this.#source.nodes[node + NEXT]!;
  }

  previous(node: number): number {
    const { nodes, arena } = this.#source;
    const keyStart = nodes[node + KEY_OFFSET]!;
    return this.#lastBefore(
      arena,
      keyStart,
      keyStart + nodes[node + KEY_LENGTH]!,
      this.#source.sequence(node),
    );
  }

  atOrAfter(key: Uint8Array, sequence: number): number {
    return this.next(this.#lastBefore(key, 0, key.length, sequence));
  }

  before(key: Uint8Array): number {
    return this.#lastBefore(key, 0, key.length, Number.MAX_SAFE_INTEGER);
  }

  nodeAt(place: number): number {
    return place;
  }

  #next(node: number, level: number): number {
    const { nodes } = this.#source;
    return level === 0 ? nodes[node + NEXT]! : this.#towers[nodes[node + TOWER]! + level - 1]!;
  }

  #link(node: number, next: number, level: number): void {
    const { nodes } = this.#source;
    if (level === 0) nodes[node + NEXT] = next;
    else this.#towers[nodes[node + TOWER]! + level - 1] = next;
  }

  /** The last node before (`key[start, end)`, `sequence`). */
  #lastBefore(key: Uint8Array, start: number, end: number, sequence: number): number {
    let at = this.#samples.before(key, start, end);
    if (at !== HEAD) {
      for (let step = 0; step < STEPS_FROM_SAMPLE; step++) {
        const next = this.#next(at, 0);
        if (next === 0 || !this.#source.isBefore(next, key, start, end, sequence)) return at;
        at = next;
      }
      at = HEAD;
    }
    // Where the walk stood last, so that it isn't compared again on the level below.
    let known = 0;
    for (let level = this.#height - 1; level >= 0; level--) {
      for (;;) {
        const next = this.#next(at, level);
        if (next === 0 || next === known) break;
        if (!this.#source.isBefore(next, key, start, end, sequence)) {
          known = next;
          break;
        }
        at = next;
      }
    }
    return at;
  }

  /** Begins the list again, with all nodes, sorted. */
  #linkAll(list: Int32Array): void {
    this.#samples.take(this.#source, list);
    this.#towers.fill(0, 0, FIRST_TOWER);
    this.#towersUsed = FIRST_TOWER;
    this.#height = 1;
    const last = this.#before.fill(HEAD);
    for (const node of list) {
      const height = this.#newTower(node);
      for (let level = 0; level < height; level++) {
        this.#link(last[level]!, node, level);
        last[level] = node;
      }
    }
    this.#link(last[0]!, 0, 0);
  }

  /** Links more nodes, sorted, among those that are linked. */
  #linkAmong(list: Int32Array): void {
    const before = this.#before;
    const top = this.#height - 1;
    before.fill(HEAD);
    this.#search(list[0]!, HEAD, top);
    for (let i = 0; ; ) {
      const node = list[i]!;
      const height = this.#newTower(node);
      for (let level = 0; level < height; level++) {
        this.#link(node, this.#next(before[level]!, level), level);
        this.#link(before[level]!, node, level);
        before[level] = node;
      }
      if (++i === list.length) return;
      this.#searchOnwards(list[i]!);
    }
  }

  /** Finds the place of a node that is not before the latest one: up as far as there is way to go, then down. */
  #searchOnwards(node: number): void {
    const before = this.#before;
    let level = 0;
    let at = HEAD;
    for (; level < this.#height; level++) {
      const next = this.#next(before[level]!, level);
      if (next === 0 || !this.#source.isNodeBefore(next, node)) break;
      at = next;
    }
    if (level > 0) this.#search(node, at, level - 1);
  }

  /** Finds the last nodes before a node on `level` and below; `from` is before it. */
  #search(node: number, from: number, level: number): void {
    const before = this.#before;
    let at = from;
    let known = 0;
    for (let l = level; l >= 0; l--) {
      for (;;) {
        const next = this.#next(at, l);
        if (next === 0 || next === known) break;
        if (!this.#source.isNodeBefore(next, node)) {
          known = next;
          break;
        }
        at = next;
      }
      before[l] = at;
    }
  }

  /** Gives a node its height and room for its links. */
  #newTower(node: number): number {
    const height = this.#randomHeight();
    if (height > this.#height) this.#height = height;
    if (height === 1) return 1;
    const tower = this.#towersUsed;
    this.#towersUsed += height - 1;
    if (this.#towersUsed > this.#towers.length) {
      const larger = new Int32Array(this.#towers.length * 2);
      larger.set(this.#towers);
      this.#towers = larger;
    }
    this.#towers.fill(0, tower, this.#towersUsed);
    this.#source.nodes[node + TOWER] = tower;
    return height;
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
}
