/**
 * CLUSTER, for clients that find their way through a cluster by themselves, and the commands on how a connection
 * behaves in one. Its answers are the same however the node treats misrouted commands.
 */
import type { ReplySink } from "../../protocol/handler.ts";
import type { NodeId } from "../../protocol/ids.ts";
import { SLOTS } from "../../protocol/limits.ts";
import type { ClientResponse, NodeStatus, Topology } from "../../protocol/messages.ts";
import type { RespWriter } from "../../protocol/resp.ts";
import { shardOfSlot, slotOf } from "../../protocol/slots.ts";
import { fromUtf8 } from "../lib/bytes.ts";
import { ScanJob } from "./scan-job.ts";
import { clusterInfoText, healthOf, nodeLine, rangesByHolders, slotRanges } from "./text-cluster-views.ts";
import { type Arguments, NO_KEYS, type TextCommand, type TextSession, textCommand } from "./text-command.ts";
import { errorText, NOT_AN_INTEGER, notSupported, STARTING } from "./text-errors.ts";
import { parseCount } from "./text-integer.ts";
import { container } from "./text-subcommands.ts";

/** Subcommands by which people put a Redis cluster together: Flotilla places its shards by itself. */
const MANUAL = [
  ...["addslots", "addslotsrange", "bumpepoch", "count-failure-reports", "delslots", "delslotsrange"],
  ...["failover", "flushslots", "forget", "links", "meet", "myshardid", "replicate", "reset"],
  ...["saveconfig", "set-config-epoch", "setslot"],
];

const EMPTY = new Uint8Array(0);

const sub = (name: string, arity: number, summary: string, run: TextCommand["run"]): TextCommand =>
  textCommand(`cluster|${name}`, arity, "", NO_KEYS, "none", "cluster", summary, run);

export const CLUSTER_COMMANDS: readonly TextCommand[] = [
  container("cluster", "cluster", "Tells who the nodes are and where slots and keys belong.", [
    sub("slots", 2, "Returns ranges of slots, each with its leader and the other replicas.", (...of) =>
      withTopology(of, writeSlots),
    ),
    sub("shards", 2, "Returns the slots by the nodes that hold them.", (...of) =>
      withStatus(of, writeShards),
    ),
    sub("nodes", 2, "Returns a line for each node.", (...of) => withStatus(of, writeNodes)),
    sub("info", 2, "Returns the state of the cluster.", (...of) =>
      withTopology(of, (writer, session, topology) =>
        writer.verbatim(clusterInfoText(session.clients.routes.self, topology)),
      ),
    ),
    sub("myid", 2, "Returns the id of this node.", (...of) =>
      withTopology(of, (writer, { clients: { routes } }) => writer.text(routes.hexId(routes.self))),
    ),
    ...["replicas", "slaves"].map((name) =>
      sub(name, 3, "Returns a line for each node that holds what a node leads.", replicas),
    ),
    sub("keyslot", 3, "Returns the slot of a key.", (session, args, slot) => {
      session.begin(slot).integer(slotOf(args[2]!));
      session.end(slot);
    }),
    sub("countkeysinslot", 3, "Counts the keys of a slot, going through those of its shard.", countKeys),
    sub("getkeysinslot", 4, "Returns keys of a slot, going through those of its shard.", getKeys),
    ...MANUAL.map((name) =>
      sub(name, -2, "Is refused: shards are placed by the cluster itself.", (session, _args, slot) =>
        session.error(slot, notSupported(`CLUSTER ${name.toUpperCase()}`)),
      ),
    ),
  ]),
  textCommand(
    "readonly",
    1,
    "loading stale fast",
    NO_KEYS,
    "barrier",
    "cluster",
    "Has reads of this connection served by this node's replica, which may be behind.",
    (session, _args, slot) => setReadsStale(session, slot, true),
  ),
  textCommand(
    "readwrite",
    1,
    "loading stale fast",
    NO_KEYS,
    "barrier",
    "cluster",
    "Ends READONLY.",
    (session, _args, slot) => setReadsStale(session, slot, false),
  ),
  textCommand(
    "asking",
    1,
    "fast",
    NO_KEYS,
    "none",
    "cluster",
    "Does nothing: a shard never has two owners, so there is no ASK.",
    (session, _args, slot) => session.simple(slot, "OK"),
  ),
];

type Invocation = readonly [session: TextSession, args: Arguments, slot: number];

function setReadsStale(session: TextSession, slot: number, readsStale: boolean): void {
  session.readsStale = readsStale;
  session.simple(slot, "OK");
}

function withTopology(
  [session, , slot]: Invocation,
  write: (writer: RespWriter, session: TextSession, topology: Topology) => void,
): void {
  const topology = session.clients.routes.topology();
  const writer = session.begin(slot);
  if (topology === undefined) writer.error(STARTING);
  else write(writer, session, topology);
  session.end(slot);
}

/** For what also tells which nodes this one is connected with. */
function withStatus(
  [session, args, slot]: Invocation,
  write: (writer: RespWriter, session: TextSession, topology: Topology, status: NodeStatus) => void,
): void {
  const sink: ReplySink = {
    reply: (_requestId: number, response: ClientResponse) => {
      if (response.kind !== "nodeStatus") session.error(slot, errorText(response));
      else {
        withTopology([session, args, slot], (writer, of, topology) =>
          write(writer, of, topology, response.status),
        );
      }
    },
  };
  session.clients.handler.execute({ kind: "status", scope: "node" }, sink, 0, "forward");
}

