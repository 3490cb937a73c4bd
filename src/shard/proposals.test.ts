import { expect, test } from "bun:test";
import { logIndex, term } from "../../protocol/ids.ts";
import type { ClientResponse } from "../../protocol/messages.ts";
import { Proposal, ProposalQueue } from "./proposals.ts";
import { RequestStats } from "./request-stats.ts";

function proposalAt(index: number, atTerm: number, startedMs = 0) {
  const answers: [number, ClientResponse][] = [];
  const proposal = new Proposal(new RequestStats(), startedMs);
  proposal.index = logIndex(index);
  proposal.term = term(atTerm);
  const sink = { reply: (id: number, response: ClientResponse) => void answers.push([id, response]) };
  proposal.add(sink, index * 10);
  proposal.add(sink, index * 10 + 1);
  return { proposal, answers };
}

const errors = (answers: [number, ClientResponse][]) =>
  answers.map(([, response]) => (response.kind === "error" ? response.error : response.kind));

test("answers go to the requests in the order of their commands", () => {
  const queue = new ProposalQueue();
  const { proposal, answers } = proposalAt(3, 1);
  queue.push(proposal);
  expect(queue.waiting).toBe(2);
  expect(queue.applied(logIndex(2), term(1))).toBeUndefined();
  const applied = queue.applied(logIndex(3), term(1))!;
  applied.answer({ kind: "boolean", value: true });
  applied.answer({ kind: "integer", value: 4n });
  expect(answers).toEqual([
    [30, { kind: "boolean", value: true }],
    [31, { kind: "integer", value: 4n }],
  ]);
  expect(queue.waiting).toBe(0);
});

test("another leader's entry in its place means that a proposal did not happen", () => {
  const queue = new ProposalQueue();
  const { proposal, answers } = proposalAt(3, 1);
  queue.push(proposal);
  expect(queue.applied(logIndex(3), term(2))).toBeUndefined();
  expect(errors(answers)).toEqual(["NOT_LEADER", "NOT_LEADER"]);
});

test("a proposal that waited too long has an unknown outcome, and is answered once only", () => {
  const queue = new ProposalQueue();
  const early = proposalAt(3, 1, 100);
  const late = proposalAt(4, 1, 200);
  queue.push(early.proposal);
  queue.push(late.proposal);
  queue.expire(150);
  expect(errors(early.answers)).toEqual(["TIMEOUT", "TIMEOUT"]);
  expect(late.answers).toEqual([]);
  expect(queue.applied(logIndex(3), term(1))).toBeUndefined();
  expect(queue.applied(logIndex(4), term(1))).toBe(late.proposal);
});

test("what an earlier term of office left unreplicated does not stand in the way of the next one's", () => {
  const queue = new ProposalQueue();
  const lost = [proposalAt(11, 1), proposalAt(12, 1), proposalAt(13, 1)];
  for (const { proposal } of lost) queue.push(proposal);
  // Another leader's entry took place 10, this node leads again in term 3: entry 11 begins the term, 12 is a write.
  const next = proposalAt(12, 3);
  queue.push(next.proposal);
  expect(queue.applied(logIndex(10), term(2))).toBeUndefined();
  expect(queue.applied(logIndex(11), term(3))).toBeUndefined();
  expect(queue.applied(logIndex(12), term(3))).toBe(next.proposal);
  for (const { answers } of lost) expect(errors(answers)).toEqual(["NOT_LEADER", "NOT_LEADER"]);
  expect(next.answers).toEqual([]);
  expect(queue.waiting).toBe(0);
});

test("proposals of earlier terms in the log wait for their own entries", () => {
  const queue = new ProposalQueue();
  const { proposal, answers } = proposalAt(3, 1);
  queue.push(proposal);
  expect(queue.applied(logIndex(2), term(1))).toBeUndefined();
  expect(answers).toEqual([]);
  expect(queue.applied(logIndex(3), term(1))).toBe(proposal);
});
