import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

let project: string;
let tools: string;
beforeEach(() => {
  project = mkdtempSync(join(tmpdir(), "flotilla-with-bun-"));
  tools = join(project, "tools");
  mkdirSync(tools);
  mkdirSync(join(project, "scripts"));
  copyFileSync(join(import.meta.dir, "with-bun.sh"), join(project, "scripts/with-bun.sh"));
  writeFileSync(join(project, "package.json"), '{ "devDependencies": { "bun": "9.8.7" } }');
  for (const name of ["sh", "sed", "head", "dirname", "mkdir", "cat", "chmod"]) {
    symlinkSync(Bun.which(name)!, join(tools, name));
  }
});
afterEach(() => rmSync(project, { recursive: true }));

/** A program on the PATH of the script. */
function tool(name: string, script: string): void {
  writeFileSync(join(tools, name), `#!/bin/sh\n${script}\n`);
  chmodSync(join(tools, name), 0o755);
}

const bunOf = (version: string): string =>
  `case $1 in --version) echo ${version};; install) ;; *) echo "bun ${version} $*";; esac`;

/** An npm that unpacks its package, with a program that says no until its install script has run. */
const NPM_WITHOUT_SCRIPTS = `
  mkdir -p .bun/node_modules/bun .bun/node_modules/.bin
  echo "script" > .bun/node_modules/bun/install.js
  echo 'exit 1' > .bun/node_modules/.bin/bun
  chmod +x .bun/node_modules/.bin/bun`;

function run() {
  const { exitCode, stdout, stderr } = Bun.spawnSync(
    [join(tools, "sh"), join(project, "scripts/with-bun.sh"), "run", "x"],
    { env: { PATH: tools } },
  );
  return { exitCode, out: stdout.toString(), err: stderr.toString() };
}

test("the pinned Bun on the PATH is taken", () => {
  tool("bun", bunOf("9.8.7"));
  expect(run()).toMatchObject({ exitCode: 0, out: "bun 9.8.7 run x\n", err: "" });
});

test("an npm that runs no install scripts is helped", () => {
  tool("npm", NPM_WITHOUT_SCRIPTS);
  tool(
    "node",
    `cat > ../.bin/bun <<'EOF'
#!/bin/sh
${bunOf("9.8.7")}
EOF`,
  );
  const { exitCode, out, err } = run();
  expect({ exitCode, out, err }).toMatchObject({
    exitCode: 0,
    out: "bun 9.8.7 run x\n",
    err: "installing Bun 9.8.7 into .bun/ (once)\n",
  });
});

test("what can't be installed is said in a sentence", () => {
  tool("npm", "echo 'npm error network' >&2; exit 1");
  const { exitCode, err } = run();
  expect(exitCode).toBe(1);
  expect(err).toContain("npm error network\nBun 9.8.7 could not be installed into .bun/: see above.");
});

test("without Bun and npm it says what is needed", () => {
  expect(run()).toMatchObject({
    exitCode: 1,
    err: "Flotilla needs Bun 9.8.7, and neither bun nor npm is on the PATH: install one of them first.\n",
  });
});
