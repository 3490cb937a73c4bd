import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { version } from "../../package.json";
import { moveLimitsOf, type NodeConfig } from "../config.ts";
import { MOVE_LIMITS } from "../placement/plan.ts";
import { DEFAULT_TIMING_OPTIONS } from "../timings.ts";
import { parseNodeConfig } from "./node-arguments.ts";

const directory = mkdtempSync(join(tmpdir(), "flotilla-arguments-"));
afterAll(() => rmSync(directory, { recursive: true }));

function configOf(...argv: string[]): NodeConfig {
  const parsed = parseNodeConfig(argv);
  if (parsed.kind !== "run") throw new Error(parsed.text);
  return parsed.config;
}

/** What the user is told; fails unless it is bad usage. */
function complaint(...argv: string[]): string {
  const parsed = parseNodeConfig(argv);
  if (parsed.kind === "run") throw new Error(`accepted: ${argv.join(" ")}`);
  expect(parsed.exitCode).toBe(2);
  return parsed.text;
}

function file(text: string): string {
  const path = join(directory, "node.toml");
  writeFileSync(path, text);
  return path;
}

const PEERS = "n2=b:7002,n1=a:7001,n3=[::1]:7003";

describe("flags", () => {
  test("a node alone needs a name only", () => {
    expect(configOf("--id", "n1")).toEqual({
      id: "n1" as NodeConfig["id"],
      host: "127.0.0.1",
      port: 7001,
      dataDirectory: "./data/n1",
      address: "127.0.0.1:7001",
      labels: {},
      members: [],
      shards: undefined,
      replicas: undefined,
      virtualNodes: undefined,
      redirect: "forward",
      logLevel: "info",
      timings: DEFAULT_TIMING_OPTIONS,
    });
  });

  test("everything can be said", () => {
    const parsed = configOf(
      ...["--id", "n3", "--port", "7003", "--host", "0.0.0.0", "--data", "/tmp/d", "--shards", "64"],
      ...["--log-level=debug", "--peers", PEERS, "--redirect", "moved"],
    );
    expect(parsed.redirect).toBe("moved");
    expect(parsed).toMatchObject({ host: "0.0.0.0", port: 7003, dataDirectory: "/tmp/d", shards: 64 });
    expect(parsed.members.map((member) => member.address)).toEqual(["a:7001", "b:7002", "[::1]:7003"]);
  });

  test("times are told in milliseconds, each by a flag of its own", () => {
    const { timings } = configOf(
      ...["--id", "n1", "--tick-ms", "20", "--heartbeat-ms=40", "--election-timeout-ms", "200"],
      ...["--request-timeout-ms", "3000", "--idle-ms", "1000", "--lease-drift-percent", "5"],
      ...["--lost-after-ms", "9000"],
    );
    expect(timings).toEqual({
      ...{ tickMs: 20, heartbeatMs: 40, electionTimeoutMs: 200, requestTimeoutMs: 3_000, idleMs: 1_000 },
      ...{ lostAfterMs: 9_000, leaseDriftPercent: 5 },
    });
  });

  test("what moves may take is told in whole MiB a second", () => {
    expect(moveLimitsOf(configOf("--id", "n1"))).toEqual(MOVE_LIMITS);
    const slow = configOf("--id", "n1", "--move-mib-per-second", "2");
    expect(moveLimitsOf(slow)).toEqual({ ...MOVE_LIMITS, bytesPerSecond: 2 * 1024 * 1024 });
  });

  test("a member takes its address from --peers", () => {
    expect(configOf("--id", "n2", "--peers", PEERS)).toMatchObject({ host: "b", port: 7002 });
  });

  test("nobody is sent to an address that only means everywhere", () => {
    expect(configOf("--id", "n1", "--host", "0.0.0.0").address).toBe("127.0.0.1:7001");
    expect(configOf("--id", "n1", "--host", "0.0.0.0", "--advertise", "db1:7001").address).toBe("db1:7001");
    expect(configOf("--id", "n2", "--peers", PEERS).address).toBe("b:7002");
  });

  test("a node joins by any addresses, with labels and without --peers", () => {
    const joins = configOf(
      ...["--id", "n4", "--port", "7004", "--join", "a:7001, [::1]:7003", "--label", "host=rack=1"],
      ...["--label=zone=x", "--replicas", "5", "--virtual-nodes", "16"],
    );
    expect(joins).toMatchObject({
      ...{ members: [], seeds: ["a:7001", "[::1]:7003"], address: "127.0.0.1:7004" },
      ...{ labels: { host: "rack=1", zone: "x" }, replicas: 5, virtualNodes: 16 },
    });
    expect(configOf("--id", "n4").seeds).toBeUndefined();
    expect(configOf("--id", "n4", "--config", file('join = "a:1"\nlabel = "host=a,zone=b"'))).toMatchObject({
      ...{ seeds: ["a:1"], labels: { host: "a", zone: "b" } },
    });
  });

  test("--help has examples, --version the version", () => {
    const help = parseNodeConfig(["--help"]);
    expect(help).toMatchObject({ kind: "stop", exitCode: 0 });
    expect(help.kind === "stop" && help.text).toContain("bun run node --id n1\n");
    expect(parseNodeConfig(["--version"])).toEqual({ kind: "stop", exitCode: 0, text: version });
  });

  test("the tie to the parent process is not part of the config", () => {
    expect(parseNodeConfig(["--id", "n1", "--stop-with-stdin"])).toMatchObject({ stopWithStdin: true });
    expect(parseNodeConfig(["--id", "n1"])).toMatchObject({ stopWithStdin: false });
  });

  const wrong: [string, string[]][] = [
    ["unknown flag --prot; did you mean --port?", ["--id", "n1", "--prot", "7001"]],
    ["unknown flag --log-levl; did you mean --log-level?", ["--id", "n1", "--log-levl=info"]],
    ["flag --port needs a value", ["--id", "n1", "--port"]],
    ['--idle-ms must be a whole number of milliseconds, found "2s"', ["--id", "n1", "--idle-ms", "2s"]],
    [
      '--lease-drift-percent must be a whole number of percent, without a sign, found "5%"',
      ["--id", "n1", "--lease-drift-percent", "5%"],
    ],
    [
      "--election-timeout-ms (250) must be at least 3 times --heartbeat-ms (100): two lost heartbeats must not cost a leader its office",
      ["--id", "n1", "--election-timeout-ms", "250"],
    ],
    ['unexpected "n1": every setting has a flag, see --help', ["n1"]],
    ["--id is missing: each node has a name, as in --id n1", ["--port", "7001"]],
    ['--id must be 1 to 64 letters, digits, dots, _ or -, found "n 1"', ["--id", "n 1"]],
    ['--id must be 1 to 64 letters, digits, dots, _ or -, found ".."', ["--id", ".."]],
    ['--port must be a number from 1 to 65535, found "abc"', ["--id", "n1", "--port", "abc"]],
    ['--port must be a number from 1 to 65535, found "65536"', ["--id", "n1", "--port", "65536"]],
    ['--port must be a number from 1 to 65535, found "7e3"', ["--id", "n1", "--port", "7e3"]],
    ['--host must be a host name or an address, found "a b"', ["--id", "n1", "--host", "a b"]],
    ["--data must name a directory", ["--id", "n1", "--data", ""]],
    ['--shards must be a power of two from 1 to 1024, found "12"', ["--id", "n1", "--shards", "12"]],
    [
      '--log-level must be one of debug, info, warn, error, found "loud"',
      ["--id", "n1", "--log-level", "loud"],
    ],
    ["--peers must list this node too: n4 is not among n1, n2, n3", ["--id", "n4", "--peers", PEERS]],
    [
      "--port is 7009, but --peers says that n1 listens on 7001",
      ["--id", "n1", "--port", "7009", "--peers", PEERS],
    ],
    ["--peers lists n1 twice", ["--id", "n1", "--peers", "n1=a:1,n1=a:2"]],
    ["--peers gives n1 and n2 the same address a:1", ["--id", "n1", "--peers", "n1=a:1,n2=a:1"]],
    [
      '--peers must look like n1=host:port,n2=host:port, found "n2:7002"',
      ["--id", "n1", "--peers", "n1=a:1,n2:7002"],
    ],
    ['--peers must look like n1=host:port,n2=host:port, found ""', ["--id", "n1", "--peers", ""]],
  ];
  test.each(wrong)("%s", (sentence, argv) => {
    expect(complaint(...argv)).toBe(sentence);
  });
});

