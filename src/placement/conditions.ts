import type { RingNode } from "./failure-domains.ts";

/** A node with all that decisions about it depend on. */
export interface ConditionedNode extends RingNode {
  /** It is draining or removed: it should end up with nothing. */
  readonly isLeaving: boolean;
  /** Who is `down` is silent; who is `lost` has been for so long that it is replaced where it can be. */
  readonly health: "up" | "down" | "lost";
}

/** Nodes that should hold something. */
export function isWanted(node: ConditionedNode): boolean {
  return !node.isLeaving && node.health !== "lost";
}

/** By id, which is the order in which everybody looks at them. */
export function byId<T extends RingNode>(nodes: readonly T[]): readonly T[] {
  return [...nodes].sort((a, b) => (a.id < b.id ? -1 : 1));
}
