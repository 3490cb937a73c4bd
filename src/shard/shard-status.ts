import { type GroupId, indexPlus, type LogIndex, logIndex, type NodeId } from "../../protocol/ids.ts";
import type { GroupLogStatus, ShardStatus } from "../../protocol/messages.ts";
import type { RaftCore, RaftStatus } from "../raft/types.ts";
import type { GroupLog } from "./group-log.ts";

/** What a replica says of itself, as the protocol has it. */
export function shardStatus(group: GroupId, status: RaftStatus, appliedIndex: LogIndex): ShardStatus {
  return {
    ...status.membership.configuration,
    shard: group - 1,
    role: status.role,
    leader: status.leader ?? null,
    term: status.term,
    lastIndex: status.lastIndex,
    commitIndex: status.commitIndex,
    appliedIndex,
    replicas: status.replicas.map(({ node, matchIndex, active }) => ({ node, matchIndex, active })),
  };
}

/** What a replica says of its log, with the last `limit` entries; `log`: `undefined` while there is none. */
export function logStatus(
  status: ShardStatus,
  core: Pick<RaftCore, "lastIndex" | "membership">,
  log: Pick<GroupLog, "firstIndex" | "lastIndex" | "describe"> | undefined,
  limit: number,
): Omit<GroupLogStatus, "node"> {
  const end = indexPlus((log ?? core).lastIndex, 1);
  const firstIndex = log?.firstIndex ?? end;
  const entries = log?.describe(logIndex(Math.max(firstIndex, end - limit)), end) ?? [];
  return { ...status, firstIndex, membersIndex: core.membership.index, entries };
}

/** Other members that vote, have all that the leader knows to be committed, and are heard from. */
export function caughtUp({ replicas, commitIndex }: RaftStatus): NodeId[] {
  return replicas.filter((r) => r.votes && r.active && r.matchIndex >= commitIndex).map((r) => r.node);
}
