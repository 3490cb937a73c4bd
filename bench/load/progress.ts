/** A line that tells how things go: on a terminal rewritten in place, else one line after another. */
export interface Progress {
  show(line: string): void;
  /** Leaves the last line as it is; what is printed next begins on a line of its own. */
  finish(): void;
}

/** `stream` is standard error, usually. */
export function createProgress(stream: { readonly isTTY?: boolean; write(text: string): unknown }): Progress {
  if (stream.isTTY !== true) return { show: (line) => void stream.write(`${line}\n`), finish: () => {} };
  let shown = false;
  return {
    show(line) {
      // Back to the first column, the text, and whatever was longer before is cleared.
      stream.write(`\r${line}\u001b[K`);
      shown = true;
    },
    finish() {
      if (shown) stream.write("\n");
      shown = false;
    },
  };
}
