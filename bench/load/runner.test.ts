import { expect, test } from "bun:test";
import type { Clock, Timer } from "../../src/env/env.ts";
import { seededRandom } from "../../src/lib/prng.ts";
import type { Driver, RequestKind } from "./driver.ts";
import { Recorder } from "./recorder.ts";
import { Runner } from "./runner.ts";
import { KeySpace, LoadSource, Workload, type WorkSource } from "./workload.ts";

/** A clock that stands still until it is advanced; its timers fire at their times, in order. */
class VirtualClock implements Clock {
  #nowMs = 1000;
  #timers: { atMs: number; callback: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }
  wallMs(): number {
    return this.#nowMs;
  }
  timer(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.push(timer);
    return { cancel: () => void this.#timers.splice(this.#timers.indexOf(timer), 1) };
  }
  endOfTurn(callback: () => void): void {
    this.timer(0, callback);
  }
  advance(byMs: number): void {
    const untilMs = this.#nowMs + byMs;
    for (;;) {
      const next = this.#timers.reduce((a, b) => (b.atMs < a.atMs ? b : a), {
        atMs: Number.POSITIVE_INFINITY,
        callback: () => {},
      });
      if (next.atMs > untilMs) break;
      this.#timers.splice(this.#timers.indexOf(next), 1);
      this.#nowMs = next.atMs;
      next.callback();
    }
    this.#nowMs = untilMs;
  }
}

/** A server in virtual time: answers after `serviceMs`, but nothing between `stall.from` and `stall.to`. */
class StallingServer implements Driver {
  readonly redirects = 0;
  readonly submitted: { kind: RequestKind; key: number; atMs: number }[] = [];
  readonly #clock: VirtualClock;
  readonly #stall: { readonly fromMs: number; readonly toMs: number };
  readonly #serviceMs: number;
  runner!: Runner;
  outstanding = 0;
  outstandingMax = 0;
  fails = false;

  constructor(clock: VirtualClock, serviceMs: number, stall = { fromMs: 0, toMs: 0 }) {
    this.#clock = clock;
    this.#serviceMs = serviceMs;
    this.#stall = stall;
  }
  async open(): Promise<void> {}
  close(): void {}
  submit(client: number, kind: RequestKind, key: number): void {
    const now = this.#clock.nowMs();
    this.submitted.push({ kind, key, atMs: now });
    this.outstandingMax = Math.max(this.outstandingMax, ++this.outstanding);
    const readyMs = now + this.#serviceMs;
    const { fromMs, toMs } = this.#stall;
    const answerMs = readyMs >= fromMs && readyMs < toMs ? toMs : readyMs;
    this.#clock.timer(answerMs - now, () => {
      this.outstanding--;
      if (this.fails) this.runner.failed(client, "OVERLOADED", "too much", this.#clock.nowMs());
      else this.runner.succeeded(client, true, this.#clock.nowMs());
    });
  }
}

interface Setup {
  readonly clock: VirtualClock;
  readonly server: StallingServer;
  readonly runner: Runner;
  readonly recorder: Recorder;
}

function setUp(clients: number, serviceMs: number, stall?: { fromMs: number; toMs: number }): Setup {
  const clock = new VirtualClock();
  const server = new StallingServer(clock, serviceMs, stall);
  const runner = new Runner({ driver: server, clock, clients });
  server.runner = runner;
  const recorder = new Recorder();
  recorder.begin(clock.nowMs());
  return { clock, server, runner, recorder };
}

function reads(): WorkSource {
  return new Workload("get", new KeySpace(10), seededRandom(1));
}

/** Runs for `forMs`, then stops and waits for the answers. */
async function run({ clock, runner, recorder }: Setup, source: WorkSource, forMs: number, rate?: number) {
  const { done } = runner.start({ source, recorder, rate });
  clock.advance(forMs);
  recorder.end(clock.nowMs());
  runner.stop();
  clock.advance(10_000);
  await done;
  return recorder.summary();
}

test("closed loop: each client has exactly one request outstanding", async () => {
  const setup = setUp(4, 2);
  const summary = await run(setup, reads(), 1000);
  expect(setup.server.outstandingMax).toBe(4);
  expect(summary.opsPerSecond).toBe(2000);
  expect(summary.p50).toBeCloseTo(2, 2);
});

