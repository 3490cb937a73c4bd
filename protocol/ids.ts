/**
 * The kinds of numbers and names that must not be mixed up, and the only casts to them. The brands vanish at run time.
 */
declare const brand: unique symbol;
type Brand<Base, Name extends string> = Base & { readonly [brand]: Name };

/** Who a node is: `n1`. 1 to 64 characters of `A-Z a-z 0-9 . _ -`. */
export type NodeId = Brand<string, "NodeId">;
/** Which Raft group: 0 is the system group, `shard + 1` the group of that shard. Below 2^16. */
export type GroupId = Brand<number, "GroupId">;
/** Which shard: 0 up to the cluster's number of shards. */
export type ShardId = Brand<number, "ShardId">;
/**
 * Which keyspace: numbered from 1 as they are created, and no number is used again. The default one has none: where a
 * request may name a keyspace, `undefined` stands for it.
 */
export type KeyspaceId = Brand<number, "KeyspaceId">;
/** A Raft term (Raft §5.1): starts at 0, which no leader ever has. */
export type Term = Brand<number, "Term">;
/** A place in a Raft log: the first entry has 1; 0 is before it. */
export type LogIndex = Brand<number, "LogIndex">;

const KEYSPACE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** The keyspace that there always is. */
export const DEFAULT_KEYSPACE = "default";

/** What a keyspace can be called: 1 to 64 characters of `A-Z a-z 0-9 . _ -`, the first a letter or a digit. */
export function isKeyspaceName(text: string): boolean {
  return KEYSPACE_NAME.test(text);
}

const NODE_ID = /^[A-Za-z0-9._-]{1,64}$/;

export function isNodeId(text: string): text is NodeId {
  return NODE_ID.test(text);
}
/** Brands a name that is known to be one (from a checked config or a checked handshake). */
export const nodeId = (text: string): NodeId => text as NodeId;
export const groupId = (value: number): GroupId => value as GroupId;
export const shardId = (value: number): ShardId => value as ShardId;
export const keyspaceId = (value: number): KeyspaceId => value as KeyspaceId;
export const term = (value: number): Term => value as Term;
export const logIndex = (value: number): LogIndex => value as LogIndex;

export const SYSTEM_GROUP = groupId(0);
export const TERM_ZERO = term(0);
export const INDEX_ZERO = logIndex(0);

export const groupOfShard = (shard: ShardId): GroupId => groupId(shard + 1);
export const shardOfGroup = (group: GroupId): ShardId => shardId(group - 1);
export const nextTerm = (value: Term): Term => term(value + 1);
/** The index `by` places after `index` (before it where `by` is negative). */
export const indexPlus = (index: LogIndex, by: number): LogIndex => logIndex(index + by);