/** `[first, last, leader, replica, ...]` for each range; slots of a new cluster that nobody is known to hold are left out. */
function writeSlots(writer: RespWriter, session: TextSession, topology: Topology): void {
  const led = slotRanges(topology).filter(({ leader }) => leader !== null);
  writer.arrayHeader(led.length);
  for (const { first, last, leader, followers } of led) {
    writer.arrayHeader(3 + followers.length);
    writer.integer(first);
    writer.integer(last);
    for (const node of [leader!, ...followers]) writeEndpoint(writer, session, node);
  }
}

function writeEndpoint(writer: RespWriter, { clients: { routes } }: TextSession, node: NodeId): void {
  const endpoint = routes.endpointOf(node);
  writer.arrayHeader(4);
  writer.text(endpoint?.host ?? "");
  writer.integer(endpoint?.port ?? 0);
  writer.text(routes.hexId(node));
  writer.mapHeader(0);
}

function writeShards(writer: RespWriter, session: TextSession, topology: Topology, status: NodeStatus): void {
  const groups = rangesByHolders(topology);
  const { routes } = session.clients;
  const known = { routes, peers: status.peers };
  writer.arrayHeader(groups.length);
  for (const ranges of groups) {
    const { first, leader, followers } = ranges[0]!;
    const shard = shardOfSlot(first, topology.shards.length);
    const replica = status.shards.find((one) => one.shard === shard);
    const { copies } = topology.shards[shard]!;
    writer.mapHeader(2);
    writer.text("slots");
    writer.arrayHeader(2 * ranges.length);
    for (const range of ranges) {
      writer.integer(range.first);
      writer.integer(range.last);
    }
    const nodes = leader === null ? followers : [leader, ...followers];
    writer.text("nodes");
    writer.arrayHeader(nodes.length);
    for (const node of nodes) {
      const endpoint = routes.endpointOf(node);
      writer.mapHeader(7);
      writeText(writer, "id", routes.hexId(node));
      writer.text("port");
      writer.integer(endpoint?.port ?? 0);
      writeText(writer, "ip", endpoint?.host ?? "");
      writeText(writer, "endpoint", endpoint?.host ?? "");
      writeText(writer, "role", node === leader ? "master" : "replica");
      writer.text("replication-offset");
      writer.integer(replica?.commitIndex ?? 0);
      writeText(writer, "health", healthOf(known, node, replica, copies));
    }
  }
}

function writeText(writer: RespWriter, name: string, value: string): void {
  writer.text(name);
  writer.text(value);
}

function writeNodes(writer: RespWriter, session: TextSession, topology: Topology, status: NodeStatus): void {
  const view = viewOf(session, topology, status);
  writer.verbatim(topology.nodes.map(({ id }) => `${nodeLine(view, id)}\n`).join(""));
}

function replicas(session: TextSession, args: Arguments, slot: number): void {
  withStatus([session, args, slot], (writer, of, topology, status) => {
    const wanted = fromUtf8(args[2]!);
    const leader = topology.nodes.find(({ id }) => of.clients.routes.hexId(id) === wanted)?.id;
    if (leader === undefined) {
      writer.error(`ERR Unknown node ${wanted}`);
      return;
    }
    const led = slotRanges(topology).filter((range) => range.leader === leader);
    const followers = [...new Set(led.flatMap((range) => range.followers))];
    const view = viewOf(of, topology, status);
    writer.arrayHeader(followers.length);
    for (const node of followers) writer.text(nodeLine(view, node));
  });
}

function viewOf(session: TextSession, topology: Topology, status: NodeStatus) {
  const { routes, env } = session.clients;
  return { routes, topology, peers: status.peers, wallMs: env.clock.wallMs() };
}

function countKeys(session: TextSession, args: Arguments, slot: number): void {
  const wanted = parseCount(args[2]!);
  if (wanted === undefined) session.error(slot, NOT_AN_INTEGER);
  else if (wanted < 0 || wanted >= SLOTS) session.error(slot, "ERR Invalid slot");
  else {
    let count = 0;
    visitSlot(session, slot, wanted, {
      visit: () => {
        count++;
        return 0;
      },
      isDone: () => false,
      write: (writer) => writer.integer(count),
    });
  }
}

function getKeys(session: TextSession, args: Arguments, slot: number): void {
  const [wanted, most] = [parseCount(args[2]!), parseCount(args[3]!)];
  if (wanted === undefined || most === undefined) session.error(slot, NOT_AN_INTEGER);
  else if (wanted < 0 || wanted >= SLOTS || most < 0) {
    session.error(slot, "ERR Invalid slot or number of keys");
  } else {
    const found: Uint8Array[] = [];
    visitSlot(session, slot, wanted, {
      visit: (key) => {
        if (found.length >= most) return 0;
        found.push(new Uint8Array(key));
        return key.length;
      },
      isDone: () => found.length >= most,
      write: (writer) => {
        writer.arrayHeader(found.length);
        for (const key of found) writer.bulk(key);
      },
    });
  }
}

/** Keys lie in the order of their bytes, not of their slots: a slot's are found among all of its shard. */
function visitSlot(
  session: TextSession,
  slot: number,
  wanted: number,
  steps: {
    visit(key: Uint8Array): number;
    isDone(): boolean;
    write(writer: RespWriter): void;
  },
): void {
  const topology = session.clients.routes.topology();
  if (topology === undefined) {
    session.error(slot, STARTING);
    return;
  }
  new ScanJob(session, slot, {
    start: EMPTY,
    end: undefined,
    limit: Number.POSITIVE_INFINITY,
    keysOnly: true,
    shard: shardOfSlot(wanted, topology.shards.length),
    visit: ({ key }) => (slotOf(key) === wanted ? steps.visit(key) : 0),
    isDone: steps.isDone,
    write: steps.write,
  });
}
