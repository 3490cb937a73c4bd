import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Subprocess } from "bun";
import { assert } from "../../src/lib/assert.ts";
import { within } from "./eventually.ts";

const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
/** How long a node may take until it serves, or until it is gone after SIGTERM. Generous: a busy machine is no error. */
const START_MS_MAX = 20_000;
const STOP_MS_MAX = 20_000;
/** How many of the lines that a node printed are kept. */
const OUTPUT_LINES_MAX = 5000;
/** What processor time is counted in. */
const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4096;

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/**
 * One node as a real process: `src/main.ts` run by this very Bun without a wrapper between, so that a signal reaches the
 * node itself. It stops by itself when this process dies, however it dies.
 */
export class NodeProcess {
  readonly id: string;
  readonly port: number;
  readonly #arguments: readonly string[];
  readonly #wrapper: readonly string[];
  readonly #output: string[] = [];
  #process: Subprocess<"pipe", "pipe", "pipe"> | undefined;
  #startedAtMs = 0;
  #paused = false;

  /** `args`: the node's flags, `--id` and `--port` aside. `wrapper`: a command that becomes the one behind it. */
  constructor(id: string, port: number, args: readonly string[], wrapper: readonly string[] = []) {
    this.id = id;
    this.port = port;
    this.#wrapper = wrapper;
    this.#arguments = ["--id", id, "--port", String(port), "--stop-with-stdin", ...args];
  }

  /** Where the node listens. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** What `--data` names. */
  get dataDirectory(): string {
    return this.#arguments[this.#arguments.indexOf("--data") + 1]!;
  }

  /** Of the process that runs. */
  get pid(): number {
    assert(this.#process !== undefined, `${this.id} is running`);
    return this.#process.pid;
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  /** Running and not paused. */
  get isAlive(): boolean {
    return this.isRunning && !this.#paused;
  }

  /** When the process was last started, on `performance.now()`'s clock. */
  get startedAtMs(): number {
    return this.#startedAtMs;
  }

  /** The last lines that the node printed, of all its lives. */
  get lines(): readonly string[] {
    return this.#output;
  }

  /** Starts the process and waits until it says that it serves. Rejects with what it printed if it ends before. */
  async start(): Promise<void> {
    assert(!this.isRunning, `${this.id} is not running yet`);
    this.#startedAtMs = performance.now();
    this.#note(`--- ${this.id} starts`);
    const child = Bun.spawn([...this.#wrapper, process.execPath, MAIN, ...this.#arguments], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
    });
    this.#process = child;
    this.#paused = false;
    const { promise: serves, resolve } = Promise.withResolvers<"serves">();
    const outputRead = Promise.all([
      this.#read(child.stdout, (line) => {
        if (/\bserves on\b/.test(line)) resolve("serves");
      }),
      this.#read(child.stderr, () => undefined),
    ]);
    child.exited.then(() => {
      this.#note(`--- ${this.id} ended: ${child.signalCode ?? `exit code ${child.exitCode}`}`);
      if (this.#process === child) this.#process = undefined;
    });
    const first = await within(`${this.id} serves`, START_MS_MAX, Promise.race([serves, child.exited]));
    if (first !== "serves") {
      await outputRead;
      throw new Error(
        `${this.id} ended (exit code ${child.exitCode}) instead of serving:\n${this.#output.join("\n")}`,
      );
    }
  }

  /** Sends a signal that ends the process, and waits until it is gone. Nothing happens if it is not running. */
  async kill(signal: "SIGKILL" | "SIGTERM" | "SIGINT" = "SIGKILL"): Promise<Exit> {
    const child = this.#process;
    if (child === undefined) return { code: null, signal: null };
    child.kill(signal);
    await within(`${this.id} is gone after ${signal}`, STOP_MS_MAX, child.exited);
    if (this.#process === child) this.#process = undefined;
    return { code: child.exitCode, signal: child.signalCode as NodeJS.Signals | null };
  }

  /** Freezes the process where it stands; its connections stay open and nothing answers. */
  pause(): void {
    process.kill(this.pid, "SIGSTOP");
    this.#paused = true;
  }

  /** Lets a frozen process go on as if no time had passed. */
  resume(): void {
    process.kill(this.pid, "SIGCONT");
    this.#paused = false;
  }

  /** What the operating system says that the process holds in memory. Linux only. */
  residentBytes(): number {
    const pages = readFileSync(`/proc/${this.pid}/statm`, "utf8").split(" ")[1];
    return Number(pages) * PAGE_BYTES;
  }

  /** How much processor time the process has used, in seconds. Linux only. */
  cpuSeconds(): number {
    // Behind the name, which may hold blanks, come the state and ten numbers, then user and system time.
    const fields = readFileSync(`/proc/${this.pid}/stat`, "utf8").split(") ").at(-1)!.split(" ");
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  async #read(stream: ReadableStream<Uint8Array>, onLine: (line: string) => void): Promise<void> {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        this.#note(line);
        onLine(line);
      }
    }
    if (rest !== "") this.#note(rest);
  }

  #note(line: string): void {
    this.#output.push(line);
    if (this.#output.length > OUTPUT_LINES_MAX) this.#output.shift();
  }
}
