/** A replica that comes to a node from which one of the same group was dropped: it is bound by what that one promised. */
import { describe, expect, test } from "bun:test";
import { INDEX_ZERO } from "../../protocol/ids.ts";
import { NO_MEMBERS } from "./configuration.ts";
import { appendsTo, at, BYTES, n1, n2, n3, n4, reply, Solo, t, voteRequest } from "./testing/solo.ts";

/** What is left of a replica that had entries up to 7 of term 3, and had voted for n3 in term 4. */
const HARD_STATE = { term: t(4), votedFor: n3, commit: INDEX_ZERO };
const FLOOR = { index: at(7), term: t(3) };

describe("a replica that came back", () => {
  const granted = (solo: Solo) =>
    solo.take().messagesAfterSync.map((answer) => "granted" in answer && answer.granted);

  test.each([
    ["shorter", { lastIndex: at(6), lastTerm: t(3) }, false],
    ["longer, of an older term", { lastIndex: at(99), lastTerm: t(2) }, false],
    ["as long", { lastIndex: at(7), lastTerm: t(3) }, true],
    ["shorter, of a later term", { lastIndex: at(5), lastTerm: t(4) }, true],
  ])("judges candidates by the log that it had: one that is %s", (_, log, isGranted) => {
    for (const preVote of [false, true]) {
      const solo = new Solo({ floor: FLOOR }, [1, 1], HARD_STATE);
      solo.core.step(voteRequest(n2, 6, { ...log, preVote }));
      expect(granted(solo)).toEqual([isGranted]);
    }
  });

  test("keeps its vote, and follows no leader of a term before", () => {
    const solo = new Solo({ floor: FLOOR }, [], HARD_STATE);
    solo.core.step(voteRequest(n2, 4));
    expect(granted(solo)).toEqual([false]);
    solo.hearFrom(n2, 3);
    expect(solo.core.leader).toBeUndefined();
  });

  test("does not stand before it has what it had", () => {
    const solo = new Solo({ floor: FLOOR }, [1, 2, 3, 3, 3, 3], HARD_STATE);
    solo.tick(100);
    solo.core.campaign();
    expect(solo.core.role).toBe("follower");
    const entries = [{ index: at(7), term: t(3), kind: "commands", data: BYTES } as const];
    const append = {
      kind: "append",
      from: n3,
      to: n1,
      term: t(4),
      prevIndex: at(6),
      prevTerm: t(3),
    } as const;
    solo.core.step({ ...append, commit: at(7), entries });
    solo.takeDurable();
    solo.tick(100);
    expect(solo.core.role).toBe("preCandidate");
  });

  test("that knows of no members has no vote to give", () => {
    const solo = new Solo({ membership: { index: INDEX_ZERO, configuration: NO_MEMBERS } });
    solo.core.step(voteRequest(n2, 6));
    expect(granted(solo)).toEqual([false]);
    expect(solo.core.term).toBe(t(6));
  });
});

describe("a leader", () => {
  /** n4 is a learner that has everything; then it has lost it all. */
  function leadForgetful(): Solo {
    const solo = new Solo();
    solo.lead();
    for (const node of [n2, n3]) solo.ack(node, 1);
    solo.core.changeMembers({ voters: [n1, n2, n3], learners: [n4] });
    solo.takeDurable();
    for (const node of [n2, n3, n4]) solo.ack(node, 2);
    solo.core.propose(BYTES);
    solo.takeDurable();
    return solo;
  }
  const matchOf = (solo: Solo, node: typeof n1) =>
    solo.core.status().replicas.find((replica) => replica.node === node)!.matchIndex;

  test("sends a learner that has dropped its log all of it again", () => {
    const solo = leadForgetful();
    solo.core.step(reply(n4, solo.core.term, { accepted: false, index: at(2) }));
    expect(matchOf(solo, n4)).toBe(at(0));
    expect(appendsTo(n4, solo.takeDurable())[0]).toMatchObject({ prevIndex: at(0) });
    solo.ack(n4, 3);
    expect(matchOf(solo, n4)).toBe(at(3));
  });

  test("never takes back what a voter has acknowledged", () => {
    const solo = leadForgetful();
    solo.core.step(reply(n2, solo.core.term, { accepted: false, index: at(2) }));
    expect(matchOf(solo, n2)).toBe(at(2));
  });

  test("gives a vote only to who knows that it is a member", () => {
    const solo = new Solo();
    solo.lead();
    for (const node of [n2, n3]) solo.ack(node, 1);
    for (let i = 0; i < 3; i++) solo.core.propose(BYTES);
    solo.takeDurable();
    for (const node of [n2, n3]) solo.ack(node, 4);
    for (let round = 0; round < 3; round++) {
      solo.tick(9);
      for (const node of [n2, n3]) solo.heard(node);
    }
    solo.core.changeMembers({ voters: [n1, n2, n3], learners: [n4] });
    solo.takeDurable();
    for (const node of [n2, n3]) solo.ack(node, 5);
    // All that there was an election timeout ago, but not the entry that took it in.
    solo.ack(n4, 4);
    expect(solo.core.changeMembers({ voters: [n1, n2, n4], learners: [] })).toBe("notCaughtUp");
    solo.ack(n4, 5);
    expect(solo.core.changeMembers({ voters: [n1, n2, n4], learners: [] })).toBe(at(6));
  });
});
