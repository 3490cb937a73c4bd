/** One group of lines on one engine, in a process of its own: a JSON line for each of them on stdout. */
import type { Contender, ContenderOptions } from "./contender.ts";
import { KeySet } from "./data.ts";
import { runLine, type Stage, sequence } from "./line.ts";
import { GROUPS, type Group, LOAD_GROUP } from "./lines.ts";

/** What the process is told, as JSON in its only argument. */
export interface GroupTask extends ContenderOptions {
  readonly engine: "flotilla" | "classic-level";
  readonly group: string;
  readonly directory: string;
  readonly num: number;
  readonly seed: number;
  /** The lines to run; in the group that loads what others read, the rest run, too, and are not told. */
  readonly ops: readonly string[];
}

if (import.meta.main) await main(JSON.parse(process.argv[2]!) as GroupTask);

async function main(task: GroupTask): Promise<void> {
  const group = GROUPS.find(({ name }) => name === task.group)!;
  const contender = await openContender(task);
  const stage: Stage = { ...task, contender, keys: keysOf(task, group) };
  for (const op of group.ops) {
    const told = task.ops.includes(op);
    if (!told && group.name !== LOAD_GROUP) continue;
    const figure = await runLine(stage, op);
    if (told) console.log(JSON.stringify(figure));
  }
  await contender.close();
}

/** Loads one engine and not the other: neither's memory holds the other's code. */
async function openContender(task: GroupTask): Promise<Contender> {
  if (task.engine === "flotilla") {
    const { openFlotilla } = await import("./flotilla.ts");
    return await openFlotilla(task.directory, task);
  }
  const { openClassicLevel } = await import("./classic-level.ts");
  return await openClassicLevel(task.directory, task);
}

/** What the store holds when the group begins. */
function keysOf(task: GroupTask, { store }: Group): KeySet {
  const keys = new KeySet(task.num);
  if (store === "loaded") {
    for (const op of GROUPS.find(({ name }) => name === LOAD_GROUP)!.ops) {
      keys.addAll(sequence(task, op), task.num);
    }
  }
  return keys;
}
