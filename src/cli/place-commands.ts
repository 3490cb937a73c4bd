/** Where keys belong: in which slot and shard, on which nodes, and where in a node's engine. */
import type { KeyExplanation, Topology } from "../../protocol/messages.ts";
import { shardOfSlot, slotOf } from "../../protocol/slots.ts";
import { fromUtf8 } from "../lib/bytes.ts";
import type { Command } from "./commands.ts";
import { quote } from "./quoting.ts";
import { plainTable, type Reply } from "./reply.ts";
import { UsageError } from "./usage-error.ts";

export const PLACE_COMMANDS: readonly Command[] = [
  {
    name: "ring",
    arguments: [
      { syntax: "[key]", summary: "the word key, before a key; without it, what each node holds" },
      { syntax: "[name]", summary: "the key" },
    ],
    options: [],
    summary: "show which part of the keys each node holds and leads, or where one key belongs",
    examples: ["ring", "ring key user:1"],
    takesKeys: false,
    plan: ([what, key]) => {
      if (what !== undefined && (fromUtf8(what) !== "key" || key === undefined)) {
        throw new UsageError("ring takes nothing, or the word key and a key: see help ring.");
      }
      return async ({ client }) => {
        const topology = await client.topology();
        return key === undefined ? ringReply(topology) : placeReply(placeOf(topology, key));
      };
    },
  },
  {
    name: "explain",
    arguments: [{ syntax: "<key>", summary: "the key" }],
    options: [],
    summary: "show where a key belongs, and where its leader's engine looks for it and finds it",
    examples: ["explain user:1"],
    takesKeys: true,
    plan:
      ([key]) =>
      async ({ client }) => {
        const explanation = await client.explain(key!);
        // Asked for afterwards: the way there may have told of another leader.
        return explanationReply(placeOf(await client.topology(), key!), explanation);
      },
  },
];

/** Where a key belongs. */
interface Place {
  readonly key: Uint8Array;
  readonly slot: number;
  readonly shard: number;
  readonly shards: number;
  readonly leader: string | null;
  readonly replicas: readonly { readonly id: string; readonly address: string | null }[];
}

function placeOf({ shards, nodes }: Topology, key: Uint8Array): Place {
  const slot = slotOf(key);
  const shard = shardOfSlot(slot, shards.length);
  const { leader, replicas } = shards[shard]!;
  const addressOf = (node: string) => nodes.find(({ id }) => id === node)?.address ?? null;
  return {
    ...{ key, slot, shard, shards: shards.length, leader },
    replicas: replicas.map((id) => ({ id, address: addressOf(id) })),
  };
}

function placeReply(place: Place): Reply {
  return { ok: place.leader !== null, text: () => placeText(place), json: () => placeJson(place) };
}

function placeText({ key, slot, shard, shards, leader, replicas }: Place): string {
  const lines: [string, string][] = [
    ["key", quote(key)],
    ["slot", String(slot)],
    ["shard", `${shard} of ${shards}`],
    ["leader", leader ?? "none now"],
    ["replicas", replicas.map(({ id, address }) => `${id} at ${address ?? "?"}`).join(", ")],
  ];
  return lines.map(([name, fact]) => `${name.padEnd(9)} ${fact}`).join("\n");
}

const placeJson = ({ slot, shard, leader, replicas }: Place) => ({ slot, shard, leader, replicas });

function explanationReply(place: Place, explanation: KeyExplanation): Reply {
  return {
    ok: explanation.valueBytes !== null,
    text: () => `${placeText(place)}\n${found(explanation)}\n\n${stepsTable(explanation)}`,
    json: () => ({ ...placeJson(place), ...explanation }),
  };
}

function found({ valueBytes, expiresAtMs, steps }: KeyExplanation): string {
  const last = steps.at(-1);
  if (valueBytes === null) {
    const why = last === undefined || last.verdict === "nothing" || last.verdict === "filtered";
    return `value     none: ${why ? "no place knows of it" : `it is ${last.verdict}`}`;
  }
  const until = expiresAtMs === null ? "" : `, until ${new Date(expiresAtMs).toISOString()}`;
  return `value     ${valueBytes} bytes${until}`;
}

const VERDICTS: Readonly<Record<string, string>> = {
  filtered: "not there, says the bloom filter",
  nothing: "not there",
  value: "found",
  deleted: "deleted: a tombstone",
  "range deleted": "deleted: a tombstone of a range",
  expired: "found, and expired",
};

function stepsTable({ steps }: KeyExplanation): string {
  const table = plainTable(["", "place", "level", "table", "what it says"], [0, 2, 3]);
  for (const [i, { place, level, table: file, verdict }] of steps.entries()) {
    table.push([String(i + 1), place, String(level ?? ""), String(file ?? ""), VERDICTS[verdict] ?? verdict]);
  }
  return table.toString();
}

function ringReply(topology: Topology): Reply {
  const rows = topology.nodes.map(({ id, address }) => {
    const held = topology.shards.filter(({ replicas }) => replicas.includes(id)).length;
    const led = topology.shards.filter(({ leader }) => leader === id).length;
    return { id, address, held, led };
  });
  const share = (count: number) => `${((100 * count) / topology.shards.length).toFixed(1)}%`;
  return {
    ok: true,
    text: () => {
      const table = plainTable(
        ["node", "address", "holds", "of the keys", "leads", "of the keys"],
        [2, 3, 4, 5],
      );
      for (const { id, address, held, led } of rows) {
        table.push([id, address, String(held), share(held), String(led), share(led)]);
      }
      return `${topology.shards.length} shards of ${16_384 / topology.shards.length} slots\n\n${table.toString()}`;
    },
    json: () => ({ shards: topology.shards.length, nodes: rows }),
  };
}
