import { describe, expect, test } from "bun:test";
import { INDEX_ZERO, type LogIndex, nodeId } from "../../protocol/ids.ts";
import { AssertionError } from "../lib/assert.ts";
import {
  appendsTo,
  at,
  BYTES,
  foundedBy,
  kinds,
  n1,
  n2,
  n3,
  reply,
  Solo,
  t,
  voteRequest,
} from "./testing/solo.ts";

describe("terms and votes", () => {
  test("a vote is given once a term, written with the term, and answered after the sync", () => {
    const { core } = new Solo();
    core.step(voteRequest(n2, 5));
    core.step(voteRequest(n3, 5));
    core.step(voteRequest(n2, 5));
    const output = core.takeOutput();
    expect(output.hardState).toEqual({ term: t(5), votedFor: n2, commit: INDEX_ZERO });
    expect(output.messages).toEqual([]);
    expect(output.messagesAfterSync).toEqual(
      [
        { to: n2, granted: true },
        { to: n3, granted: false },
        { to: n2, granted: true },
      ].map((answer) => ({ kind: "voteReply", from: n1, term: t(5), preVote: false, ...answer }) as const),
    );
  });

  test("a candidate with an older log gets no vote, though its term is taken over", () => {
    const { core } = new Solo({}, [1, 2]);
    core.step(voteRequest(n2, 5, { lastIndex: at(7), lastTerm: t(1) }));
    const output = core.takeOutput();
    expect(output.hardState).toMatchObject({ term: t(5), votedFor: undefined });
    expect(output.messagesAfterSync).toMatchObject([{ granted: false, term: t(5) }]);
  });

  test("after a restart the vote is still given away", () => {
    const { core } = new Solo({}, [], { term: t(5), votedFor: n2, commit: INDEX_ZERO });
    core.step(voteRequest(n3, 5));
    expect(core.takeOutput()).toMatchObject({
      hardState: undefined,
      messagesAfterSync: [{ granted: false }],
    });
  });

  test("a question changes neither term nor vote nor patience", () => {
    const solo = new Solo();
    solo.tick(9);
    solo.core.step(voteRequest(n2, 1, { preVote: true }));
    const output = solo.take();
    expect(output.hardState).toBeUndefined();
    expect(output.messagesAfterSync).toMatchObject([{ granted: true, preVote: true, term: t(1) }]);
    solo.tick(1);
    expect(solo.core.role).toBe("preCandidate");
  });

  test("a vote that is refused does not make patient, one that is granted does", () => {
    const solo = new Solo({}, [2]);
    solo.tick(9);
    solo.core.step(voteRequest(n2, 5, { lastTerm: t(1) }));
    solo.tick(1);
    expect(solo.core.role).toBe("preCandidate");

    const other = new Solo({}, [2]);
    other.tick(9);
    other.core.step(voteRequest(n2, 5));
    other.tick(9);
    expect(other.core.role).toBe("follower");
  });

  test("who heard its leader within an election timeout ignores candidates, unless the leader sent them", () => {
    const solo = new Solo();
    solo.hearFrom(n2, 3);
    solo.take();
    solo.tick(9);
    solo.core.step(voteRequest(n3, 4));
    solo.core.step(voteRequest(n3, 4, { preVote: true }));
    expect(solo.core.hasOutput).toBe(false);
    expect(solo.core.term).toBe(t(3));
    solo.core.step(voteRequest(n3, 4, { transfer: true }));
    expect(solo.take().messagesAfterSync).toMatchObject([{ granted: true }]);
  });

  test("a leader protects itself likewise", () => {
    const solo = new Solo();
    solo.lead();
    solo.core.step(voteRequest(n3, 7));
    expect(solo.core.role).toBe("leader");
  });

  test("a candidate asks first, and its own vote is written before it asks for others", () => {
    const { core } = new Solo();
    core.campaign();
    const question = core.takeOutput();
    expect(kinds(question.messages)).toEqual(["vote n2", "vote n3"]);
    expect(question.messages).toMatchObject([{ preVote: true, term: t(1) }, { preVote: true }]);
    expect(question.hardState).toBeUndefined();
    core.step({ kind: "voteReply", from: n3, to: n1, term: t(1), preVote: true, granted: true });
    const request = core.takeOutput();
    expect(request.hardState).toMatchObject({ term: t(1), votedFor: n1 });
    expect(request.messages).toEqual([]);
    expect(kinds(request.messagesAfterSync)).toEqual(["vote n2", "vote n3"]);
  });

  test("an answer to an earlier question is none to the present one", () => {
    const solo = new Solo();
    solo.core.campaign();
    solo.hearFrom(n3, 1);
    solo.core.campaign();
    solo.vote(n2, t(1), true);
    expect(solo.core.role).toBe("preCandidate");
    solo.vote(n2, t(2), true);
    expect(solo.core.role).toBe("candidate");
  });

  test("an old leader, and an old candidate, are told the term", () => {
    const solo = new Solo({}, [], { term: t(5), votedFor: undefined, commit: INDEX_ZERO });
    solo.hearFrom(n2, 3);
    solo.core.step(voteRequest(n3, 4));
    const output = solo.take();
    expect(output.messages).toMatchObject([{ kind: "heartbeatReply", to: n2, term: t(5), readRound: 0 }]);
    expect(output.messagesAfterSync).toMatchObject([{ kind: "voteReply", to: n3, term: t(5) }]);
    expect(solo.core.leader).toBeUndefined();
  });

  test("answers of strangers, and messages for somebody else, are ignored", () => {
    const { core } = new Solo();
    core.step(reply(nodeId("n9"), t(5), { accepted: false }));
    core.step({ ...voteRequest(n2, 5), to: n3 });
    expect(core.term).toBe(t(0));
    expect(core.hasOutput).toBe(false);
  });

  test("a stranger may know newer members: its requests count", () => {
    const { core } = new Solo();
    core.step(voteRequest(nodeId("n9"), 5));
    expect(core.takeOutput().messagesAfterSync).toMatchObject([{ to: nodeId("n9"), granted: true }]);
    core.step({
      kind: "heartbeat",
      from: nodeId("n8"),
      to: n1,
      term: t(6),
      commit: at(0),
      readRound: 0,
      quiesce: false,
    });
    expect(core.leader).toBe(nodeId("n8"));
  });

  test("only the leader of the term can tell to take over", () => {
    const solo = new Solo();
    solo.hearFrom(n2, 3);
    solo.core.step({ kind: "timeoutNow", from: n3, to: n1, term: t(3) });
    expect(solo.core.role).toBe("follower");
    solo.core.step({ kind: "timeoutNow", from: n2, to: n1, term: t(3) });
    expect(solo.core.role).toBe("candidate");
    expect(solo.take().messagesAfterSync).toMatchObject([{ transfer: true, preVote: false }, {}]);
  });

  test("two leaders in one term are a broken invariant", () => {
    const solo = new Solo();
    solo.lead();
    expect(() => solo.hearFrom(n2, 1)).toThrow(AssertionError);
  });
});

