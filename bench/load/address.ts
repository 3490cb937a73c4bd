/** Where a node listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Reads `host:port`, an IPv6 host in brackets; `undefined` for anything else. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text.trim());
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535) return undefined;
  return { host: match[1] ?? match[2]!, port };
}
