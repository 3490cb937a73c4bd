/** Who may import whom, and what the pure parts may not touch. Tests are free; everything that ships is held to it. */
import { describe, expect, test } from "bun:test";
import { type Import, importsOf, isTest, places, type SourceFile, sourceFiles } from "./source-files.ts";

/** Where the outside world is let in: the interfaces alone, not what stands behind them. */
const ENV = "src/env/env.ts";
const LIB = "src/lib/";
const PROTOCOL = "protocol/";

/**
 * By folder: what its files may import beside each other. A name that ends in `/` is a folder. `src/modes/*` is each
 * file or folder there on its own.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  [LIB]: [],
  [PROTOCOL]: [LIB],
  "src/env/": [LIB],
  "src/raft/": [LIB, PROTOCOL],
  "src/quorum/": [LIB, PROTOCOL],
  "src/gossip/": [LIB, PROTOCOL],
  "src/placement/": [LIB, "protocol/ids.ts", "protocol/slots.ts"],
  "src/storage/": [LIB, ENV],
  "src/shard/": ["src/raft/", "src/placement/", "src/storage/", PROTOCOL, LIB, ENV],
  "src/modes/": ["src/shard/", "src/quorum/", "src/modes/mode.ts", PROTOCOL, LIB, ENV],
  "src/server/": [PROTOCOL, "src/router.ts", LIB, ENV],
  "src/cluster/": [
    ...["src/shard/", "src/raft/", "src/placement/", "src/gossip/", "src/storage/", "src/client/"],
    ...["src/server/peers.ts", "src/config.ts", "src/timings.ts", "src/start-error.ts", PROTOCOL, LIB, ENV],
  ],
  "src/command-line/": [
    ...["src/shard/", "src/storage/", "src/config.ts", "src/timings.ts", "src/start-error.ts"],
    ...[PROTOCOL, LIB, ENV],
  ],
  "src/client/": [PROTOCOL, LIB, ENV],
  "src/cli/": ["src/client/", PROTOCOL, LIB, ENV],
};

/** What ships may not lean on what only tests, measures or builds it. */
const NOT_SHIPPED = ["test/", "bench/", "scripts/"];

/** The real outside world, and who may choose it over a twin. */
const REAL_ENV = /^src\/env\/(bun-|system-|console-log)/;
const MAY_IMPORT_REAL_ENV =
  /^src\/(main|engine-main|background-worker|cluster)\.ts$|^src\/(storage\/open|client\/connect)\.ts$|^src\/(cli|env)\/|^(bench|test|scripts)\//;

const MAY_EXIT =
  /^src\/(main|engine-main|cluster)\.ts$|^src\/cli\/(terminal|[a-z-]+-main)\.ts$|^(bench|scripts)\//;

/** Deterministic from their inputs alone. */
const PURE = /^src\/(raft|quorum|gossip|placement)\/|^protocol\/|^src\/storage\/compaction-policy\.ts$/;
const IMPURE_WORDS =
  /\b(Date|performance|setTimeout|setInterval|setImmediate|queueMicrotask|async|await|Promise|fetch)\b|\bMath\.random\b|\bBun\.(?!hash\b)/;
/** Time and chance reach everything else through `env`. */
const MAY_ASK_THE_SYSTEM = /^src\/env\/|^src\/(main|cluster|background-worker)\.ts$|^src\/cli\//;
const SYSTEM_WORDS = /\b(Date|performance)\b|\b(setTimeout|setInterval|setImmediate)\(|\bMath\.random\b/;

const shipped = sourceFiles(["src", "protocol"]).filter(({ path }) => !isTest(path) && !isTestSupport(path));

/** Helpers of unit tests that stand beside them. */
function isTestSupport(path: string): boolean {
  return /\/testing\/|\/(fake-|test-)[a-z-]+\.ts$/.test(path);
}

/** Why a file may not import something, or `undefined`. */
function brokenRule(path: string, { target, isOurs }: Import): string | undefined {
  if (!isOurs) return undefined;
  if (isTest(target) || isTestSupport(target)) return "what ships does not import tests or their helpers";
  if (NOT_SHIPPED.some((folder) => target.startsWith(folder)))
    return "what ships does not import test, bench or scripts";
  if (REAL_ENV.test(target)) {
    const composes = MAY_IMPORT_REAL_ENV.test(path);
    return composes
      ? undefined
      : "the outside world comes in through src/env/env.ts; only entry files choose the real one";
  }
  const folder = Object.keys(MAY_IMPORT).find((name) => path.startsWith(name));
  if (folder === undefined || target === "package.json") return undefined;
  const allowed = [...MAY_IMPORT[folder]!, folder === "src/modes/" ? ownMode(path) : folder];
  const fine = allowed.some((name) => (name.endsWith("/") ? target.startsWith(name) : target === name));
  return fine ? undefined : `${folder} may import ${allowed.join(", ")}`;
}

/** `src/modes/x/` for a file in a mode's folder; the modes don't import each other. */
function ownMode(path: string): string {
  const [, folder] = /^(src\/modes\/[^/]+\/)/.exec(path) ?? [];
  return folder ?? "src/modes/";
}

function violations(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, text }) =>
    importsOf(path, text).flatMap((found) => {
      const rule = brokenRule(path, found);
      return rule === undefined ? [] : [`${path} imports ${found.target}: ${rule}`];
    }),
  );
}

