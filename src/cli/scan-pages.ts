import type { KeyValue } from "../../protocol/messages.ts";
import { entriesReply, type Reply } from "./reply.ts";

/** Entries that are shown at a time. */
const PAGE_ENTRIES = 1000;

/**
 * The answer to a scan, page after page: a page is fetched when the one before it was shown, so that a scan of any length
 * takes the memory of a page, and a reader who is slow slows the scan down. `limit`: most entries to show.
 */
export async function scanReply(
  scan: AsyncGenerator<KeyValue, void>,
  limit: number,
  keysOnly: boolean,
): Promise<Reply> {
  const first = await scan.next();
  return page(scan, first, limit, keysOnly);
}

/** `ahead`: the entry that the page begins with. */
async function page(
  scan: AsyncGenerator<KeyValue, void>,
  ahead: IteratorResult<KeyValue, void>,
  limit: number,
  keysOnly: boolean,
): Promise<Reply> {
  const entries: KeyValue[] = [];
  let next = ahead;
  while (!next.done && entries.length < Math.min(limit, PAGE_ENTRIES)) {
    entries.push(next.value);
    next = await scan.next();
  }
  if (next.done === true || entries.length === limit) {
    await scan.return();
    return entriesReply(entries, keysOnly, next.done !== true);
  }
  const { text, raw } = entriesReply(entries, keysOnly, false);
  const { json } = entriesReply(entries, keysOnly, true);
  const from = next;
  return {
    ok: true,
    ...{ text, json, ...(raw === undefined ? {} : { raw }) },
    next: () => page(scan, from, limit - entries.length, keysOnly),
  };
}
