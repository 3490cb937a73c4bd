import type { ErrorName } from "../../protocol/errors.ts";
import {
  chooseVersion,
  encodePreambleReply,
  PREAMBLE_FIRST_BYTE,
  PROTOCOL_VERSION,
  parsePreamble,
} from "../../protocol/preamble.ts";
import type { Connection, Log } from "../env/env.ts";
import { concatBytes } from "../lib/bytes.ts";
import type { Served } from "./served.ts";

/**
 * Where a guest goes once it has said what it is. Each method hands the connection over to what it returns; `undefined`:
 * it was refused, and told so.
 */
export interface Doors {
  /** `deadlineMs`: when the first whole command must have come, on the monotonic clock. */
  admitText(connection: Connection, deadlineMs: number): Served | undefined;
  admitClient(connection: Connection): Served | undefined;
  admitPeer(connection: Connection): Served | undefined;
}

/** A new connection that has not said yet what it is. It may send a few bytes, and not take long about it. */
export class Guest implements Served {
  readonly #connection: Connection;
  readonly #log: Log;
  readonly #deadlineMs: number;
  readonly #doors: Doors;
  #bytes: Uint8Array = new Uint8Array(0);

  constructor(connection: Connection, log: Log, deadlineMs: number, doors: Doors) {
    this.#connection = connection;
    this.#log = log;
    this.#deadlineMs = deadlineMs;
    this.#doors = doors;
  }

  get unfinishedBytes(): number {
    return this.#bytes.length;
  }

  received(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const seen = this.#bytes.length === 0 ? bytes : concatBytes([this.#bytes, bytes]);
    if (seen[0] !== PREAMBLE_FIRST_BYTE) {
      this.#doors.admitText(this.#connection, this.#deadlineMs)?.received(seen);
      return;
    }
    const preamble = parsePreamble(seen, 0);
    if (preamble.kind === "incomplete") {
      this.#bytes = seen;
      return;
    }
    if (preamble.kind === "malformed") {
      this.#refuse("BAD_FRAME", preamble.message);
      return;
    }
    const version = chooseVersion(preamble.low, preamble.high);
    if (version === undefined) {
      this.#refuse(
        "UNSUPPORTED_VERSION",
        `this node speaks version ${PROTOCOL_VERSION}, the caller ${preamble.low} to ${preamble.high}`,
      );
      return;
    }
    this.#connection.send(encodePreambleReply(undefined, version));
    const served =
      preamble.role === "client"
        ? this.#doors.admitClient(this.#connection)
        : this.#doors.admitPeer(this.#connection);
    if (seen.length > preamble.length) served?.received(seen.subarray(preamble.length));
  }

  drained(): void {}

  ended(): void {
    this.#connection.finish();
  }

  closed(): void {}

  sweep(nowMs: number): void {
    if (nowMs < this.#deadlineMs) return;
    this.#log.info("closed a connection that did not say what it is", {
      remote: this.#connection.remote,
      bytes: this.#bytes.length,
    });
    this.#connection.destroy();
  }

  stop(): void {
    this.#connection.finish();
  }

  #refuse(error: ErrorName, message: string): void {
    this.#log.warn("refused a connection", { remote: this.#connection.remote, error, reason: message });
    this.#connection.send(encodePreambleReply(error, 0, message));
    this.#connection.finish();
  }
}
