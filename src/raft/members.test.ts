import { describe, expect, test } from "bun:test";
import { decodeConfiguration, encodeConfiguration } from "../../protocol/configuration.ts";
import type { NodeId } from "../../protocol/ids.ts";
import type { Configuration } from "../../protocol/peer-messages.ts";
import {
  appendsTo,
  at,
  BYTES,
  foundedBy,
  kinds,
  n1,
  n2,
  n3,
  n4,
  reply,
  Solo,
  t,
  voteRequest,
} from "./testing/solo.ts";

/** A leader whose term's first entry is committed, with n4 as a learner that has everything. */
function leadWithLearner(): Solo {
  const solo = new Solo();
  solo.lead();
  solo.ack(n2, 1);
  solo.core.changeMembers({ voters: [n1, n2, n3], learners: [n4] });
  solo.takeDurable();
  for (const node of [n2, n3, n4]) solo.ack(node, 2);
  solo.take();
  return solo;
}

const CHANGE: Configuration = { voters: [n1, n2, n4], outgoing: [n1, n2, n3], learners: [] };

describe("a change of members", () => {
  test("waits for the first commit of the leader's own term", () => {
    const solo = new Solo({}, [1, 1]);
    expect(solo.core.changeMembers({ voters: [n1, n2], learners: [] })).toBe("notLeader");
    solo.lead();
    solo.ack(n2, 2);
    expect(solo.core.changeMembers({ voters: [n1, n2], learners: [] })).toBe("newTerm");
    solo.ack(n2, 3);
    expect(solo.core.changeMembers({ voters: [n1, n2], learners: [] })).toBe(at(4));
  });

  test("is one at a time, and has to be one", () => {
    const solo = leadWithLearner();
    expect(solo.core.changeMembers({ voters: [n1, n2, n3], learners: [n4] })).toBe("unchanged");
    expect(solo.core.changeMembers({ voters: [], learners: [n4] })).toBe("invalid");
    expect(solo.core.changeMembers({ voters: [n1, n2, n4], learners: [] })).toBe(at(3));
    expect(solo.core.changeMembers({ voters: [n1, n2, n3], learners: [] })).toBe("busy");
    solo.takeDurable();
    solo.ack(n2, 3);
    solo.ack(n4, 3);
    // The joint entry is committed, the one that leaves it is not.
    expect(solo.core.commitIndex).toBe(at(3));
    expect(solo.core.changeMembers({ voters: [n1, n2, n3], learners: [] })).toBe("busy");
    solo.takeDurable();
    solo.ack(n2, 4);
    expect(solo.core.membership).toEqual({
      index: at(4),
      configuration: { voters: [n1, n2, n4], outgoing: [], learners: [] },
    });
    // n3 would vote, and is no learner.
    expect(solo.core.changeMembers({ voters: [n1, n2, n3], learners: [] })).toBe("notCaughtUp");
  });

  test("makes a voter of a learner that has everything, though its connection broke and the group is at rest", () => {
    const solo = leadWithLearner();
    solo.core.unreachable(n4);
    solo.heard(n4);
    solo.take();
    expect(solo.core.changeMembers({ voters: [n1, n2, n3, n4], learners: [] })).toBe(at(3));
  });

  test("does not begin what those who are to vote could never agree on", () => {
    const solo = leadWithLearner();
    const smaller = { voters: [n1, n3], learners: [] };
    solo.tick(9);
    solo.heard(n2);
    solo.heard(n4);
    solo.tick(9);
    solo.heard(n2);
    // n3 has been silent for longer than an election timeout: n1 alone is no majority of the two.
    expect(solo.core.changeMembers(smaller)).toBe("notHeard");
    solo.heard(n3);
    expect(solo.core.changeMembers(smaller)).toBe(at(3));
  });

  test("counts nobody as heard who has not answered a new leader", () => {
    const solo = new Solo();
    solo.lead();
    solo.ack(n2, 1);
    const smaller = { voters: [n1, n3], learners: [] };
    // n3 may have been gone for long.
    expect(solo.core.changeMembers(smaller)).toBe("notHeard");
    solo.heard(n3);
    expect(solo.core.changeMembers(smaller)).toBe(at(2));
  });

  test("makes a voter only of a learner that is there and has what there was", () => {
    const solo = leadWithLearner();
    for (let i = 0; i < 8; i++) solo.core.propose(BYTES);
    solo.takeDurable();
    solo.ack(n2, 10);
    // What is that new no one can have.
    const change = { voters: [n1, n2, n3, n4], learners: [] };
    solo.tick(9);
    solo.heard(n2);
    solo.heard(n4);
    solo.tick(9);
    solo.heard(n2);
    solo.tick(2);
    expect(solo.core.changeMembers(change)).toBe("notCaughtUp");
    solo.ack(n4, 9);
    expect(solo.core.changeMembers(change)).toBe("notCaughtUp");
    solo.ack(n4, 10);
    solo.heard(n2);
    solo.tick(9);
    solo.heard(n2);
    solo.tick(1);
    // It has everything, and is silent for an election timeout.
    expect(solo.core.changeMembers(change)).toBe("notCaughtUp");
    solo.heard(n4);
    expect(solo.core.changeMembers(change)).toBe(at(11));
  });

  test("counts by both sets of voters from the entry on, committed or not", () => {
    const solo = leadWithLearner();
    solo.core.changeMembers({ voters: [n4], learners: [] });
    solo.takeDurable();
    solo.ack(n2, 3);
    solo.ack(n3, 3);
    expect(solo.core.commitIndex).toBe(at(2));
    solo.ack(n4, 3);
    expect(solo.core.commitIndex).toBe(at(3));
  });

  test("reads and office need a majority of both sets, too", () => {
    const solo = leadWithLearner();
    solo.core.changeMembers({ voters: [n4], learners: [] });
    const round = solo.core.readIndex()!;
    solo.takeDurable();
    solo.heard(n2, round);
    solo.heard(n3, round);
    expect(solo.take().reads).toEqual([]);
    solo.heard(n4, round);
    expect(solo.take().reads).toMatchObject([{ round }]);
    solo.tick(9);
    solo.heard(n2);
    solo.heard(n3);
    solo.tick(1);
    expect(solo.core.role).toBe("follower");
  });

  test("goes on under the next leader", () => {
    const solo = new Solo({}, [1, 1]);
    solo.core.step({
      ...{ kind: "append", from: n2, to: n1, term: t(2), prevIndex: at(2), prevTerm: t(1), commit: at(2) },
      entries: [{ index: at(3), term: t(2), kind: "config", data: encodeConfiguration(CHANGE) }],
    });
    solo.takeDurable();
    expect(solo.core.membership.configuration).toEqual(CHANGE);
    solo.tick(10);
    solo.take();
    solo.vote(n2, t(3), true);
    solo.take();
    solo.vote(n2, t(3), false);
    // n1 and n2 are a majority of either set.
    expect(solo.core.role).toBe("leader");
    solo.takeDurable();
    solo.ack(n2, 4);
    const [settled] = solo.take().entries;
    expect(decodeConfiguration(settled!.data)).toEqual({ voters: [n1, n2, n4], outgoing: [], learners: [] });
  });

  test("is rolled back with its entry", () => {
    const solo = new Solo({}, [1, 1]);
    const before = solo.core.membership;
    const append = {
      kind: "append",
      from: n2,
      to: n1,
      prevIndex: at(2),
      prevTerm: t(1),
      commit: at(2),
    } as const;
    solo.core.step({
      ...append,
      term: t(2),
      entries: [{ index: at(3), term: t(2), kind: "config", data: encodeConfiguration(CHANGE) }],
    });
    solo.take();
    solo.core.step({
      ...{ ...append, from: n3, term: t(3) },
      entries: [{ index: at(3), term: t(3), kind: "noop", data: new Uint8Array(0) }],
    });
    expect(solo.core.membership).toEqual(before);
  });

  test("that lost the leader its vote makes it tell the best of the others to stand", () => {
    const solo = leadWithLearner();
    solo.core.changeMembers({ voters: [n2, n4], learners: [n1] });
    solo.takeDurable();
    for (const node of [n2, n4]) solo.ack(node, 3);
    solo.core.propose(BYTES);
    solo.takeDurable();
    solo.ack(n4, 5);
    expect(solo.core.role).toBe("leader");
    solo.take();
    solo.ack(n2, 4);
    expect(kinds(solo.take().messages)).toEqual(["timeoutNow n4"]);
    expect(solo.core.role).toBe("follower");
    solo.tick(40);
    expect(solo.core.role).toBe("follower");
  });
});

