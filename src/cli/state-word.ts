import pc from "picocolors";
import type { MemberState } from "../../protocol/gossip-messages.ts";
import type { NodeStanding } from "../../protocol/messages.ts";
import type { Look } from "./reply.ts";

/** How a node is, in the color of how bad that is. */
export function stateWord(state: MemberState, look: Look): string {
  const { green, red, yellow } = pc.createColors(look.colors);
  const paint = { alive: green, suspect: yellow, dead: red, left: yellow }[state];
  return paint(state);
}

/** The same of a member, and what the cluster has decided about it: `draining`, or `dead, draining`. */
export function memberWord(state: MemberState, standing: NodeStanding, look: Look): string {
  if (standing === "member") return stateWord(state, look);
  const decided = pc.createColors(look.colors).yellow(standing);
  return state === "alive" ? decided : `${stateWord(state, look)}, ${decided}`;
}
