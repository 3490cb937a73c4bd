import type { ClientResponse } from "../../protocol/messages.ts";
import type { RespWriter } from "../../protocol/resp.ts";
import type { TextSession } from "./text-command.ts";
import { errorText } from "./text-errors.ts";

/** The reply of a command that gathers for a while: what it has gathered counts against its connection until it ends. */
export class GrowingReply {
  readonly #session: TextSession;
  readonly #slot: number;
  #bytes = 0;

  constructor(session: TextSession, slot: number) {
    this.#session = session;
    this.#slot = slot;
  }

  /** `bytes` more were gathered. `false`: that is too much, and the command has ended with an error; `advice` says what to do. */
  grow(bytes: number, advice: string): boolean {
    this.#bytes += bytes;
    if (this.#session.hold(bytes)) return true;
    this.#end();
    this.#session.error(this.#slot, `ERR ${this.#session.tooMuchHeld}; ${advice}`);
    return false;
  }

  /** Ends the command with the error that `response` is, or with one that says that it was not expected. */
  fail(response: ClientResponse): void {
    this.#end();
    this.#session.error(this.#slot, errorText(response));
  }

  /** Ends the command with what `write` writes. */
  finish(write: (writer: RespWriter) => void): void {
    this.#end();
    write(this.#session.begin(this.#slot));
    this.#session.end(this.#slot);
  }

  #end(): void {
    this.#session.hold(-this.#bytes);
  }
}