describe("members without a vote", () => {
  test("count for nothing", () => {
    const solo = leadWithLearner();
    const round = solo.core.readIndex()!;
    const index = solo.core.propose(BYTES)!;
    solo.takeDurable();
    solo.ack(n4, index);
    solo.heard(n4, round);
    expect(solo.core.commitIndex).toBe(at(2));
    expect(solo.take().reads).toEqual([]);
    solo.core.transferLeadership(n4);
    expect(solo.core.propose(BYTES)).toBe(at(4));
  });

  test("never stand, and vote all the same for who may know better", () => {
    const solo = new Solo({ membership: foundedBy(n2, n3) });
    solo.tick(100);
    solo.core.campaign();
    expect(solo.core.role).toBe("follower");
    expect(solo.core.hasOutput).toBe(false);
    solo.core.step(voteRequest(n2, 5));
    expect(solo.take().messagesAfterSync).toMatchObject([{ granted: true }]);
    solo.hearFrom(n2, 5);
    solo.core.step({ kind: "timeoutNow", from: n2, to: n1, term: t(5) });
    expect(solo.core.role).toBe("follower");
  });
});

test("a leader that voted alone says nothing to learners before its vote is durable", () => {
  const membership = foundedBy(n1);
  const solo = new Solo({
    membership: { ...membership, configuration: { ...membership.configuration, learners: [n2] } },
  });
  solo.core.campaign();
  const output = solo.take();
  expect(solo.core.role).toBe("leader");
  expect([...output.messages, ...output.messagesAfterSync]).toEqual([]);
  solo.core.propose(BYTES);
  solo.tick(5);
  expect(solo.take().messages).toEqual([]);
  solo.core.persisted(at(1), t(1));
  expect(kinds(solo.take().messages)).toEqual(["append n2", "heartbeat n2"]);
});

