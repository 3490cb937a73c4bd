/**
 * `bun test/support/idle-groups.ts N`: what three nodes with N shards (a power of two) hold in memory when nothing happens,
 * all of them in this one process. Prints the bytes of live objects, with what belongs to them outside of the collector's
 * heap: the least that several collections in a row have found.
 */

import { heapStats } from "bun:jsc";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nodeId } from "../../protocol/ids.ts";
import { bunBackground } from "../../src/env/bun-background.ts";
import { bunFileSystem } from "../../src/env/bun-fs.ts";
import { bunTransport } from "../../src/env/bun-transport.ts";
import { consoleLog } from "../../src/env/console-log.ts";
import { systemClock } from "../../src/env/system-clock.ts";
import { systemRandom } from "../../src/env/system-random.ts";
import { createNode } from "../../src/node.ts";
import { eventually, within } from "./eventually.ts";
import { freePorts } from "./free-port.ts";

const START_MS_MAX = 30_000;
const SETTLE_MS_MAX = 20_000;
/** So many collections in a row that find nothing more: the garbage of the start is gone. */
const STEADY_LOOKS = 20;

const shards = Number(process.argv[2]);
const directory = mkdtempSync(join(tmpdir(), "flotilla-idle-"));
const host = "127.0.0.1";
const members = freePorts(3).map((port, at) => ({
  ...{ id: nodeId(`n${at + 1}`), host, port, address: `${host}:${port}` },
}));
const nodes = members.map(({ id, port }) =>
  createNode(
    {
      ...{ clock: systemClock(), random: systemRandom(), fs: bunFileSystem(), transport: bunTransport() },
      ...{ background: bunBackground(), log: consoleLog("error") },
    },
    { id, host, port, dataDirectory: join(directory, id), members, shards, logLevel: "error" },
    {
      onFatal: (error) => {
        throw error;
      },
    },
  ),
);
await Promise.all(nodes.map((node) => node.start()));
await within("all shards are led", START_MS_MAX, Promise.all(nodes.map((node) => node.ready())));
let least = Number.POSITIVE_INFINITY;
let steady = 0;
await eventually("the garbage of the start is gone", SETTLE_MS_MAX, () => {
  Bun.gc(true);
  const { heapSize } = heapStats();
  steady = heapSize < least ? 0 : steady + 1;
  least = Math.min(least, heapSize);
  return steady === STEADY_LOOKS;
});
console.log(least);
await Promise.all(nodes.map((node) => node.stop()));
rmSync(directory, { recursive: true });
