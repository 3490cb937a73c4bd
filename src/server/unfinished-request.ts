/** Watches a request of which the beginning has arrived: its rest has to follow. */
export class UnfinishedRequest {
  readonly #stallMsMax: number;
  #bytes = 0;
  #sinceMs = 0;

  /** `stallMsMax`: how long nothing more of a request may come. */
  constructor(stallMsMax: number) {
    this.#stallMsMax = stallMsMax;
  }

  /** Why the connection has to be cut, if it has to. `bytes`: what there is of the request now, 0 between requests. */
  verdict(nowMs: number, bytes: number): string | undefined {
    if (bytes === 0 || bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#sinceMs = nowMs;
      return undefined;
    }
    const stalledMs = nowMs - this.#sinceMs;
    if (stalledMs <= this.#stallMsMax) return undefined;
    return `${bytes} bytes of a request came, and nothing of its rest for ${Math.round(stalledMs)} ms`;
  }
}