describe("imports", () => {
  test("there are files to look at", () => {
    expect(shipped.length).toBeGreaterThan(50);
  });

  test("each folder imports only what it may", () => {
    expect(violations(shipped)).toEqual([]);
  });

  test("storage's own door is the only one that builds its outside world", () => {
    const importers = shipped.filter(
      ({ path, text }) =>
        path.startsWith("src/storage/") && importsOf(path, text).some(({ target }) => REAL_ENV.test(target)),
    );
    expect(importers.map(({ path }) => path).filter((path) => path !== "src/storage/open.ts")).toEqual([]);
  });

  test.each([
    ["src/raft/x.ts", 'import type { Env } from "../env/env.ts";'],
    ["src/placement/x.ts", 'import { majority } from "../raft/quorum.ts";'],
    ["src/gossip/x.ts", 'import type { Clock } from "../env/env.ts";'],
    ["src/raft/x.ts", 'export { LogStore } from "../shard/log-store.ts";'],
    ["src/storage/x.ts", 'import {\n  nodeId,\n} from "../../protocol/ids.ts";'],
    ["src/server/x.ts", 'const { createRaft } = await import("../raft/raft.ts");'],
    ["src/server/x.ts", 'import "../storage/lsm.ts";'],
    ["src/client/x.ts", 'import { Router } from "../router.ts";'],
    ["src/shard/x.ts", 'import { bunFileSystem } from "../env/bun-fs.ts";'],
    ["src/node.ts", 'import { systemClock } from "./env/system-clock.ts";'],
    ["src/lib/x.ts", 'import { nodeId } from "../../protocol/ids.ts";'],
    ["protocol/x.ts", 'import type { Log } from "../src/env/env.ts";'],
    ["src/modes/a/x.ts", 'import { b } from "../b/b.ts";'],
    ["src/router.ts", 'import { seed } from "../test/support/seed.ts";'],
  ])("%s may not contain %s", (path, text) => {
    expect(violations([{ path, text, code: text }])).toHaveLength(1);
  });

  test.each([
    ["src/raft/x.ts", 'import { assert } from "../lib/assert.ts";\n// import { x } from "../env/env.ts";'],
    ["src/shard/x.ts", 'import type { Env } from "../env/env.ts";\nimport { x } from "../raft/raft.ts";'],
    ["src/server/x.ts", 'import { Command } from "commander";\nimport { x } from "./y.ts";'],
  ])("%s may contain %s", (path, text) => {
    expect(violations([{ path, text, code: text }])).toEqual([]);
  });
});

describe("purity", () => {
  test("raft, the protocol and the pure policies know no clock, chance, promise or system", () => {
    const pure = shipped.filter(({ path }) => PURE.test(path));
    expect(pure.length).toBeGreaterThan(10);
    expect(pure.flatMap((file) => places(file, IMPURE_WORDS))).toEqual([]);
  });

  test("time and chance come from env everywhere else", () => {
    const others = shipped.filter(({ path }) => !MAY_ASK_THE_SYSTEM.test(path));
    expect(others.flatMap((file) => places(file, SYSTEM_WORDS))).toEqual([]);
  });

  test("only the entry files end the process", () => {
    const all = sourceFiles(["src", "protocol", "bench", "test", "scripts"]);
    const others = all.filter(({ path }) => !MAY_EXIT.test(path));
    expect(others.flatMap((file) => places(file, /\bprocess\.(exit|abort)\b/))).toEqual([]);
  });
});