test("open loop: operations begin at the rate, whatever the number of clients", async () => {
  const setup = setUp(64, 2);
  const summary = await run(setup, reads(), 1000, 500);
  expect(summary.succeeded).toBe(501);
  expect(setup.server.outstandingMax).toBeLessThanOrEqual(2);
  expect(summary.p50).toBeCloseTo(2, 2);
  expect(summary.max).toBeCloseTo(2, 2);
});

test("a stall of a second shows in every operation that it held up, in the open loop only", async () => {
  // The clock begins at 1000: the server is silent for the second half of the run's two seconds.
  const stall = { fromMs: 2000, toMs: 3000 };
  const closed = await run(setUp(64, 1, stall), reads(), 2000);
  expect(Math.abs(closed.max - 1000)).toBeLessThan(2);
  expect(closed.p99).toBeLessThan(2);

  const open = await run(setUp(64, 1, stall), reads(), 2000, 1000);
  expect(open.succeeded).toBe(2001);
  // Half of the operations fell due in the stall and waited from then on, evenly from a second down to nothing.
  expect(open.p50).toBeLessThan(20);
  expect(open.p99).toBeGreaterThan(950);
  expect(open.max).toBeGreaterThan(990);
});

test("latencies in the open loop count from when the operation was due, not from when a client was idle", async () => {
  // One client and 10 ms an operation serve 100 a second; 200 a second are due.
  const setup = setUp(1, 10);
  const summary = await run(setup, reads(), 1000, 200);
  expect(summary.opsPerSecond).toBe(100);
  expect(summary.max).toBeGreaterThan(900);
  expect(summary.errors).toBe(0);
});

test("what was due and could not be answered soon after the end is an error", async () => {
  const setup = setUp(1, 10);
  const summary = await run(setup, reads(), 1000, 10_000);
  expect(summary.errorKinds.get("UNANSWERED")!.count).toBe(1);
  const started = summary.errorKinds.get("NOT_STARTED")!.count;
  expect(summary.succeeded + started + 1).toBe(10_001);
});

test("a failed client rests in the closed loop", async () => {
  const setup = setUp(2, 1);
  setup.server.fails = true;
  const summary = await run(setup, reads(), 210);
  // One millisecond of service and twenty of rest: ten or eleven rounds of two.
  expect(summary.errors).toBeGreaterThanOrEqual(20);
  expect(summary.errors).toBeLessThanOrEqual(22);
  expect(summary.succeeded).toBe(0);
  expect(summary.errorKinds.get("OVERLOADED")!.example).toBe("too much");
});

test("read-modify-write is a get and then a put of the same key, counted once", async () => {
  const setup = setUp(1, 1);
  const rmw: WorkSource = {
    kind: "readModifyWrite",
    key: 7,
    scanLimit: 0,
    next: () => true,
    settled: () => {},
  };
  const summary = await run(setup, rmw, 100);
  expect(summary.opsPerSecond).toBe(500);
  expect(summary.p50).toBeCloseTo(2, 2);
  expect(setup.server.submitted.slice(0, 4).map(({ kind, key }) => `${kind} ${key}`)).toEqual([
    "get 7",
    "put 7",
    "get 7",
    "put 7",
  ]);
});

test("loading writes every key once and ends by itself", async () => {
  const setup = setUp(8, 1);
  const source = new LoadSource(100);
  const { done } = setup.runner.start({ source, recorder: setup.recorder });
  setup.clock.advance(1000);
  await done;
  expect(source.stored).toBe(100);
  expect(new Set(setup.server.submitted.map(({ key }) => key)).size).toBe(100);
  expect(setup.server.submitted.length).toBe(100);
});

test("loading writes again what failed, and gives up when nothing succeeds", async () => {
  const setup = setUp(8, 1);
  const source = new LoadSource(100);
  setup.server.fails = true;
  const { done } = setup.runner.start({ source, recorder: setup.recorder });
  setup.clock.advance(50);
  setup.server.fails = false;
  setup.clock.advance(1000);
  await done;
  expect(source.stored).toBe(100);

  const hopeless = setUp(8, 1);
  hopeless.server.fails = true;
  const never = new LoadSource(100);
  const giving = hopeless.runner.start({ source: never, recorder: hopeless.recorder });
  hopeless.clock.advance(60_000);
  await giving.done;
  expect(never.stored).toBe(0);
});
