/**
 * The client library, as a program imports it from `flotilla`:
 *
 * ```ts
 * const client = await connect({ addresses: ["127.0.0.1:7001"] });
 * await client.put("greeting", "hello");
 * await client.getText("greeting"); // "hello"
 * client.close();
 * ```
 *
 * It keeps one connection to each node that it needs and a topology of who leads which shard (`topology-cache.ts`), sends
 * each request straight to the leader, follows redirects, and retries whatever is safe until the request's deadline
 * (`request-runner.ts`). Writes are numbered in sessions, so that a retry happens once (`session.ts`). What a request
 * costs beside its promise is a stamp, an entry in a table and its bytes in the one buffer that a turn of the loop sends
 * (`connection.ts`).
 *
 * The topology comes again whenever it has changed, from one node that is asked to send it; what that node does not know
 * yet, redirects tell.
 */
export type { Keyspace, KeyspaceMode } from "../../protocol/messages.ts";
export { parseAddress } from "../lib/address.ts";
export type { Bytes } from "./bytes.ts";
export type {
  BatchOptions,
  Client,
  ClientOptions,
  ReadOptions,
} from "./cluster-client.ts";
export { connect } from "./connect.ts";
export type { ExpiryOptions, PutOptions } from "./deadline.ts";
export { FlotillaError, type Outcome } from "./errors.ts";
export type { ClientCounts } from "./request-runner.ts";
export type { ScanOptions, SnapshotOptions } from "./scan.ts";
