/** What a client asks about keyspaces. */
import { isKeyspaceName, keyspaceId } from "../../protocol/ids.ts";
import type { Keyspace, KeyspaceMode } from "../../protocol/messages.ts";
import { INTEGER, KEYSPACES } from "./answers.ts";
import { FlotillaError } from "./errors.ts";
import type { RequestRunner } from "./request-runner.ts";

/** The keyspaces that somebody created, by number. `default` is not among them. */
export function listKeyspaces(runner: RequestRunner): Promise<readonly Keyspace[]> {
  return runner.run(
    { kind: "listKeyspaces", consistency: "linearizable", forwarded: false },
    KEYSPACES,
    "any",
  );
}

/** Rejects with NO_KEYSPACE if there is none of that name. */
export async function findKeyspace(runner: RequestRunner, name: string): Promise<Keyspace> {
  const found = (await listKeyspaces(runner)).find((keyspace) => keyspace.name === name);
  if (found !== undefined) return found;
  throw new FlotillaError("NO_KEYSPACE", `there is no keyspace ${JSON.stringify(name)}`, "notDone");
}

export async function createKeyspace(
  runner: RequestRunner,
  name: string,
  mode: KeyspaceMode,
): Promise<Keyspace> {
  if (!isKeyspaceName(name)) {
    throw new FlotillaError(
      "BAD_REQUEST",
      `${JSON.stringify(name)} can't be a keyspace's name: 1 to 64 of A-Z a-z 0-9 . _ -, and first a letter or a digit`,
      "notDone",
    );
  }
  const token = runner.drawToken();
  const id = await runner.run(
    { kind: "createKeyspace", name, mode, token, forwarded: false },
    INTEGER,
    "any",
  );
  return { id: keyspaceId(Number(id)), name, mode };
}

export async function dropKeyspace(runner: RequestRunner, name: string): Promise<void> {
  const { id } = await findKeyspace(runner, name);
  await runner.run({ kind: "dropKeyspace", id, forwarded: false }, INTEGER, "any");
}
