/**
 * What an operator wishes of one node's part in a shard: that it has a copy without a vote, gets a vote, gives it up, or has
 * nothing of the shard. Like the moves of the plan these are changes of wishes, from which the shard's leader goes on by itself.
 *
 * A shard keeps as many voters as it should have. Who gets a vote takes the place of one who leaves or is lost, or else of the one
 * that has most beside its share; who gives one up is replaced in the same change, or keeps it. Where votes are after that is
 * placement's again, which evens them out; the wish for a copy stays until it is promoted or removed, also where its node has to
 * vote for a while because nobody else can.
 */
import type { NodeId } from "../../protocol/ids.ts";
import { isWanted } from "./conditions.ts";
import { type HeldSet, isAlive, isMoving, type PlacementView, type PlanShard } from "./plan.ts";
import { resizedSets } from "./ring.ts";

export type WishAction = "add" | "promote" | "demote" | "remove";

export interface Wish {
  readonly action: WishAction;
  readonly node: NodeId;
  /**
   * `undefined`: every shard; where `node` has no part in one there is nothing to change, other than with `add`. `remove` takes
   * only copies without a vote then: a node that gives all its votes away drains, or it would be given some again.
   */
  readonly shard: number | undefined;
}

export interface WishedSet {
  readonly shard: number;
  readonly wanted: readonly NodeId[];
  readonly copies: readonly NodeId[];
  /** Who of them has none any more once it votes. */
  readonly promoted: readonly NodeId[];
}

export type WishPlan =
  /** What is to be changed; nothing, where all of that is wished already. */
  | { readonly kind: "changes"; readonly changes: readonly WishedSet[] }
  /** It can't be. */
  | { readonly kind: "refused"; readonly message: string }
  /** It can't be now. */
  | { readonly kind: "later"; readonly message: string };

/** Whether what is wished of `node` in a shard is so already, as the shard's leader has told. */
export function hasComeAbout({ action, node, shard }: Wish, { wanted, copies, actual }: HeldSet): boolean {
  const [isVoter, isLearner] = [actual.voters.includes(node), actual.learners.includes(node)];
  switch (action) {
    case "add":
      if (copies.includes(node)) return isVoter || isLearner;
      return shard === undefined && isVoter && wanted.includes(node);
    case "promote":
      return isVoter && wanted.includes(node) && !copies.includes(node);
    case "demote":
      return isLearner && !isVoter && copies.includes(node) && !wanted.includes(node);
    case "remove":
      if (copies.includes(node)) return false;
      if (wanted.includes(node)) return shard === undefined;
      return !isVoter && !isLearner;
  }
}

/** Whether it is what the cluster wants, and only to come about. */
export function isWished({ action, node, shard }: Wish, { wanted, copies }: HeldSet): boolean {
  switch (action) {
    case "add":
      return copies.includes(node) || (shard === undefined && wanted.includes(node));
    case "promote":
      return wanted.includes(node);
    case "demote":
      return copies.includes(node) && !wanted.includes(node);
    case "remove":
      return !copies.includes(node) && (shard === undefined || !wanted.includes(node));
  }
}

/** The shards that a wish is about. */
export function shardsOf({ action, node, shard }: Wish, shards: readonly HeldSet[]): readonly number[] {
  if (shard !== undefined) return [shard];
  const all = [...shards.keys()];
  if (action === "add" || action === "remove") return all;
  return all.filter((at) => shards[at]!.wanted.includes(node) || shards[at]!.copies.includes(node));
}