describe("a leader's connection that breaks", () => {
  const afterTicks = (inTerm: number, self: NodeId = n1): number => {
    const solo = new Solo({ membership: foundedBy(self, n2, n3, n4) });
    solo.hearFrom(n2, inTerm);
    solo.take();
    solo.core.unreachable(n3);
    expect(solo.core.leader).toBe(n2);
    solo.core.unreachable(n2);
    let ticks = 0;
    for (; solo.core.role === "follower"; ticks++) solo.tick(1);
    return ticks;
  };

  test("has the voters ask one after the other, in an order that changes with the term", () => {
    expect([3, 4, 5, 6].map((inTerm) => afterTicks(inTerm))).toEqual([1, 3, 5, 1]);
  });

  test("is no reason to hurry any more once the leader is heard again", () => {
    const solo = new Solo();
    solo.hearFrom(n2, 3);
    solo.core.unreachable(n2);
    solo.hearFrom(n2, 3);
    solo.tick(9);
    expect(solo.core.role).toBe("follower");
  });

  test("is none where leases rest on patience", () => {
    const solo = new Solo({ lease: 50 });
    solo.hearFrom(n2, 3);
    solo.core.unreachable(n2);
    expect(solo.core.leader).toBe(n2);
    solo.tick(9);
    solo.core.campaign();
    expect(solo.core.role).toBe("follower");
    solo.tick(1);
    expect(solo.core.role).toBe("preCandidate");
  });
});

describe("a replica that takes the place of a dropped one", () => {
  const heartbeat = {
    kind: "heartbeat",
    from: n2,
    to: n1,
    term: t(1),
    readRound: 7,
    quiesce: false,
  } as const;

  test("tells a leader who counts on what that one had, and commits nothing", () => {
    const solo = new Solo({ floor: { index: at(48), term: t(1) } });
    solo.core.step({ ...heartbeat, commit: at(48) });
    expect(solo.core.commitIndex).toBe(at(0));
    expect(solo.take().messagesAfterSync).toMatchObject([
      { kind: "appendReply", accepted: false, index: at(48), hintIndex: at(0) },
    ]);
  });

  test("is sent everything anew by a leader who counted on it", () => {
    const solo = new Solo({
      membership: { index: at(0), configuration: { voters: [n1, n2], outgoing: [], learners: [n3] } },
    });
    solo.lead();
    solo.core.propose(BYTES);
    solo.takeDurable();
    solo.ack(n2, 2);
    solo.ack(n3, 2);
    solo.take();
    solo.core.step(reply(n3, solo.core.term, { accepted: false, index: at(2), hintIndex: at(0) }));
    expect(appendsTo(n3, solo.take())).toMatchObject([{ prevIndex: at(0) }]);
    solo.tick(3);
    const beats = solo.take().messages.filter((message) => message.kind === "heartbeat" && message.to === n3);
    expect(beats).toMatchObject([{ commit: at(0) }]);
  });

  test("still says that entries were lost which no dropped one explains", () => {
    const solo = new Solo({ floor: { index: at(48), term: t(1) } });
    expect(() => solo.core.step({ ...heartbeat, commit: at(49) })).toThrow("acknowledged entries were lost");
  });
});