describe("a leader", () => {
  test("what is proposed between two Outputs leaves in one append a follower", () => {
    const solo = new Solo();
    solo.lead();
    solo.ack(n2, 1);
    solo.take();
    expect([1, 2, 3].map(() => solo.core.propose(BYTES))).toEqual([2, 3, 4].map(at));
    const output = solo.take();
    expect(appendsTo(n2, output)).toMatchObject([{ prevIndex: 1, prevTerm: 1, commit: 1 }]);
    expect(appendsTo(n2, output)[0]!.entries).toHaveLength(3);
    // Nothing is known of n3 yet: its probe is on its way.
    expect(appendsTo(n3, output)).toEqual([]);
    expect(solo.core.hasOutput).toBe(false);
  });

  test("a backlog leaves in appends of limited size, as many as may be on their way", () => {
    const solo = new Solo();
    solo.lead();
    for (let i = 0; i < 60; i++) solo.core.propose(BYTES);
    solo.take();
    solo.ack(n2, 1);
    const first = appendsTo(n2, solo.take());
    expect(first.map(({ entries }) => entries.length)).toEqual([10, 10, 10, 10]);
    solo.ack(n2, 21);
    const second = appendsTo(n2, solo.take());
    expect(second.map(({ prevIndex }) => prevIndex)).toEqual([41, 51].map(at));
  });

  test("the bytes on their way are limited, too", () => {
    const solo = new Solo({ inflightBytesMax: 150 });
    solo.lead();
    for (let i = 0; i < 60; i++) solo.core.propose(BYTES);
    solo.take();
    solo.ack(n2, 1);
    expect(appendsTo(n2, solo.take()).map(({ entries }) => entries.length)).toEqual([10, 5]);
    expect(solo.core.hasOutput).toBe(false);
  });

  test("counts itself only once its own log is durable", () => {
    const solo = new Solo();
    solo.lead();
    solo.core.propose(BYTES);
    solo.take();
    solo.ack(n2, 2);
    expect(solo.core.commitIndex).toBe(at(1));
    solo.core.persisted(at(2), t(1));
    expect(solo.core.commitIndex).toBe(at(2));
  });

  test("does without itself where the others are a majority, but applies only what it has", () => {
    const solo = new Solo();
    solo.lead();
    solo.core.propose(BYTES);
    solo.take();
    solo.ack(n2, 2);
    solo.ack(n3, 2);
    expect(solo.core.commitIndex).toBe(at(2));
    expect(solo.take().committed).toHaveLength(1);
    solo.core.persisted(at(2), t(1));
    expect(solo.take().committed).toHaveLength(1);
  });

  test("commits entries of earlier terms only with one of its own (figure 8)", () => {
    const solo = new Solo({}, [1, 2, 2]);
    solo.lead();
    solo.ack(n2, 3);
    solo.ack(n3, 3);
    expect(solo.core.commitIndex).toBe(at(0));
    solo.ack(n3, 4);
    expect(solo.core.commitIndex).toBe(at(4));
  });

  test("begins its term with an entry of its own", () => {
    const solo = new Solo({}, [1]);
    solo.lead();
    expect(solo.log.entries(at(2), at(3), 1)).toMatchObject([{ term: t(2), kind: "noop" }]);
  });

  test("tells a follower of no commit beyond what it is known to have", () => {
    const solo = new Solo();
    solo.lead();
    solo.ack(n2, 1);
    solo.take();
    solo.tick(3);
    expect(solo.take().messages).toMatchObject([
      { kind: "heartbeat", to: n2, commit: at(1) },
      { kind: "heartbeat", to: n3, commit: at(0) },
    ]);
  });

  test("steps down when no majority answers for an election timeout, and not before", () => {
    const solo = new Solo();
    solo.lead();
    solo.tick(5);
    solo.heard(n3);
    solo.tick(9);
    expect(solo.core.status().replicas).toMatchObject([
      { node: n2, active: false },
      { node: n3, active: true },
    ]);
    expect(solo.core.role).toBe("leader");
    solo.tick(1);
    expect(solo.core.role).toBe("follower");
    expect(solo.core.leader).toBeUndefined();
    expect(solo.core.propose(BYTES)).toBeUndefined();
  });

  test("steps down for a higher term", () => {
    const solo = new Solo();
    solo.lead();
    solo.core.step(reply(n2, t(9), { accepted: false }));
    expect(solo.core).toMatchObject({ role: "follower", term: t(9), leader: undefined });
  });

  test("an acknowledgement of an earlier term is none", () => {
    const solo = new Solo();
    solo.lead();
    solo.core.step(reply(n2, t(0), { index: at(1) }));
    expect(solo.core.commitIndex).toBe(at(0));
  });

  test("finds where the logs part, in one round trip a term", () => {
    const solo = new Solo({}, [1, 1, 4, 4, 4, 6]);
    solo.lead();
    solo.core.step(
      reply(n2, solo.core.term, { accepted: false, index: at(6), hintIndex: at(5), hintTerm: t(3) }),
    );
    expect(appendsTo(n2, solo.take())).toMatchObject([{ prevIndex: at(2), prevTerm: t(1) }]);
  });

  test("a rejection that repeats changes nothing", () => {
    const solo = new Solo({}, [1, 1, 1]);
    solo.lead();
    const no = reply(n2, solo.core.term, {
      accepted: false,
      index: at(3),
      hintIndex: at(1),
      hintTerm: t(1),
    });
    solo.core.step(no);
    expect(appendsTo(n2, solo.take())).toHaveLength(1);
    solo.core.step(no);
    expect(solo.core.hasOutput).toBe(false);
  });

  test("sends nothing to who can't be reached, until it answers a heartbeat", () => {
    const solo = new Solo();
    solo.lead();
    solo.ack(n2, 1);
    solo.core.propose(BYTES);
    solo.takeDurable();
    solo.core.unreachable(n2);
    solo.core.propose(BYTES);
    expect(appendsTo(n2, solo.takeDurable())).toEqual([]);
    solo.tick(3);
    solo.take();
    solo.heard(n2);
    expect(appendsTo(n2, solo.take())).toMatchObject([{ prevIndex: at(1), entries: [{}, {}] }]);
  });

  test("frequent heartbeats for reads do not make it repeat what is on its way", () => {
    const solo = new Solo();
    solo.lead();
    solo.ack(n2, 1);
    solo.core.propose(BYTES);
    solo.takeDurable();
    for (let i = 0; i < 5; i++) {
      const round = solo.core.readIndex()!;
      solo.take();
      solo.heard(n2, round);
      solo.heard(n3, round);
      expect(solo.take().messages).toEqual([]);
    }
  });
});

