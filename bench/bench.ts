/** `bun run bench [filter]`: the micro-benchmarks of all parts; `filter` is a regular expression over their names. */
import { run } from "mitata";
import * as codec from "./codec.bench.ts";
import * as raft from "./raft.bench.ts";
import * as storage from "./storage.bench.ts";

for (const part of [storage, codec, raft]) await part.register();
const filter = process.argv[2];
// In a file colors are noise.
const colors = process.stdout.isTTY === true;
const { benchmarks } = await run(filter === undefined ? { colors } : { colors, filter: new RegExp(filter) });
if (benchmarks.length === 0) console.error(`no benchmark's name matches /${filter}/`);
// Benchmarks leave files and threads open; nothing waits for them.
process.exit(benchmarks.length === 0 ? 2 : 0);
