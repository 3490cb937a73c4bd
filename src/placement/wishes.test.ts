import { describe, expect, test } from "bun:test";
import { type NodeId, nodeId } from "../../protocol/ids.ts";
import type { PlacementView, PlanNode } from "./plan.ts";
import { hasComeAbout, isWished, planWish, shardsOf, type Wish, type WishAction } from "./wishes.ts";

type Conditions = Readonly<Record<string, PlanNode["health"] | "leaving">>;

/** A shard with these voters, as it is and as it is wanted; `n3*` has a copy without a vote. */
interface Row {
  readonly members: string;
  /** What its leader says, if that is something else. */
  readonly actual?: string;
}

const UP: Conditions = { n1: "up", n2: "up", n3: "up", n4: "up", n5: "up" };

function split(members: string): { readonly voters: readonly NodeId[]; readonly copies: readonly NodeId[] } {
  const all = members.split(" ");
  const voters = all.filter((name) => !name.endsWith("*")).map(nodeId);
  return {
    voters,
    copies: all.filter((name) => name.endsWith("*")).map((name) => nodeId(name.slice(0, -1))),
  };
}

function viewOf(conditions: Conditions, rows: readonly Row[], replicas = 3): PlacementView {
  return {
    nodes: Object.entries(conditions).map(([id, condition]) => {
      const isLeaving = condition === "leaving";
      return {
        ...{ id: nodeId(id), host: id, zone: "", weight: 1, isLeaving },
        health: isLeaving ? "up" : condition,
      };
    }),
    shards: rows.map(({ members, actual = members }) => {
      const { voters, copies } = split(members);
      const now = split(actual);
      return {
        ...{ wanted: voters, copies, bytes: 1 },
        actual: { voters: now.voters, outgoing: [], learners: now.copies },
      };
    }),
    ring: { virtualNodes: 10, replicas },
  };
}

const wish = (action: WishAction, node: string, shard?: number): Wish => ({
  ...{ action, node: nodeId(node), shard },
});

/** The changes, each as `shard: members`; or why there are none. */
function planned(view: PlacementView, ...of: Parameters<typeof wish>): string | readonly string[] {
  const plan = planWish(view, wish(...of));
  if (plan.kind !== "changes") return `${plan.kind}: ${plan.message}`;
  return plan.changes.map(
    ({ shard, wanted, copies }) => `${shard}: ${[...wanted, ...copies.map((id) => `${id}*`)].join(" ")}`,
  );
}

describe("a copy without a vote", () => {
  const view = viewOf(UP, [{ members: "n1 n2 n3" }, { members: "n4 n5 n1 n2*" }, { members: "n2 n3 n4" }]);

  test("comes to one shard, or to all in which the node has none and no vote", () => {
    expect(planned(view, "add", "n4", 0)).toEqual(["0: n1 n2 n3 n4*"]);
    expect(planned(view, "add", "n3", 1)).toEqual(["1: n4 n5 n1 n2* n3*"]);
    expect(planned(view, "add", "n5")).toEqual(["0: n1 n2 n3 n5*", "2: n2 n3 n4 n5*"]);
  });

  test("is there already, or has a vote", () => {
    expect(planned(view, "add", "n2", 1)).toEqual([]);
    expect(planned(view, "add", "n4", 1)).toBe("refused: n4 has a vote in shard 1");
  });

  test("goes, from one shard or from all, without touching votes", () => {
    expect(planned(view, "remove", "n2", 1)).toEqual(["1: n4 n5 n1"]);
    expect(planned(view, "remove", "n5", 0)).toEqual([]);
    expect(planned(view, "remove", "n2")).toEqual(["1: n4 n5 n1"]);
  });

  test("is for nodes that stay, and shards that there are", () => {
    const leaving = viewOf({ ...UP, n4: "leaving" }, [{ members: "n1 n2 n3" }]);
    expect(planned(leaving, "add", "n4", 0)).toBe(
      "refused: n4 is draining or removed: what it has goes to others",
    );
    expect(planned(view, "add", "n9", 0)).toBe("refused: there is no node n9");
    expect(planned(view, "add", "n1", 3)).toBe("refused: there is no shard 3");
  });

  test("may come while votes are moved, and to who is silent", () => {
    const moving = viewOf({ ...UP, n5: "down" }, [{ members: "n1 n2 n4", actual: "n1 n2 n3" }]);
    expect(planned(moving, "add", "n5", 0)).toEqual(["0: n1 n2 n4 n5*"]);
  });
});

