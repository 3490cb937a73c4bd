import type { ReplySink } from "../../protocol/handler.ts";
import type { ClientRequest, ClientResponse } from "../../protocol/messages.ts";
import type { RespWriter } from "../../protocol/resp.ts";
import type { TextSession } from "./text-command.ts";
import { errorText } from "./text-errors.ts";
import { asAskedBy } from "./text-routes.ts";

export interface GatherSteps {
  /** The request for the `index`th key. */
  request(index: number): ClientRequest;
  /**
   * Takes its response, borrowed during the call: the bytes that the reply grows by, or `undefined` if the response is
   * not of the kind that was expected.
   */
  collect(index: number, response: ClientResponse): number | undefined;
  /** Writes the reply, once all responses are there. */
  write(writer: RespWriter): void;
}

/**
 * A command over many keys, as one request for each. They may lie in different shards, so such a command is not atomic;
 * after an error some of its writes may have happened and others not.
 */
export class Gather implements ReplySink {
  readonly #session: TextSession;
  readonly #slot: number;
  readonly #count: number;
  readonly #steps: GatherSteps;
  #asked = 0;
  #underWay = 0;
  #bytes = 0;
  #failure: string | undefined;
  #asking = false;

  constructor(session: TextSession, slot: number, count: number, steps: GatherSteps) {
    this.#session = session;
    this.#slot = slot;
    this.#count = count;
    this.#steps = steps;
    this.#ask();
  }

  reply(index: number, response: ClientResponse): void {
    this.#underWay--;
    const bytes = this.#steps.collect(index, response);
    if (bytes === undefined) {
      this.#failure ??= errorText(response);
    } else {
      this.#bytes += bytes;
      if (!this.#session.hold(bytes)) this.#failure ??= `ERR ${this.#session.tooMuchHeld}`;
    }
    if (this.#underWay > 0 || this.#asking) return;
    if (this.#asked === this.#count || this.#failure !== undefined) this.#finish();
    // The handler is not called from within its own answer.
    else this.#session.clients.env.clock.endOfTurn(() => this.#ask());
  }

  /** Hands over as many requests as one connection may have under way. */
  #ask(): void {
    const { handler, limits } = this.#session.clients;
    this.#asking = true;
    while (
      this.#asked < this.#count &&
      this.#underWay < limits.requestsInFlightMax &&
      this.#failure === undefined
    ) {
      this.#underWay++;
      const index = this.#asked++;
      handler.execute(asAskedBy(this.#session, this.#steps.request(index)), this, index, "forward");
    }
    this.#asking = false;
    if (this.#underWay === 0) this.#finish();
  }

  #finish(): void {
    this.#session.hold(-this.#bytes);
    const writer = this.#session.begin(this.#slot);
    if (this.#failure !== undefined) writer.error(this.#failure);
    else this.#steps.write(writer);
    this.#session.end(this.#slot);
  }
}
