/** A node without fellows is a whole store, at once. */
import { expect, test } from "bun:test";
import { fromUtf8 } from "../../src/lib/bytes.ts";
import { withCluster } from "../support/cluster.ts";

/** The aim is a second; a machine that runs other tests too is allowed more. */
const SERVING_MS_MAX = 4000;

test("one node alone takes a write soon after it was started, and keeps it", async () => {
  await withCluster({ nodes: 1 }, async (cluster) => {
    const [node] = cluster.nodes as [(typeof cluster.nodes)[0]];
    const idleMib = node.residentBytes() / (1024 * 1024);
    const first = await cluster.connect();
    await first.put("kept", "by one");
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      await node.kill(signal);
      const startedAt = performance.now();
      await node.start();
      const listensMs = performance.now() - startedAt;
      const client = await cluster.connect();
      await client.put("first", "write");
      const writesMs = performance.now() - startedAt;
      console.log(
        `alone: listens after ${listensMs.toFixed(0)} ms, first write acknowledged after ${writesMs.toFixed(0)} ms; ` +
          `${idleMib.toFixed(0)} MiB resident when idle`,
      );
      expect(writesMs).toBeLessThan(SERVING_MS_MAX);
      expect(fromUtf8((await client.get("kept"))!)).toBe("by one");
    }
  });
}, 30_000);
