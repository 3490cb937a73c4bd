/** `bun run cli`: one command, one answer, one exit code. */
import { connect } from "../client/client.ts";
import { runOnce } from "./cli.ts";
import { endProcess, lookOf } from "./terminal.ts";

const code = await runOnce(process.argv.slice(2), {
  variables: process.env,
  look: lookOf(process.stdout),
  connect,
  readInput: () => Bun.stdin.bytes(),
  writeOut: (bytes) => void process.stdout.write(bytes),
  writeError: (text) => void process.stderr.write(text),
});
endProcess(code);
