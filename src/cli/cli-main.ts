/** `bun run cli`: one command, one answer, one exit code. */
import { connect } from "../client/client.ts";
import { runOnce } from "./cli.ts";
import { lookOf } from "./terminal.ts";

const output: Uint8Array[] = [];
let isReaderGone = false;

async function flush(): Promise<void> {
  const bytes = Buffer.concat(output.splice(0));
  try {
    // Bun writes nothing by cutting the file off at its beginning, and so would lose what `>> file` is to keep.
    if (bytes.length > 0) await Bun.write(Bun.stdout, bytes);
  } catch {
    // The reader of the output is gone (`| head`): nobody is left to tell.
    isReaderGone = true;
  }
}

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
