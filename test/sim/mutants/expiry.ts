/** Bugs of keys that expire. */
import { type Mutant, mutant } from "./mutant.ts";

export const EXPIRY_MUTANTS: readonly Mutant[] = [
  mutant(
    "snapshot-without-deadlines",
    "src/shard/snapshot-sender.ts",
    "iterator.value, iterator.expiresAt)",
    "iterator.value, 0)",
  ),
  mutant(
    "reads-expire-by-the-leaders-clock",
    "src/shard/shard.ts",
    "time.heedsClock = heedsClock && time.clockMs > time.logMs;",
    "time.heedsClock = false;\n      time.logMs = Math.max(time.logMs, time.clockMs);",
  ),
  mutant(
    "engine-drops-by-the-latest-log",
    "src/shard/seal-tracker.ts",
    "if (group !== SYSTEM_GROUP && timeMs < earliest) earliest = timeMs;",
    "if (group !== SYSTEM_GROUP) earliest = Math.max(earliest === Number.POSITIVE_INFINITY ? 0 : earliest, timeMs);",
  ),
  mutant(
    "keys-expire-early",
    "src/shard/expiry.ts",
    'expiry === "after" ? nowMs + expiryMs :',
    'expiry === "after" ? nowMs + Math.ceil(expiryMs / 2) :',
  ),
  mutant(
    "keys-expire-late",
    "src/shard/expiry.ts",
    'expiry === "after" ? nowMs + expiryMs :',
    'expiry === "after" ? nowMs + expiryMs + 3000 :',
  ),
];
