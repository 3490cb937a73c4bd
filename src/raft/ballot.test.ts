import { expect, test } from "bun:test";
import { nodeId } from "../../protocol/ids.ts";
import { Ballot } from "./ballot.ts";
import { founders } from "./configuration.ts";

const [n1, n2, n3, n4, n5] = ["n1", "n2", "n3", "n4", "n5"].map(nodeId) as [
  never,
  never,
  never,
  never,
  never,
];

test("a candidate alone has won", () => {
  expect(new Ballot(founders([n1]), n1).result).toBe("won");
});

test("a majority wins, and a voter counts once", () => {
  const ballot = new Ballot(founders([n1, n2, n3, n4, n5]), n1);
  ballot.record(n2, true);
  ballot.record(n2, true);
  ballot.record(n1, true);
  expect(ballot.result).toBe("open");
  ballot.record(n3, true);
  expect(ballot.result).toBe("won");
});

test("it is lost once no majority is left, and a no stays a no", () => {
  const ballot = new Ballot(founders([n1, n2, n3, n4]), n1);
  ballot.record(n2, false);
  ballot.record(n2, true);
  expect(ballot.result).toBe("open");
  ballot.record(n3, false);
  expect(ballot.result).toBe("lost");
  ballot.record(n4, true);
  expect(ballot.result).toBe("lost");
});

test("who has no vote counts for nothing", () => {
  const ballot = new Ballot({ voters: [n1, n2, n3], outgoing: [], learners: [n4] }, n1);
  ballot.record(n4, true);
  ballot.record(n5, true);
  expect(ballot.result).toBe("open");
});

test("two sets of voters have to agree, and either can refuse", () => {
  const ballot = new Ballot({ voters: [n1, n4, n5], outgoing: [n1, n2, n3], learners: [] }, n1);
  ballot.record(n2, true);
  expect(ballot.result).toBe("open");
  ballot.record(n4, true);
  expect(ballot.result).toBe("won");
  const other = new Ballot({ voters: [n1, n4, n5], outgoing: [n1, n2, n3], learners: [] }, n1);
  other.record(n2, true);
  other.record(n4, false);
  other.record(n5, false);
  expect(other.result).toBe("lost");
});