describe("the promise behind a lease", () => {
  test("outlives the term in which it was given", () => {
    const solo = new Solo({ lease: 50 });
    solo.hearFrom(n2, 3);
    solo.core.step(reply(n3, t(7), { accepted: false }));
    expect(solo.core.term).toBe(t(7));
    solo.take();
    solo.tick(9);
    solo.core.step(voteRequest(n3, 7));
    solo.core.step(voteRequest(n3, 8));
    expect(solo.core.hasOutput).toBe(false);
    solo.tick(1);
    solo.core.step(voteRequest(n3, 8));
    expect(solo.take().messagesAfterSync).toMatchObject([{ granted: true }]);
  });

  test("outlives a restart, which forgets to whom it was given", () => {
    const solo = new Solo({ lease: 50 }, [], { term: t(3), votedFor: undefined, commit: at(0) });
    solo.tick(9);
    solo.core.step(voteRequest(n3, 4));
    expect(solo.core.hasOutput).toBe(false);
    solo.core.step(voteRequest(n3, 4, { transfer: true }));
    expect(solo.take().messagesAfterSync).toMatchObject([{ granted: true }]);
  });

  test("is not told of before a crash would leave anything to remember it by", () => {
    const solo = new Solo({ lease: 50 });
    const heartbeat = {
      kind: "heartbeat",
      from: n2,
      to: n1,
      term: t(1),
      commit: at(0),
      readRound: 5,
    } as const;
    solo.core.step({ ...heartbeat, quiesce: false });
    const first = solo.take();
    expect(first.messages).toEqual([]);
    expect(first.messagesAfterSync).toMatchObject([{ kind: "heartbeatReply", readRound: 5 }]);
    solo.core.persisted(at(1), t(1));
    solo.core.step({ ...heartbeat, quiesce: false });
    expect(solo.take().messages).toMatchObject([{ kind: "heartbeatReply", readRound: 5 }]);
  });

  test("is not given before there ever was a leader", () => {
    const solo = new Solo({ lease: 50 });
    solo.core.step(voteRequest(n3, 1));
    expect(solo.take().messagesAfterSync).toMatchObject([{ granted: true }]);
  });
});

describe("a follower that needs what was compacted", () => {
  test("is sent a snapshot, and nothing beside it", () => {
    const solo = new Solo({}, [1, 1, 1, 1], { term: t(1), votedFor: undefined, commit: at(4) });
    solo.log.compact(at(3));
    solo.lead();
    solo.core.step(reply(n2, t(2), { accepted: false, hintIndex: at(1), hintTerm: t(1), index: at(4) }));
    expect(solo.takeDurable().snapshots).toEqual([{ to: n2, index: at(3) }]);
    solo.core.propose(BYTES);
    solo.core.unreachable(n2);
    solo.tick(3);
    solo.heard(n2);
    // An acknowledgement of what it had before the snapshot was asked for.
    solo.ack(n2, 2);
    const output = solo.takeDurable();
    expect(appendsTo(n2, output)).toEqual([]);
    expect(output.snapshots).toEqual([]);
    solo.core.snapshotDone(n2, at(4));
    expect(appendsTo(n2, solo.take())).toMatchObject([{ prevIndex: at(4) }]);
  });

  test("a snapshot that failed is asked for again when the follower is heard, and still needs it", () => {
    const solo = new Solo({}, [1, 1, 1, 1], { term: t(1), votedFor: undefined, commit: at(4) });
    solo.log.compact(at(3));
    solo.lead();
    solo.core.step(reply(n2, t(2), { accepted: false, hintIndex: at(1), hintTerm: t(1), index: at(4) }));
    solo.takeDurable();
    solo.core.snapshotFailed(n2);
    expect(solo.take().snapshots).toEqual([]);
    solo.tick(3);
    solo.heard(n2);
    expect(appendsTo(n2, solo.take())).toMatchObject([{ prevIndex: at(3) }]);
    solo.core.step(reply(n2, t(2), { accepted: false, hintIndex: at(1), hintTerm: t(1), index: at(3) }));
    expect(solo.take().snapshots).toEqual([{ to: n2, index: at(3) }]);
  });

  test("is sent one also where only a question is due, what is on its way being as much as may be", () => {
    const solo = new Solo();
    solo.lead();
    solo.ack(n2, 1);
    for (let i = 0; i < 6; i++) {
      solo.core.propose(BYTES);
      solo.takeDurable();
    }
    solo.ack(n3, 7);
    solo.take();
    // Four appends, up to entry 5, are on their way to n2.
    solo.log.compact(at(6));
    solo.tick(3);
    solo.heard(n2);
    const output = solo.take();
    expect(output.snapshots).toEqual([{ to: n2, index: at(6) }]);
    expect(appendsTo(n2, output)).toEqual([]);
  });
});

