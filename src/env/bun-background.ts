import { type Background, FileError } from "./env.ts";

/** What the worker is asked. */
export interface JobRequest {
  readonly id: number;
  readonly job: string;
  readonly argument: unknown;
}

/** What the worker says: once that it is ready, then the end of each job. */
export type WorkerMessage =
  | { readonly kind: "ready" }
  | { readonly kind: "done"; readonly id: number; readonly result: unknown }
  | {
      readonly kind: "failed";
      readonly id: number;
      readonly name: string;
      readonly code: string;
      readonly message: string;
    };

interface WaitingJob {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

const WORKER = new URL("../background-worker.ts", import.meta.url).href;

/**
 * Jobs in one long-lived Worker, which is started with the first of them. It keeps the process alive only while a job
 * runs. A job's error arrives as a `FileError` if it was one, else as an `Error` with its `code`. `script`: for tests of
 * workers that fail.
 */
export function bunBackground(script = WORKER): Background {
  return new WorkerBackground(script);
}

class WorkerBackground implements Background {
  readonly #script: string;
  #worker: Worker | undefined;
  #ready: Promise<void> = Promise.resolve();
  readonly #jobs = new Map<number, WaitingJob>();
  #nextId = 1;
  #closed = false;
  #idle: (() => void) | undefined;

  constructor(script: string) {
    this.#script = script;
  }

  run(job: string, argument: unknown): Promise<unknown> {
    if (this.#closed) return Promise.reject(new Error(`cannot run ${job}: the background thread is closed`));
    const worker = this.#worker ?? this.#start();
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#jobs.set(id, { resolve, reject });
      worker.ref();
      const request: JobRequest = { id, job, argument };
      this.#ready.then(() => worker.postMessage(request));
    });
  }

  /** Waits for the jobs that were asked for, then ends the thread. */
  async close(): Promise<void> {
    this.#closed = true;
    const worker = this.#worker;
    if (worker === undefined) return;
    this.#worker = undefined;
    // A worker that is ended while it loads can take the process with it.
    await this.#ready;
    if (this.#jobs.size > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    worker.terminate();
  }

  #start(): Worker {
    const worker = new Worker(this.#script);
    this.#worker = worker;
    let ready = (): void => {};
    this.#ready = new Promise((resolve) => {
      ready = resolve;
    });
    worker.onmessage = (event: MessageEvent<WorkerMessage>) => {
      if (event.data.kind === "ready") ready();
      else this.#ended(worker, event.data);
    };
    worker.onerror = (event) => {
      if (this.#worker === worker) this.#worker = undefined;
      const error = new Error(`the background thread failed: ${event.message}`);
      for (const { reject } of this.#jobs.values()) reject(error);
      this.#jobs.clear();
      // It may have failed before it was ready.
      ready();
      this.#becameIdle(worker);
      worker.terminate();
    };
    return worker;
  }

  #ended(worker: Worker, message: Exclude<WorkerMessage, { kind: "ready" }>): void {
    const job = this.#jobs.get(message.id);
    this.#jobs.delete(message.id);
    if (message.kind === "done") job?.resolve(message.result);
    else job?.reject(errorOf(message));
    if (this.#jobs.size === 0) this.#becameIdle(worker);
  }

  #becameIdle(worker: Worker): void {
    worker.unref();
    this.#idle?.();
  }
}

function errorOf({ name, code, message }: { name: string; code: string; message: string }): Error {
  if (name === "FileError") return new FileError(code, message);
  return Object.assign(new Error(message), { name, code });
}
