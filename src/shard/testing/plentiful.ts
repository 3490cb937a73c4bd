import { StreamBudget } from "../stream-budget.ts";

/** A budget that no test exhausts by bytes. */
export function plentiful(streams = 100): StreamBudget {
  return new StreamBudget({ streams, bytesPerSecond: 1e12, burstMs: 100 }, { nowMs: () => 0 });
}
