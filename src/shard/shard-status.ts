import type { GroupId, LogIndex } from "../../protocol/ids.ts";
import type { ShardStatus } from "../../protocol/messages.ts";
import type { RaftStatus } from "../raft/types.ts";

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