describe("a config file", () => {
  test("has the flags' names as keys, and flags win", () => {
    const path = file('id = "n2"\nport = 7002\nshards = 16\nlog-level = "warn"\ndata = "d"\n');
    expect(configOf("--config", path)).toMatchObject({
      id: "n2",
      port: 7002,
      shards: 16,
      logLevel: "warn",
      dataDirectory: "d",
    });
    expect(configOf("--config", path, "--port", "7005")).toMatchObject({ id: "n2", port: 7005 });
  });

  test("an unknown key is refused, with the one that was meant", () => {
    const path = file('id = "n1"\nprot = 7001\n');
    expect(complaint("--config", path)).toBe(`${path}: unknown key prot; did you mean port?`);
    expect(complaint("--config", file('help = "me"'))).toBe(`${path}: unknown key help`);
    expect(complaint("--config", file('config = "other.toml"'))).toBe(`${path}: unknown key config`);
  });

  test("a bad value is reported with the file's name", () => {
    const path = file('id = "n1"\nport = "abc"\n');
    expect(complaint("--config", path)).toBe(`port in ${path} must be a number from 1 to 65535, found "abc"`);
    expect(complaint("--config", file("id = true"))).toBe(
      `${path}: id must be a string or a number, as after --id`,
    );
  });

  test("a file that is not TOML is reported with the line", () => {
    const path = file('id = "n1"\nport =\n');
    expect(complaint("--config", path)).toStartWith(`cannot read --config ${path}: Invalid TOML document`);
    expect(complaint("--config", path)).toContain("2:  port =");
  });

  test("a missing file is named", () => {
    expect(complaint("--config", "/nowhere/node.toml")).toContain(
      "cannot read --config /nowhere/node.toml: ENOENT",
    );
  });
});
