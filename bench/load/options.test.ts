import { expect, spyOn, test } from "bun:test";
import { parseOptions } from "./options.ts";

/** Exit code and what was printed for a command line that is refused. */
function refusal(...args: string[]): { exitCode: number; printed: string } {
  let printed = "";
  const stderr = spyOn(process.stderr, "write").mockImplementation((text) => {
    printed += text;
    return true;
  });
  try {
    parseOptions(args);
  } catch (error) {
    return { exitCode: (error as { exitCode: number }).exitCode, printed };
  } finally {
    stderr.mockRestore();
  }
  throw new Error(`accepted: ${args.join(" ")}`);
}

test("the defaults", () => {
  expect(parseOptions(["--addr", "127.0.0.1:7001,[::1]:7002"])).toEqual({
    addresses: [
      { host: "127.0.0.1", port: 7001 },
      { host: "::1", port: 7002 },
    ],
    protocol: "binary",
    workload: "put",
    clients: 64,
    seconds: 10,
    warmupSeconds: 1,
    keys: 100_000,
    valueBytes: 100,
    distribution: undefined,
    rate: undefined,
    connections: 1,
    seed: 1,
    loadKeys: false,
    json: false,
  });
});

test("RESP has a connection for each client unless told else", () => {
  const resp = ["--addr", "h:1", "--protocol", "resp", "--clients", "50"];
  expect(parseOptions(resp).connections).toBe(50);
  expect(parseOptions([...resp, "--connections", "8"]).connections).toBe(8);
});

test("keys are loaded for whatever reads, and on demand", () => {
  const base = ["--addr", "h:1", "--workload"];
  expect(parseOptions([...base, "get"]).loadKeys).toBe(true);
  expect(parseOptions([...base, "a"]).loadKeys).toBe(true);
  expect(parseOptions([...base, "get", "--no-preload"]).loadKeys).toBe(false);
  expect(parseOptions([...base, "put", "--load-keys"]).loadKeys).toBe(true);
});

test("what is wrong is said", () => {
  expect(refusal().printed).toContain("--addr");
  expect(refusal("--addr", "nowhere").printed).toContain('"nowhere" is not host:port.');
  expect(refusal("--addr", "h:70000").printed).toContain('"h:70000" is not host:port.');
  expect(refusal("--addr", "h:1", "--client", "3").printed).toContain("Did you mean --clients?");
  expect(refusal("--addr", "h:1", "--clients", "0").printed).toContain(
    "It must be a number from 1 to 65536.",
  );
  expect(refusal("--addr", "h:1", "--clients", "1.5").printed).toContain("It must be a whole number.");
  expect(refusal("--addr", "h:1", "--workload", "z").printed).toContain("Allowed choices are put, get");
  const stale = refusal("--addr", "h:1", "--protocol", "resp", "--workload", "stale-get");
  expect(stale.printed).toContain("no stale reads");
  const scan = refusal("--addr", "h:1", "--protocol", "resp", "--workload", "e");
  expect(scan.printed).toContain("Redis has no ordered scan");
  expect(scan.exitCode).toBe(1);
});
