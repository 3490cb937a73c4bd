import type { ClusterStatus } from "../../protocol/messages.ts";

/** The state of the cluster, for people who have only redis-cli at hand. */
export function statusText(status: ClusterStatus): string {
  const nodes = status.nodes.map(({ id, address, state, lastSeenMs, error }) => [
    id,
    address,
    state,
    lastSeenMs === null ? "never seen" : `seen ${lastSeenMs} ms ago`,
    error ?? "",
  ]);
  const shards = status.shards.map(({ shard, leader, term, commitIndex, appliedIndex, lag }) => [
    String(shard),
    leader ?? "none",
    String(term),
    String(commitIndex),
    String(appliedIndex),
    lag.map(({ node, entries }) => `${node}:${entries ?? "?"}`).join(" "),
  ]);
  return [
    `cluster ${status.clusterId}: ${percent(status.available)} of the key space is available`,
    "",
    ...table([["node", "address", "state", "last seen", "error"], ...nodes]),
    "",
    ...table([["shard", "leader", "term", "commit", "applied", "lag (entries)"], ...shards]),
    "",
  ].join("\n");
}

/** Never rounded up to 100 %. */
function percent(fraction: number): string {
  return `${Math.floor(fraction * 1000) / 10} %`;
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  }
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join("  ")
      .trimEnd(),
  );
}
