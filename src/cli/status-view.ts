/** The state of nodes and clusters as tables. What is not known is shown as a dash, never as a zero. */
import pc from "picocolors";
import type {
  ClusterStatus,
  LatencyStatus,
  NodeStatus,
  ShardStatus,
  Topology,
} from "../../protocol/messages.ts";
import { type Look, plainTable, type Reply } from "./reply.ts";
import { memberWord, stateWord } from "./state-word.ts";

const NONE = "-";

/** To status. Not ok where a shard has no leader. */
export function statusReply(status: ClusterStatus): Reply {
  return {
    ok: status.shards.every(({ leader }) => leader !== null) && status.shards.length > 0,
    text: (look) =>
      [
        summary(status, look),
        nodesTable(status, look),
        loadTable(status),
        ...movesText(status),
        shardsTable(status, look),
      ].join("\n\n"),
    json: () => status,
  };
}

/** To info. */
export function nodeStatusReply(status: NodeStatus): Reply {
  return {
    ok: true,
    text: (look) => [facts(status), peersTable(status, look), replicasTable(status)].join("\n\n"),
    json: () => status,
  };
}

/** To topology. */
export function topologyReply(topology: Topology): Reply {
  return { ok: true, text: (look) => topologyTable(topology, look), json: () => topology };
}

function summary(status: ClusterStatus, look: Look): string {
  const colors = pc.createColors(look.colors);
  // Who was removed is no loss.
  const nodes = status.nodes.filter(({ standing }) => standing !== "removed");
  const alive = nodes.filter(({ state }) => state === "alive").length;
  const led = status.shards.filter(({ leader }) => leader !== null).length;
  const moving = status.moves.length;
  const full = status.nodes.filter((node) => node.status?.readOnly === true).length;
  const whole =
    alive === nodes.length && led === status.shards.length && status.available === 1 && full === 0;
  const paint = whole ? colors.green : status.available === 1 ? colors.yellow : colors.red;
  return (
    `${clusterName(status.clusterId)}: ${alive} of ${nodes.length} nodes alive, ` +
    `${led} of ${status.shards.length} shards led, ${paint(`${percent(status.available)} available`)}` +
    (moving === 0 ? "" : `, ${moving} shard${moving === 1 ? " is" : "s are"} moving`) +
    (full === 0 ? "" : `, ${colors.yellow(`${full} read-only: disk full`)}`)
  );
}

function nodesTable(status: ClusterStatus, look: Look): string {
  const table = plainTable(
    ["node", "address", "state", "last seen", "up for", "version", "holds", "leads", "of the keys", "note"],
    [4, 6, 7, 8],
  );
  const shards = status.shards.length;
  for (const node of status.nodes) {
    const own = node.status;
    // Of who does not answer there is what it told last.
    const held = own === null ? node.load?.shards : own.shards.filter(({ shard }) => shard >= 0).length;
    const led = status.shards.filter(({ leader }) => leader === node.id).length;
    table.push([
      node.id,
      node.address,
      memberWord(node.state, node.standing, look),
      ago(node.lastSeenMs),
      own === null ? NONE : duration(own.uptimeMs),
      own?.version ?? node.load?.version ?? NONE,
      held === undefined ? NONE : String(held),
      String(led),
      held === undefined || shards === 0 ? NONE : percent(held / shards),
      notesOf(node, look),
    ]);
  }
  return table.toString();
}

/** What there is to say of a node. */
function notesOf(node: ClusterStatus["nodes"][number], look: Look): string {
  const colors = pc.createColors(look.colors);
  const wrong = trouble(node.status);
  if (wrong !== undefined) return colors.yellow(wrong);
  const holdsNothing = node.status?.shards.every(({ shard }) => shard < 0) === true;
  return node.standing === "draining" && holdsNothing ? "holds nothing any more" : noteOf(node);
}

/** What is wrong with a node that answers. */
function trouble(status: NodeStatus | null): string | undefined {
  if (status?.readOnly === true) return "read-only: disk full";
  return status?.storage.slowDisk === true ? "slow disk: does not lead" : undefined;
}

