import type { KeyspaceId } from "../../protocol/ids.ts";
import type { InKeyspace } from "../../protocol/messages.ts";
import type { Answer, Outgoing, Route } from "./call.ts";

/** Runs requests on keys, in one keyspace. */
export interface KeyRunner {
  /** How many shards there are. */
  readonly shards: number;
  run<T>(request: Outgoing, answer: Answer<T>, route: Route): Promise<T>;
}

/** Names a keyspace in every request that goes through it. What runs them knows the default one only. */
export class KeyspaceRunner implements KeyRunner {
  readonly #runner: KeyRunner;
  readonly #keyspace: KeyspaceId;

  constructor(runner: KeyRunner, keyspace: KeyspaceId) {
    this.#runner = runner;
    this.#keyspace = keyspace;
  }

  get shards(): number {
    return this.#runner.shards;
  }

  run<T>(request: Outgoing, answer: Answer<T>, route: Route): Promise<T> {
    // It is the caller's own object, made for this: a copy would cost more than the field.
    (request as { -readonly [Field in keyof InKeyspace]: InKeyspace[Field] }).keyspace = this.#keyspace;
    return this.#runner.run(request, answer, route);
  }
}
