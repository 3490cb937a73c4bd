/**
 * What a run is about. `churn`: few nodes hold something, and who drains is soon wanted again, so that replicas go from nodes
 * and come back. `homecoming`: a replica comes back to a node from where a group went on while another of its nodes was away,
 * and these two meet before either has heard what became of it. Both only where members change. `founding`: a founder loses its
 * disk before all founders have met, and who has never met it finds it again before others can tell of it; only where disks
 * are lost. `streaming`: snapshots are streamed all the time, and break off. `succession`: leaders of a shard follow each other
 * faster than their entries get anywhere. `deposition`: leaders lose their office, or must not, while they are read from by their
 * leases, and little else goes wrong. Most runs are `any`.
 */
export const COURSES = [
  "any",
  "churn",
  "homecoming",
  "founding",
  "streaming",
  "succession",
  "deposition",
] as const;

export type Course = (typeof COURSES)[number];
