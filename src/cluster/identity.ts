/**
 * Whose data a directory holds: `identity.json`, written when the directory is first used. It keeps a data directory from
 * being served under another name or in another cluster, and is what a node knows of its cluster before it has read its
 * logs: with it a restarted node needs to be told nothing.
 */
import type { NodeId } from "../../protocol/ids.ts";
import {
  addressOf,
  DEFAULT_REPLICAS,
  DEFAULT_SHARDS,
  DEFAULT_VIRTUAL_NODES,
  type NodeConfig,
} from "../config.ts";
import type { Env, FileSystem } from "../env/env.ts";
import { fromUtf8, utf8 } from "../lib/bytes.ts";
import { xxh64 } from "../lib/hash.ts";
import { faultOfSettings, type Settings } from "../shard/system-facts.ts";
import { StartError } from "../start-error.ts";
import { type FoundingState, NOTHING_NOTED } from "./founding.ts";
import type { KeptFacts } from "./membership.ts";

const FORMAT = 2;
const FILE = "identity.json";

export interface Identity {
  readonly format: number;
  readonly node: NodeId;
  /** Made at random with the directory: another directory is another incarnation of the node. */
  readonly incarnation: string;
  /** As `--peers` named them at the first start, or this node alone; nobody where the node joined. */
  readonly founders: readonly { readonly id: NodeId; readonly address: string }[];
  /** Where a node that joins asks: `host:port`. */
  readonly seeds: readonly string[];
  /** What this node would found the cluster with. */
  readonly settings: Settings;
  readonly founding: FoundingState;
  /** What it promised to leaders the last time it ran, as `NodeTimings` has it: they may rely on it a little longer. */
  readonly promiseMs: number;
  /** What the system group has agreed on, as far as this node had applied it. */
  readonly facts: KeptFacts;
}

const NOTHING_KEPT: KeptFacts = {
  version: 0,
  clusterId: "",
  settings: { shards: 0, replicas: 0, virtualNodes: 0 },
  incarnations: {},
  nodes: {},
  first: [],
};

/** As it is in the file. */
interface Stored extends Identity {
  /** XXH64 of the rest, as JSON without spaces: a wrong bit must not make another node of this one, or of its peers. */
  readonly checksum: string;
}

function checksumOf(identity: Identity): string {
  return xxh64(utf8(JSON.stringify(identity)))
    .toString(16)
    .padStart(16, "0");
}

/** A new incarnation or cluster id: 16 hexadecimal digits. */
export function randomId(random: Env["random"]): string {
  let id = "";
  for (let i = 0; i < 4; i++) id += random.below(0x1_0000).toString(16).padStart(4, "0");
  return id;
}

/** The identity of the data directory, checked against the config; a new one where the directory is new. Writes nothing. */
export function readIdentity(
  env: Pick<Env, "fs" | "random">,
  config: NodeConfig,
): { identity: Identity; isNew: boolean } {
  const { dataDirectory: directory } = config;
  const path = `${directory}/${FILE}`;
  if (!env.fs.exists(path)) {
    const strangers = env.fs
      .list(directory)
      .filter((name) => !name.startsWith(LOCK_FILE) && name !== `${FILE}.new`);
    if (strangers.length > 0) {
      throw new StartError(
        `${directory} is not empty and not a data directory of Flotilla (it has no ${FILE}, but ${strangers[0]}); name another one with --data`,
      );
    }
    return { identity: newIdentity(env, config), isNew: true };
  }
  const identity = parse(env.fs, path);
  check(identity, config);
  return { identity: { ...identity, seeds: config.seeds ?? identity.seeds }, isNew: false };
}

function newIdentity(env: Pick<Env, "random">, config: NodeConfig): Identity {
  const { id, members, seeds = [], shards, replicas, virtualNodes } = config;
  const listed = members.map((member) => ({ id: member.id, address: member.address }));
  const alone = seeds.length === 0 ? [{ id, address: addressOf(config) }] : [];
  const settings = {
    shards: shards ?? DEFAULT_SHARDS,
    replicas: replicas ?? DEFAULT_REPLICAS,
    virtualNodes: virtualNodes ?? DEFAULT_VIRTUAL_NODES,
  };
  // Founders would propose them for ever, and nothing come of it.
  const fault = faultOfSettings(settings);
  if (fault !== undefined) throw new StartError(`a cluster can't be founded like this: ${fault}`);
  return {
    format: FORMAT,
    node: id,
    incarnation: randomId(env.random),
    founders: listed.length > 0 ? listed : alone,
    seeds,
    settings,
    founding: NOTHING_NOTED,
    promiseMs: 0,
    facts: NOTHING_KEPT,
  };
}

