/** Nodes that know each other by names instead of numbers. */
import { expect, test } from "bun:test";
import { connect } from "../../src/client/client.ts";
import { fromUtf8 } from "../../src/lib/bytes.ts";
import { withCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/free-port.ts";
import { NodeProcess } from "../support/node-process.ts";

/** By RFC 6761 there is no such name anywhere. */
const NOWHERE = "nowhere.invalid";

test("a node joins by a name, tries the next where one is not known, and is reached by the name that it tells", async () => {
  await withCluster({ nodes: 1, shards: 2 }, async (cluster) => {
    const [n1] = cluster.nodes;
    const [port] = freePorts(1) as [number];
    const n2 = new NodeProcess("n2", port, [
      ...["--host", "127.0.0.1", "--data", `${n1!.dataDirectory}-second`, "--advertise", `localhost:${port}`],
      ...["--join", `${NOWHERE}:${n1!.port},localhost:${n1!.port}`],
    ]);
    cluster.nodes = [...cluster.nodes, n2];
    await n2.start();
    const status = await cluster.untilServing();
    expect(status.nodes.map(({ address }) => address)).toEqual([n1!.address, `localhost:${port}`]);
    // What it tells is how others find it, clients included.
    const client = await connect({ addresses: [`localhost:${n1!.port}`] });
    await eventually("n2 leads a shard", 20_000, () => client.transferLeader("n2", { shard: 0 }));
    for (let i = 0; i < 20; i++) await client.put(`k${i}`, `v${i}`);
    for (let i = 0; i < 20; i++) expect(fromUtf8((await client.get(`k${i}`))!)).toBe(`v${i}`);
    client.close();
  });
}, 60_000);
