import type { EngineIterator } from "./engine.ts";

/** A key and its value, owned by whoever asked for them. */
export type KeyValue = [key: Uint8Array, value: Uint8Array];

/**
 * The entries of a scan, one after the other, each owned by the caller. An object of its own rather than a generator, which
 * costs more for each entry.
 */
export class Scan implements IterableIterator<KeyValue, undefined>, Disposable {
  readonly #open: () => EngineIterator;
  #iterator: EngineIterator | undefined;
  #ended = false;

  /** `open`: what gives the position in the store; called when the first entry is asked for, so that an unused scan pins nothing. */
  constructor(open: () => EngineIterator) {
    this.#open = open;
  }

  next(): IteratorResult<KeyValue, undefined> {
    if (this.#ended) return { done: true, value: undefined };
    this.#iterator ??= this.#open();
    const iterator = this.#iterator;
    if (!iterator.next()) return this.return();
    const { keyBytes, keyStart, keyEnd, valueBytes, valueStart, valueEnd } = iterator;
    return {
      done: false,
      value: [keyBytes.slice(keyStart, keyEnd), valueBytes.slice(valueStart, valueEnd)],
    };
  }

  /** Ends the scan, and lets go of what it reads. */
  return(): IteratorResult<KeyValue, undefined> {
    this.#ended = true;
    this.#iterator?.close();
    this.#iterator = undefined;
    return { done: true, value: undefined };
  }

  [Symbol.iterator](): this {
    return this;
  }

  [Symbol.dispose](): void {
    this.return();
  }
}

/** The same for `for await`. */
export class AsyncScan implements AsyncIterableIterator<KeyValue, undefined>, AsyncDisposable {
  readonly #scan: Scan;

  constructor(scan: Scan) {
    this.#scan = scan;
  }

  async next(): Promise<IteratorResult<KeyValue, undefined>> {
    return this.#scan.next();
  }

  /** Ends the scan, and lets go of what it reads. */
  async return(): Promise<IteratorResult<KeyValue, undefined>> {
    return this.#scan.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#scan.return();
  }
}
