import type { Env } from "../env/env.ts";
import { isDiskFull } from "../shard/log-store.ts";
import { type Identity, writeIdentity } from "./identity.ts";

/** What a running node has written beside its data of who it is and what it knows of its cluster. */
export class KeptIdentity {
  readonly #env: Pick<Env, "fs" | "log">;
  readonly #directory: string;
  readonly #onFatal: (error: Error) => void;
  #written: Identity;

  /** `written`: what the file holds. */
  constructor(
    env: Pick<Env, "fs" | "log">,
    directory: string,
    written: Identity,
    onFatal: (error: Error) => void,
  ) {
    this.#env = env;
    this.#directory = directory;
    this.#written = written;
    this.#onFatal = onFatal;
  }

  get written(): Identity {
    return this.#written;
  }

  /** Writes what is new, durably. False: the disk is full; that is no reason to stop, it is to be tried again. */
  write(news: Partial<Pick<Identity, "facts" | "founding">>): boolean {
    const identity = { ...this.#written, ...news };
    try {
      writeIdentity(this.#env.fs, this.#directory, identity);
      this.#written = identity;
      return true;
    } catch (error) {
      if (!isDiskFull(error)) this.#onFatal(error as Error);
      else this.#env.log.warn("what is known of the cluster could not be written beside the data", { error });
      return false;
    }
  }
}
