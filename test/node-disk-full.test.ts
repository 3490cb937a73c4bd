/** A whole node whose disk has no room for one small file: what the cluster agreed on is kept elsewhere as well. */
import { expect, test } from "bun:test";
import { nodeId } from "../protocol/ids.ts";
import { type ClientResponse, NO_SESSION } from "../protocol/messages.ts";
import { memberAt } from "../src/config.ts";
import { type Env, FileError } from "../src/env/env.ts";
import { fromUtf8, utf8 } from "../src/lib/bytes.ts";
import { seededRandom } from "../src/lib/prng.ts";
import { createNode, type FlotillaNode } from "../src/node.ts";
import { inlineBackground } from "./support/inline-background.ts";
import { MemoryFileSystem } from "./support/memory-fs.ts";
import { VirtualClock } from "./support/virtual-clock.ts";

const silent = () => {};
const IDENTITY = "/data/identity.json";
const factsOf = (fs: MemoryFileSystem) => JSON.parse(fromUtf8(fs.readFile(IDENTITY))).facts;

function nodeOn(fs: MemoryFileSystem, clock: VirtualClock, fatal: Error[]): FlotillaNode {
  const env: Env = {
    ...{ clock, fs, random: seededRandom(1), background: inlineBackground(fs) },
    transport: {
      listen: async (host, port) => ({ host, port, close: silent }),
      connect: () => {
        throw new Error("a node alone connects to nobody");
      },
      resolve: async (host) => [host],
    },
    log: { debug: silent, info: silent, warn: silent, error: silent },
  };
  const member = memberAt(nodeId("n1"), "127.0.0.1", 7001);
  const config = {
    ...member,
    dataDirectory: "/data",
    members: [member],
    shards: 1,
    logLevel: "error",
  } as const;
  return createNode(env, config, { onFatal: (error) => void fatal.push(error) });
}

const PUT = { kind: "put", stamp: NO_SESSION, condition: "always" } as const;

async function completion(clock: VirtualClock, work: Promise<void>): Promise<void> {
  let done = false;
  await Promise.race([work, clock.until(() => done)]).finally(() => {
    done = true;
  });
}

test("a node serves no shard before the facts of its cluster fit beside the data, and waits until they do", async () => {
  const disk = new MemoryFileSystem();
  const clock = new VirtualClock();
  const fatal: Error[] = [];
  const node = nodeOn(disk, clock, fatal);
  await completion(clock, node.start());
  let refused = 0;
  disk.onOperation = (operation, path) => {
    if (operation !== "write" || !path.startsWith(IDENTITY)) return;
    refused++;
    throw new FileError("ENOSPC", "no space left on device");
  };
  const put = async (): Promise<ClientResponse> => {
    let answer: ClientResponse | undefined;
    const request = { ...PUT, key: utf8("k"), value: utf8("v") };
    const reply = (_id: number, response: ClientResponse): void => {
      answer = response;
    };
    node.execute(request, { reply }, 1, "redirect");
    await clock.until(() => answer !== undefined);
    return answer!;
  };
  await clock.until(() => refused > 2);
  expect(await put()).toMatchObject({ kind: "error", error: "UNAVAILABLE" });
  expect(factsOf(disk).clusterId).toBe("");
  const full = disk.copy();
  disk.onOperation = undefined;
  await clock.until(() => factsOf(disk).clusterId !== "");
  const servedAtMs = clock.nowMs() + 1000;
  await clock.until(() => clock.nowMs() > servedAtMs);
  expect(await put()).toEqual({ kind: "boolean", value: true });

  const next = full;
  const later = new VirtualClock();
  await completion(later, nodeOn(next, later, fatal).start());
  await later.until(() => factsOf(next).clusterId !== "");
  expect(fatal).toEqual([]);
});
