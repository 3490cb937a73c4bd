/** Habits that a reader relies on: links that lead somewhere, files that are short, tests that all run and never doze. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { isTest, places, ROOT, sourceFiles } from "./source-files.ts";

const LINES_MAX = 600;

test("the package has the files that a newcomer looks for", () => {
  const expected = [
    ...["README.md", "LICENSE", "package.json", "tsconfig.json", "bunfig.toml", "biome.json", "bun.lock"],
    ...[
      "src/main.ts",
      "protocol/README.md",
      "bench/bench.ts",
      "docs/architecture.md",
      "docs/formats",
      "test",
    ],
  ];
  expect(expected.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
});

test("every relative link of the documentation leads to a file", () => {
  const pages = [
    "README.md",
    ...["docs", "protocol"].flatMap((folder) => [
      ...new Bun.Glob(`${folder}/**/*.md`).scanSync({ cwd: ROOT }),
    ]),
  ];
  const broken = pages.flatMap((page) =>
    linksOf(readFileSync(join(ROOT, page), "utf8"))
      .filter((link) => !existsSync(join(ROOT, dirname(page), link)))
      .map((link) => `${page} links to ${link}`),
  );
  expect(broken).toEqual([]);
});

/** The relative targets of a page's links, without anchors; code is no link. */
function linksOf(markdown: string): string[] {
  const prose = markdown.replaceAll(/```[\s\S]*?```|`[^`\n]*`/g, "");
  const inline = [...prose.matchAll(/\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/g)].map((match) => match[1]!);
  const reference = [...prose.matchAll(/^\[[^\]]+\]:\s+(\S+)/gm)].map((match) => match[1]!);
  return [...inline, ...reference]
    .filter((link) => !/^([a-z]+:|#)/.test(link))
    .map((link) => decodeURIComponent(link.replace(/#.*$/, "")));
}

test("links are found where they are, and only there", () => {
  const page =
    '[a](x.md) ![b](y.png "title") [c](https://e.org/z) [d](#here) [e](w.md#part) `[f](v.md)`\n[g]: u.md\n';
  expect(linksOf(page)).toEqual(["x.md", "y.png", "w.md", "u.md"]);
});

test(`no file of src and protocol, tests aside, has more than ${LINES_MAX} lines`, () => {
  const long = sourceFiles(["src", "protocol"])
    .filter(({ path }) => !isTest(path))
    .map(({ path, text }) => `${path} has ${text.split("\n").length - 1} lines`)
    .filter((line) => Number(/(\d+) lines$/.exec(line)![1]) > LINES_MAX);
  expect(long).toEqual([]);
});

const tests = sourceFiles(["src", "protocol", "bench", "test"]).filter(({ path }) => isTest(path));

test("no test is left out, and none keeps others from running", () => {
  expect(
    tests.flatMap((file) => places(file, /\b(test|it|describe)\s*\.\s*(only|skip|todo|failing)\b/)),
  ).toEqual([]);
});

test("no test sleeps: it waits for what it needs", () => {
  // `Bun.sleep(0)` is a turn of the event loop, not a wait. Polling lives in test/support/eventually.ts.
  const dozing = /\bBun\.sleep(Sync)?\((?!0\))|\bsetTimeout\(\s*(resolve|done|\(\)\s*=>\s*(resolve|done)\b)/;
  expect(tests.flatMap((file) => places(file, dozing))).toEqual([]);
});

test("there are no notes of things to be done", () => {
  const files = sourceFiles(["src", "protocol", "bench", "test", "scripts"]);
  const notes = files.filter(({ path }) => !path.startsWith("test/house/"));
  expect(notes.filter(({ text }) => /\b(TODO|FIXME|XXX)\b/.test(text)).map(({ path }) => path)).toEqual([]);
});
