import { expect, test } from "bun:test";
import { nodeId, shardId, term } from "../../protocol/ids.ts";
import { VirtualClock } from "../../test/support/virtual-clock.ts";
import { assertGossipOptions, DEFAULT_GOSSIP } from "../gossip/options.ts";
import { ANY_LOAD } from "../gossip/testing/simulated-gossip.ts";
import { seededRandom } from "../lib/prng.ts";
import { MemoryLog } from "../server/test-harness.ts";
import { DEFAULT_TIMING_OPTIONS, DEFAULT_TIMINGS, timingsOf } from "../timings.ts";
import { ClusterGossip, gossipOptions } from "./cluster-gossip.ts";

test("who waits longer for leaders waits as much longer for nodes, and nobody less than by default", () => {
  expect(gossipOptions(DEFAULT_TIMINGS)).toEqual(DEFAULT_GOSSIP);
  const quick = { ...DEFAULT_TIMING_OPTIONS, tickMs: 10, heartbeatMs: 20, electionTimeoutMs: 100 };
  expect(gossipOptions(timingsOf(quick))).toEqual(DEFAULT_GOSSIP);
  for (const factor of [2, 3, 10]) {
    const slow = gossipOptions(
      timingsOf({
        ...DEFAULT_TIMING_OPTIONS,
        electionTimeoutMs: 500 * factor,
        requestTimeoutMs: 5_000 * factor,
        idleMs: 2_000 * factor,
      }),
    );
    assertGossipOptions(slow);
    expect(slow.probeMs).toBe(DEFAULT_GOSSIP.probeMs * factor);
    expect(slow.suspicionMs).toBe(DEFAULT_GOSSIP.suspicionMs * factor);
  }
});

/** Two nodes that hear each other at once, as long as both run. */
class Pair {
  readonly clock = new VirtualClock();
  readonly log = new MemoryLog();
  readonly fatal: Error[] = [];
  isCut = false;
  readonly ids = [nodeId("n1"), nodeId("n2")] as const;
  readonly nodes: readonly ClusterGossip[];

  constructor() {
    this.nodes = this.ids.map(
      (self, i) =>
        new ClusterGossip({
          ...{ env: { clock: this.clock, random: seededRandom(i), log: this.log }, self },
          options: DEFAULT_GOSSIP,
          network: {
            gossip: (message) => {
              if (!this.isCut) this.nodes[this.ids.indexOf(message.to as never)]!.received(message);
            },
          },
          load: () => ANY_LOAD,
          led: (note) => note(shardId(i), term(3 + i)),
          onFatal: (error) => void this.fatal.push(error),
        }),
    );
    for (const node of this.nodes) {
      node.membersChanged(this.ids);
      node.start();
    }
  }
}

test("nodes hear of each other's load and shards, miss who is silent, and hear who stops", () => {
  const { clock, log, nodes, ids, fatal } = new Pair();
  clock.advance(1_000);
  const { view } = nodes[0]!;
  expect(view.stateOf(ids[1])).toBe("alive");
  expect(view.loadOf(ids[1])).toEqual(ANY_LOAD);
  expect(view.leaderHintOf(shardId(1))).toEqual({ shard: shardId(1), term: term(4), leader: ids[1] });
  expect(log.lines).toEqual([]);
  nodes[1]!.stop();
  expect(view.stateOf(ids[1])).toBe("left");
  expect(log.lines.join()).toContain("a node has left");
  expect(fatal).toEqual([]);
});

test("what is silent is dead, and what comes back alive, and the log says both", () => {
  const pair = new Pair();
  pair.clock.advance(1_000);
  pair.isCut = true;
  pair.clock.advance(3_000);
  const { view } = pair.nodes[0]!;
  expect(view.stateOf(pair.ids[1])).toBe("dead");
  expect(pair.clock.nowMs() - view.deadSinceMs(pair.ids[1])!).toBeLessThan(2_000);
  pair.isCut = false;
  // The connection is there again: that is looked at sooner than the next ping of the dead.
  for (const node of pair.nodes) node.connectionChanged(pair.ids[0]);
  pair.clock.advance(1_500);
  expect(view.stateOf(pair.ids[1])).toBe("alive");
  expect(pair.log.lines.join("\n")).toMatch(/a node is dead[\s\S]*a node is alive again/);
});
