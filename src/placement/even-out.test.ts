import { expect, test } from "bun:test";
import { type Carried, evenOut } from "./even-out.ts";
import { shareOf } from "./shares.ts";

/** Things by their number, each with who carries it and who else could. */
function setUp(things: readonly { readonly at: number; readonly could: readonly number[] }[], nodes: number) {
  const at = things.map((thing) => thing.at);
  const loads = new Int32Array(nodes);
  for (const node of at) loads[node]!++;
  let moves = 0;
  const carried: Carried = {
    bestThing: (from, to) => things.findIndex(({ could }, thing) => at[thing] === from && could.includes(to)),
    move: (from, to, thing) => {
      if (at[thing] !== from || !things[thing]!.could.includes(to)) return false;
      at[thing] = to;
      loads[from]!--;
      loads[to]!++;
      moves++;
      return true;
    },
  };
  const even = (...shares: number[]) => {
    evenOut(carried, loads, shares.map(shareOf));
    return { loads: [...loads], moves };
  };
  return { even };
}

test("who has too much gives to who has room, and who is within its bounds neither gives nor gets", () => {
  const anywhere = { could: [0, 1, 2] };
  const things = [0, 0, 0, 0, 1, 1, 2].map((at) => ({ at, ...anywhere }));
  expect(setUp(things, 3).even(7 / 3, 7 / 3, 7 / 3)).toEqual({ loads: [3, 2, 2], moves: 1 });
});

test("a row of three moves the fewest things that it can", () => {
  const row = [0, 0, 0, 1, 2].map((at) => ({ at, could: [at, at + 1] }));
  // From 0 by 1 and 2 to 3, and then from 0 to 1.
  expect(setUp(row, 4).even(1.25, 1.25, 1.25, 1.25)).toEqual({ loads: [2, 1, 1, 1], moves: 3 });
});

test("what can't be evened out ends as near to it as can be, and ends", () => {
  const stuck = [0, 0, 0, 0, 0].map((at) => ({ at, could: [0] }));
  expect(setUp(stuck, 2).even(2.5, 2.5)).toEqual({ loads: [5, 0], moves: 0 });
  const pair = [0, 0, 0, 0, 0, 0].map((at) => ({ at, could: [0, 1] }));
  expect(setUp(pair, 4).even(1.5, 1.5, 1.5, 1.5)).toEqual({ loads: [3, 3, 0, 0], moves: 3 });
});

test("nobody and nothing", () => {
  expect(setUp([], 0).even()).toEqual({ loads: [], moves: 0 });
  expect(setUp([], 2).even(0, 0)).toEqual({ loads: [0, 0], moves: 0 });
});
