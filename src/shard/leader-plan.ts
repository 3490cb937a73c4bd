import type { NodeId } from "../../protocol/ids.ts";
import type { Shard } from "./shard.ts";

/** How long a member must have been connected before leadership moves back to it. */
const STEADY_MS = 2000;
/** How long a leadership stays where it was moved on demand. */
export const HELD_MS = 300_000;
/** Most leaderships that one node gives away in one round, so that clients meet few redirects at a time. */
const TRANSFERS_MAX = 4;

/**
 * Spreads leaders over the members: every group prefers one of them, in turn. The preferred member campaigns first when a
 * cluster starts, and whoever else leads hands over once the preferred one is back and has the whole log.
 */
export class LeaderPlan {
  readonly #self: NodeId;
  #members: readonly NodeId[];
  readonly #settleMs: number;
  readonly #connectedSinceMs = new Map<NodeId, number>();
  /** Until when groups stay that this node was given on demand. */
  readonly #held = new Map<Shard, number>();
  #majoritySinceMs: number | undefined;
  #campaigned = false;

  constructor(self: NodeId, members: readonly NodeId[], settleMs: number) {
    this.#self = self;
    this.#members = members;
    this.#settleMs = members.length === 1 ? 0 : settleMs;
    this.#noteMajority(Number.NEGATIVE_INFINITY);
  }

  /** Those who can lead are others now. */
  membersChanged(members: readonly NodeId[]): void {
    this.#members = members;
  }

  connected(node: NodeId, nowMs: number): void {
    this.#connectedSinceMs.set(node, nowMs);
    this.#noteMajority(nowMs);
  }

  disconnected(node: NodeId): void {
    this.#connectedSinceMs.delete(node);
    for (const shard of this.#held.keys()) if (this.#preferred(shard) === node) this.#held.delete(shard);
  }

  /** Somebody wants this node to lead the group: it stays here for a while, or until the preferred member goes. */
  hold(shard: Shard, nowMs: number): void {
    this.#held.set(shard, nowMs + HELD_MS);
  }

  /** The groups that should campaign now: once after the start, those that prefer this node and have found no leader. */
  toCampaign(shards: readonly Shard[], nowMs: number): readonly Shard[] {
    if (this.#campaigned || this.#majoritySinceMs === undefined) return [];
    if (nowMs < this.#majoritySinceMs + this.#settleMs) return [];
    this.#campaigned = true;
    return shards.filter((shard) => shard.leader === undefined && this.#preferred(shard) === this.#self);
  }

  /** The groups that this node leads and should hand to the member that they prefer. */
  toTransfer(
    shards: readonly Shard[],
    nowMs: number,
  ): readonly { readonly shard: Shard; readonly to: NodeId }[] {
    const transfers: { shard: Shard; to: NodeId }[] = [];
    for (const shard of shards) {
      const to = this.#preferred(shard);
      if (!shard.isLeader || to === this.#self || transfers.length === TRANSFERS_MAX) continue;
      const sinceMs = this.#connectedSinceMs.get(to);
      if (sinceMs === undefined || nowMs < sinceMs + STEADY_MS) continue;
      if (nowMs < (this.#held.get(shard) ?? 0)) continue;
      if (shard.caughtUpMembers().includes(to)) transfers.push({ shard, to });
    }
    return transfers;
  }

  #preferred(shard: Shard): NodeId {
    return this.#members[shard.group % this.#members.length]!;
  }

  #noteMajority(nowMs: number): void {
    if (this.#connectedSinceMs.size + 1 > this.#members.length / 2) this.#majoritySinceMs ??= nowMs;
  }
}
