import { type GossipOptions, suspicionMs } from "./options.ts";

/** How many times longer than the shortest a suspicion lasts that nobody can share. */
const ALONE_FACTOR = 1.5;

/**
 * How long a suspicion lasts before it is a death (Lifeguard §IV.B). A suspect that only one node has found silent gets
 * much time, since that node may be the slow one; each further node that finds it silent by itself cuts the rest, the first
 * ones most. `suspectors`: how many nodes there are behind it; `nodes`: how many there are in all, this one, the suspect and no dead ones
 * included.
 */
export function suspicionTimeoutMs(options: GossipOptions, nodes: number, suspectors: number): number {
  const shortest = suspicionMs(options, nodes);
  const longest = shortest * options.suspicionFactor;
  // The suspect itself will not confirm, and the first to suspect it is no confirmation.
  const wanted = Math.min(options.confirmations, nodes - 2);
  // There is nobody else: all rests on one path between two nodes, which must not be in a hurry.
  if (wanted <= 0) return shortest * ALONE_FACTOR;
  const confirmations = Math.min(wanted, suspectors - 1);
  return longest - (longest - shortest) * (Math.log(confirmations + 1) / Math.log(wanted + 1));
}
