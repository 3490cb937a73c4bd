/** What the server knows of one accepted connection, whichever protocol it turned out to speak. */
export interface Served {
  /** What there is of a client's request that has not arrived as a whole. */
  readonly unfinishedBytes: number;
  /** `bytes` belongs to the receiver. */
  received(bytes: Uint8Array): void;
  /** All that was sent is with the operating system. */
  drained(): void;
  /** The other side will send no more. */
  ended(): void;
  /** The connection is gone. */
  closed(): void;
  /** Looks at deadlines; called every `sweepMs`. */
  sweep(nowMs: number): void;
  /** Takes no more requests, answers what is under way, then finishes. */
  stop(): void;
}