/** Throws `StartError` where the config says something else than the identity. */
function check(identity: Identity, config: NodeConfig): void {
  const { dataDirectory: directory, members } = config;
  const refuse = (what: string, remedy: string): never => {
    throw new StartError(`${directory} ${what}; nothing was changed (${remedy})`);
  };
  const elsewhere = "or name another directory with --data";
  if (identity.node !== config.id) {
    refuse(
      `belongs to node ${identity.node}, not to ${config.id}`,
      `say --id ${identity.node}, ${elsewhere}`,
    );
  }
  const founders = identity.founders.map(({ id }) => id);
  const named = members.map(({ id }) => id);
  if (named.length > 0 && founders.length > 0 && founders.join() !== named.join()) {
    refuse(
      `belongs to a cluster of ${founders.join(", ")}, not of ${named.join(", ")}`,
      `--peers names the founders, whoever came or went since: say it as at the first start, or nothing, ${elsewhere}`,
    );
  }
  const { settings } = identity.facts.clusterId === "" ? identity : identity.facts;
  const flags = { shards: "--shards", replicas: "--replicas", virtualNodes: "--virtual-nodes" } as const;
  for (const key of ["shards", "replicas", "virtualNodes"] as const) {
    if (config[key] === undefined || config[key] === settings[key]) continue;
    refuse(
      `belongs to a cluster with ${flags[key]} ${settings[key]}, which can't be changed to ${config[key]}`,
      `say ${flags[key]} ${settings[key]}, or nothing, ${elsewhere}`,
    );
  }
}

/** Writes the identity durably, replacing the old one as a whole. */
export function writeIdentity(fs: FileSystem, directory: string, identity: Identity): void {
  const bytes = utf8(`${JSON.stringify({ ...identity, checksum: checksumOf(identity) }, null, 2)}\n`);
  const path = `${directory}/${FILE}`;
  fs.remove(`${path}.new`);
  const file = fs.open(`${path}.new`, "create");
  try {
    file.write(bytes, 0, bytes.length, 0);
    file.syncNow();
  } finally {
    file.close();
  }
  fs.rename(`${path}.new`, path);
  fs.syncDirectorySync(directory);
}

/** Held by the process that uses the directory. */
export const LOCK_FILE = "LOCK";

function parse(fs: FileSystem, path: string): Identity {
  const file = fs.open(path, "read");
  try {
    const bytes = new Uint8Array(file.size());
    file.read(bytes, 0, bytes.length, 0);
    return checked(JSON.parse(fromUtf8(bytes)));
  } catch (error) {
    throw new StartError(`cannot read ${path}: ${(error as Error).message}; nothing was changed`, {
      cause: error,
    });
  } finally {
    file.close();
  }
}

/** The file is small and people look into it: what an editor or a disk made of it must not get far. */
function checked(json: unknown): Identity {
  const { checksum, ...found } = (typeof json === "object" && json !== null ? json : {}) as Partial<Stored>;
  const { format, node, incarnation, founders, seeds, settings, founding, promiseMs, facts } = found;
  if (typeof format === "number" && format !== FORMAT) {
    throw new Error(`it has format ${format}, and this program knows ${FORMAT} only`);
  }
  const isObject = (value: unknown): boolean => typeof value === "object" && value !== null;
  const isText = (value: unknown): boolean => typeof value === "string" && value !== "";
  const areSettings = (value: Settings | undefined): boolean =>
    [value?.shards, value?.replicas, value?.virtualNodes].every(Number.isInteger);
  const isWhole =
    format === FORMAT &&
    isText(node) &&
    isText(incarnation) &&
    Array.isArray(founders) &&
    founders.every((founder) => isText(founder?.id) && isText(founder?.address)) &&
    Array.isArray(seeds) &&
    seeds.every(isText) &&
    areSettings(settings) &&
    isObject(founding?.noted) &&
    typeof founding?.isNotedByAll === "boolean" &&
    typeof promiseMs === "number" &&
    Number.isInteger(facts?.version) &&
    typeof facts?.clusterId === "string" &&
    areSettings(facts.settings) &&
    isObject(facts.incarnations) &&
    isObject(facts.nodes) &&
    Array.isArray(facts.first);
  if (!isWhole) throw new Error("it is not as a node writes it");
  const expected = checksumOf(found as Identity);
  if (checksum !== expected) {
    throw new Error(`its checksum is ${checksum ?? "missing"}, and what it says gives ${expected}`);
  }
  return found as Identity;
}
