import pc from "picocolors";
import type { MemberState } from "../../protocol/gossip-messages.ts";
import type { Look } from "./reply.ts";

/** How a node is, in the color of how bad that is. */
export function stateWord(state: MemberState, look: Look): string {
  const { green, red, yellow } = pc.createColors(look.colors);
  const paint = { alive: green, suspect: yellow, dead: red, left: yellow }[state];
  return paint(state);
}
