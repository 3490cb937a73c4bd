import { expect, test } from "bun:test";
import { MemoryFileSystem } from "../../test/support/memory-fs.ts";
import type { Clock, Log } from "../env/env.ts";
import { StoreHealth } from "./store-health.ts";
import { type Backlog, type Strain, strainOf, WriteThrottle } from "./write-throttle.ts";

const LIMITS = {
  level0TablesSlow: 12,
  level0TablesStop: 24,
  sealedMemtablesSlow: 2,
  sealedMemtablesStop: 4,
  compactionDebtSlow: 1000,
  compactionDebtStop: 2000,
};

function strain(backlog: Partial<Backlog>): string {
  const none = { level0Tables: 0, sealedMemtables: 0, memtableShare: 0, compactionDebt: 0 };
  const { pressure, strain: value, cause } = strainOf({ ...none, ...backlog }, LIMITS);
  return `${pressure} ${value.toFixed(2)} ${cause ?? ""}`.trimEnd();
}

test("the strain grows from where slowing down begins to where writers stop", () => {
  expect(strain({})).toBe("none 0.00");
  expect(strain({ level0Tables: 11, sealedMemtables: 1, memtableShare: 1, compactionDebt: 999 })).toBe(
    "none 0.00",
  );
  expect(strain({ level0Tables: 12 })).toBe("slow 0.00 level 0");
  expect(strain({ level0Tables: 18 })).toBe("slow 0.50 level 0");
  expect(strain({ level0Tables: 24 })).toBe("stop 1.00 level 0");
  expect(strain({ level0Tables: 30 })).toBe("stop 1.00 level 0");
  expect(strain({ compactionDebt: 1250 })).toBe("slow 0.25 compaction debt");
  expect(strain({ compactionDebt: 2000 })).toBe("stop 1.00 compaction debt");
});

test("a memtable that fills makes the strain of sealed ones grow evenly, and is not a stop by itself", () => {
  const at = (sealedMemtables: number, memtableShare: number): string =>
    strain({ sealedMemtables, memtableShare });
  expect([at(2, 0), at(2, 0.5), at(2, 1), at(3, 0)]).toEqual([
    "slow 0.00 memtables",
    "slow 0.25 memtables",
    "slow 0.50 memtables",
    "slow 0.50 memtables",
  ]);
  expect([at(3, 1), at(3, 5), at(4, 0)]).toEqual([
    "slow 0.99 memtables",
    "slow 0.99 memtables",
    "stop 1.00 memtables",
  ]);
});

test("the worst of several counts", () => {
  expect(strain({ level0Tables: 15, sealedMemtables: 3, compactionDebt: 1100 })).toBe("slow 0.50 memtables");
  expect(strain({ level0Tables: 24, sealedMemtables: 3 })).toBe("stop 1.00 level 0");
});

test("limits that leave no room between slow and stop, stop", () => {
  const tight = { ...LIMITS, sealedMemtablesSlow: 1, sealedMemtablesStop: 1 };
  const backlog = { level0Tables: 0, sealedMemtables: 1, memtableShare: 0, compactionDebt: 0 };
  expect(strainOf(backlog, tight).pressure).toBe("stop");
});

/** A clock whose timers end `late` milliseconds after they should. */
function manualClock(late: number): Clock & { now: number } {
  const clock = {
    now: 1000,
    nowMs: () => clock.now,
    wallMs: () => clock.now,
    timer: (delayMs: number, callback: () => void) => {
      clock.now += delayMs + late;
      queueMicrotask(callback);
      return { cancel: () => {} };
    },
    endOfTurn: (callback: () => void) => queueMicrotask(callback),
  };
  return clock;
}

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };

function throttled(late: number): {
  clock: ReturnType<typeof manualClock>;
  health: StoreHealth;
  throttle: WriteThrottle;
  set(strain: Partial<Backlog>): void;
} {
  const clock = manualClock(late);
  const health = new StoreHealth({ fs: new MemoryFileSystem(), clock, log: SILENT }, "/d", {
    retryMs: 1,
    makeRoom: () => {},
    onFatal: () => {},
  });
  const none = { level0Tables: 0, sealedMemtables: 0, memtableShare: 0, compactionDebt: 0 };
  let now: Strain = strainOf(none, LIMITS);
  const set = (backlog: Partial<Backlog>): void => {
    now = strainOf({ ...none, ...backlog }, LIMITS);
  };
  return { clock, health, throttle: new WriteThrottle(clock, health, () => now), set };
}

test.each([
  [15, 0],
  [18, 0],
  [18, 0.9],
  [22, 0.4],
])(
  "with %d tables in level 0 writers write for the rest of the time that the strain leaves",
  async (tables, late) => {
    const { clock, throttle, set } = throttled(late);
    set({ level0Tables: tables });
    const start = clock.now;
    let working = 0;
    for (let group = 0; group < 2000; group++) {
      const ready = throttle.ready();
      if (ready !== undefined) await ready;
      clock.now += 0.3;
      working += 0.3;
    }
    const share = working / (clock.now - start);
    expect(share).toBeCloseTo(1 - (tables - 12) / 12, 1);
    const { delays, delayMs, stopMs } = throttle.counts;
    expect(delayMs).toBeCloseTo(clock.now - start - working, 3);
    // Smooth: many short waits.
    expect(delayMs / delays).toBeLessThan(5);
    expect(stopMs).toBe(0);
  },
);

test("without strain nobody waits, and what was owed is forgotten", async () => {
  const { clock, throttle, set } = throttled(0);
  set({ level0Tables: 18 });
  throttle.ready();
  clock.now += 0.9;
  throttle.ready();
  set({});
  expect(throttle.ready()).toBeUndefined();
  set({ level0Tables: 18 });
  expect(throttle.ready()).toBeUndefined();
  expect(throttle.counts.delays).toBe(0);
});

test("who writes now and then does not wait for the time in between", async () => {
  const { clock, throttle, set } = throttled(0);
  set({ level0Tables: 18 });
  for (let group = 0; group < 10; group++) {
    clock.now += 1000;
    await throttle.ready();
  }
  expect(throttle.counts.delayMs).toBeLessThan(25);
});

test("stopped writers go on when it eases, and it is counted why they stood", async () => {
  const { clock, health, throttle, set } = throttled(0);
  set({ level0Tables: 24 });
  let wrote = false;
  const ready = throttle.ready()!.then(() => {
    wrote = true;
  });
  clock.now += 70;
  set({ sealedMemtables: 4 });
  health.wake();
  await Promise.resolve();
  expect(wrote).toBe(false);
  clock.now += 30;
  set({ level0Tables: 23 });
  health.wake();
  await ready;
  expect(throttle.counts.stops).toEqual({ "level 0": 1, memtables: 1, "compaction debt": 0 });
  expect(throttle.counts.stopMs).toBe(100);
});

test("a store that is closed lets writers go on, one that fails tells them", async () => {
  const closing = throttled(0);
  closing.set({ level0Tables: 24 });
  const ready = closing.throttle.ready();
  closing.health.close();
  await ready;
  const failing = throttled(0);
  failing.set({ level0Tables: 24 });
  const refused = failing.throttle.ready()!;
  failing.health.fail(new Error("the disk is broken"));
  await expect(refused).rejects.toThrow("the disk is broken");
});
