/**
 * `bun run bench:gossip`: what gossip costs and how fast it is, in simulated clusters of several sizes with the default times.
 * All figures are of virtual time and come from a seed: they are the same on every machine.
 *
 * `--seconds N`: how long traffic is counted for; `--deaths N`: how many deaths the detection times are of; `--sizes 10,50`.
 */
import { Command } from "commander";
import { shardId, term } from "../protocol/ids.ts";
import { DEFAULT_GOSSIP } from "../src/gossip/options.ts";
import { detectsADeath, spreads } from "../src/gossip/testing/scenarios.ts";
import { ANY_LOAD, SimulatedGossip } from "../src/gossip/testing/simulated-gossip.ts";
import { Wire } from "../src/gossip/testing/wire.ts";

const given = new Command("bench:gossip")
  .option("--seconds <n>", "how long traffic is counted for", "60")
  .option("--deaths <n>", "how many deaths are detected", "20")
  .option("--sizes <list>", "numbers of nodes, with commas", "3,10,25,50,100,200")
  .parse()
  .opts();
const sizes: number[] = given.sizes.split(",").map(Number);
const seconds = Number(given.seconds);
const deaths = Number(given.deaths);
const SHARDS = 1024;

/** Bytes that a node sends in a second, frames included, once all have found each other. */
function bytesPerSecond(nodes: number, isBusy: boolean, lossPercent = 0): number {
  const wire = new Wire();
  const world = new SimulatedGossip({ nodes, seed: 1, lossPercent, wire: wire.carry });
  for (let shard = 0; shard < SHARDS; shard++) {
    world.gossip(world.nodes[shard % nodes]!).noteLeader(shardId(shard), term(1));
  }
  world.run(60_000);
  wire.bytes = 0;
  for (let second = 0; second < seconds; second++) {
    for (const node of isBusy ? world.nodes : []) {
      world.gossip(node).setLoad({ ...ANY_LOAD, requestsPerSecond: second }, world.nowMs);
    }
    world.run(1000);
  }
  return wire.bytes / nodes / seconds;
}

const times = (nodes: number, story: (seed: number) => number): number[] =>
  Array.from({ length: deaths }, (_, run) => story(1 + run * 7919 + nodes)).sort((a, b) => a - b);

const kilobytes = (bytes: number): string => (bytes / 1000).toFixed(1);
const cell = (value: unknown, width: number): string => String(value).padStart(width);

console.log(`${SHARDS} shards, ${seconds} s, ${deaths} deaths and ${deaths} pieces of news each size`);
console.log(
  "idle: nothing changes; busy: every node's load changes all the time; lossy: busy, a message in ten is lost",
);
console.log(
  "detected: from a death until every other node calls it dead; rounds: until one node's news is everybody's\n",
);
console.log(
  "nodes  idle kB/s  busy kB/s  lossy kB/s  load told every  detected p50  longest  rounds p50  longest",
);
for (const nodes of sizes) {
  const [idle, busy, lossy] = [
    bytesPerSecond(nodes, false),
    bytesPerSecond(nodes, true),
    bytesPerSecond(nodes, true, 10),
  ];
  const detected = times(nodes, (seed) => detectsADeath({ nodes, seed }));
  const rounds = times(nodes, (seed) => spreads({ nodes, seed }));
  const loadMs = Math.max(DEFAULT_GOSSIP.loadMs, DEFAULT_GOSSIP.loadMsPerNode * nodes);
  const middle = Math.floor(deaths / 2);
  console.log(
    [
      ...[cell(nodes, 5), cell(kilobytes(idle), 9), cell(kilobytes(busy), 9), cell(kilobytes(lossy), 10)],
      cell(`${loadMs / 1000} s`, 15),
      cell(`${(detected[middle]! / 1000).toFixed(2)} s`, 12),
      cell(`${(detected.at(-1)! / 1000).toFixed(2)} s`, 7),
      ...[cell(rounds[middle]!.toFixed(1), 10), cell(rounds.at(-1)!.toFixed(1), 7)],
    ].join("  "),
  );
}