/** What has to be changed for a wish. */
export function planWish(view: PlacementView, wish: Wish): WishPlan {
  const { action, node, shard } = wish;
  if (shard !== undefined && view.shards[shard] === undefined) return refused(`there is no shard ${shard}`);
  const known = view.nodes.find(({ id }) => id === node);
  if (known === undefined) return refused(`there is no node ${node}`);
  if (known.isLeaving && action !== "remove") {
    return refused(`${node} is draining or removed: what it has goes to others`);
  }
  const concerned = shardsOf(wish, view.shards);
  if (concerned.length === 0) return refused(`${node} has no copy of any shard`);
  // Who votes, but has a wish for a copy to go back to, is not promoted yet.
  const isOpen = (row: PlanShard) =>
    !isWished(wish, row) || (action === "promote" && row.copies.includes(node));
  const open = concerned.filter((at) => isOpen(view.shards[at]!));
  for (const at of concerned) {
    const fault = faultOf(wish, view.shards[at]!);
    if (fault !== undefined) return refused(`${node} ${fault} shard ${at}`);
  }
  const voting = open.filter((at) => action !== "add" && touchesVotes(wish, view.shards[at]!));
  const sets = voting.length === 0 ? undefined : setsAfter(view, wish, voting);
  for (const at of voting) {
    const hindrance = hindranceOf(view, wish, at, sets![at]!);
    if (hindrance !== undefined) return hindrance;
  }
  const changes = open.map((at) => {
    const { wanted, copies } = view.shards[at]!;
    const others = copies.filter((id) => id !== node);
    const after = action === "promote" ? copies : action === "remove" ? others : [...others, node];
    const promoted = action === "promote" ? [node] : [];
    return { shard: at, wanted: voting.includes(at) ? sets![at]! : wanted, copies: after, promoted };
  });
  return { kind: "changes", changes };
}

/** Why it can't be wished of a shard, with the words between the node and the shard's name. */
function faultOf({ action, node, shard }: Wish, { wanted, copies }: HeldSet): string | undefined {
  const votes = wanted.includes(node);
  if (action === "add" && shard !== undefined && votes && !copies.includes(node)) return "has a vote in";
  const hasPart = votes || copies.includes(node);
  return (action === "promote" || action === "demote") && !hasPart ? "has no copy of" : undefined;
}

function touchesVotes({ action, node, shard }: Wish, { wanted }: HeldSet): boolean {
  const votes = wanted.includes(node);
  if (action === "promote") return !votes;
  return votes && (action === "demote" || shard !== undefined);
}

/** What keeps the votes of a shard from being `after`. */
function hindranceOf(
  { nodes, shards, ring }: PlacementView,
  { action, node }: Wish,
  shard: number,
  after: readonly NodeId[],
): WishPlan | undefined {
  const row = shards[shard]!;
  const { wanted, copies, actual } = row;
  const fewest = Math.min(ring.replicas, wanted.length);
  const isSpared = (id: NodeId) => id === node || (copies.includes(id) && !wanted.includes(id));
  if (isMoving(row)) return later(`shard ${shard} is on its way to other nodes; try again when it is there`);
  if (action !== "promote" && (after.length < fewest || after.some(isSpared))) {
    return refused(
      `nobody could vote in the place of ${node} in shard ${shard}: it needs another node that is there and has no copy of it`,
    );
  }
  const byId = new Map(nodes.map((one) => [one.id, one]));
  if (action === "promote" && byId.get(node)!.health !== "up") {
    return later(`${node} is not heard: it gets no vote in shard ${shard} before it is there`);
  }
  if (isAlive(actual.voters, byId) && isAlive(after, byId)) return undefined;
  return later(`too few of those who vote in shard ${shard} are there to change who does`);
}

/** The sets as they would be, by shard; only those of `voting` are meant. */
function setsAfter(
  { nodes, shards, ring }: PlacementView,
  { action, node }: Wish,
  voting: readonly number[],
): readonly (readonly NodeId[])[] {
  const meant = new Set(voting);
  const isUseful = (id: NodeId) => nodes.some((one) => one.id === id && isWanted(one));
  const before = shards.map(({ wanted }, shard) => {
    if (!meant.has(shard)) return wanted;
    const others = wanted.filter((id) => id !== node);
    if (action !== "promote") return others;
    // Who goes anyway goes now.
    const gone = others.length < ring.replicas ? undefined : others.find((id) => !isUseful(id));
    return [...others.filter((id) => id !== gone), node];
  });
  const open = nodes.map((one) => ({ ...one, isClosed: one.isLeaving || one.health !== "up" }));
  const spared = shards.map(({ copies }, shard) => (meant.has(shard) ? [...copies, node] : copies));
  return resizedSets(before, open, ring, { spared, stays: node });
}

const refused = (message: string): WishPlan => ({ kind: "refused", message });
const later = (message: string): WishPlan => ({ kind: "later", message });
