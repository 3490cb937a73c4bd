/** Arbitrary gossip for property tests. */
import fc from "fast-check";
import {
  type GossipMessage,
  type LeaderHint,
  type LoadFact,
  MEMBER_STATES,
  type MemberFact,
} from "./gossip-messages.ts";
import { nodeId, shardId, term } from "./ids.ts";
import { nodeLoad, wholeNumber } from "./test-values.ts";

export const FROM = nodeId("n1");
export const TO = nodeId("n2");

const node = fc.stringMatching(/^[A-Za-z0-9._-]{1,64}$/).map(nodeId);
const u32 = fc.oneof(fc.constantFrom(0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1), fc.nat(2 ** 32 - 1));

export const anyMemberFact: fc.Arbitrary<MemberFact> = fc
  .record({
    node,
    state: fc.constantFrom(...MEMBER_STATES),
    incarnation: u32,
    suspectedBy: fc.array(node, { maxLength: 8 }),
  })
  .map((fact) => (fact.state === "suspect" ? fact : { ...fact, suspectedBy: [] }));

export const anyLoadFact: fc.Arbitrary<LoadFact> = fc.record({
  node,
  incarnation: u32,
  version: wholeNumber,
  load: nodeLoad,
});

export const anyLeaderHint: fc.Arbitrary<LeaderHint> = fc.record({
  shard: fc.nat(1023).map(shardId),
  term: wholeNumber.map(term),
  leader: node,
});

const rest = {
  ...{ from: fc.constant(FROM), to: fc.constant(TO), incarnation: u32 },
  members: fc.array(anyMemberFact, { maxLength: 5 }),
  loads: fc.array(anyLoadFact, { maxLength: 3 }),
  leaders: fc.array(anyLeaderHint, { maxLength: 5 }),
};

export const anyGossip: fc.Arbitrary<GossipMessage> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("ping" as const, "ack" as const, "nack" as const),
    sequence: u32,
    ...rest,
  }),
  fc.record({ kind: fc.constant("pingRequest" as const), sequence: u32, target: node, ...rest }),
  fc.record({ kind: fc.constant("sync" as const), ask: fc.boolean(), ...rest }),
);