describe("a vote", () => {
  test("is given in the place of who has most beside its share, and never of who was given it", () => {
    const rows = [{ members: "n1 n2 n3 n4*" }, { members: "n1 n2 n4" }, { members: "n1 n4 n5" }];
    const after = planned(viewOf(UP, rows), "promote", "n4", 0);
    expect(after).toEqual(["0: n2 n3 n4 n4*"]);
  });

  test("is given in the place of who leaves, or is lost", () => {
    const rows = [{ members: "n1 n2 n3 n4*" }, { members: "n1 n4 n5" }];
    expect(planned(viewOf({ ...UP, n2: "lost" }, rows), "promote", "n4", 0)).toEqual(["0: n1 n3 n4 n4*"]);
    expect(planned(viewOf({ ...UP, n3: "leaving" }, rows), "promote", "n4", 0)).toEqual(["0: n1 n2 n4 n4*"]);
  });

  test("is one more where there are too few", () => {
    expect(planned(viewOf(UP, [{ members: "n1 n2 n3*" }]), "promote", "n3", 0)).toEqual(["0: n1 n2 n3 n3*"]);
  });

  test("is for who has a copy, is heard, and does not hang on those who are not", () => {
    const rows = [{ members: "n1 n2 n3 n4*" }];
    expect(planned(viewOf(UP, rows), "promote", "n5", 0)).toBe("refused: n5 has no copy of shard 0");
    expect(planned(viewOf(UP, rows), "promote", "n5")).toBe("refused: n5 has no copy of any shard");
    expect(planned(viewOf(UP, rows), "promote", "n3", 0)).toEqual([]);
    expect(planned(viewOf({ ...UP, n4: "down" }, rows), "promote", "n4", 0)).toBe(
      "later: n4 is not heard: it gets no vote in shard 0 before it is there",
    );
    expect(planned(viewOf({ ...UP, n1: "down", n2: "down" }, rows), "promote", "n4", 0)).toBe(
      "later: too few of those who vote in shard 0 are there to change who does",
    );
  });

  test("is given up to another node, which has no copy yet, and the copy stays or goes", () => {
    const view = viewOf(UP, [{ members: "n1 n2 n3 n4*" }]);
    expect(planned(view, "demote", "n2", 0)).toEqual(["0: n1 n3 n5 n4* n2*"]);
    expect(planned(view, "remove", "n2", 0)).toEqual(["0: n1 n3 n5 n4*"]);
    expect(planned(view, "demote", "n4", 0)).toEqual([]);
  });

  test("is kept where nobody else could have it: never below the number of replicas, never the last", () => {
    const why = "in shard 0: it needs another node that is there and has no copy of it";
    const three = { n1: "up", n2: "up", n3: "up" } as const;
    for (const action of ["demote", "remove"] as const) {
      expect(planned(viewOf(three, [{ members: "n1 n2 n3" }]), action, "n2", 0)).toBe(
        `refused: nobody could vote in the place of n2 ${why}`,
      );
      expect(planned(viewOf({ ...three, n4: "down" }, [{ members: "n1 n2 n3" }]), action, "n2", 0)).toBe(
        `refused: nobody could vote in the place of n2 ${why}`,
      );
      expect(planned(viewOf({ ...three, n4: "up" }, [{ members: "n1 n2 n3 n4*" }]), action, "n2", 0)).toBe(
        `refused: nobody could vote in the place of n2 ${why}`,
      );
      expect(planned(viewOf({ n1: "up" }, [{ members: "n1" }]), action, "n1", 0)).toBe(
        `refused: nobody could vote in the place of n1 ${why}`,
      );
    }
  });

  test("that came with nobody else to have it leaves the wish for a copy, and that can be changed", () => {
    const view = viewOf(UP, [{ members: "n1 n2 n4 n4*", actual: "n1 n2 n4" }]);
    expect(planned(view, "add", "n4", 0)).toEqual([]);
    // Nothing but the wish changes.
    expect(planned(view, "promote", "n4", 0)).toEqual(["0: n1 n2 n4 n4*"]);
    expect(planned(view, "remove", "n4")).toEqual(["0: n1 n2 n4"]);
    expect(planned(view, "remove", "n4", 0)).toEqual(["0: n1 n2 n5"]);
    expect(planned(view, "demote", "n4", 0)).toEqual(["0: n1 n2 n5 n4*"]);
    const row = view.shards[0]!;
    const come = (action: WishAction, at?: number) => hasComeAbout(wish(action, "n4", at), row);
    expect([come("add", 0), come("promote", 0), come("remove"), come("demote", 0)]).toEqual([
      ...[true, false, false, false],
    ]);
  });

  test("waits while the shard is on its way", () => {
    const moving = viewOf(UP, [{ members: "n1 n2 n4", actual: "n1 n2 n3" }]);
    expect(planned(moving, "demote", "n1", 0)).toBe(
      "later: shard 0 is on its way to other nodes; try again when it is there",
    );
  });

  test("goes around the whole cluster at once, evenly", () => {
    const rows = Array.from({ length: 10 }, () => ({ members: "n1 n2 n3" }));
    const plan = planWish(viewOf(UP, rows), wish("demote", "n1"));
    if (plan.kind !== "changes") throw new Error(plan.message);
    const votes = (id: string) => plan.changes.filter(({ wanted }) => wanted.includes(nodeId(id))).length;
    expect([votes("n1"), votes("n4"), votes("n5")]).toEqual([0, 5, 5]);
  });
});

test("what is wished has come about when the shard's leader says so", () => {
  const row = (members: string, actual: string) => viewOf(UP, [{ members, actual }]).shards[0]!;
  const states = [row("n1 n2 n4*", "n1 n2"), row("n1 n2 n4*", "n1 n2 n4*"), row("n1 n4", "n1 n4")];
  const seen = (look: typeof isWished) =>
    (["add", "promote", "demote", "remove"] as const).map((action) =>
      states.map((state) => (look(wish(action, "n4", 0), state) ? 1 : 0)).join(""),
    );
  expect(seen(isWished)).toEqual(["110", "001", "110", "000"]);
  expect(seen(hasComeAbout)).toEqual(["010", "001", "010", "000"]);
  const gone = row("n1 n2", "n1 n2 n4*");
  expect([isWished(wish("remove", "n4", 0), gone), hasComeAbout(wish("remove", "n4", 0), gone)]).toEqual([
    true,
    false,
  ]);
});

test("without a shard a wish is about those in which the node has a part, and a copy is for all", () => {
  const { shards } = viewOf(UP, [{ members: "n1 n2 n3" }, { members: "n2 n3 n1*" }, { members: "n2 n3" }]);
  expect(shardsOf(wish("add", "n1"), shards)).toEqual([0, 1, 2]);
  expect(shardsOf(wish("promote", "n1"), shards)).toEqual([0, 1]);
  expect(shardsOf(wish("remove", "n1", 2), shards)).toEqual([2]);
});
