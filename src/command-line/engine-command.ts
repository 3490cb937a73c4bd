/**
 * `bun run engine`: looks at a store of the engine from outside, and repairs it. The arguments become one of three commands;
 * the work is in `storage/tools`.
 *
 * | exit code | meaning |
 * |---|---|
 * | 0 | all is well, or has been repaired |
 * | 1 | there are problems, or a repair is needed |
 * | 2 | the command could not run: wrong arguments, a store that is open, a newer format, a disk that fails |
 */
import { type Command, CommanderError } from "commander";
import { type Clock, FileError, type FileSystem } from "../env/env.ts";
import { LOCK } from "../storage/file-names.ts";
import { lockedBy } from "../storage/recovery.ts";
import { messageOf, StorageError } from "../storage/storage-error.ts";
import { dump, recognize } from "../storage/tools/dump.ts";
import { counted } from "../storage/tools/printable.ts";
import { showProblem } from "../storage/tools/problem.ts";
import { NO_PROGRESS, ProgressLine } from "../storage/tools/progress.ts";
import { repairStore } from "../storage/tools/repair.ts";
import { planRepair, type RepairPlan } from "../storage/tools/repair-plan.ts";
import {
  inventoryOf,
  isStore,
  type Progress,
  type StoreReport,
  verifyStore,
} from "../storage/tools/verify.ts";
import { newCommand, splitAtEquals, wholeNumber } from "./command-line.ts";

export const EXIT_OK = 0;
export const EXIT_PROBLEMS = 1;
export const EXIT_FAILED = 2;

/** The process around a command. */
export interface Surroundings {
  /** How the command is called here: what help and advice tell to type. */
  readonly name: string;
  readonly fs: FileSystem;
  readonly clock: Clock;
  readonly isTerminal: boolean;
  writeOut(text: string): void;
  writeError(text: string): void;
}

const examples = (name: string): string => `
Examples:
  ${name} verify ./data          is anything damaged? Changes nothing
  ${name} repair ./data          what would a repair do, and what would be lost? Changes nothing
  ${name} repair ./data --yes    does it; what it takes away is kept in ./data/lost
  ${name} dump ./data/000012.table --limit 20

The store must not be open meanwhile. A node's store is the directory "engine" in its data directory. Don't repair that of a
member of a cluster: it may then lack what the node has told the others it has (docs/engine-tools.md).`;

