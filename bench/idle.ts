/**
 * `bun run bench:idle`: what groups cost that nobody uses. Three nodes as real processes, once for each number of shards; one
 * JSON line each: how much of a core a node takes, its resident memory, and how much of that a group has beyond what a
 * cluster of the first, smallest number has.
 *
 * `--shards A,B,...`; `--seconds N`: over how long the processor time is taken. It begins once all groups sleep. Linux only.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { connect } from "../src/client/client.ts";
import { eventually } from "../test/support/eventually.ts";
import { freePorts } from "../test/support/free-port.ts";
import { NodeProcess } from "../test/support/node-process.ts";

const given = new Command("bench:idle")
  .option("--shards <list>", "numbers of shards, the smallest first", "8,256,1024")
  .option("--seconds <n>", "over how long processor time is taken", "30")
  .parse()
  .opts();
const counts = String(given.shards).split(",").map(Number);
const seconds = Number(given.seconds);

const NODES = 3;
/** Groups sleep after two seconds; garbage of the start is collected. */
const SETTLE_MS = 15_000;
const START_MS_MAX = 60_000;

async function measure(shards: number): Promise<{ corePercent: number; residentMib: number }> {
  const directory = mkdtempSync(join(tmpdir(), "flotilla-idle-"));
  const ports = freePorts(NODES);
  const peers = ports.map((port, index) => `n${index + 1}=127.0.0.1:${port}`).join();
  const nodes = ports.map((port, index) => {
    const data = join(directory, `n${index + 1}`);
    const flags = ["--host", "127.0.0.1", "--data", data, "--shards", String(shards), "--peers", peers];
    return new NodeProcess(`n${index + 1}`, port, flags);
  });
  try {
    await Promise.all(nodes.map((node) => node.start()));
    const client = await connect({ addresses: nodes.map(({ address }) => address) });
    await eventually("all shards are led", START_MS_MAX, async () => {
      const { shards: found } = await client.status();
      return found.length === shards && found.every(({ leader }) => leader !== null);
    });
    client.close();
    await Bun.sleep(SETTLE_MS);
    const before = sumOf(nodes, (node) => node.cpuSeconds());
    await Bun.sleep(seconds * 1000);
    const used = sumOf(nodes, (node) => node.cpuSeconds()) - before;
    const residentBytes = sumOf(nodes, (node) => node.residentBytes());
    return { corePercent: (100 * used) / NODES / seconds, residentMib: residentBytes / NODES / 1024 ** 2 };
  } finally {
    await Promise.all(nodes.map((node) => node.kill("SIGKILL")));
    rmSync(directory, { recursive: true });
  }
}

let first: { readonly shards: number; readonly residentMib: number } | undefined;
for (const shards of counts) {
  const { corePercent, residentMib } = await measure(shards);
  first ??= { shards, residentMib };
  const kibPerGroup = ((residentMib - first.residentMib) * 1024) / (shards - first.shards);
  console.log(
    JSON.stringify({
      shards,
      corePercent: round(corePercent),
      residentMib: round(residentMib),
      ...(shards === first.shards ? {} : { kibPerGroup: round(kibPerGroup) }),
    }),
  );
}

function sumOf(nodes: readonly NodeProcess[], amount: (node: NodeProcess) => number): number {
  return nodes.reduce((sum, node) => sum + amount(node), 0);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
