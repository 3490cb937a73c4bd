/** All planted bugs. */
import { CLIENT_MUTANTS } from "./client.ts";
import { CORE_MUTANTS } from "./core.ts";
import { DISK_DAMAGE_MUTANTS } from "./disk-damage.ts";
import { ELECTION_MUTANTS } from "./elections.ts";
import { ENGINE_MUTANTS } from "./engine.ts";
import { EXPIRY_MUTANTS } from "./expiry.ts";
import { FOUND_MUTANTS } from "./found.ts";
import { FOUNDING_MUTANTS } from "./founding.ts";
import { KEYSPACE_MUTANTS } from "./keyspaces.ts";
import { LOG_STORE_MUTANTS } from "./log-store.ts";
import type { Mutant } from "./mutant.ts";
import { PLACEMENT_MUTANTS } from "./placement.ts";
import { REPLICA_MUTANTS } from "./replicas.ts";
import { SESSION_MUTANTS } from "./sessions.ts";
import { SNAPSHOT_MUTANTS } from "./snapshots.ts";
import { WAITING_MUTANTS } from "./waiting.ts";

export const MUTANTS: readonly Mutant[] = [
  ...CORE_MUTANTS,
  ...ELECTION_MUTANTS,
  ...LOG_STORE_MUTANTS,
  ...ENGINE_MUTANTS,
  ...SESSION_MUTANTS,
  ...EXPIRY_MUTANTS,
  ...KEYSPACE_MUTANTS,
  ...SNAPSHOT_MUTANTS,
  ...REPLICA_MUTANTS,
  ...PLACEMENT_MUTANTS,
  ...CLIENT_MUTANTS,
  ...DISK_DAMAGE_MUTANTS,
  ...FOUNDING_MUTANTS,
  ...FOUND_MUTANTS,
  ...WAITING_MUTANTS,
];
