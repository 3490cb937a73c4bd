/** How a request finds its way in and its answer out, the same for every mode of replication. */
import type { ClientRequest, ClientResponse } from "./messages.ts";

/**
 * Where answers go: one object a connection, so that no closure is made for each request. The response and its bytes
 * are borrowed during the call. Each request is answered exactly once, unless its connection is gone first.
 */
export interface ReplySink {
  reply(requestId: number, response: ClientResponse): void;
}

/**
 * Executes requests. The bytes in a request must stay unchanged until it is answered. An answer may come during the
 * call or in a later turn, in any order.
 */
export interface RequestHandler {
  /**
   * `routing`: what to do with a request that another node must serve. `forward`: send it on (text mode);
   * `redirect`: answer NOT_LEADER with a hint (binary protocol, and requests that were forwarded once already).
   */
  execute(request: ClientRequest, sink: ReplySink, requestId: number, routing: Routing): void;
}

export type Routing = "forward" | "redirect";
