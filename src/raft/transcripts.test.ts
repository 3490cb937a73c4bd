/**
 * The core's behaviour as readable scenarios: `testdata/*.txt`, whose notation `testing/transcript.ts` explains.
 * `UPDATE_TRANSCRIPTS=1 bun test src/raft/transcripts.test.ts` rewrites the answers; read the difference.
 */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { replay } from "./testing/transcript.ts";

const DIRECTORY = join(import.meta.dir, "testdata");

for (const name of readdirSync(DIRECTORY).sort()) {
  test(`transcript ${name}`, () => {
    const path = join(DIRECTORY, name);
    const written = readFileSync(path, "utf8");
    const replayed = replay(written);
    if (process.env.UPDATE_TRANSCRIPTS === "1") writeFileSync(path, replayed);
    else expect(replayed).toBe(written);
  });
}
