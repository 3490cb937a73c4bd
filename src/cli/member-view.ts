/** Members and logs of groups, as tables. */
import type { MemberState } from "../../protocol/gossip-messages.ts";
import type { ClusterStatus, GroupLogStatus, NodeStanding, ShardStatus } from "../../protocol/messages.ts";
import { plainTable, type Reply } from "./reply.ts";
import { memberWord } from "./state-word.ts";

interface MemberRow {
  readonly node: string;
  readonly address: string;
  readonly state: MemberState;
  readonly standing: NodeStanding;
  /** In how many groups it votes, and gets copies without a vote. */
  readonly votes: number;
  readonly learns: number;
}

/** To members. Only groups with a leader that answered are counted. */
export function membersReply(status: ClusterStatus): Reply {
  const groups = leadersViews(status);
  const changing = groups.filter(({ outgoing }) => outgoing.length > 0).length;
  const members: MemberRow[] = status.nodes.map(({ id, address, state, standing }) => ({
    node: id,
    address,
    state,
    standing,
    votes: groups.filter(({ voters }) => voters.includes(id)).length,
    learns: groups.filter(({ learners }) => learners.includes(id)).length,
  }));
  return {
    ok: true,
    text: (look) => {
      const table = plainTable(["node", "address", "state", "votes in", "copies without a vote in"], [3, 4]);
      for (const { node, address, state, standing, votes, learns } of members) {
        table.push([node, address, memberWord(state, standing, look), String(votes), String(learns)]);
      }
      const note = changing === 0 ? "" : `; the members of ${changing} are changing`;
      return `${groups.length} groups with a leader, the system group included${note}\n\n${table.toString()}`;
    },
    json: () => ({ groups: groups.length, changing, members }),
  };
}

/** By group: what its leader says of it. */
function leadersViews(status: ClusterStatus): readonly ShardStatus[] {
  const best = new Map<number, ShardStatus>();
  for (const node of status.nodes) {
    for (const view of node.status?.shards ?? []) {
      const known = best.get(view.shard);
      if (view.role === "leader" && (known === undefined || view.term > known.term))
        best.set(view.shard, view);
    }
  }
  return [...best.values()];
}

/** To log. */
export function groupLogReply(log: GroupLogStatus): Reply {
  return {
    ok: true,
    text: () => {
      const table = plainTable(["index", "term", "kind", "bytes", ""], [0, 1, 3]);
      for (const { index, term, kind, bytes } of log.entries) {
        const state = index <= log.appliedIndex ? "applied" : index <= log.commitIndex ? "committed" : "";
        table.push([String(index), String(term), kind, String(bytes), state]);
      }
      return `${facts(log)}\n\n${table.toString()}`;
    },
    json: () => log,
  };
}

function facts(log: GroupLogStatus): string {
  const name = log.shard < 0 ? "system group" : `shard ${log.shard}`;
  const members = [
    `voters ${log.voters.join(", ")}`,
    ...(log.outgoing.length === 0 ? [] : [`in the place of ${log.outgoing.join(", ")}`]),
    ...(log.learners.length === 0 ? [] : [`learners ${log.learners.join(", ")}`]),
  ];
  const replicas = log.replicas.map(
    ({ node, matchIndex, active }) => `${node} has ${matchIndex}${active ? "" : " (silent)"}`,
  );
  const { firstIndex, lastIndex } = log;
  const range =
    firstIndex > lastIndex ? `log empty behind ${lastIndex}` : `log ${firstIndex} to ${lastIndex}`;
  return [
    `${name} on ${log.node}: ${log.role} in term ${log.term}, leader ${log.leader ?? "none"}`,
    `${range}, committed ${log.commitIndex}, applied ${log.appliedIndex}`,
    `${members.join("; ")} (since entry ${log.membersIndex})`,
    ...(replicas.length === 0 ? [] : [replicas.join("; ")]),
  ].join("\n");
}