/** Does what one command line says; the exit code. */
export async function runEngineCommand(args: readonly string[], around: Surroundings): Promise<number> {
  let exitCode = EXIT_OK;
  const command = newCommand(
    around.name,
    "looks at a store of the engine, and repairs it",
    examples(around.name),
  );
  const run = (action: () => number | Promise<number>): Promise<void> =>
    Promise.resolve(action()).then((code) => {
      exitCode = code;
    });
  addVerify(command, (directory, flags) => run(() => verify(directory, flags, around)));
  addRepair(command, (directory, flags) => run(() => repair(directory, flags, around)));
  addDump(command, (file, flags) => run(() => dumpFile(file, flags, around)));
  for (const each of [command, ...command.commands]) {
    each.exitOverride().configureOutput({
      writeOut: around.writeOut,
      writeErr: (text) => around.writeError(text),
    });
  }
  try {
    if (args.length === 0) command.help({ error: true });
    await command.parseAsync(args.flatMap(splitAtEquals), { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_FAILED;
    if (!(error instanceof StorageError || error instanceof FileError)) throw error;
    around.writeError(`error: ${error.message}\n`);
    return EXIT_FAILED;
  }
}

interface VerifyFlags {
  readonly json?: true;
  readonly progress?: true;
}

interface RepairFlags extends VerifyFlags {
  readonly yes?: true;
  readonly dryRun?: true;
  readonly afterDamage?: true;
}

interface DumpFlags {
  readonly json?: true;
  readonly keysOnly?: true;
  readonly limit?: string;
  readonly number?: string;
}

function addVerify(command: Command, action: (directory: string, flags: VerifyFlags) => Promise<void>): void {
  command
    .command("verify <directory>")
    .description("checks every file of a store, and how they fit together; changes nothing")
    .option("--json", "one object on standard output")
    .option("--progress", "tell the progress also where standard error is no terminal")
    .action(action);
}

function addRepair(command: Command, action: (directory: string, flags: RepairFlags) => Promise<void>): void {
  command
    .command("repair <directory>")
    .description("makes a store that refuses to open usable again, and tells what is lost by it")
    .option("--yes", "do it; without this flag only the plan is printed")
    .option("--dry-run", "print the plan only, also with --yes")
    .option("--after-damage", "take the log's batches behind a damaged place as well")
    .option("--progress", "tell the progress also where standard error is no terminal")
    .action(action);
}

function addDump(command: Command, action: (file: string, flags: DumpFlags) => Promise<void>): void {
  command
    .command("dump <file>")
    .description("shows what a table, a log file, a manifest or CURRENT holds, as far as it can be read")
    .option("--keys-only", "leave the values out")
    .option("--json", "one object a line")
    .option("--limit <count>", "how many entries or operations to show")
    .option("--number <number>", "the file's number, if its name does not tell")
    .action(action);
}

function verify(directory: string, flags: VerifyFlags, around: Surroundings): number {
  return withStore(directory, around, () => {
    const report = withProgress(flags, around, (progress) => verifyStore(around.fs, directory, progress));
    if (flags.json === true) around.writeOut(`${JSON.stringify(report)}\n`);
    else tell(report, around);
    if (report.problems.length === 0) return EXIT_OK;
    if (flags.json !== true) around.writeOut(`what a repair would do: ${around.name} repair ${directory}\n`);
    return EXIT_PROBLEMS;
  });
}

function tell({ problems, notes, summary }: StoreReport, around: Surroundings): void {
  for (const problem of problems) around.writeOut(`${showProblem(problem)}\n`);
  for (const note of notes) around.writeOut(`note: ${note}\n`);
  around.writeOut(`${summary}\n`);
}

function repair(directory: string, flags: RepairFlags, around: Surroundings): Promise<number> {
  const { fs } = around;
  return withStore(directory, around, async () => {
    const options = { afterDamage: flags.afterDamage === true };
    const plan = withProgress(flags, around, (progress) => planRepair(fs, directory, options, progress));
    if (plan.problems.length === 0) {
      around.writeOut("nothing to repair\n");
      return EXIT_OK;
    }
    tellPlan(plan, around);
    if (flags.yes !== true || flags.dryRun === true) {
      around.writeOut(`\nNothing was changed. To do this: ${around.name} repair ${directory} --yes\n`);
      return EXIT_PROBLEMS;
    }
    const { lost, moved, written } = await repairStore(fs, plan);
    around.writeOut(
      `\nrepaired: ${counted(written, "table")} written, ${counted(moved.length, "file")} moved to ${lost}\n`,
    );
    const report = withProgress(flags, around, (progress) => verifyStore(fs, directory, progress));
    tell(report, around);
    return report.problems.length === 0 ? EXIT_OK : EXIT_PROBLEMS;
  });
}

function tellPlan({ directory, problems, steps, losses }: RepairPlan, around: Surroundings): void {
  const list = (title: string, lines: readonly string[]): void => {
    if (lines.length > 0) around.writeOut(`${title}\n${lines.map((line) => `  - ${line}\n`).join("")}`);
  };
  list("What is wrong:", problems.map(showProblem));
  list("What a repair does:", [
    ...steps,
    `what it takes away is kept in ${directory}/lost, and can be deleted when it is not missed`,
  ]);
  list("What is lost, or not known:", losses.length > 0 ? losses : ["nothing"]);
}

function dumpFile(file: string, flags: DumpFlags, around: Surroundings): number {
  const number = numberOf("--number", flags.number);
  const limit = numberOf("--limit", flags.limit) ?? Number.POSITIVE_INFINITY;
  if (!around.fs.exists(file)) throw new FileError("ENOENT", `there is no file ${file}`);
  const found = recognize(around.fs, file, number);
  if (found === undefined) {
    around.writeError(
      `error: ${file} is not named like a file of a store (000012.table, 000013.wal, 000014.manifest, CURRENT); if it is one, --number tells which\n`,
    );
    return EXIT_FAILED;
  }
  const options = { keysOnly: flags.keysOnly === true, json: flags.json === true, limit };
  const whole = dump(around.fs, file, found, options, (line) => around.writeOut(`${line}\n`));
  return whole ? EXIT_OK : EXIT_PROBLEMS;
}

function numberOf(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const number = wholeNumber(text);
  if (number === undefined) throw new FileError("EINVAL", `${flag} needs a number, not ${text}`);
  return number;
}

/** Holds the store's lock meanwhile, so that it does not change. One that was never locked, or can't be, is only read. */
function withStore<Result>(directory: string, around: Surroundings, action: () => Result): Result {
  const { fs } = around;
  if (!isStore(inventoryOf(fs, directory)))
    throw new FileError("ENOENT", `there is no store in ${directory}: no CURRENT, no tables, no logs`);
  const path = `${directory}/${LOCK}`;
  let lock: { release(): void } | undefined;
  if (fs.exists(path)) {
    try {
      lock = fs.lock(path);
    } catch (error) {
      around.writeError(
        `note: the store can't be locked, nobody may open it meanwhile (${messageOf(error)})\n`,
      );
      lock = { release: () => {} };
    }
    if (lock === undefined) throw lockedBy(fs, directory);
  }
  let result: Result;
  try {
    result = action();
  } catch (error) {
    lock?.release();
    throw error;
  }
  if (result instanceof Promise) void result.finally(() => lock?.release()).catch(() => {});
  else lock?.release();
  return result;
}

function withProgress<Result>(
  flags: { readonly progress?: true },
  around: Surroundings,
  action: (progress: Progress) => Result,
): Result {
  if (!around.isTerminal && flags.progress !== true) return action(NO_PROGRESS);
  const line = new ProgressLine(around.clock, (text) => around.writeError(text), around.isTerminal);
  try {
    return action(line);
  } finally {
    line.end();
  }
}
