/**
 * A process that writes to an embedded store without end, to be killed: several writers, each with keys of its own, each
 * batch told by its writer's name and number. What was acknowledged is told on stdout, a line each, at once. It ends by
 * itself when its stdin does, so that none outlives a test.
 */
import { writeSync } from "node:fs";
import { fromUtf8, utf8 } from "../../src/lib/bytes.ts";
import { seededRandom } from "../../src/lib/prng.ts";
import { open, type Store } from "../../src/storage/open.ts";
import type { Change } from "./store-history.ts";

export const WRITERS = 6;
/** What holds the number of a writer's last batch. */
export const countKey = (writer: number): string => `writer${writer}/!count`;

/** Limits under which a few hundred batches make tables, merge them, and begin new logs and manifests. */
export const WRITER_OPTIONS = {
  memtableBytes: 32 * 1024,
  blockBytes: 512,
  tableBytes: 16 * 1024,
  walFileBytes: 24 * 1024,
  manifestBytes: 2 * 1024,
  level0Tables: 2,
  level1Bytes: 64 * 1024,
  levelSizeRatio: 4,
};

/** The batch `number` of a writer: always the same one. */
export function changesOf(writer: number, number: number): Change[] {
  const random = seededRandom(writer * 1_000_003 + number);
  const changes: Change[] = Array.from({ length: 1 + random.below(4) }, () => {
    const key = `writer${writer}/${random.below(300)}`;
    if (random.below(4) === 0) return { kind: "delete", key };
    return { kind: "put", key, value: `${number}.${"v".repeat(random.below(200))}` };
  });
  return [...changes, { kind: "put", key: countKey(writer), value: String(number) }];
}

async function write(store: Store, writer: number, isOver: () => boolean): Promise<void> {
  const found = store.getSync(utf8(countKey(writer)));
  for (let number = Number(found === undefined ? 0 : fromUtf8(found)) + 1; !isOver(); number++) {
    const batch = store.batch();
    for (const change of changesOf(writer, number)) {
      if (change.kind === "put") batch.put(utf8(change.key), utf8(change.value));
      else if (change.kind === "delete") batch.delete(utf8(change.key));
    }
    // Every fourth batch is not waited for on the disk; the process's death takes none of them.
    await store.write(batch, { sync: number % 4 !== 0 });
    writeSync(1, `${writer} ${number}\n`);
  }
}

if (import.meta.main) {
  let isOver = false;
  process.stdin.on("close", () => {
    isOver = true;
  });
  process.stdin.resume();
  writeSync(1, "begins\n");
  await using store = await open(process.argv[2]!, WRITER_OPTIONS);
  await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(store, writer, () => isOver)));
}
