import { expect, test } from "bun:test";
import { nodeId } from "../../protocol/ids.ts";
import { Ballot } from "./ballot.ts";

const [n1, n2, n3, n4] = ["n1", "n2", "n3", "n4"].map(nodeId) as [never, never, never, never];

test("a candidate alone has won", () => {
  expect(new Ballot(1, n1).result).toBe("won");
});

test("a majority wins, and a voter counts once", () => {
  const ballot = new Ballot(5, n1);
  ballot.record(n2, true);
  ballot.record(n2, true);
  ballot.record(n1, true);
  expect(ballot.result).toBe("open");
  ballot.record(n3, true);
  expect(ballot.result).toBe("won");
});

test("it is lost once no majority is left, and a no stays a no", () => {
  const ballot = new Ballot(4, n1);
  ballot.record(n2, false);
  ballot.record(n2, true);
  expect(ballot.result).toBe("open");
  ballot.record(n3, false);
  expect(ballot.result).toBe("lost");
  ballot.record(n4, true);
  expect(ballot.result).toBe("lost");
});
