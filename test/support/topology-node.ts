import type { NodeId } from "../../protocol/ids.ts";
import type { TopologyNode } from "../../protocol/messages.ts";

/** A node as a topology has it, of which there is nothing more to say. */
export function topologyNode(id: NodeId, address: string): TopologyNode {
  return { id, address, labels: {}, standing: "member", isUp: true };
}
