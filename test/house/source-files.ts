import { readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

/** The package's directory. */
export const ROOT = join(import.meta.dir, "../..");

/** A file of ours, by its path from the package's directory. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** The text without comments and without what stands in strings, templates included; line numbers are the same. */
  readonly code: string;
}

export interface Import {
  /** What is imported: a path from the package's directory, or a package's name. */
  readonly target: string;
  readonly isOurs: boolean;
}

/** All files below `directories` that `glob` names, sorted by path. */
export function sourceFiles(directories: readonly string[], glob = "**/*.ts"): SourceFile[] {
  return directories
    .flatMap((directory) => [...new Bun.Glob(`${directory}/${glob}`).scanSync({ cwd: ROOT })])
    .sort()
    .map((path) => {
      const text = readFileSync(join(ROOT, path), "utf8");
      return { path, text, code: withoutCommentsAndStrings(text) };
    });
}

export function isTest(path: string): boolean {
  return path.endsWith(".test.ts");
}

const STATEMENT = /^\s*(?:import|export)\b[^;"'`]*?\bfrom\s+"([^"]+)"/gm;
const BARE = /^\s*import\s+"([^"]+)"/gm;
const DYNAMIC = /\bimport\(\s*"([^"]+)"/g;

/** Everything that a file imports or re-exports, types included. */
export function importsOf(path: string, text: string): Import[] {
  const specifiers = [STATEMENT, BARE, DYNAMIC].flatMap((pattern) =>
    [...withoutComments(text).matchAll(pattern)].map((match) => match[1]!),
  );
  return specifiers.map((specifier) =>
    specifier.startsWith(".")
      ? { target: relative(ROOT, join(ROOT, dirname(path), specifier)), isOurs: true }
      : { target: specifier, isOurs: false },
  );
}

const COMMENT_OR_STRING =
  /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\[\s\S]|[^`\\])*`/g;

/** Strings are kept: they may contain what looks like a comment. */
function withoutComments(text: string): string {
  return text.replace(COMMENT_OR_STRING, (found) => (found.startsWith("/") ? blank(found) : found));
}

export function withoutCommentsAndStrings(text: string): string {
  return text.replace(COMMENT_OR_STRING, blank);
}

function blank(text: string): string {
  return text.replaceAll(/[^\n]/g, " ");
}

/** `path:line` of each match of `pattern` in a file's code. */
export function places(file: SourceFile, pattern: RegExp): string[] {
  return file.code
    .split("\n")
    .flatMap((line, index) => (pattern.test(line) ? [`${file.path}:${index + 1}: ${line.trim()}`] : []));
}
