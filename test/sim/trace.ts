/** How many of the last events are kept for the report of a run that failed. */
const EVENTS_KEPT = 40;

/**
 * What happened in a run, in order: a hash over all of it, which two runs of one seed have in common, and the events that
 * a person wants to read.
 */
export class Trace {
  readonly #nowMs: () => number;
  readonly #show: ((line: string) => void) | undefined;
  readonly #last: string[] = [];
  #low = 0x9e3779b9;
  #high = 0x85ebca6b;
  #events = 0;

  /** `show` gets every event as a line. */
  constructor(nowMs: () => number, show?: (line: string) => void) {
    this.#nowMs = nowMs;
    this.#show = show;
  }

  /** Whether somebody reads along. */
  get isShown(): boolean {
    return this.#show !== undefined;
  }

  /** How many events there were, those without words included. */
  get events(): number {
    return this.#events;
  }

  /** 16 hexadecimal digits. */
  get hash(): string {
    const word = (part: number): string => (part >>> 0).toString(16).padStart(8, "0");
    return word(this.#high) + word(this.#low);
  }

  /** The last events, as lines. */
  get last(): readonly string[] {
    return this.#last;
  }

  /** Something happened that only counts: a 32-bit number stands for it. */
  mix(number: number): void {
    this.#events++;
    this.#low = Math.imul(this.#low ^ number, 0x01000193);
    this.#high = (Math.imul(this.#high, 31) + (this.#low >>> 15)) | 0;
  }

  /** Something happened that can be told. */
  tell(event: string): void {
    const line = `${this.#nowMs().toFixed(2).padStart(9)}  ${event}`;
    this.mix(Bun.hash.xxHash32(line));
    this.#last.push(line);
    if (this.#last.length > EVENTS_KEPT) this.#last.shift();
    this.#show?.(line);
  }

  /** Something that only those want to know who read along. */
  detail(event: () => string): void {
    if (this.#show !== undefined) this.#show(`${this.#nowMs().toFixed(2).padStart(9)}    ${event()}`);
  }
}
