import type { GroupId, NodeId } from "../../protocol/ids.ts";
import type { Shard } from "./shard.ts";

/** How long a member must have been connected before leadership moves back to it. */
const STEADY_MS = 2000;
/** How long a leadership stays where it was moved on demand. */
export const HELD_MS = 300_000;
/** Most leaderships that one node gives away in one round, so that clients meet few redirects at a time. */
const TRANSFERS_MAX = 4;

/** In which order nodes should lead a group, the first one of its voters before the others; nobody, where nothing is known. */
export type LeaderPreference = (group: GroupId) => readonly NodeId[];

/**
 * Spreads leaders over the members: every group prefers one of its voters, as the cluster's facts say or, while there are none,
 * in turn. The preferred one campaigns first where a replica begins, and whoever else leads hands over once the preferred one
 * is back and has the whole log.
 */
export class LeaderPlan {
  readonly #self: NodeId;
  readonly #settleMs: number;
  readonly #connectedSinceMs = new Map<NodeId, number>();
  /** Replicas that began, and when: each may campaign once. */
  readonly #young = new Map<Shard, number>();
  /** Until when groups stay that this node was given on demand. */
  readonly #held = new Map<Shard, number>();

  readonly #preference: LeaderPreference;

  /** `settleMs`: how long after a majority of a group was connected its preferred member campaigns. */
  constructor(self: NodeId, settleMs: number, preference: LeaderPreference) {
    this.#self = self;
    this.#preference = preference;
    this.#settleMs = settleMs;
  }

  /** A replica begins here. */
  added(shard: Shard, nowMs: number): void {
    this.#young.set(shard, nowMs);
  }

  removed(shard: Shard): void {
    this.#young.delete(shard);
    this.#held.delete(shard);
  }

  connected(node: NodeId, nowMs: number): void {
    this.#connectedSinceMs.set(node, nowMs);
  }

  disconnected(node: NodeId): void {
    this.#connectedSinceMs.delete(node);
    for (const shard of this.#held.keys()) if (this.#preferred(shard) === node) this.#held.delete(shard);
  }

  /** Somebody wants this node to lead the group: it stays here for a while, or until the preferred member goes. */
  hold(shard: Shard, nowMs: number): void {
    this.#held.set(shard, nowMs + HELD_MS);
  }

  /** The groups that should campaign now: once after they began, those that prefer this node and have found no leader. */
  toCampaign(nowMs: number): readonly Shard[] {
    if (this.#young.size === 0) return [];
    const campaigners: Shard[] = [];
    for (const [shard, addedMs] of this.#young) {
      const dueMs = this.#dueMs(shard, addedMs);
      if (shard.leader === undefined && nowMs < dueMs) continue;
      this.#young.delete(shard);
      if (shard.leader === undefined && this.#preferred(shard) === this.#self) campaigners.push(shard);
    }
    return campaigners;
  }

  /** The groups that this node leads and should hand to the member that they prefer. */
  toTransfer(
    shards: readonly Shard[],
    nowMs: number,
  ): readonly { readonly shard: Shard; readonly to: NodeId }[] {
    const transfers: { shard: Shard; to: NodeId }[] = [];
    for (const shard of shards) {
      if (!shard.isLeader || transfers.length === TRANSFERS_MAX) continue;
      const to = this.#preferred(shard);
      if (to === undefined || to === this.#self) continue;
      const sinceMs = this.#connectedSinceMs.get(to);
      if (sinceMs === undefined || nowMs < sinceMs + STEADY_MS) continue;
      if (nowMs < (this.#held.get(shard) ?? 0)) continue;
      if (shard.caughtUpMembers().includes(to)) transfers.push({ shard, to });
    }
    return transfers;
  }

  /** When this node and those voters that it is connected with have been a majority for long enough. */
  #dueMs(shard: Shard, addedMs: number): number {
    const { voters } = shard.members;
    if (voters.length <= 1) return addedMs;
    const others = voters.filter((voter) => voter !== this.#self);
    const sinceMs = others
      .map((voter) => this.#connectedSinceMs.get(voter) ?? Number.POSITIVE_INFINITY)
      .sort((a, b) => a - b);
    const needed = Math.floor(voters.length / 2);
    return Math.max(addedMs, sinceMs[needed - 1]!) + this.#settleMs;
  }

  /** Who should lead a group: one of its voters; nobody where it has none yet. */
  #preferred(shard: Shard): NodeId | undefined {
    const { voters } = shard.members;
    const first = this.#preference(shard.group).find((node) => voters.includes(node));
    return first ?? voters[shard.group % voters.length];
  }
}
