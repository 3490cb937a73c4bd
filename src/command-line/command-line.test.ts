import { expect, test } from "bun:test";
import { scriptCommand } from "./command-line.ts";

test("a script is named as the user can run it", () => {
  const byNpm = { npm_config_user_agent: "npm/11.19.1 node/v20.20.2 linux x64 workspaces/false" };
  const byBun = { npm_config_user_agent: "bun/1.4.4 npm/? node/v26.3.0 linux x64" };
  expect(scriptCommand("repl", [], byNpm)).toBe("npm run repl");
  expect(scriptCommand("node", ["--id", "n1"], byNpm)).toBe("npm run node -- --id n1");
  expect(scriptCommand("node", ["--id", "n1"], byBun)).toBe("bun run node --id n1");
  expect(scriptCommand("node", ["--id", "n1"], {})).toBe("bun run node --id n1");
  expect(scriptCommand("node", ["--data", "it's mine"], {})).toBe("bun run node --data 'it'\\''s mine'");
});
