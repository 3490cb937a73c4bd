/**
 * Whether a store can work: what refuses everything (it was closed, or a disk fault is final), what refuses writes for a
 * while (a full disk), and who waits for that to change.
 *
 * A full disk is survived: writes are refused until there is space again. A failed sync is not: nobody can say what is
 * on the disk, and nothing works after it.
 */
import type { Clock, FileSystem, Log, Timer } from "../env/env.ts";
import { TEMPORARY_SUFFIX } from "./file-names.ts";
import { isDiskFull, messageOf, StorageError } from "./storage-error.ts";

/** Written to see whether a full disk has space again. */
const PROBE_BYTES = 64 * 1024;

export interface HealthOptions {
  /** After how many milliseconds a full disk is tried again. */
  readonly retryMs: number;
  /** Called when the disk is full: gives back space that is only kept for later. Must not throw. */
  readonly makeRoom: () => void;
  /** Called once, when a disk fault has made it impossible to go on. */
  readonly onFatal: (error: Error) => void;
}

export class StoreHealth {
  readonly #fs: FileSystem;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #directory: string;
  readonly #options: HealthOptions;
  #closing = false;
  #refusal: StorageError | undefined;
  #failure: StorageError | undefined;
  /** Why the log, and why tables, can't be written now. */
  #logFull: string | undefined;
  #tablesFull: string | undefined;
  #probing: Promise<void> | undefined;
  #waiting: (() => void)[] = [];

  constructor(
    env: { readonly fs: FileSystem; readonly clock: Clock; readonly log: Log },
    directory: string,
    options: HealthOptions,
  ) {
    this.#fs = env.fs;
    this.#clock = env.clock;
    this.#log = env.log;
    this.#directory = directory;
    this.#options = options;
  }

  get closing(): boolean {
    return this.#closing;
  }

  /** Why nothing works any more: closed, or failed. */
  get refusal(): StorageError | undefined {
    return this.#refusal;
  }

  /** The disk fault that ended everything. */
  get failure(): StorageError | undefined {
    return this.#failure;
  }

  /** Why writes are refused now, or `undefined`. */
  get readOnlyReason(): string | undefined {
    return this.#logFull ?? this.#tablesFull;
  }

  /** Throws if the store has failed. */
  checkAlive(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Throws if writes can't be taken now: `FAILED`, `READ_ONLY`. */
  checkWritable(): void {
    this.checkAlive();
    const reason = this.readOnlyReason;
    if (reason !== undefined) throw new StorageError("READ_ONLY", reason);
  }

  /** From now on everything is refused; what waits goes on. */
  close(): void {
    this.#closing = true;
    this.#refusal ??= new StorageError("CLOSED", `the store in ${this.#directory} is closed`);
    this.wake();
  }

  /** Settles when nothing is being tried any more, after `close`. */
  async settled(): Promise<void> {
    await this.#probing;
  }

  /** The end: everything is refused from now on. Returns what it is refused with. */
  fail(error: unknown): StorageError {
    if (this.#failure !== undefined) return this.#failure;
    const failure = new StorageError(
      "FAILED",
      `the store in ${this.#directory} can't go on, the process has to end: ${messageOf(error)}`,
      { cause: error },
    );
    this.#failure = failure;
    this.#refusal = failure;
    this.wake();
    this.#log.error("storage failed", { directory: this.#directory, error: messageOf(error) });
    this.#options.onFatal(failure);
    return failure;
  }

  /** The disk has no space for a table or the manifest: writes are refused until `tablesWritten`. */
  tablesFull(what: string, error: unknown): void {
    this.#tablesFull = this.#full(what, error, this.#tablesFull);
  }

  tablesWritten(): void {
    this.#tablesFull = this.#writable("tables", this.#tablesFull);
  }

  /** The disk has no space for the log: writes are refused until there is some. Returns what a writer is told. */
  logFull(error: unknown): StorageError {
    this.#logFull = this.#full("the log can't be written", error, this.#logFull);
    this.#probing ??= this.#probeSpace();
    return new StorageError("READ_ONLY", this.#logFull, { cause: error });
  }

  /** Lets everybody who waits for a change look again. */
  wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  /** Settles at the next `wake`. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  delay(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.timer(delayMs, resolve);
    });
  }

  /** Waits until a full disk should be tried again; ends early when the store is closed or has failed. */
  retryDelay(): Promise<void> {
    if (this.#refusal !== undefined) return Promise.resolve();
    return new Promise((resolve) => {
      let timer: Timer | undefined;
      const wake = (): void => {
        if (this.#refusal === undefined) {
          this.#waiting.push(wake);
          return;
        }
        timer?.cancel();
        resolve();
      };
      timer = this.#clock.timer(this.#options.retryMs, () => {
        this.#waiting = this.#waiting.filter((other) => other !== wake);
        resolve();
      });
      this.#waiting.push(wake);
    });
  }

  /** Tries again and again whether something can be written, until it can. */
  async #probeSpace(): Promise<void> {
    const path = `${this.#directory}/PROBE${TEMPORARY_SUFFIX}`;
    while (this.#logFull !== undefined && this.#refusal === undefined) {
      await this.retryDelay();
      try {
        const handle = this.#fs.open(path, "create");
        try {
          handle.write(new Uint8Array(PROBE_BYTES), 0, PROBE_BYTES, 0);
        } finally {
          handle.close();
          this.#fs.remove(path);
        }
        this.#logFull = this.#writable("the log", this.#logFull);
      } catch (error) {
        if (!isDiskFull(error)) this.fail(error);
      }
    }
    this.#probing = undefined;
  }

  #full(what: string, error: unknown, before: string | undefined): string {
    const reason = `${what}: ${messageOf(error)}`;
    this.#options.makeRoom();
    if (before === undefined) this.#log.warn("storage is read-only", { directory: this.#directory, reason });
    return reason;
  }

  #writable(what: string, before: string | undefined): undefined {
    if (before !== undefined)
      this.#log.info("storage takes writes again", { directory: this.#directory, what });
    return undefined;
  }
}
