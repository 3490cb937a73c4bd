import { expect, test } from "bun:test";
import type { GossipMessage } from "../../protocol/gossip-messages.ts";
import { nodeId, shardId, term } from "../../protocol/ids.ts";
import { seededRandom } from "../lib/prng.ts";
import { Gossip } from "./gossip.ts";
import { DEFAULT_GOSSIP } from "./options.ts";
import { ANY_LOAD, SimulatedGossip } from "./testing/simulated-gossip.ts";
import { Wire } from "./testing/wire.ts";

/** A frame's own bytes, and those of a message beside its facts. */
const FRAME_BYTES = 14;
const MESSAGE_BYTES = 90;

test("messages are as short as they shall be, however much there is to say", () => {
  const wire = new Wire();
  const world = new SimulatedGossip({ nodes: 40, seed: 5, wire: wire.carry });
  for (let shard = 0; shard < 1024; shard++) {
    world.gossip(world.nodes[shard % 40]!).noteLeader(shardId(shard), term(1));
  }
  for (let second = 0; second < 60; second++) {
    for (const node of world.nodes) {
      world.gossip(node).setLoad({ ...ANY_LOAD, requestsPerSecond: second }, world.nowMs);
    }
    if (second < 20) world.kill(world.nodes[second]!);
    world.run(1000);
  }
  expect(wire.longest).toBeGreaterThan(DEFAULT_GOSSIP.piggybackBytesMax * 0.9);
  expect(wire.longest).toBeLessThan(DEFAULT_GOSSIP.piggybackBytesMax + FRAME_BYTES + MESSAGE_BYTES);
  expect(wire.longestSync).toBeGreaterThan(DEFAULT_GOSSIP.syncBytesMax / 2);
  expect(wire.longestSync).toBeLessThan(DEFAULT_GOSSIP.syncBytesMax + FRAME_BYTES + MESSAGE_BYTES + 100);
});

const SELF = nodeId("n1");
const OTHER = nodeId("n2");
const STRANGER = nodeId("n9");

function gossipOf(...members: string[]): Gossip {
  const gossip = new Gossip({ self: SELF, random: seededRandom(1), options: DEFAULT_GOSSIP, nowMs: 0 });
  gossip.setMembers(members.map(nodeId));
  return gossip;
}

const ping = (from: string, facts: Partial<GossipMessage> = {}): GossipMessage =>
  ({
    ...{ kind: "ping", from: nodeId(from), to: SELF, incarnation: 0, sequence: 1 },
    ...{ members: [], loads: [], leaders: [], ...facts },
  }) as GossipMessage;

test("strangers are not answered, and nobody becomes a member by being talked of", () => {
  const gossip = gossipOf("n1", "n2");
  expect(gossip.receive(ping("n9"), 0)).toEqual([]);
  const about = { node: STRANGER, incarnation: 3 };
  const answers = gossip.receive(
    ping("n2", {
      members: [{ ...about, state: "suspect", suspectedBy: [STRANGER] }],
      loads: [{ ...about, version: 1, load: ANY_LOAD }],
      leaders: [{ shard: shardId(1), term: term(1), leader: STRANGER }],
    }),
    0,
  );
  expect(answers.map(({ kind }) => kind)).toContain("ack");
  expect(gossip.stateOf(STRANGER)).toBeUndefined();
  expect(gossip.loadOf(STRANGER)).toBeUndefined();
  expect(gossip.leaderHintOf(shardId(1))).toBeUndefined();
});

test("who leads may be known before it is known that it is a member", () => {
  const gossip = gossipOf("n1", "n2");
  gossip.receive(ping("n2", { leaders: [{ shard: shardId(1), term: term(1), leader: STRANGER }] }), 0);
  gossip.setMembers(["n1", "n2", "n9"].map(nodeId));
  expect(gossip.leaderHintOf(shardId(1))?.leader).toBe(STRANGER);
});

test("of who is no member any more nothing is left", () => {
  const gossip = gossipOf("n1", "n2", "n3");
  gossip.receive(ping("n2", { loads: [{ node: OTHER, incarnation: 0, version: 1, load: ANY_LOAD }] }), 0);
  gossip.setMembers(["n1", "n3"].map(nodeId));
  expect([gossip.stateOf(OTHER), gossip.loadOf(OTHER), gossip.heardMs(OTHER)]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  for (let nowMs = 0; nowMs < 60_000; nowMs += 50) {
    for (const message of gossip.tick(nowMs)) expect(message.to).not.toBe(OTHER);
  }
});

test("the time in which a process stood still is not counted against the dead", () => {
  const gossip = gossipOf("n1", "n2");
  let nowMs = 0;
  for (; gossip.stateOf(OTHER) !== "dead"; nowMs += 50) gossip.tick(nowMs);
  const sinceMs = gossip.deadSinceMs(OTHER)!;
  for (const end = nowMs + 1_000; nowMs < end; nowMs += 50) gossip.tick(nowMs);
  expect(gossip.deadSinceMs(OTHER)).toBe(sinceMs);
  gossip.tick(nowMs + 600_000);
  expect(nowMs + 600_000 - gossip.deadSinceMs(OTHER)!).toBeLessThan(1_100);
});

test("a node alone says nothing", () => {
  const gossip = gossipOf("n1");
  for (let nowMs = 0; nowMs < 60_000; nowMs += 50) expect(gossip.tick(nowMs)).toEqual([]);
});

test("who has left says so to a few, and then nothing any more", () => {
  const gossip = gossipOf("n1", "n2", "n3");
  const farewells = gossip.leave(0);
  expect(farewells.map(({ to }) => to).sort()).toEqual(["n2", "n3"].map(nodeId));
  for (const { members } of farewells) {
    expect(members).toEqual([{ node: SELF, state: "left", incarnation: 0, suspectedBy: [] }]);
  }
  expect(gossip.stateOf(SELF)).toBe("left");
  expect(gossip.receive(ping("n2"), 10)).toEqual([]);
  expect(gossip.tick(10_000)).toEqual([]);
});
