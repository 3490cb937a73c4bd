import { expect, test } from "bun:test";
import { bunTransport } from "../env/bun-transport.ts";
import { everyPlace } from "./joining.ts";

test("a name stands for all of its addresses, each once, and an address for itself", async () => {
  const names: Record<string, readonly string[]> = {
    store: ["10.0.0.1", "10.0.0.2", "fd00::3"],
    other: ["10.0.0.2"],
  };
  const resolve = async (host: string): Promise<readonly string[]> => names[host] ?? [host];
  const seeds = ["10.0.0.9:7001", "store:7001", "other:7001", "other:7002", "[::1]:7001"];
  expect(await everyPlace({ resolve }, seeds)).toEqual([
    ...["10.0.0.9:7001", "10.0.0.1:7001", "10.0.0.2:7001", "[fd00::3]:7001"],
    ...["10.0.0.2:7002", "[::1]:7001"],
  ]);
});

test("a name that nobody knows stays one, so that the attempt to connect tells", async () => {
  const { resolve } = bunTransport();
  expect(await resolve("nowhere.invalid")).toEqual(["nowhere.invalid"]);
  expect(await resolve("127.0.0.1")).toEqual(["127.0.0.1"]);
  expect(await resolve("::1")).toEqual(["::1"]);
  const local = await resolve("localhost");
  expect(local.length).toBeGreaterThan(0);
  for (const address of local) expect(["127.0.0.1", "::1"]).toContain(address);
});
