/** Where a node listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/**
 * Reads `host:port`; an IPv6 host stands in brackets (`[::1]:7001`). `undefined` for anything else.
 */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const port = Number(match[3]);
  if (port < 1 || port > 65_535) return undefined;
  return { host: match[1] ?? match[2]!, port };
}

/** What `parseAddress` reads: `host:port`, with an IPv6 host in brackets. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
