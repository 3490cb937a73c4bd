import { expect, test } from "bun:test";
import type { ReplySink } from "../../protocol/handler.ts";
import { type NodeId, nodeId } from "../../protocol/ids.ts";
import { ASK_TOPOLOGY, type PeerStatus } from "../../protocol/messages.ts";
import { topologyNode } from "../../test/support/topology-node.ts";
import { VirtualClock } from "../../test/support/virtual-clock.ts";
import { seededRandom } from "../lib/prng.ts";
import type { Membership } from "./membership.ts";
import { Search } from "./search.ts";

const [n1, n2] = [nodeId("n1"), nodeId("n2")];

/** n1, which knows of n2. */
function setUp() {
  const asked: NodeId[] = [];
  const heard: string[] = [];
  const dialled: string[] = [];
  let connected = true;
  const clock = new VirtualClock();
  const status = (): PeerStatus[] => [
    { id: n2, address: "n2:7001", connected, lastHeardMs: null, state: "alive" },
  ];
  const search = new Search({
    env: {
      clock,
      random: seededRandom(1),
      transport: {
        listen: () => Promise.reject(new Error("nobody listens here")),
        connect: (host, port) => {
          dialled.push(`${host}:${port}`);
          throw new Error("there is no network");
        },
        resolve: async (host) => [host],
      },
    },
    self: n1,
    peers: {
      status,
      forward: (node, request, sink: ReplySink, id) => {
        expect(request).toBe(ASK_TOPOLOGY);
        asked.push(node);
        const nodes = [topologyNode(n2, "n2:7001")];
        sink.reply(id, {
          kind: "topology",
          topology: { version: 1, view: 1, clusterId: "aa", nodes, shards: [] },
        });
      },
    },
    membership: {
      facts: { clusterId: "aa" },
      nodes: [n1, n2].map((id) => ({ id, address: `${id}:7001`, state: "member" })),
      placesOf: (id: string) => [`${id}:7001`],
      hearOf: (clusterId: string) => void heard.push(clusterId),
    } as unknown as Membership,
    seeds: ["seed:7001"],
    onFatal: () => {},
  });
  return { search, asked, heard, dialled, lose: () => (connected = false), clock };
}

test("after a stranger called, all others are asked once who the nodes are", () => {
  const { search, asked, heard } = setUp();
  search.turn();
  expect(asked).toEqual([]);
  search.metStranger();
  search.turn();
  search.turn();
  expect(asked).toEqual([n2]);
  expect(heard).toEqual(["aa"]);
});

test("who finds nobody for a while asks where it was ever told that there is somebody", () => {
  const { search, dialled, lose } = setUp();
  for (let turn = 0; turn < 10; turn++) search.turn();
  lose();
  search.turn();
  search.turn();
  expect(dialled).toEqual([]);
  search.turn();
  expect(["seed:7001", "n2:7001"]).toContain(dialled[0]!);
});
