/** Below where systems begin to hand out ports to outgoing connections, so that nobody takes one by chance meanwhile. */
const PORT_LOW = 12_000;
const PORT_HIGH = 32_000;

/**
 * `count` different ports that were free a moment ago. Members of a static cluster must know each other's ports before
 * any of them runs, so port 0 does not do; another process may still be faster, and then the start is to be tried again.
 */
export function freePorts(count: number): number[] {
  const ports = new Set<number>();
  for (let attempts = 0; ports.size < count; attempts++) {
    if (attempts > 1000) throw new Error(`found ${ports.size} free ports of ${count} in 1000 attempts`);
    // Not seeded on purpose: two test runs at once must not pick the same ports.
    const port = PORT_LOW + Math.floor(Math.random() * (PORT_HIGH - PORT_LOW));
    if (isFree(port)) ports.add(port);
  }
  return [...ports];
}

function isFree(port: number): boolean {
  try {
    Bun.listen({ hostname: "127.0.0.1", port, exclusive: true, socket: { data() {} } }).stop(true);
    return true;
  } catch {
    return false;
  }
}
