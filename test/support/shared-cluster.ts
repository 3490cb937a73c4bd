import { afterAll, beforeAll } from "bun:test";
import { type ClusterSpec, type TestCluster, withCluster } from "./cluster.ts";

/** Longest time that starting or ending a cluster may take. */
const HOOK_MS_MAX = 40_000;

/**
 * One cluster for all tests of the file that calls this; the function gives it once a test runs. For tests that leave it as
 * they found it: a cluster of one's own costs seconds.
 */
export function sharedCluster(spec: ClusterSpec): () => TestCluster {
  const over = Promise.withResolvers<void>();
  let running: Promise<void>;
  let shared: TestCluster;
  beforeAll(async () => {
    const started = Promise.withResolvers<void>();
    running = withCluster(spec, async (cluster) => {
      shared = cluster;
      started.resolve();
      await over.promise;
    });
    await Promise.race([started.promise, running]);
  }, HOOK_MS_MAX);
  afterAll(async () => {
    over.resolve();
    await running;
  }, HOOK_MS_MAX);
  return () => shared;
}
