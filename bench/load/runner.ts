/**
 * Has clients work: each takes an operation, waits for its answer, and takes the next.
 *
 * Closed loop: a client begins its next operation when the last is answered, so the load adapts to the server; a server
 * that stalls for a second is asked for nothing in that second and shows a single slow answer a client.
 *
 * Open loop: operations are due at a fixed rate, whatever the server does. One that finds all clients busy waits, and
 * its latency counts from when it was due, so a stall shows in all the operations that it held up ("coordinated
 * omission" is leaving them out). Timers of the runtime tick about once a millisecond: operations that fall due between
 * two ticks begin together at the second, and count from there.
 */
import type { Clock } from "../../src/env/env.ts";
import type { Driver, DriverListener, RequestKind } from "./driver.ts";
import type { Recorder } from "./recorder.ts";
import type { OperationKind, WorkSource } from "./workload.ts";

/** A client whose operation failed rests so long in the closed loop, or it would spin on a server that is gone. */
const REST_MS = 20;
/** A tick that comes later than this after the one before was held up by more than the timer itself. */
const TICK_LATENESS_MS_MAX = 2;
/** How long operations may still be answered after the end; those that are not are errors. */
const DRAIN_MS_MAX = 6000;

export interface RunnerParts {
  readonly driver: Driver;
  readonly clock: Clock;
  readonly clients: number;
}

export interface RunOptions {
  readonly source: WorkSource;
  readonly recorder: Recorder;
  /** Operations due a second; `undefined`: closed loop. */
  readonly rate?: number | undefined;
}

/** Runs one phase at a time over an open driver. State of a client lies in arrays indexed by its number. */
export class Runner implements DriverListener {
  readonly #driver: Driver;
  readonly #clock: Clock;
  readonly #startMs: Float64Array;
  readonly #key: Float64Array;
  readonly #kind: OperationKind[];
  /** A read-modify-write that has read and now writes. */
  readonly #writing: Uint8Array;
  /** The idle ones: a stack, so that few clients do the work when there is little. */
  readonly #idle: Int32Array;
  #idleCount: number;
  #resting: number[] = [];
  #phase: Phase | undefined;

  constructor({ driver, clock, clients }: RunnerParts) {
    this.#driver = driver;
    this.#clock = clock;
    this.#startMs = new Float64Array(clients);
    this.#key = new Float64Array(clients);
    this.#kind = new Array<OperationKind>(clients).fill("read");
    this.#writing = new Uint8Array(clients);
    this.#idle = Int32Array.from({ length: clients }, (_, i) => clients - 1 - i);
    this.#idleCount = clients;
  }

