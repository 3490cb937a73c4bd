import type { Levels } from "./levels.ts";
import type { ManifestState, ManifestWriter, TableMeta } from "./manifest.ts";
import { isDiskFull } from "./storage-error.ts";

/** How far the tables reach: the highest sequence number in them, and the last log record. */
export interface Flushed {
  readonly lastSequence: number;
  readonly flushedRecord: number;
}

/** What the catalog needs of the engine. */
export interface CatalogHost {
  /** The disk is full: settles when it should be tried again, rejects with `error` if it should not. */
  retryAfter(error: unknown): Promise<void>;
  /** Throws if the engine has failed: then nothing is written any more. */
  checkAlive(): void;
}

/**
 * Which tables the store has, on disk (the manifest) and for readers (the levels), and the numbers that go with them.
 * A change is durable before it is visible, and one at a time.
 */
export class Catalog {
  readonly #manifest: ManifestWriter;
  readonly #levels: Levels;
  readonly #manifestBytes: number;
  readonly #host: CatalogHost;
  #nextFileNumber: number;
  #flushed: Flushed;
  /** The latest change; the next one waits for it. */
  #turn: Promise<void> = Promise.resolve();

  /** `manifestBytes`: how long the manifest may get before a new one replaces it. */
  constructor(
    manifest: ManifestWriter,
    levels: Levels,
    state: ManifestState,
    manifestBytes: number,
    host: CatalogHost,
  ) {
    this.#manifest = manifest;
    this.#levels = levels;
    this.#manifestBytes = manifestBytes;
    this.#host = host;
    this.#nextFileNumber = state.nextFileNumber;
    this.#flushed = state;
  }

  get flushedRecord(): number {
    return this.#flushed.flushedRecord;
  }

  /** What the manifest says: the last change that is visible. */
  get state(): ManifestState {
    const { lastSequence, flushedRecord } = this.#flushed;
    const tables = this.#levels.metas.flat();
    return { nextFileNumber: this.#nextFileNumber, lastSequence, flushedRecord, tables };
  }

  /** A number that no file ever had. */
  newFileNumber(): number {
    return this.#nextFileNumber++;
  }

  /**
   * Makes a change of the tables durable, then visible; `flushed` moves how far they reach. Waits as long as the disk is
   * full. Rejects with `FAILED` after a failed sync.
   */
  change(added: readonly TableMeta[], removed: readonly number[], flushed?: Flushed): Promise<void> {
    const change = this.#turn.then(() => this.#change(added, removed, flushed));
    // A change that failed has told its caller; the next one finds out by itself.
    this.#turn = change.catch(() => {});
    return change;
  }

  /** Before `close`, when nothing changes any more. What fails here does no harm. */
  async vouch(): Promise<void> {
    try {
      await this.#manifest.vouch(this.state);
    } catch {
      // Every edit that counts was synced before.
    }
  }

  close(): void {
    this.#manifest.close();
  }

  async #change(
    added: readonly TableMeta[],
    removed: readonly number[],
    flushed: Flushed = this.#flushed,
  ): Promise<void> {
    for (;;) {
      this.#host.checkAlive();
      try {
        if (this.#manifest.mustBeReplaced) await this.#manifest.replace(this.newFileNumber(), this.state);
        const { lastSequence, flushedRecord } = flushed;
        const nextFileNumber = this.#nextFileNumber;
        await this.#manifest.append({ nextFileNumber, lastSequence, flushedRecord, added, removed });
        break;
      } catch (error) {
        if (!isDiskFull(error)) throw error;
        await this.#host.retryAfter(error);
      }
    }
    this.#flushed = flushed;
    this.#levels.change(added, removed);
    if (this.#manifest.size >= this.#manifestBytes) await this.#replaceManifest();
  }

  async #replaceManifest(): Promise<void> {
    const number = this.newFileNumber();
    try {
      await this.#manifest.replace(number, this.state);
    } catch (error) {
      // The old one still counts, and the next change tries again.
      if (!isDiskFull(error)) throw error;
    }
  }
}
