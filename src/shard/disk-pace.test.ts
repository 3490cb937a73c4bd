import { expect, test } from "bun:test";
import { DiskPace } from "./disk-pace.ts";

const TICK_MS = 50;
const LIMITS = { slowSyncMs: 250, calmMs: 5_000 };

/** A disk of which the test says how long its syncs take; ticks come as time passes. */
class Disk {
  readonly pace = new DiskPace(LIMITS, TICK_MS);
  nowMs = 1_000;

  pass(ms: number): void {
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs; ) {
      this.nowMs += TICK_MS;
      this.pace.tick(this.nowMs);
    }
  }

  sync(ms: number, times = 1): void {
    for (let i = 0; i < times; i++) {
      this.pace.syncBegan(this.nowMs);
      if (ms < TICK_MS) this.nowMs += ms;
      else this.pass(ms);
      this.pace.syncEnded(this.nowMs);
      this.pass(TICK_MS);
    }
  }
}

test("a disk that syncs in time is well, with a hiccup now and then too", () => {
  const disk = new Disk();
  for (let i = 0; i < 20; i++) {
    disk.sync(20, 3);
    disk.sync(200);
  }
  expect(disk.pace.isSlow).toBe(false);
  expect(disk.pace.spells).toBe(0);
  expect(disk.pace.syncMs?.p50).toBeCloseTo(20, 0);
});

test("one that hangs is slow before its sync ends", () => {
  const disk = new Disk();
  disk.pace.syncBegan(disk.nowMs);
  disk.pass(200);
  expect(disk.pace.isSlow).toBe(false);
  disk.pass(50);
  expect(disk.pace.isSlow).toBe(true);
});

test("so is one whose syncs are sluggish more often than not", () => {
  const disk = new Disk();
  disk.sync(100, 8);
  expect(disk.pace.isSlow).toBe(false);
  disk.sync(100);
  expect(disk.pace.isSlow).toBe(true);
  expect(disk.pace.spells).toBe(1);
});

test("a process that stood still does not blame its disk", () => {
  const disk = new Disk();
  for (let i = 0; i < 20; i++) {
    disk.pace.syncBegan(disk.nowMs);
    disk.nowMs += 3_000;
    disk.pace.tick(disk.nowMs);
    disk.pace.syncEnded(disk.nowMs);
    disk.sync(10, 2);
  }
  expect(disk.pace.isSlow).toBe(false);
});

test("a slow one is well again after a while without a sluggish sync", () => {
  const disk = new Disk();
  disk.sync(300);
  disk.pass(4_000);
  disk.sync(100);
  disk.pass(4_800);
  expect(disk.pace.isSlow).toBe(true);
  disk.pass(300);
  expect(disk.pace.isSlow).toBe(false);
});

test("where that was too soon it takes longer the next time, and the first time's while after a long good one", () => {
  const disk = new Disk();
  const slowMs = () => {
    disk.sync(300);
    expect(disk.pace.isSlow).toBe(true);
    const sinceMs = disk.nowMs;
    while (disk.pace.isSlow) disk.pass(TICK_MS);
    return Math.round((disk.nowMs - sinceMs) / 1_000);
  };
  expect([slowMs(), slowMs(), slowMs()]).toEqual([5, 10, 20]);
  disk.pass(60_000);
  expect(slowMs()).toBe(5);
  expect(disk.pace.spells).toBe(4);
});

test("a sync that failed for another reason says nothing", () => {
  const disk = new Disk();
  disk.pace.syncBegan(disk.nowMs);
  disk.pace.syncFailed();
  disk.pass(1_000);
  expect(disk.pace.isSlow).toBe(false);
});