describe("handing leadership over", () => {
  test("waits until the next leader has everything, and takes no proposals meanwhile", () => {
    const solo = new Solo();
    solo.lead();
    solo.core.propose(BYTES);
    solo.takeDurable();
    solo.ack(n2, 1);
    solo.take();
    solo.core.transferLeadership(n2);
    expect(solo.core.propose(BYTES)).toBeUndefined();
    expect(solo.core.hasOutput).toBe(false);
    solo.ack(n2, 2);
    expect(kinds(solo.take().messages)).toEqual(["timeoutNow n2"]);
    expect(solo.core.hasOutput).toBe(false);
  });

  test("is given up after an election timeout", () => {
    const solo = new Solo();
    solo.lead();
    solo.core.transferLeadership(n3);
    solo.tick(9);
    solo.heard(n2);
    expect(solo.core.propose(BYTES)).toBeUndefined();
    solo.tick(1);
    expect(solo.core.propose(BYTES)).toBe(at(2));
  });

  test("to itself or to a stranger is nothing", () => {
    const solo = new Solo();
    solo.lead();
    solo.core.transferLeadership(n1);
    solo.core.transferLeadership(nodeId("n9"));
    expect(solo.core.propose(BYTES)).toBe(at(2));
  });
});

describe("reads", () => {
  test("are confirmed only by answers to heartbeats that left after them", () => {
    const solo = new Solo();
    solo.lead();
    solo.ack(n2, 1);
    solo.take();
    const first = solo.core.readIndex()!;
    solo.take();
    const second = solo.core.readIndex()!;
    expect(kinds(solo.take().messages)).toEqual(["heartbeat n2", "heartbeat n3"]);
    solo.heard(n2, first);
    expect(solo.take().reads).toEqual([{ round: first, index: at(1) }]);
    solo.heard(n2, first);
    solo.heard(n3, first);
    expect(solo.take().reads).toEqual([]);
    solo.heard(n3, second);
    expect(solo.take().reads).toEqual([{ round: second, index: at(1) }]);
  });

  test("wait for the first commit of the leader's own term", () => {
    const solo = new Solo({}, [1, 1], { term: t(1), votedFor: undefined, commit: at(1) });
    solo.lead();
    const round = solo.core.readIndex()!;
    solo.take();
    solo.heard(n2, round);
    expect(solo.take().reads).toEqual([]);
    solo.ack(n2, 2);
    expect(solo.take().reads).toEqual([]);
    solo.ack(n2, 3);
    expect(solo.take().reads).toEqual([{ round, index: at(3) }]);
  });

  test("are not granted in a later term for an answer in this one", () => {
    const solo = new Solo();
    solo.lead();
    solo.ack(n2, 1);
    const round = solo.core.readIndex()!;
    solo.take();
    solo.hearFrom(n3, 2);
    expect(solo.take()).toMatchObject({ reads: [], lostReadsUpTo: round });
    expect(solo.core.readIndex()).toBeUndefined();
  });

  test("need nobody else where there is nobody else", () => {
    const solo = new Solo({ membership: foundedBy(n1) });
    solo.core.campaign();
    const early = solo.core.readIndex()!;
    expect(solo.take().reads).toEqual([]);
    solo.core.persisted(at(1), t(1));
    expect(solo.take().reads).toEqual([{ round: early, index: at(1) }]);
    const late = solo.core.readIndex()!;
    expect(solo.take().reads).toEqual([{ round: late, index: at(1) }]);
  });
});

