import { expect, test } from "bun:test";
import { nodeId } from "../../protocol/ids.ts";
import type { PlacementStatus } from "../../protocol/messages.ts";
import { placementReply } from "./placement-view.ts";

const PLAIN = { tables: true, colors: false };
const [n1, n2] = [nodeId("n1"), nodeId("n2")];

const placement: PlacementStatus = {
  nodes: [
    { id: n1, state: "draining", ring: 0 },
    { id: n2, state: "member", ring: 1 },
  ],
  underWay: [{ shard: 3, add: n2, remove: n1, bytes: 1024, reason: null }],
  toCome: [{ shard: 7, add: null, remove: n1, bytes: 0, reason: "drain" }],
  bytes: 1024,
  seconds: 65,
};

test("moves are shown with where they go, why, and what they come to", () => {
  expect(`\n${placementReply(placement).text(PLAIN)}\n`).toMatchInlineSnapshot(`
    "
    ┌──────┬──────────┬─────────────┬──────┬───────┐
    │ node │ standing │ of the ring │ gets │ gives │
    ├──────┼──────────┼─────────────┼──────┼───────┤
    │ n1   │ draining │          0% │    0 │     2 │
    │ n2   │ member   │        100% │    1 │     0 │
    └──────┴──────────┴─────────────┴──────┴───────┘

    ┌───────┬──────┬────┬─────────┬───────────┐
    │ shard │ from │ to │   about │ why       │
    ├───────┼──────┼────┼─────────┼───────────┤
    │     3 │ n1   │ n2 │ 1.0 KiB │ under way │
    │     7 │ n1   │ -  │     0 B │ drain     │
    └───────┴──────┴────┴─────────┴───────────┘
    1 under way, 1 to come: about 1.0 KiB in 1 min 5 s
    "
  `);
  expect(placementReply(placement).json()).toEqual(placement);
});

test("of many moves the first are shown", () => {
  const toCome = Array.from({ length: 60 }, (_, shard) => ({ ...placement.toCome[0]!, shard }));
  expect(placementReply({ ...placement, toCome }).text(PLAIN)).toContain("and 21 more");
});

test("nothing to move is said", () => {
  const none = placementReply({ ...placement, underWay: [], toCome: [] });
  expect(none.text(PLAIN)).toEndWith("every replica is where it belongs");
});