/** What those that answer have to do, and to keep. */
function loadTable(status: ClusterStatus): string {
  const table = plainTable(
    ["node", "requests/s", "read p50/p99", "write p50/p99", "cache hits", "data", "log", "memory"],
    [1, 2, 3, 4, 5, 6, 7],
  );
  for (const { id, status: own } of status.nodes) {
    if (own === null) continue;
    const { requests, storage, memory } = own;
    table.push([
      id,
      String(Math.round(requests.perSecond)),
      latency(requests.readMs),
      latency(requests.writeMs),
      storage.cacheHitRate === null ? NONE : percent(storage.cacheHitRate),
      bytes(storage.tableBytes + storage.memtableBytes),
      bytes(storage.logBytes),
      bytes(memory.residentBytes),
    ]);
  }
  return table.toString();
}

/** Which shards are moving, and what all moves come to. Nothing where nothing moves. */
function movesText({ moves, outlook }: ClusterStatus): readonly string[] {
  const { underWay, toCome, bytes: size, seconds } = outlook;
  const table = moves.length === 0 ? [] : [movesTable(moves)];
  if (underWay + toCome === 0) return table;
  const count = `${underWay} under way, ${toCome} to come`;
  return [[...table, `moves: ${count}; about ${bytes(size)} in ${duration(seconds * 1000)}`].join("\n")];
}

function movesTable(moves: ClusterStatus["moves"]): string {
  const table = plainTable(["moving shard", "comes to", "leaves", "entries behind", "about"], [0, 3, 4]);
  for (const { shard, joining, leaving, entriesBehind, bytes: size } of moves) {
    table.push([
      shardName(shard),
      joining.join(", "),
      leaving.join(", "),
      entriesBehind === null ? NONE : String(entriesBehind),
      size === null ? NONE : bytes(size),
    ]);
  }
  return table.toString();
}

/** Why a node does not answer; the row has said already which one. */
const noteOf = ({ id, error }: ClusterStatus["nodes"][number]): string =>
  error === null ? "" : error.replace(`${id} is `, "");

function shardsTable(status: ClusterStatus, look: Look): string {
  const colors = pc.createColors(look.colors);
  const table = plainTable(["shard", "leader", "term", "commit", "applied", "entries behind"], [0, 2, 3, 4]);
  for (const shard of status.shards) {
    table.push([
      shardName(shard.shard),
      shard.leader ?? colors.red("none"),
      String(shard.term),
      String(shard.commitIndex),
      String(shard.appliedIndex),
      shard.lag
        .map(
          ({ node, entries }) =>
            `${node} ${entries ?? "?"}${shard.copies.includes(node) ? " (no vote)" : ""}`,
        )
        .join(", "),
    ]);
  }
  return table.toString();
}

function facts(status: NodeStatus): string {
  const { requests, storage, memory } = status;
  const hitRate = storage.cacheHitRate === null ? NONE : percent(storage.cacheHitRate);
  const lines: [string, string][] = [
    ["node", `${status.id} at ${status.address}, version ${status.version}`],
    ["cluster", status.clusterId],
    ["up for", duration(status.uptimeMs)],
    ["serves", status.readOnly ? "reads only: a disk is full" : "reads and writes"],
    [
      "requests",
      `${requests.reads} reads, ${requests.writes} writes, ${requests.errors} errors, ` +
        `${requests.redirected} redirected; ` +
        `${Math.round(requests.perSecond)} a second on ${requests.connections} connections`,
    ],
    ["latency", `reads ${fullLatency(requests.readMs)}; writes ${fullLatency(requests.writeMs)}`],
    [
      "storage",
      `${storage.tables} tables of ${bytes(storage.tableBytes)}, memtable ${bytes(storage.memtableBytes)}, ` +
        `log ${bytes(storage.logBytes)}, ${storage.compactions} compactions, cache hits ${hitRate}`,
    ],
    [
      "disk",
      `log syncs ${fullLatency(storage.syncMs)}; ` +
        `${storage.slowDisk ? "slow now: it does not lead" : "keeps up"}, ${storage.slowDiskSpells} times slow`,
    ],
    ["memory", `${bytes(memory.residentBytes)} resident, ${bytes(memory.heapBytes)} heap`],
    ["queues", queuesInWords(status)],
  ];
  return lines.map(([name, fact]) => `${name.padEnd(9)} ${fact}`).join("\n");
}