describe("a follower", () => {
  test("acknowledges after its sync what it was sent, not what it has", () => {
    const { core } = new Solo({}, [1, 1, 1]);
    const envelope = { from: n2, to: n1, term: t(1) };
    const place = { prevIndex: at(1), prevTerm: t(1), commit: at(3) };
    const entries = [{ index: at(2), term: t(1), kind: "commands", data: BYTES }] as const;
    core.step({ kind: "append", ...envelope, ...place, entries });
    const output = core.takeOutput();
    expect(output.messages).toEqual([]);
    expect(output.messagesAfterSync).toMatchObject([{ kind: "appendReply", accepted: true, index: at(2) }]);
    expect(output.entries).toEqual([]);
    expect(core.commitIndex).toBe(at(2));
  });

  test("stays one as long as it hears its leader", () => {
    const solo = new Solo();
    for (let i = 0; i < 20; i++) {
      solo.hearFrom(n2, 1);
      solo.tick(9);
      expect(solo.core).toMatchObject({ role: "follower", leader: n2 });
    }
    solo.tick(1);
    expect(solo.core).toMatchObject({ role: "preCandidate", leader: undefined, term: t(1) });
  });
});

describe("the HardState", () => {
  test("is not written for the commit index alone", () => {
    const solo = new Solo();
    solo.lead();
    solo.core.propose(BYTES);
    expect(solo.takeDurable().hardState).toBeUndefined();
    solo.ack(n2, 2);
    const output = solo.take();
    expect(output.committed).toHaveLength(2);
    expect(output.hardState).toBeUndefined();
  });

  test("follows the commit index from time to time, with entries", () => {
    const solo = new Solo();
    solo.lead();
    let written = 0;
    let commit: LogIndex | undefined;
    for (let i = 0; i < 3000; i++) {
      const index = solo.core.propose(BYTES)!;
      const { hardState } = solo.takeDurable();
      if (hardState !== undefined) {
        written++;
        commit = hardState.commit;
      }
      solo.ack(n2, index);
      solo.take();
    }
    expect(written).toBe(2);
    expect(commit).toBe(at(2048));
  });
});

test("nothing to do is no Output", () => {
  const solo = new Solo();
  expect(solo.core.hasOutput).toBe(false);
  solo.tick(1);
  expect(solo.core.hasOutput).toBe(false);
  expect(solo.take()).toEqual({
    install: undefined,
    hardState: undefined,
    entries: [],
    messages: [],
    messagesAfterSync: [],
    committed: [],
    reads: [],
    lostReadsUpTo: 0,
    snapshots: [],
  });
});

test("a core is not built on contradictions", () => {
  expect(() => new Solo({ heartbeatTicks: 10 })).toThrow("an election timeout of 10 ticks");
  expect(() => new Solo({ inflightBytesMax: 0 })).toThrow("limits on appends");
  const zero = { term: t(0), votedFor: undefined, commit: INDEX_ZERO };
  expect(() => new Solo({}, [1, 2], zero)).toThrow("the log ends in term 2");
});
