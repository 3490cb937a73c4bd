import type { ErrorName } from "../../protocol/errors.ts";
import type { ClientRequest, ClientResponse } from "../../protocol/messages.ts";
import type { Timer } from "../env/env.ts";
import type { NodeConnection } from "./connection.ts";
import type { Deadlined } from "./deadlines.ts";
import type { ShardSession } from "./session.ts";

/** Which response answers a request, and what its caller gets of it. */
export interface Answer<T> {
  readonly kind: ClientResponse["kind"];
  pick(response: ClientResponse): T;
}

/** A request whose stamp the session fills in, in place: a copy of each write would cost more than the stamp. */
export type Outgoing<R extends ClientRequest = ClientRequest> = { -readonly [Field in keyof R]: R[Field] };

/**
 * Where a request has to go. `slot`: to the leader of the slot's shard; `any`: to whichever node; `address`: to that node
 * and no other.
 */
export type Route = { readonly slot: number } | { readonly address: string } | "any";

/** One request from the caller's call to its promise: the object that all parts of the client pass around. */
export class Call implements Deadlined {
  readonly request: Outgoing;
  readonly answer: Answer<unknown>;
  /** -1: any node. */
  readonly slot: number;
  /** The only node to ask, where the caller named one. */
  readonly address: string | undefined;
  /** Whether it changes data, so that sending it twice could matter. */
  readonly isWrite: boolean;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;

  deadlineMs = 0;
  earlier: Deadlined | undefined = undefined;
  later: Deadlined | undefined = undefined;

  /** Set while the call is on its way over a connection. */
  connection: NodeConnection | undefined = undefined;
  requestId = 0;
  /** The session that stamps it; `undefined` for reads and where sessions are off. */
  session: ShardSession | undefined = undefined;
  settled = false;
  attempts = 0;
  redirects = 0;
  /** An earlier attempt reached a node, and nobody knows what came of it. */
  mayHaveHappened = false;
  /** The wait before the next attempt. */
  backoff: Timer | undefined = undefined;
  /** How the last attempt failed, and what that is called. */
  problem = "";
  problemCode: ErrorName = "UNAVAILABLE";

  constructor(
    request: Outgoing,
    answer: Answer<unknown>,
    route: Route,
    resolve: (value: unknown) => void,
    reject: (error: Error) => void,
  ) {
    this.request = request;
    this.answer = answer;
    this.slot = route !== "any" && "slot" in route ? route.slot : -1;
    this.address = route !== "any" && "address" in route ? route.address : undefined;
    this.isWrite = "stamp" in request;
    this.resolve = resolve;
    this.reject = reject;
  }
}