  /** Begins a phase; `done` resolves when the source has run dry, or after `stop`, once all is answered or given up. */
  start({ source, recorder, rate }: RunOptions): { done: Promise<void> } {
    const { promise, resolve } = Promise.withResolvers<void>();
    const now = this.#clock.nowMs();
    this.#phase = {
      source,
      recorder,
      finish: resolve,
      schedule:
        rate === undefined ? undefined : { beginMs: now, gapMs: 1000 / rate, started: 0, lastTickMs: now },
      stopMs: Number.POSITIVE_INFINITY,
    };
    if (rate === undefined) this.#beginAll(now);
    else this.#tick();
    this.#finishIfDone();
    return { done: promise };
  }

  /** Nothing that is due after now is begun any more. */
  stop(): void {
    const phase = this.#phase;
    if (phase === undefined) return;
    phase.stopMs = this.#clock.nowMs();
    this.#clock.timer(DRAIN_MS_MAX, () => {
      if (this.#phase === phase) this.#giveUp(phase);
    });
    this.#finishIfDone();
  }

  succeeded(client: number, found: boolean, nowMs: number): void {
    const phase = this.#phase;
    if (phase === undefined) return;
    const kind = this.#kind[client]!;
    if (kind === "readModifyWrite" && this.#writing[client] === 0) {
      this.#writing[client] = 1;
      this.#driver.submit(client, "put", this.#key[client]!, 0, nowMs);
      return;
    }
    phase.recorder.succeeded(this.#startMs[client]!, found, nowMs);
    phase.source.settled(kind, this.#key[client]!, true);
    if (phase.schedule === undefined && nowMs < phase.stopMs && phase.source.next()) {
      this.#begin(phase, client, nowMs);
      return;
    }
    this.#free(client);
    this.#goOn(nowMs);
  }

  failed(client: number, error: string, message: string, nowMs: number): void {
    const phase = this.#phase;
    if (phase === undefined) return;
    phase.recorder.failed(error, message, nowMs);
    phase.source.settled(this.#kind[client]!, this.#key[client]!, false);
    if (phase.schedule !== undefined) {
      this.#free(client);
      this.#goOn(nowMs);
      return;
    }
    if (this.#resting.length === 0) this.#clock.timer(REST_MS, this.#wake);
    this.#resting.push(client);
    this.#finishIfDone();
  }

  readonly #wake = (): void => {
    for (const client of this.#resting) this.#free(client);
    this.#resting = [];
    if (this.#phase === undefined) return;
    this.#beginAll(this.#clock.nowMs());
    this.#finishIfDone();
  };

  #goOn(nowMs: number): void {
    const phase = this.#phase!;
    if (phase.schedule === undefined) this.#beginAll(nowMs);
    else this.#beginDue(phase, phase.schedule, phase.schedule.lastTickMs, nowMs);
    this.#finishIfDone();
  }

  /** Closed loop: all idle clients take an operation, as far as there are any. */
  #beginAll(nowMs: number): void {
    const phase = this.#phase!;
    if (phase.schedule !== undefined) return;
    while (this.#idleCount > 0 && nowMs < phase.stopMs && phase.source.next()) {
      this.#begin(phase, this.#idle[--this.#idleCount]!, nowMs);
    }
  }

  readonly #tick = (): void => {
    const phase = this.#phase;
    const schedule = phase?.schedule;
    if (phase === undefined || schedule === undefined) return;
    const now = this.#clock.nowMs();
    const inTime = now - schedule.lastTickMs <= TICK_LATENESS_MS_MAX;
    // What fell due since the tick before only waited for this one; anything older waited for a client.
    const freshMs = inTime ? schedule.lastTickMs : Number.POSITIVE_INFINITY;
    schedule.lastTickMs = now;
    this.#beginDue(phase, schedule, now, now, freshMs);
    // The first tick after the stop begins what fell due before it; what finds no idle client goes on with the answers.
    if (now < phase.stopMs) this.#clock.timer(1, this.#tick);
    this.#finishIfDone();
  };

  /**
   * Open loop: begins what is due by `untilMs`, as far as clients are idle. What fell due after `freshMs` counts from
   * now, the rest from when it was due.
   */
  #beginDue(phase: Phase, schedule: Schedule, untilMs: number, nowMs: number, freshMs = nowMs): void {
    const lastMs = Math.min(untilMs, phase.stopMs);
    while (this.#idleCount > 0) {
      const dueMs = nextDueMs(schedule);
      if (dueMs > lastMs || !phase.source.next()) return;
      schedule.started++;
      this.#begin(phase, this.#idle[--this.#idleCount]!, nowMs, dueMs > freshMs ? nowMs : dueMs);
    }
  }

  #begin(phase: Phase, client: number, nowMs: number, startMs = nowMs): void {
    const { source } = phase;
    this.#startMs[client] = startMs;
    this.#kind[client] = source.kind;
    this.#key[client] = source.key;
    this.#writing[client] = 0;
    this.#driver.submit(client, FIRST_REQUEST[source.kind], source.key, source.scanLimit, nowMs);
  }

  #free(client: number): void {
    this.#idle[this.#idleCount++] = client;
  }

  #finishIfDone(): void {
    const phase = this.#phase;
    if (phase === undefined || this.#idleCount + this.#resting.length < this.#idle.length) return;
    const over = this.#clock.nowMs() >= phase.stopMs;
    if (phase.schedule === undefined) {
      // Those that rest come back for more, unless it is over; when all are idle, the source has run dry.
      if (!over && this.#resting.length > 0) return;
    } else if (!over || backlog(phase, phase.schedule)) {
      return;
    }
    this.#end(phase);
  }

  #giveUp(phase: Phase): void {
    const { schedule, recorder, stopMs } = phase;
    const busy = this.#idle.length - this.#idleCount - this.#resting.length;
    const waiting =
      schedule === undefined ? 0 : Math.floor((stopMs - nextDueMs(schedule)) / schedule.gapMs) + 1;
    const message = `no answer ${DRAIN_MS_MAX} ms after the end`;
    if (busy > 0) recorder.failed("UNANSWERED", message, this.#clock.nowMs(), busy);
    if (waiting > 0)
      recorder.failed("NOT_STARTED", "all clients were busy to the end", this.#clock.nowMs(), waiting);
    this.#end(phase);
  }

  #end(phase: Phase): void {
    this.#phase = undefined;
    phase.finish();
  }
}

interface Phase {
  readonly source: WorkSource;
  readonly recorder: Recorder;
  readonly finish: () => void;
  readonly schedule: Schedule | undefined;
  /** Operations that are due later are not begun. */
  stopMs: number;
}

interface Schedule {
  readonly beginMs: number;
  readonly gapMs: number;
  /** Operation `started` is the next; it is due at `beginMs + started * gapMs`. */
  started: number;
  lastTickMs: number;
}

const FIRST_REQUEST = {
  read: "get",
  staleRead: "staleGet",
  update: "put",
  insert: "put",
  scan: "scan",
  readModifyWrite: "get",
} as const satisfies Record<OperationKind, RequestKind>;

function nextDueMs(schedule: Schedule): number {
  return schedule.beginMs + schedule.started * schedule.gapMs;
}

/** Whether something was due before the end and has not begun. */
function backlog(phase: Phase, schedule: Schedule): boolean {
  return nextDueMs(schedule) <= phase.stopMs;
}
