import { expect, test } from "bun:test";
import fc from "fast-check";
import { encodeGossip } from "../../protocol/gossip.ts";
import type { GossipFacts } from "../../protocol/gossip-messages.ts";
import { nodeId } from "../../protocol/ids.ts";
import { frameOf, written } from "../../protocol/test-frames.ts";
import { anyLeaderHint, anyLoadFact, anyMemberFact } from "../../protocol/test-gossip.ts";
import { DEFAULT_GOSSIP } from "./options.ts";
import { hintBytes, loadBytes, memberBytes } from "./sizes.ts";

function bodyBytes(facts: Partial<GossipFacts>): number {
  const bytes = written((writer) =>
    encodeGossip(writer, {
      ...{ kind: "ack", from: nodeId("n1"), to: nodeId("n2"), incarnation: 0, sequence: 0 },
      ...{ members: [], loads: [], leaders: [], ...facts },
    }),
  );
  return frameOf(bytes).body.length;
}

const EMPTY = bodyBytes({});

test("a fact takes what is reckoned with", () => {
  fc.assert(
    fc.property(anyMemberFact, anyLoadFact, anyLeaderHint, (member, load, hint) => {
      expect(bodyBytes({ members: [member] }) - EMPTY).toBe(memberBytes(member));
      expect(bodyBytes({ loads: [load] }) - EMPTY).toBe(loadBytes(load));
      expect(bodyBytes({ leaders: [hint] }) - EMPTY).toBe(hintBytes(hint));
    }),
  );
});

test("the longest fact has room on a ping", () => {
  const node = nodeId("n".repeat(64));
  const suspectedBy = Array.from({ length: DEFAULT_GOSSIP.confirmations + 1 }, () => node);
  const member = { node, state: "suspect", incarnation: 2 ** 32 - 1, suspectedBy } as const;
  expect(memberBytes(member)).toBeLessThan(512);
});
