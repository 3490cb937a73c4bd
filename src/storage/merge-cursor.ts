import { type Cursor, compareEntries, compareEntryKey, NO_ENTRY, SEQUENCE_MAX } from "./cursor.ts";

/**
 * Several cursors as one, in inner order: the one at the first entry, and a binary heap of the others that are at one. Most
 * entries of a store are in one large source, so most steps compare the next one with the first of the heap, and that
 * is all. An entry may come twice, from a memtable and from the table that was just made of it; the readers above go by
 * keys, and don't mind.
 */
export class MergeCursor implements Cursor {
  valid = false;
  entry = NO_ENTRY;
  readonly #sources: readonly Cursor[];
  #top: Cursor | undefined;
  readonly #heap: Cursor[] = [];
  /** 1: the smallest entry comes first; -1: the largest. */
  #direction = 1;

  constructor(sources: readonly Cursor[]) {
    this.#sources = sources;
  }

  seekToFirst(): void {
    for (const source of this.#sources) source.seekToFirst();
    this.#rebuild(1);
  }

  seekToLast(): void {
    for (const source of this.#sources) source.seekToLast();
    this.#rebuild(-1);
  }

  seek(key: Uint8Array, sequence: number): void {
    for (const source of this.#sources) source.seek(key, sequence);
    this.#rebuild(1);
  }

  seekBefore(key: Uint8Array): void {
    for (const source of this.#sources) source.seekBefore(key);
    this.#rebuild(-1);
  }

  /** Only after a `seek`, a `seekToFirst` or a `next`: the direction of a merge is not changed on the way. */
  next(): void {
    this.#top!.next();
    this.#advanced();
  }

  /** Only after a `seekBefore`, a `seekToLast` or a `prev`. */
  prev(): void {
    this.#top!.prev();
    this.#advanced();
  }

  /** On the way forwards: the sources `[from, to)` go on at `key`, unless they are there already. */
  leapTo(from: number, to: number, key: Uint8Array): void {
    for (let i = from; i < to; i++) {
      const source = this.#sources[i]!;
      if (source.valid && compareEntryKey(source.entry, key) < 0) source.seek(key, SEQUENCE_MAX);
    }
    this.#rebuild(1);
  }

  /** On the way back: the sources `[from, to)` go on before `key`, unless they are there already. */
  leapBefore(from: number, to: number, key: Uint8Array): void {
    for (let i = from; i < to; i++) {
      const source = this.#sources[i]!;
      if (source.valid && compareEntryKey(source.entry, key) >= 0) source.seekBefore(key);
    }
    this.#rebuild(-1);
  }

  #rebuild(direction: 1 | -1): void {
    const heap = this.#heap;
    heap.length = 0;
    for (const source of this.#sources) if (source.valid) heap.push(source);
    this.#direction = direction;
    for (let i = (heap.length >> 1) - 1; i >= 0; i--) this.#siftDown(i);
    this.#takeTop();
  }

  #advanced(): void {
    const top = this.#top!;
    const first = this.#heap[0];
    if (!top.valid) {
      this.#takeTop();
    } else if (first === undefined || compareEntries(first.entry, top.entry) * this.#direction >= 0) {
      this.entry = top.entry;
    } else {
      this.#heap[0] = top;
      this.#siftDown(0);
      this.#top = first;
      this.entry = first.entry;
    }
  }

  /** Makes the heap's first the top. */
  #takeTop(): void {
    const heap = this.#heap;
    const top = heap[0];
    this.#top = top;
    this.valid = top !== undefined;
    if (top === undefined) return;
    this.entry = top.entry;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    heap[0] = last;
    this.#siftDown(0);
  }

  #siftDown(from: number): void {
    const heap = this.#heap;
    const direction = this.#direction;
    let at = from;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= heap.length) return;
      const right = left + 1;
      const child =
        right < heap.length && compareEntries(heap[right]!.entry, heap[left]!.entry) * direction < 0
          ? right
          : left;
      if (compareEntries(heap[child]!.entry, heap[at]!.entry) * direction >= 0) return;
      const moved = heap[at]!;
      heap[at] = heap[child]!;
      heap[child] = moved;
      at = child;
    }
  }
}