test("a follower falls asleep only where its leader's log ends", () => {
  const sleep = (last: number, commit: number): boolean => {
    const solo = new Solo({}, Array<number>(last).fill(1));
    const place = { from: n2, to: n1, term: t(1), commit: at(commit), readRound: 0 };
    solo.core.step({ kind: "heartbeat", ...place, quiesce: true });
    const answers = kinds(solo.take().messages);
    expect(answers).toEqual(solo.core.quiescent ? [] : ["heartbeatReply n2"]);
    return solo.core.quiescent;
  };
  expect([sleep(3, 3), sleep(3, 2)]).toEqual([true, false]);
});

describe("a snapshot that has arrived", () => {
  const membership = { index: at(6), configuration: CHANGE };
  const snapshot = { from: n2, term: t(3), index: at(8), lastTerm: t(2), membership };

  test("takes the place of a log that it is not part of, and of its members", () => {
    const solo = new Solo({}, [1, 1, 1]);
    solo.core.snapshotReceived(snapshot);
    const output = solo.core.takeOutput();
    expect(output.install).toEqual({ index: at(8), term: t(2), membership });
    expect(output.messagesAfterSync).toMatchObject([{ accepted: true, index: at(8), to: n2 }]);
    expect(solo.core).toMatchObject({ commitIndex: at(8), lastIndex: at(8), membership, leader: n2 });
    expect(output.committed).toEqual([]);
  });

  test("is followed by entries at once, before it was handed out even", () => {
    const solo = new Solo({}, [1, 1, 1]);
    solo.core.snapshotReceived(snapshot);
    solo.core.step({
      ...{ kind: "append", from: n2, to: n1, term: t(3), prevIndex: at(8), prevTerm: t(2), commit: at(9) },
      entries: [{ index: at(9), term: t(3), kind: "commands", data: BYTES }],
    });
    const output = solo.core.takeOutput();
    expect(output.entries).toMatchObject([{ index: at(9) }]);
    solo.log.restart(output.install!.index, output.install!.term, membership);
    solo.log.append(output.entries);
    solo.core.persisted(at(9), t(3));
    expect(solo.core.takeOutput().committed).toMatchObject([{ index: at(9) }]);
  });

  test("of what the log has is none, but tells what is committed", () => {
    const solo = new Solo({}, [1, 1, 2]);
    solo.core.snapshotReceived({ ...snapshot, index: at(3), lastTerm: t(2) });
    const output = solo.take();
    expect(output.install).toBeUndefined();
    expect(output.committed).toHaveLength(3);
    expect(output.messagesAfterSync).toMatchObject([{ accepted: true, index: at(3) }]);
  });

  test("of what is committed and compacted is none", () => {
    const solo = new Solo({}, [1, 1, 2], { term: t(2), votedFor: undefined, commit: at(3) });
    solo.log.compact(at(3));
    solo.core.snapshotReceived({ ...snapshot, index: at(2), lastTerm: t(1) });
    expect(solo.take().install).toBeUndefined();
    expect(solo.core.commitIndex).toBe(at(3));
  });

  test("of an old leader is refused", () => {
    const solo = new Solo({}, [], { term: t(9), votedFor: undefined, commit: at(0) });
    solo.core.snapshotReceived(snapshot);
    const output = solo.take();
    expect(output.install).toBeUndefined();
    expect(output.messagesAfterSync).toMatchObject([{ accepted: false, term: t(9) }]);
    expect(solo.core.leader).toBeUndefined();
  });
});