/** What waits now; a queue that is full refuses. */
function queuesInWords({ queues }: NodeStatus): string {
  const used = queues.filter((queue) => queue.used > 0);
  if (used.length === 0) return "all empty";
  return used
    .map(({ name, unit, used, max }) => {
      const words = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
      return unit === "bytes" ? `${words} ${bytes(used)} of ${bytes(max)}` : `${words} ${used} of ${max}`;
    })
    .join(", ");
}

function peersTable(status: NodeStatus, look: Look): string {
  if (status.peers.length === 0) return "no peers";
  const colors = pc.createColors(look.colors);
  const table = plainTable(["peer", "address", "state", "connected", "last heard"]);
  for (const peer of status.peers) {
    table.push([
      peer.id,
      peer.address,
      stateWord(peer.state, look),
      peer.connected ? colors.green("yes") : colors.red("no"),
      ago(peer.lastHeardMs),
    ]);
  }
  return table.toString();
}

function replicasTable(status: NodeStatus): string {
  const table = plainTable(
    ["shard", "role", "leader", "term", "last", "commit", "applied", "replicas"],
    [0, 3, 4, 5, 6],
  );
  for (const shard of status.shards) {
    table.push([
      shardName(shard.shard),
      shard.role,
      shard.leader ?? "none",
      String(shard.term),
      String(shard.lastIndex),
      String(shard.commitIndex),
      String(shard.appliedIndex),
      shard.replicas.map(replica).join(", "),
    ]);
  }
  return table.toString();
}

const replica = ({ node, matchIndex, active }: ShardStatus["replicas"][number]): string =>
  `${node} ${matchIndex}${active ? "" : " (silent)"}`;

function topologyTable(topology: Topology, look: Look): string {
  const table = plainTable(
    ["node", "address", "state", "holds", "without a vote", "leads", "which it leads"],
    [3, 4, 5],
  );
  for (const node of topology.nodes) {
    const led = topology.shards.flatMap(({ leader }, shard) => (leader === node.id ? [shard] : []));
    const held = topology.shards.filter(({ replicas }) => replicas.includes(node.id)).length;
    const copies = topology.shards.filter((place) => place.copies.includes(node.id)).length;
    const state = memberWord(node.isUp ? "alive" : "dead", node.standing, look);
    table.push([
      ...[node.id, node.address, state, String(held), String(copies)],
      ...[String(led.length), ranges(led)],
    ]);
  }
  const unled = topology.shards.flatMap(({ leader }, shard) => (leader === null ? [shard] : []));
  const note = unled.length === 0 ? "" : `\nwithout a leader: ${ranges(unled)}`;
  return `${clusterName(topology.clusterId)}, ${topology.shards.length} shards\n\n${table.toString()}${note}`;
}

/** Ascending numbers, with runs written as `first-last`. */
function ranges(numbers: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const number of numbers) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === number - 1) last[1] = number;
    else runs.push([number, number]);
  }
  return runs.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(", ");
}

/** A cluster has its id only once its nodes have agreed on one. */
const clusterName = (id: string): string => (id === "" ? "a cluster that is being formed" : `cluster ${id}`);

/** The system group is listed as shard -1. */
const shardName = (shard: number): string => (shard < 0 ? "system" : String(shard));

/** Rounded down: 100% stands for all of it. */
export const percent = (fraction: number): string => `${Math.floor(fraction * 1000) / 10}%`;

const latency = (status: LatencyStatus | null): string =>
  status === null ? NONE : `${status.p50.toFixed(2)} / ${status.p99.toFixed(2)} ms`;

const fullLatency = (status: LatencyStatus | null): string =>
  status === null
    ? NONE
    : `p50 ${status.p50.toFixed(2)}, p99 ${status.p99.toFixed(2)}, max ${status.max.toFixed(2)} ms`;

/** Bytes with the unit that makes the number short. */
export function bytes(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

function ago(ms: number | null): string {
  if (ms === null) return "never";
  return ms < 1 ? "now" : `${duration(ms)} ago`;
}

/** Milliseconds as a person says them. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
