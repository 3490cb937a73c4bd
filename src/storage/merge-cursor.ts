import { type Cursor, compareEntries, compareEntryKey, NO_ENTRY, SEQUENCE_MAX } from "./cursor.ts";

/**
 * Several cursors as one, in inner order: a binary heap of those that are at an entry. An entry may come twice, from a
 * memtable and from the table that was just made of it; the readers above go by keys, and don't mind.
 */
export class MergeCursor implements Cursor {
  valid = false;
  entry = NO_ENTRY;
  readonly #sources: readonly Cursor[];
  readonly #heap: Cursor[] = [];
  /** 1: the heap's top is the smallest entry; -1: the largest. */
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
    this.#heap[0]!.next();
    this.#advanced();
  }

  /** Only after a `seekBefore`, a `seekToLast` or a `prev`. */
  prev(): void {
    this.#heap[0]!.prev();
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
    this.#publish();
  }

  #advanced(): void {
    const heap = this.#heap;
    if (!heap[0]!.valid) {
      const last = heap.pop()!;
      if (heap.length > 0) heap[0] = last;
    }
    this.#siftDown(0);
    this.#publish();
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

  #publish(): void {
    const top = this.#heap[0];
    this.valid = top !== undefined;
    if (top !== undefined) this.entry = top.entry;
  }
}
