import { INDEX_ZERO, TERM_ZERO } from "../../../protocol/ids.ts";
import type { RaftMessage } from "../../../protocol/peer-messages.ts";
import type { HardState, Output } from "../types.ts";
import { MemoryLog } from "./memory-log.ts";

/** One log write that is on its way to the disk, and the messages that wait for it. */
interface Write {
  readonly output: Output;
  readonly messages: RaftMessage[];
}

/** What a write that became durable sets free. */
export interface Synced {
  readonly output: Output;
  readonly messages: readonly RaftMessage[];
}

export const NEW_HARD_STATE: HardState = { term: TERM_ZERO, votedFor: undefined, commit: INDEX_ZERO };

/**
 * A disk that remembers what was synced and forgets the rest: `log` is what a running node reads back, `durableLog` and
 * `durableState` are what a crash leaves.
 */
export class MemoryDisk {
  log = new MemoryLog();
  durableLog = new MemoryLog();
  durableState: HardState = NEW_HARD_STATE;
  #writes: Write[] = [];

  /** How many writes are on their way. */
  get pending(): number {
    return this.#writes.length;
  }

  /** Writes an Output's log part. What may leave already, because nothing that was written is still on its way. */
  write(output: Output): readonly RaftMessage[] {
    const { install, hardState, entries } = output;
    if (install !== undefined) this.log.restart(install.index, install.term, install.membership);
    this.log.append(entries);
    if (install !== undefined || hardState !== undefined || entries.length > 0) {
      this.#writes.push({ output, messages: [...output.messagesAfterSync] });
      return [];
    }
    const last = this.#writes.at(-1);
    if (last === undefined) return output.messagesAfterSync;
    last.messages.push(...output.messagesAfterSync);
    return [];
  }

  /** The oldest write becomes durable. */
  sync(): Synced | undefined {
    const write = this.#writes.shift();
    if (write === undefined) return undefined;
    const { install, hardState, entries } = write.output;
    if (install !== undefined) this.durableLog.restart(install.index, install.term, install.membership);
    this.durableLog.append(entries);
    if (hardState !== undefined) this.durableState = hardState;
    return write;
  }

  /** The node dies. Some of the writes that were on their way, `survivors` of them, made it to the disk all the same. */
  crash(survivors: number): void {
    for (let i = 0; i < survivors; i++) this.sync();
    this.#writes = [];
    this.log = this.durableLog.copy();
  }
}
