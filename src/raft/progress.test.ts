import { describe, expect, test } from "bun:test";
import { logIndex, nodeId } from "../../protocol/ids.ts";
import { Progress } from "./progress.ts";

const at = logIndex;

function follower(limits = {}): Progress {
  return new Progress(
    nodeId("n2"),
    at(11),
    { appendBytesMax: 100, inflightAppendsMax: 3, inflightBytesMax: 200, ...limits },
    0,
  );
}

function replicating(limits = {}): Progress {
  const progress = follower(limits);
  progress.send(at(11), 1, 0);
  progress.accepted(at(11), at(0), 0);
  return progress;
}

describe("a probe", () => {
  test("is one append at a time", () => {
    const progress = follower();
    expect(progress.wantsAppend(at(15))).toBe(true);
    progress.send(at(15), 1, 0);
    expect(progress.wantsAppend(at(15))).toBe(false);
    expect(progress.next).toBe(at(11));
  });

  test("is repeated when heartbeats are answered and it is not, after some time", () => {
    const progress = follower();
    progress.send(at(11), 1, 5);
    progress.answeredHeartbeat(7, 3);
    expect(progress.wantsAppend(at(11))).toBe(false);
    progress.answeredHeartbeat(8, 3);
    expect(progress.wantsAppend(at(11))).toBe(true);
  });

  test("goes back when it is rejected, and hears no rejection but that of its own place", () => {
    const progress = follower();
    progress.send(at(11), 1, 0);
    expect(progress.isNewRejection(at(9))).toBe(false);
    expect(progress.isNewRejection(at(10))).toBe(true);
    progress.rejected(at(4));
    expect(progress.next).toBe(at(5));
    expect(progress.wantsAppend(at(11))).toBe(true);
  });

  test("that is accepted lets the appends flow from there", () => {
    const progress = follower();
    progress.send(at(13), 1, 0);
    expect(progress.accepted(at(13), at(0), 0)).toBe(true);
    expect(progress.state).toBe("replicate");
    expect([progress.match, progress.next]).toEqual([at(13), at(14)]);
  });
});

describe("replication", () => {
  test("goes on without waiting, up to the number of appends", () => {
    const progress = replicating();
    for (const last of [12, 13, 14]) {
      expect(progress.wantsAppend(at(20))).toBe(true);
      expect(progress.send(at(last), 1, 0)).toBe(true);
    }
    expect(progress.wantsAppend(at(20))).toBe(false);
    progress.accepted(at(13), at(0), 0);
    expect(progress.wantsAppend(at(20))).toBe(true);
    expect(progress.next).toBe(at(15));
  });

  test("stops at the number of bytes, but lets one append through that is larger", () => {
    const progress = replicating();
    expect(progress.send(at(12), 150, 0)).toBe(true);
    expect(progress.appendBytesMax).toBe(50);
    expect(progress.send(at(13), 60, 0)).toBe(false);
    expect(progress.next).toBe(at(13));
    expect(progress.wantsAppend(at(20))).toBe(false);
    progress.accepted(at(12), at(0), 0);
    expect(progress.appendBytesMax).toBe(100);
    expect(progress.send(at(13), 1000, 0)).toBe(true);
  });

  test("an old acknowledgement changes nothing", () => {
    const progress = replicating();
    expect(progress.accepted(at(4), at(0), 0)).toBe(false);
    expect(progress.match).toBe(at(11));
    expect(progress.accepted(at(11), at(0), 0)).toBe(false);
  });

  test("an old rejection is none, a new one leads back to probing, never below what matched", () => {
    const progress = replicating();
    progress.send(at(12), 1, 0);
    expect(progress.isNewRejection(at(11))).toBe(false);
    expect(progress.isNewRejection(at(12))).toBe(true);
    progress.rejected(at(3));
    expect(progress.state).toBe("probe");
    expect(progress.next).toBe(at(12));
  });

  test("asks what became of appends that stay without an answer", () => {
    const progress = replicating();
    progress.answeredHeartbeat(3, 3);
    expect(progress.takeNudge()).toBe(false);
    progress.send(at(12), 1, 4);
    progress.answeredHeartbeat(6, 3);
    expect(progress.takeNudge()).toBe(false);
    progress.answeredHeartbeat(7, 3);
    expect(progress.wantsAppend(at(12))).toBe(true);
    expect(progress.takeNudge()).toBe(true);
    expect(progress.takeNudge()).toBe(false);
    progress.answeredHeartbeat(9, 3);
    expect(progress.takeNudge()).toBe(false);
  });

  test("a broken connection means probing, once the follower is heard again", () => {
    const progress = replicating();
    progress.send(at(12), 1, 0);
    progress.unreachable(5);
    expect([progress.state, progress.next]).toEqual(["probe", at(12)]);
    expect(progress.wantsAppend(at(12))).toBe(false);
    progress.answeredHeartbeat(8, 3);
    expect(progress.wantsAppend(at(12))).toBe(true);
  });

  test("a broken connection during a probe keeps the best guess", () => {
    const progress = follower();
    progress.unreachable(0);
    expect(progress.next).toBe(at(11));
  });
});

describe("a snapshot", () => {
  function waiting(): Progress {
    const progress = follower();
    progress.needsSnapshot();
    return progress;
  }

  test("is waited for: nothing is sent, whatever happens", () => {
    const progress = waiting();
    progress.answeredHeartbeat(100, 3);
    progress.unreachable(100);
    progress.answeredHeartbeat(200, 3);
    expect(progress.isNewRejection(at(10))).toBe(false);
    expect(progress.wantsAppend(at(20))).toBe(false);
    expect(progress.state).toBe("snapshot");
  });

  test("that is there is followed by a probe behind it, though there be nothing to carry", () => {
    const progress = waiting();
    progress.gotSnapshot(at(15));
    expect([progress.state, progress.next]).toEqual(["probe", at(16)]);
    expect(progress.wantsAppend(at(15))).toBe(true);
    progress.send(at(15), 0, 0);
    progress.accepted(at(15), at(12), 0);
    expect(progress.state).toBe("replicate");
    expect(progress.wantsAppend(at(15))).toBe(false);
  });

  test("that failed may be there all the same: that is asked, once the follower is heard", () => {
    const progress = waiting();
    progress.missedSnapshot(at(13), 5);
    expect(progress.wantsAppend(at(20))).toBe(false);
    progress.answeredHeartbeat(8, 3);
    expect(progress.wantsAppend(at(20))).toBe(true);
    expect(progress.next).toBe(at(13));
  });

  test("is not needed any more by who has got that far in another way", () => {
    const progress = waiting();
    expect(progress.accepted(at(11), at(12), 0)).toBe(true);
    expect(progress.state).toBe("snapshot");
    progress.accepted(at(12), at(12), 0);
    expect([progress.state, progress.match]).toEqual(["replicate", at(12)]);
    progress.gotSnapshot(at(15));
    progress.missedSnapshot(at(5), 0);
    expect([progress.state, progress.next]).toEqual(["replicate", at(13)]);
  });
});
