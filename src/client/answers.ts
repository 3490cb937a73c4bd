/** For each kind of answer: what the caller gets of it. */
import type {
  ClientResponse,
  ClusterStatus,
  GroupLogStatus,
  JoinedCluster,
  KeyExplanation,
  KeyValue,
  NodeStatus,
  PlacementStatus,
  Topology,
} from "../../protocol/messages.ts";
import { fromUtf8 } from "../lib/bytes.ts";
import type { Answer } from "./call.ts";

/** A snapshot, and where it is scanned. */
export interface OpenedSnapshot {
  readonly snapshot: number;
  readonly address: string;
}

type Response<Kind extends ClientResponse["kind"]> = Extract<ClientResponse, { kind: Kind }>;

function answer<Kind extends ClientResponse["kind"], T>(
  kind: Kind,
  pick: (response: Response<Kind>) => T,
): Answer<T> {
  // The runner picks from a response only after it has compared the kinds.
  return { kind, pick: pick as (response: ClientResponse) => T };
}

export const PONG = answer("pong", () => undefined);
export const BOOLEAN = answer("boolean", ({ value }) => value);
export const INTEGER = answer("integer", ({ value }) => value);
export const VALUE = answer("value", ({ value }) => (value === undefined ? undefined : owned(value)));
export const TEXT = answer("value", ({ value }) => (value === undefined ? undefined : fromUtf8(value)));
export const ENTRIES = answer("entries", ({ entries, more }) => ({ entries: entries.map(ownedEntry), more }));
export const TOPOLOGY = answer<"topology", Topology>("topology", ({ topology }) => topology);
/** The same of a cluster that is founded, which has shards: until then it is asked again. */
export const SHARDED_TOPOLOGY = answer<"topology", Topology>("topology", ({ topology }) => topology);
export const NODE_STATUS = answer<"nodeStatus", NodeStatus>("nodeStatus", ({ status }) => status);
export const EXPLANATION = answer<"explanation", KeyExplanation>(
  "explanation",
  ({ explanation }) => explanation,
);
export const GROUP_LOG = answer<"groupLog", GroupLogStatus>("groupLog", ({ log }) => log);
export const KEYSPACES = answer("keyspaces", ({ keyspaces }) => keyspaces);
export const JOINED = answer<"joined", JoinedCluster>("joined", ({ cluster }) => cluster);
/** To rebalance. */
export const PLACEMENT = answer<"placement", PlacementStatus>("placement", ({ placement }) => placement);
export const CLUSTER_STATUS = answer<"clusterStatus", ClusterStatus>("clusterStatus", ({ status }) => status);
/** To ttl. */
export const TIME = answer("integer", ({ value }) => {
  if (value < -1n) return undefined;
  return value < 0n ? Number.POSITIVE_INFINITY : Number(value);
});
/** To openSnapshot. */
export const SNAPSHOT = answer<"snapshot", OpenedSnapshot>("snapshot", ({ snapshot, address }) => ({
  snapshot,
  address,
}));
/** To openSession. */
export const SESSION = answer("integer", ({ value }) => Number(value));

const ownedEntry = (entry: KeyValue): KeyValue => ({ key: owned(entry.key), value: owned(entry.value) });

/** Answers are views of what arrived together: a copy keeps a caller's small value from holding on to all of that. */
function owned(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength * 2 > bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
}
