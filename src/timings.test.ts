import { expect, test } from "bun:test";
import { DEFAULT_TIMING_OPTIONS, faultOfTimings, timingsOf } from "./timings.ts";

const fault = (options: Partial<typeof DEFAULT_TIMING_OPTIONS>) =>
  faultOfTimings({ ...DEFAULT_TIMING_OPTIONS, ...options });

test("the defaults have no fault, nor have those of a slow network", () => {
  expect(fault({})).toBeUndefined();
  expect(
    fault({ heartbeatMs: 500, electionTimeoutMs: 5_000, requestTimeoutMs: 20_000, idleMs: 10_000 }),
  ).toBeUndefined();
  expect(fault({ tickMs: 10, heartbeatMs: 30, electionTimeoutMs: 90, idleMs: 90 })).toBeUndefined();
});

test("a relation that is broken is told by the flags and what they are", () => {
  const broken: [Partial<typeof DEFAULT_TIMING_OPTIONS>, string][] = [
    [{ tickMs: 0 }, "--tick-ms must be a whole number of milliseconds from 1 to 86400000, found 0"],
    [{ requestTimeoutMs: 1.5 }, "--request-timeout-ms must be a whole number"],
    [{ idleMs: 86_400_001 }, "--idle-ms must be a whole number"],
    [{ heartbeatMs: 120 }, "--heartbeat-ms (120) must be a multiple of --tick-ms (50)"],
    [{ tickMs: 40, heartbeatMs: 80 }, "--election-timeout-ms (500) must be a multiple of --tick-ms (40)"],
    [{ heartbeatMs: 200 }, "--election-timeout-ms (500) must be at least 3 times --heartbeat-ms (200)"],
    [
      { electionTimeoutMs: 1_300 },
      "--request-timeout-ms (5000) must be at least 4 times --election-timeout-ms",
    ],
    [
      { leaseDriftPercent: 41 },
      "--lease-drift-percent must be a whole number from 1 to 40, or 0 for no leases, found 41",
    ],
    [
      { tickMs: 1, leaseDriftPercent: 10 },
      "--lease-drift-percent (10) leaves no time for a lease within --election",
    ],
    [{ idleMs: 450 }, "--idle-ms (450) must be at least --election-timeout-ms (500)"],
    [{ lostAfterMs: 1999 }, "--lost-after-ms (1999) must be at least 4 times --election-timeout-ms (500)"],
  ];
  for (const [options, message] of broken) expect(fault(options)).toContain(message);
});

test("a lease by the slowest clock ends before a promise by the fastest one does", () => {
  expect(timingsOf(DEFAULT_TIMING_OPTIONS)).toMatchObject({ leaseMs: 0, promiseMs: 0 });
  for (const leaseDriftPercent of [1, 10, 40]) {
    const { leaseMs, promiseMs } = timingsOf({ ...DEFAULT_TIMING_OPTIONS, leaseDriftPercent });
    const drift = leaseDriftPercent / 100;
    expect(leaseMs).toBeGreaterThan(0);
    expect(leaseMs / (1 - drift)).toBeLessThanOrEqual(promiseMs / (1 + drift));
    expect(promiseMs).toBeLessThanOrEqual(
      DEFAULT_TIMING_OPTIONS.electionTimeoutMs - DEFAULT_TIMING_OPTIONS.tickMs,
    );
  }
});

test("a request never waits beyond a graceful stop, nor a sleeping group shorter than one that is awake", () => {
  for (const electionTimeoutMs of [300, 500, 1_200]) {
    const timings = timingsOf({ ...DEFAULT_TIMING_OPTIONS, electionTimeoutMs });
    expect(timings.stopMsMax).toBeGreaterThan(timings.requestTimeoutMs);
    expect(timings.silentLeaderMs).toBeGreaterThan(electionTimeoutMs);
    expect(timings.silentLeaderMs).toBeLessThan(2 * electionTimeoutMs);
    expect(timings.electionTicks * timings.tickMs).toBe(electionTimeoutMs);
  }
});
