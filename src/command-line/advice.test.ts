import { expect, test } from "bun:test";
import { FileError } from "../env/env.ts";
import { LogDamageError } from "../shard/log-segment.ts";
import { StartError } from "../start-error.ts";
import { corrupt, StorageError } from "../storage/storage-error.ts";
import { adviceOn } from "./advice.ts";

test("advice is found behind what an error is wrapped in", () => {
  const damage = corrupt("000003.table", 7, "a block has the wrong checksum");
  const failed = new StorageError("FAILED", "the store can't go on", { cause: damage });
  expect(adviceOn(new StartError("cannot start", { cause: failed }))).toStartWith("The damaged bytes");
  expect(adviceOn(new LogDamageError("a record can't be read"))).toStartWith("The damaged bytes");
});

test("a full disk and a forbidden one are told apart, and other errors stand for themselves", () => {
  expect(adviceOn(new FileError("ENOSPC", "no space left"))).toStartWith("Free space");
  expect(adviceOn(new FileError("EROFS", "read-only file system"))).toStartWith("Let the user");
  expect(adviceOn(new FileError("ENOENT", "no such file"))).toBeUndefined();
  expect(adviceOn(new StartError("another process listens there already"))).toBeUndefined();
});
