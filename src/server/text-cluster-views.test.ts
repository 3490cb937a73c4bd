import { expect, test } from "bun:test";
import { nodeId } from "../../protocol/ids.ts";
import type { PeerStatus } from "../../protocol/messages.ts";
import { topologyNode } from "../../test/support/topology-node.ts";
import { healthOf, nodeLine } from "./text-cluster-views.ts";

const [N1, N2] = [nodeId("n1"), nodeId("n2")];

const PEER = { id: N2, address: "n2:7002", lastHeardMs: 5 };

/** The flags and the link state of n2, as n1 has it. */
function flagsOf(peer: Pick<PeerStatus, "state" | "connected"> | undefined, node = N2): string[] {
  const peers = peer === undefined ? [] : [{ ...PEER, ...peer }];
  const topology = {
    ...{ version: 1, view: 1, clusterId: "c" },
    nodes: [N1, N2].map((id) => topologyNode(id, `${id}:7001`)),
    shards: [{ leader: N1, term: 1, replicas: [N1, N2], copies: [] }],
  };
  const routes = {
    ...{ self: N1, hexId: (id: string) => id },
    endpointOf: (id: string) => ({ host: id, port: 7001 }),
  };
  const [, , flags, , , , , link] = nodeLine({ routes, topology, peers, wallMs: 1000 }, node).split(" ");
  return [flags!, link!];
}

test("a node is marked as failing where it is suspected, and as failed where all have given it up", () => {
  expect(flagsOf({ state: "alive", connected: true })).toEqual(["master", "connected"]);
  expect(flagsOf({ state: "alive", connected: false })).toEqual(["master,fail?", "disconnected"]);
  expect(flagsOf({ state: "suspect", connected: true })).toEqual(["master,fail?", "connected"]);
  expect(flagsOf({ state: "dead", connected: false })).toEqual(["master,fail", "disconnected"]);
  expect(flagsOf({ state: "left", connected: false })).toEqual(["master,fail", "disconnected"]);
  expect(flagsOf(undefined)).toEqual(["master,fail?", "disconnected"]);
  expect(flagsOf(undefined, N1)).toEqual(["myself,master", "connected"]);
});

/** A replica's view of its group, as far as health goes. */
const VIEW = { replicas: [], appliedIndex: 0 };

test("a node's health is that it has failed once all have given it up, and that it loads while it gets its copy", () => {
  const routes = { self: N1, hexId: (id: string) => id, endpointOf: () => undefined };
  const health = (state: PeerStatus["state"] | undefined, learners: readonly (typeof N1)[] = []) => {
    const peers = state === undefined ? [] : [{ ...PEER, state, connected: state === "alive" }];
    return healthOf({ routes, peers }, N2, { ...VIEW, learners }, []);
  };
  expect((["alive", "suspect", "dead", "left"] as const).map((state) => health(state))).toEqual([
    ...["online", "online", "fail", "fail"],
  ] as never);
  expect(health(undefined)).toBe("fail");
  expect([health("alive", [N2]), health("alive", [N1]), health("dead", [N2])]).toEqual([
    ...["loading", "online", "fail"],
  ] as never);
  expect(healthOf({ routes, peers: [] }, N1, undefined, [])).toBe("online");
});

test("who keeps a copy without a vote loads until it has something, as far as that is known", () => {
  const routes = { self: N1, hexId: (id: string) => id, endpointOf: () => undefined };
  const peers = [{ ...PEER, state: "alive" as const, connected: true }];
  const health = (node: typeof N1, matchIndex: number | undefined, appliedIndex: number) => {
    const replicas = matchIndex === undefined ? [] : [{ node: N2, matchIndex, active: true }];
    return healthOf({ routes, peers }, node, { learners: [node], replicas, appliedIndex }, [node]);
  };
  expect([health(N2, 0, 9), health(N2, 4, 9), health(N2, undefined, 9)]).toEqual([
    ...["loading", "online", "online"],
  ] as never);
  expect([health(N1, undefined, 0), health(N1, undefined, 3)]).toEqual([...["loading", "online"]] as never);
});
