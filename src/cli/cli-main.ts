/** `bun run cli`: one command, one answer, one exit code. */
import { connect } from "../client/client.ts";
import { runOnce } from "./cli.ts";
import { lookOf } from "./terminal.ts";

const output: Uint8Array[] = [];
let isReaderGone = false;

/**
 * Not by `Bun.write`: where a pipe takes only a part, because its reader is slow, that begins anew with the first byte once
 * somebody has asked whether the output is a terminal (Bun 1.4).
 */
function flush(): Promise<void> {
  const bytes = Buffer.concat(output.splice(0));
  if (bytes.length === 0) return Promise.resolve();
  return new Promise((resolve) => {
    process.stdout.write(bytes, (error) => {
      // The reader of the output is gone (`| head`): nobody is left to tell.
      if (error) isReaderGone = true;
      resolve();
    });
  });
}

process.stdout.on("error", () => undefined);

const code = await runOnce(process.argv.slice(2), {
  variables: process.env,
  look: lookOf(process.stdout),
  connect,
  readInput: () => Bun.stdin.bytes(),
  writeOut: (bytes) => void output.push(bytes),
  flush,
  wait: (ms) => (isReaderGone ? process.exit(0) : Bun.sleep(ms)),
  writeError: (text) => void process.stderr.write(text),
});
await flush();
// Not by itself: a connection that a dead host keeps half open would hold the process back.
process.exit(code);
