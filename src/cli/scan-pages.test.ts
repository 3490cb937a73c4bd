import { expect, test } from "bun:test";
import type { KeyValue } from "../../protocol/messages.ts";
import { utf8 } from "../lib/bytes.ts";
import type { Reply } from "./reply.ts";
import { scanReply } from "./scan-pages.ts";

const LOOK = { tables: false, colors: false };

/** A scan over `count` keys; how many were taken of it, and whether it was let go of. */
function scanOf(count: number) {
  const state = { taken: 0, isOver: false };
  async function* entries(): AsyncGenerator<KeyValue, void> {
    try {
      for (; state.taken < count; ) {
        yield { key: utf8(String(state.taken++)), value: utf8("v") };
      }
    } finally {
      state.isOver = true;
    }
  }
  return { state, scan: entries() };
}

test.each([
  [0, 10],
  [1, 10],
  [10, 10],
  [999, 5000],
  [1000, 5000],
  [1001, 5000],
  [3000, 5000],
  [3000, 3000],
  [3001, 3000],
])("of %i keys up to %i are shown, in pages that are fetched as they are shown", async (count, limit) => {
  const { scan, state } = scanOf(count);
  let lines = 0;
  let reply: Reply | undefined = await scanReply(scan, limit, false);
  for (let pages = 1; reply !== undefined; pages++) {
    const shown: string[] = reply
      .text(LOOK)
      .split("\n")
      .filter((line) => line.startsWith('"'));
    lines += shown.length;
    expect(shown.length).toBeLessThanOrEqual(1000);
    // One more tells whether there is more.
    expect(state.taken).toBeLessThanOrEqual(1000 * pages + 1);
    const json = reply.json() as { more: boolean; entries: unknown[] };
    expect(json.entries).toHaveLength(shown.length);
    expect(json.more).toBe(reply.next !== undefined || count > limit);
    reply = await reply.next?.();
  }
  expect(lines).toBe(Math.min(count, limit));
  expect(state.isOver).toBe(true);
});
