/**
 * The Raft core without disk or network: what one core costs for each thing that happens to it. Three voters; an entry
 * carries 1 KiB, as a batch of a few commands does. The log behind it is an array, compacted now and then.
 */
import { bench, do_not_optimize, group } from "mitata";
import { indexPlus, type LogIndex, logIndex, type NodeId, nodeId, term } from "../protocol/ids.ts";
import type { AppendReply, AppendRequest } from "../protocol/peer-messages.ts";
import { assert } from "../src/lib/assert.ts";
import { founders } from "../src/raft/configuration.ts";
import { createRaft } from "../src/raft/raft.ts";
import { NEW_HARD_STATE } from "../src/raft/testing/memory-disk.ts";
import { MemoryLog } from "../src/raft/testing/memory-log.ts";
import type { Output, RaftCore } from "../src/raft/types.ts";

const N1 = nodeId("n1");
const N2 = nodeId("n2");
const N3 = nodeId("n3");
const TERM = term(1);
const DATA = new Uint8Array(1024);
const KEPT_ENTRIES = 4096;

/** Registers the benchmarks with mitata. */
export function register(): void {
  group("raft core", () => {
    bench("leader: propose, take the Output", function* () {
      const leader = lead();
      yield {
        0: () => acknowledge(leader),
        bench: () => propose(leader),
      };
    });
    bench("leader: an acknowledgement commits, take the Output", function* () {
      const leader = lead();
      yield {
        0: () => {
          propose(leader);
          leader.core.persisted(leader.core.lastIndex, TERM);
          return reply(N2, leader.core.lastIndex);
        },
        bench: (message: AppendReply) => {
          leader.core.step(message);
          return do_not_optimize(leader.take());
        },
      };
    });
    bench("leader: an entry's whole way, from proposal to commit", function* () {
      const leader = lead();
      yield () => {
        propose(leader);
        acknowledge(leader);
      };
    });
    bench("leader: 64 proposals, their whole way together", function* () {
      const leader = lead();
      yield () => {
        for (let i = 1; i < 64; i++) leader.core.propose(DATA);
        propose(leader);
        acknowledge(leader);
      };
    });
    bench("leader: a read round", function* () {
      const leader = lead();
      yield () => {
        const readRound = leader.core.readIndex()!;
        leader.take();
        leader.core.step({ kind: "heartbeatReply", from: N2, to: N1, term: TERM, readRound });
        return do_not_optimize(leader.take());
      };
    });
    bench("follower: an append of one entry, take the Output, sync", function* () {
      const follower = new Member();
      let last = logIndex(0);
      yield () => {
        follower.core.step(append(last));
        last = indexPlus(last, 1);
        do_not_optimize(follower.take());
        follower.core.persisted(last, TERM);
      };
    });
    bench("idle: a tick, nothing to do", function* () {
      const follower = new Member();
      follower.core.step(append(logIndex(0)));
      follower.take();
      yield () => {
        follower.core.step({
          kind: "heartbeat",
          from: N2,
          to: N1,
          term: TERM,
          commit: logIndex(1),
          readRound: 0,
          quiesce: false,
        });
        follower.core.tick();
        return do_not_optimize(follower.core.hasOutput ? follower.take() : undefined);
      };
    });
  });
}

/** A core and its owner's log. */
class Member {
  readonly log = new MemoryLog();
  readonly core: RaftCore = createRaft(
    {
      id: N1,
      membership: { index: logIndex(0), configuration: founders([N1, N2, N3]) },
      lease: 0,
      heartbeatTicks: 2,
      electionTicks: 20,
      appendBytesMax: 1024 * 1024,
      inflightAppendsMax: 64,
      inflightBytesMax: 4 * 1024 * 1024,
      random: { below: () => 0 },
    },
    this.log,
    NEW_HARD_STATE,
  );

  take(): Output {
    const output = this.core.takeOutput();
    this.log.append(output.entries);
    if (this.log.lastIndex - this.log.firstIndex > 2 * KEPT_ENTRIES) {
      this.log.compact(indexPlus(this.log.lastIndex, -KEPT_ENTRIES));
    }
    return output;
  }
}

function reply(from: NodeId, index: LogIndex): AppendReply {
  const hint = { hintIndex: index, hintTerm: TERM };
  return { kind: "appendReply", from, to: N1, term: TERM, accepted: true, index, ...hint };
}

function append(after: LogIndex): AppendRequest {
  const entry = { index: indexPlus(after, 1), term: TERM, kind: "commands", data: DATA } as const;
  const prevTerm = after === 0 ? term(0) : TERM;
  const envelope = { from: N2, to: N1, term: TERM };
  return { kind: "append", ...envelope, prevIndex: after, prevTerm, commit: after, entries: [entry] };
}

function lead(): Member {
  const member = new Member();
  member.core.campaign();
  member.take();
  for (const preVote of [true, false]) {
    member.core.step({ kind: "voteReply", from: N2, to: N1, term: TERM, preVote, granted: true });
    member.take();
  }
  assert(member.core.role === "leader", "bench: not elected");
  acknowledge(member);
  return member;
}

function propose(leader: Member): void {
  leader.core.propose(DATA);
  do_not_optimize(leader.take());
}

/** Both followers and the leader's own disk have everything. */
function acknowledge(leader: Member): void {
  const last = leader.core.lastIndex;
  leader.core.persisted(last, TERM);
  leader.core.step(reply(N2, last));
  leader.core.step(reply(N3, last));
  do_not_optimize(leader.take());
}
