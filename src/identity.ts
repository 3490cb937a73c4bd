/**
 * Whose data a directory holds: `identity.json`, written when the directory is first used. It keeps a data directory from
 * being served under another name, in another cluster, or with another number of shards.
 */
import type { NodeId } from "../protocol/ids.ts";
import type { NodeConfig } from "./config.ts";
import type { Env, FileSystem } from "./env/env.ts";
import { fromUtf8, utf8 } from "./lib/bytes.ts";
import { NO_FACTS, type SystemFacts } from "./shard/system-machine.ts";
import { StartError } from "./start-error.ts";

const FORMAT = 1;
const FILE = "identity.json";

export interface Identity {
  readonly format: number;
  readonly node: NodeId;
  /** Made at random with the directory: another directory is another incarnation of the node. */
  readonly incarnation: string;
  /** As `--peers` named them at the first start. */
  readonly members: readonly NodeId[];
  /** It was made by a node that joined a cluster which was there before. */
  readonly joins: boolean;
  readonly shards: number;
  /** What it promised to leaders the last time it ran, as `NodeTimings` has it: they may rely on it a little longer. */
  readonly promiseMs: number;
  /** What the system group has agreed on, as far as this node had applied it. */
  readonly facts: SystemFacts;
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
  const members = config.members.map((member) => member.id);
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
    const incarnation = randomId(env.random);
    const identity = {
      format: FORMAT,
      node: config.id,
      incarnation,
      members,
      joins: config.joins === true,
      shards: config.shards,
      promiseMs: 0,
      facts: NO_FACTS,
    };
    return { identity, isNew: true };
  }
  const identity = parse(env.fs, path);
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
  // A node that joined finds its cluster by what that told it; it may be asked to look elsewhere.
  if (!identity.joins && identity.members.join() !== members.join()) {
    refuse(
      `belongs to a cluster of ${identity.members.join(", ")}, not of ${members.join(", ")}`,
      `--peers names the founders, whoever came or went since: say it as at the first start, ${elsewhere}`,
    );
  }
  if (identity.shards !== config.shards) {
    refuse(
      `belongs to a cluster with --shards ${identity.shards}, which can't be changed to ${config.shards}`,
      `say --shards ${identity.shards}, ${elsewhere}`,
    );
  }
  return { identity, isNew: false };
}

/** Writes the identity durably, replacing the old one as a whole. */
export function writeIdentity(fs: FileSystem, directory: string, identity: Identity): void {
  const bytes = utf8(`${JSON.stringify(identity, null, 2)}\n`);
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
  const found = (typeof json === "object" && json !== null ? json : {}) as Partial<Identity>;
  const { format, node, incarnation, members, joins, shards, promiseMs, facts } = found;
  if (typeof format === "number" && format !== FORMAT) {
    throw new Error(`it has format ${format}, and this program knows ${FORMAT} only`);
  }
  const isObject = (value: unknown): boolean => typeof value === "object" && value !== null;
  const isText = (value: unknown): boolean => typeof value === "string" && value !== "";
  const isWhole =
    format === FORMAT &&
    isText(node) &&
    isText(incarnation) &&
    Array.isArray(members) &&
    members.length > 0 &&
    members.every(isText) &&
    typeof joins === "boolean" &&
    typeof shards === "number" &&
    typeof promiseMs === "number" &&
    typeof facts?.clusterId === "string" &&
    isObject(facts.incarnations) &&
    isObject(facts.nodes);
  if (!isWhole) throw new Error("it is not as a node writes it");
  return found as Identity;
}
