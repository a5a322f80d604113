import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { InvalidArgumentError } from "commander";
import { EXIT } from "../../base/index.ts";
import { paths, readJournal } from "../../run/index.ts";
import type { Context, Verb } from "../context.ts";
import { findRun, runsFolder, viewRun } from "../runs.ts";
import { eventText } from "../tell.ts";

const count = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError("a whole number, please");
  return value;
};

/** What a run wrote: its journal in words, or the output of one rank or agent. */
export const logs: Verb = {
  name: "logs",
  summary: {
    en: "read the journal of a run, or the output of a rank or agent",
    zh: "閱讀任務日誌，或某進程、代理的輸出",
  },
  define(command, act) {
    command
      .argument("[run]", "name, name/id, id or folder; the newest when absent")
      .option("--runs <folder>", "folder of all runs (default: runs)")
      .option("--rank <number>", "output of this rank", count)
      .option("--agent <name>", "output of this agent")
      .option("--lines <number>", "last lines (0: all)", count, 200)
      .option("-f, --follow", "go on as the run writes, until it ends", false)
      .action((asked: string | undefined, options: Options) =>
        act(async (context) => {
          const { folder, id } = findRun(runsFolder(context, options.runs), asked);
          const file =
            options.rank !== undefined
              ? paths(folder).rankLog(options.rank)
              : options.agent !== undefined
                ? paths(folder).agentLog(options.agent)
                : null;
          const source = file === null ? journalLines(context, folder) : fileLines(file);
          const lines = source();
          const shown = options.lines === 0 ? lines : lines.slice(-options.lines);
          for (const line of shown) context.out(line);
          context.data({ schema: "tessera.logs/v1", run: id, lines: shown });
          while (options.follow && viewRun(folder).condition === "running") {
            await sleep(300);
            for (const line of source()) context.out(line);
          }
          return EXIT.done;
        }),
      );
  },
};

type Options = { runs?: string; rank?: number; agent?: string; lines: number; follow: boolean };

/** Each call gives the lines that are new since the last. */
function journalLines(context: Context, folder: string): () => string[] {
  let seen = 0;
  return () => {
    const events = readJournal(folder);
    const fresh = events.slice(seen);
    seen = events.length;
    return fresh.flatMap((event) => {
      const text = eventText(context, event, false);
      return text === null
        ? []
        : [`${new Date(event.t * 1000).toISOString().slice(0, 19).replace("T", " ")}  ${text}`];
    });
  };
}

function fileLines(path: string): () => string[] {
  let at = 0;
  return () => {
    if (!existsSync(path)) return [];
    const { size } = statSync(path);
    if (size <= at) return [];
    const bytes = at === 0 ? readFileSync(path) : readFrom(path, at, size);
    at += bytes.length;
    return bytes.toString("utf8").replace(/\n$/, "").split("\n");
  };
}

function readFrom(path: string, from: number, to: number): Buffer {
  const bytes = Buffer.alloc(to - from);
  const fd = openSync(path, "r");
  try {
    return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, from));
  } finally {
    closeSync(fd);
  }
}
