/** Bugs of the client library, and of what the text mode tells. */
import { type Mutant, mutant } from "./mutant.ts";

const RUNNER = "src/client/request-runner.ts";

export const CLIENT_MUTANTS: readonly Mutant[] = [
  mutant(
    "client-repeats-what-may-have-happened",
    RUNNER,
    "    return !call.mayHaveHappened || call.session !== undefined;\n",
    "    return true;\n",
  ),
  mutant(
    "client-says-that-nothing-was-done",
    RUNNER,
    "    if (sent && call.isWrite) call.mayHaveHappened = true;\n",
    "",
  ),
  mutant(
    "text-mode-takes-a-timeout-for-not-done",
    "src/server/text-errors.ts",
    '  TIMEOUT: "TIMEOUT",\n',
    '  TIMEOUT: "CLUSTERDOWN",\n',
  ),
];
