import type { NodeStatus } from "../../protocol/messages.ts";
import type { TextClients } from "./text-clients.ts";
import { REDIS_VERSION } from "./text-connection-commands.ts";

type Field = readonly [name: string, value: string | number];

/**
 * What INFO answers. Fields that Redis has keep Redis' names and tell the truth about this node; what has no counterpart
 * here is left out. `sections`: in lower case; none: all of them.
 */
export function infoText(status: NodeStatus, clients: TextClients, sections: readonly string[]): string {
  const everything =
    sections.length === 0 || sections.some((name) => ["all", "default", "everything"].includes(name));
  const parts: string[] = [];
  for (const [name, fields] of allSections(status, clients)) {
    if (!everything && !sections.includes(name.toLowerCase())) continue;
    parts.push(`# ${name}\r\n${fields.map(([field, value]) => `${field}:${value}\r\n`).join("")}`);
  }
  return parts.join("\r\n");
}

function allSections(
  status: NodeStatus,
  clients: TextClients,
): readonly (readonly [string, readonly Field[]])[] {
  const { requests, memory, storage, shards, peers } = status;
  const led = shards.filter(({ role, shard }) => role === "leader" && shard >= 0);
  return [
    [
      "Server",
      [
        ["redis_version", REDIS_VERSION],
        ["redis_mode", clients.redirect === "moved" ? "cluster" : "standalone"],
        ["arch_bits", 64],
        ["process_id", clients.info.processId],
        ["tcp_port", clients.port],
        ["uptime_in_seconds", Math.floor(status.uptimeMs / 1000)],
        ["uptime_in_days", Math.floor(status.uptimeMs / 86_400_000)],
        ["flotilla_version", clients.info.version],
        ["flotilla_node", status.id],
        ["flotilla_cluster", status.clusterId],
      ],
    ],
    [
      "Clients",
      [
        ["connected_clients", requests.connections],
        ["maxclients", clients.limits.connectionsMax],
        ["blocked_clients", 0],
      ],
    ],
    [
      "Memory",
      [
        ["used_memory", memory.heapBytes],
        ["used_memory_human", human(memory.heapBytes)],
        ["used_memory_rss", memory.residentBytes],
        ["used_memory_rss_human", human(memory.residentBytes)],
        ["maxmemory", 0],
        ["maxmemory_policy", "noeviction"],
      ],
    ],
    [
      "Persistence",
      [
        ["loading", 0],
        ["aof_enabled", 1],
        ["flotilla_read_only", status.readOnly ? 1 : 0],
        ["flotilla_log_bytes", storage.logBytes],
        ["flotilla_slow_disk", storage.slowDisk ? 1 : 0],
        ["flotilla_slow_disk_spells", storage.slowDiskSpells],
        ["flotilla_memtable_bytes", storage.memtableBytes],
        ["flotilla_tables", storage.tables],
        ["flotilla_table_bytes", storage.tableBytes],
        ["flotilla_compactions", storage.compactions],
      ],
    ],
    [
      "Stats",
      [
        ["total_connections_received", clients.accepted],
        ["total_commands_processed", requests.reads + requests.writes],
        ["instantaneous_ops_per_sec", Math.round(requests.perSecond)],
        ["total_error_replies", requests.errors],
        ["flotilla_reads", requests.reads],
        ["flotilla_writes", requests.writes],
        ["flotilla_redirected", requests.redirected],
        ["flotilla_moved", clients.moved],
      ],
    ],
    [
      // Every node takes every write, which is what a client wants to know from its role.
      "Replication",
      [
        ["role", "master"],
        ["connected_slaves", 0],
        ["flotilla_shards_led", led.length],
        ["flotilla_shards_held", shards.filter(({ shard }) => shard >= 0).length],
        ["flotilla_peers", peers.length],
        ["flotilla_peers_connected", peers.filter(({ connected }) => connected).length],
      ],
    ],
    [
      // What can pile up, and up to what: of many of a kind the fullest.
      "Queues",
      status.queues.flatMap(({ name, used, max }): Field[] => {
        const field = `flotilla_queue_${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
        return [
          [field, used],
          [`${field}_max`, max],
        ];
      }),
    ],
    // To most clients it means: expect MOVED.
    ["Cluster", [["cluster_enabled", clients.redirect === "moved" ? 1 : 0]]],
    ["Keyspace", []],
  ];
}

function human(bytes: number): string {
  const units = ["B", "K", "M", "G", "T"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${bytes}B` : `${value.toFixed(2)}${units[unit]}`;
}
