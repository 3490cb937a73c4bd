/** Which replicas are on their way to other nodes, and which will be. */
import type { PlacementStatus } from "../../protocol/messages.ts";
import { plainTable, type Reply } from "./reply.ts";
import { bytes, duration, percent } from "./status-view.ts";

/** Most moves that a person is shown. */
const SHOWN_MAX = 40;
const NONE = "-";

/** To rebalance. */
export function placementReply(placement: PlacementStatus): Reply {
  return { ok: true, text: () => textOf(placement), json: () => placement };
}

function textOf(placement: PlacementStatus): string {
  const { underWay, toCome, bytes: all, seconds } = placement;
  const moves = [...underWay, ...toCome];
  if (moves.length === 0) return `${nodesTable(placement)}\n\nevery replica is where it belongs`;
  const table = plainTable(["shard", "from", "to", "about", "why"], [0, 3]);
  for (const { shard, remove, add, bytes: size, reason } of moves.slice(0, SHOWN_MAX)) {
    table.push([String(shard), remove ?? NONE, add ?? NONE, bytes(size), reason ?? "under way"]);
  }
  const more = moves.length > SHOWN_MAX ? [`and ${moves.length - SHOWN_MAX} more`] : [];
  const sum =
    `${underWay.length} under way, ${toCome.length} to come: ` +
    `about ${bytes(all)} in ${duration(seconds * 1000)}`;
  return `${nodesTable(placement)}\n\n${[table.toString(), ...more, sum].join("\n")}`;
}

/** What each node gets of all that is moved. */
function nodesTable({ nodes, underWay, toCome }: PlacementStatus): string {
  const table = plainTable(["node", "standing", "of the ring", "gets", "gives"], [2, 3, 4]);
  const moves = [...underWay, ...toCome];
  for (const { id, state, ring } of nodes) {
    const gets = moves.filter(({ add }) => add === id).length;
    const gives = moves.filter(({ remove }) => remove === id).length;
    table.push([id, state, percent(ring), String(gets), String(gives)]);
  }
  return table.toString();
}
