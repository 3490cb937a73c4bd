import { describe, expect, test } from "bun:test";
import { systemClock } from "./system-clock.ts";

describe("endOfTurn", () => {
  test("runs once, after the current code, in the order of asking", async () => {
    const clock = systemClock();
    const order: string[] = [];
    await new Promise<void>((resolve) => {
      clock.endOfTurn(() => order.push("first"));
      clock.endOfTurn(() => {
        order.push("second");
        resolve();
      });
      order.push("now");
    });
    expect(order).toEqual(["now", "first", "second"]);
  });

  test("what is asked for while it runs, runs in the same turn, after what was there before", async () => {
    const clock = systemClock();
    const order: string[] = [];
    await new Promise<void>((resolve) => {
      clock.endOfTurn(() => {
        order.push("first");
        setImmediate(() => {
          order.push("next turn");
          resolve();
        });
        clock.endOfTurn(() => {
          order.push("added");
          clock.endOfTurn(() => order.push("added by the added"));
        });
      });
      clock.endOfTurn(() => order.push("second"));
    });
    expect(order).toEqual(["first", "second", "added", "added by the added", "next turn"]);
  });

  test("works again in later turns", async () => {
    const clock = systemClock();
    for (let turn = 0; turn < 3; turn++) await new Promise<void>((resolve) => clock.endOfTurn(resolve));
    expect(clock.nowMs()).toBeGreaterThan(0);
  });

  test("a callback that throws does not take those behind it along", async () => {
    const script = `
      import { systemClock } from ${JSON.stringify(`${import.meta.dir}/system-clock.ts`)};
      process.on("uncaughtException", (error) => console.log("uncaught:", error.message));
      const clock = systemClock();
      clock.endOfTurn(() => { throw new Error("broken"); });
      clock.endOfTurn(() => console.log("still here"));
    `;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
    expect(await new Response(child.stdout).text()).toBe("uncaught: broken\nstill here\n");
  });
});

test("a timer fires once, not early, and a cancelled one never", async () => {
  const clock = systemClock();
  const start = clock.nowMs();
  let cancelledFired = false;
  const cancelled = clock.timer(1, () => {
    cancelledFired = true;
  });
  cancelled.cancel();
  await new Promise<void>((resolve) => void clock.timer(20, resolve));
  // The event loop counts whole milliseconds.
  expect(clock.nowMs() - start).toBeGreaterThanOrEqual(19);
  expect(cancelledFired).toBe(false);
});

test("the clocks go on", () => {
  const clock = systemClock();
  const before = clock.nowMs();
  expect(clock.nowMs()).toBeGreaterThanOrEqual(before);
  expect(Math.abs(clock.wallMs() - Date.now())).toBeLessThan(1_000);
});
