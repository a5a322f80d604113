import type { Context } from "./context.ts";

/** One line of progress on stderr: redrawn in place on a terminal, otherwise a plain line at most every ten seconds. */
export function progressLine(
  context: Pick<Context, "live" | "talk" | "quiet">,
  stream: { write(text: string): unknown } = process.stderr,
  now: () => number = Date.now,
): { show(text: string): void; clear(): void } {
  let drawn = false;
  let last = Number.NEGATIVE_INFINITY;
  return {
    show(text) {
      const waited = now() - last;
      if (context.quiet || waited < (context.live ? 80 : 10_000)) return;
      last = now();
      if (!context.live) {
        context.talk(text);
        return;
      }
      stream.write(`\r\u001b[2K${text}`);
      drawn = true;
    },
    clear() {
      if (drawn) stream.write("\r\u001b[2K");
      drawn = false;
    },
  };
}
