/**
 * `bun run bench:placement`: what placement costs and does in clusters that are only a list of nodes: copies that a join, a
 * leave and a death make against the ideal, how even replicas and leaders are, how long the driver thinks, and what the
 * facts and topologies of such a cluster weigh.
 */
import { Command, InvalidArgumentError } from "commander";
import { ByteWriter } from "../protocol/cbor.ts";
import { type NodeId, nodeId } from "../protocol/ids.ts";
import { SHARDS_MAX } from "../protocol/limits.ts";
import { encodePlain } from "../protocol/plain.ts";
import { encodeResponse } from "../protocol/response.ts";
import { preferredLeaders } from "../src/placement/leaders.ts";
import { neededMoves, type PlacementView, type PlanNode } from "../src/placement/plan.ts";
import { placeShards, VIRTUAL_NODES } from "../src/placement/ring.ts";

const count = (text: string): number => {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError("it has to be a whole number above zero");
  return value;
};
const list = (text: string): number[] => text.split(",").map(count);

const options = new Command("bench:placement")
  .description("Computes what placement does in clusters of some sizes.")
  .option("--nodes <list>", "sizes of clusters", list, [3, 5, 10, 30, 100, 300])
  .option("--shards <n>", "shards", count, SHARDS_MAX)
  .option("--replicas <n>", "replicas of each", count, 3)
  .option("--zones <n>", "zones that the nodes are in", count, 1)
  .option("--rounds <n>", "how often each time is measured; the shortest counts", count, 5)
  .parse()
  .opts<{ nodes: number[]; shards: number; replicas: number; zones: number; rounds: number }>();
const { shards, replicas, zones, rounds } = options;
const ring = { virtualNodes: VIRTUAL_NODES, replicas };

type Sets = readonly (readonly NodeId[])[];

const nodesOf = (size: number): PlanNode[] =>
  Array.from({ length: size }, (_, i) => {
    const id = `node-${i + 1}`;
    return { id: nodeId(id), host: id, zone: `z${i % zones}`, weight: 1, isLeaving: false, health: "up" };
  });

const viewOf = (sets: Sets, nodes: readonly PlanNode[]): PlacementView => ({
  nodes,
  shards: sets.map((voters) => ({
    wanted: voters,
    copies: [],
    actual: { voters, outgoing: [], learners: [] },
    bytes: 0,
  })),
  ring,
});

/** Milliseconds of the fastest of some rounds. */
function timed(run: () => unknown): number {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    run();
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

function range(numbers: Iterable<number>): string {
  const all = [...numbers];
  return `${Math.min(...all)}..${Math.max(...all)}`;
}

function occurrences(nodes: readonly PlanNode[], ids: Iterable<NodeId | undefined>): number[] {
  const times = new Map(nodes.map(({ id }) => [id, 0]));
  for (const id of ids) if (id !== undefined) times.set(id, times.get(id)! + 1);
  return [...times.values()];
}

/** The bytes of a topology, and of facts that say as much. */
function weigh(sets: Sets, leaders: readonly (NodeId | undefined)[], nodes: readonly PlanNode[]) {
  const topology = {
    version: 1,
    view: 2 ** 51,
    clusterId: "0123456789abcdef0123456789abcdef",
    nodes: nodes.map(({ id, host, zone }) => ({
      ...{ id, address: `${id}.example.org:7001`, labels: { host, zone } },
      ...{ standing: "member" as const, isUp: true },
    })),
    shards: sets.map((voters, shard) => {
      return { leader: leaders[shard] ?? null, term: 3, replicas: voters, copies: [] };
    }),
  };
  const writer = new ByteWriter();
  encodeResponse(writer, { kind: "topology", topology }, 1);
  const facts = {
    nodes: nodes.map(({ id, host, zone }) => ({
      id,
      address: `${id}.example.org:7001`,
      labels: { host, zone },
    })),
    shards: sets.map((voters) => ({
      wanted: voters,
      actual: { voters, outgoing: [], learners: [] },
      version: 1,
    })),
  };
  return { topology: writer.length, facts: encodePlain(facts).length };
}

console.log(`${shards} shards, ${replicas} replicas, ${zones} zones, ${VIRTUAL_NODES} virtual nodes`);
for (const size of options.nodes) {
  const nodes = nodesOf(size);
  const sets = placeShards(shards, nodes, ring);
  const view = viewOf(sets, nodes);
  const leaders = preferredLeaders(
    view.shards.map(({ wanted }) => ({ voters: wanted })),
    nodes.map((node) => ({ ...node, mayLead: true })),
  );
  const larger = viewOf(sets, nodesOf(size + 1));
  const without = (change: Partial<PlanNode>) =>
    viewOf(sets, [{ ...nodes[0]!, ...change }, ...nodes.slice(1)]);
  const held = occurrences(nodes, sets.flat())[0]!;
  const members = Math.min(replicas, size + 1);
  const bytes = weigh(sets, leaders, nodes);
  console.log(
    [
      `${String(size).padStart(4)} nodes`,
      `replicas ${range(occurrences(nodes, sets.flat()))}, leaders ${range(occurrences(nodes, leaders))}`,
      `join ${neededMoves(larger).length} copies (ideal ${((shards * members) / (size + 1)).toFixed(1)})`,
      `drain ${neededMoves(without({ isLeaving: true })).length}, death ${neededMoves(without({ health: "lost" })).length} (it held ${held})`,
      `ms: first sets ${timed(() => placeShards(shards, nodes, ring)).toFixed(1)}, nothing to do ${timed(() => neededMoves(view)).toFixed(1)}, join ${timed(() => neededMoves(larger)).toFixed(1)}`,
      `bytes: topology ${bytes.topology}, facts ${bytes.facts}`,
    ].join("; "),
  );
}
console.log(`resident ${(process.memoryUsage().rss / 2 ** 20).toFixed(0)} MiB`);
