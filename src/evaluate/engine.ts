import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { hashJson, sha256File, writeFileAtomic } from "../base/node.ts";
import { fail } from "./errors.ts";

/** How to start the engine's one-shot tools: the interpreter, what stands before the tool's name, and the folder of the package. */
export type Engine = {
  readonly command: string;
  readonly args: readonly string[];
  /** Put into PYTHONPATH. */
  readonly path: string;
};

export const pythonEngine = (python: string, root: string): Engine => ({
  command: python,
  args: ["-m", "tessera_engine"],
  path: join(root, "engine"),
});

export type ToolRun = {
  readonly tool: "generate" | "perplexity";
  readonly spec: Readonly<Record<string, unknown>> & { readonly model: string };
  /** Where the spec file is written. */
  readonly specPath: string;
  readonly threads: number;
  /** Items done, and seconds since the tool began on them. */
  readonly onProgress?: (done: number, seconds: number) => void;
  readonly signal?: AbortSignal;
};

/** Runs one tool to its `result` line; a tool that ends otherwise is a coded error with the end of what it said. */
export async function runTool(engine: Engine, run: ToolRun): Promise<Record<string, unknown>> {
  writeFileAtomic(run.specPath, `${JSON.stringify(run.spec, null, 2)}\n`);
  run.signal?.throwIfAborted();
  const child = spawn(engine.command, [...engine.args, run.tool, run.specPath], {
    stdio: ["pipe", "pipe", "pipe"],
    env: {
      ...process.env,
      PYTHONPATH: engine.path,
      PYTHONUNBUFFERED: "1",
      OMP_NUM_THREADS: String(run.threads),
      TOKENIZERS_PARALLELISM: "false",
    },
  });
  const stop = () => child.kill("SIGTERM");
  run.signal?.addEventListener("abort", stop);
  let result: Record<string, unknown> | undefined;
  let tail = "";
  const keepTail = (text: string) => {
    tail = `${tail}${text}`.slice(-2000);
  };
  child.stderr.setEncoding("utf8").on("data", keepTail);
  const lines = createInterface({ input: child.stdout });
  lines.on("line", (line) => {
    const message = parseLine(line);
    if (!message) keepTail(`${line}\n`);
    else if (message["kind"] === "result") result = message;
    else if (message["kind"] === "fatal" || message["kind"] === "error") keepTail(`${line}\n`);
    else if (typeof message["done"] === "number")
      run.onProgress?.(message["done"], Number(message["seconds"]));
  });
  try {
    const exit = await new Promise<number | string>((resolve, reject) => {
      child.on("error", (cause) =>
        reject(fail("EVAL_START", { command: engine.command, why: cause.message }, {}, cause)),
      );
      child.on("close", (code, signal) => resolve(code ?? signal ?? "?"));
    });
    run.signal?.throwIfAborted();
    if (exit === 0 && result) return result;
    throw fail("EVAL_ENGINE", {
      doing: run.tool,
      model: basename(run.spec.model),
      exit,
      tail: tail.trim().split("\n").slice(-6).join("\n    ") || "-",
    });
  } finally {
    run.signal?.removeEventListener("abort", stop);
    lines.close();
  }
}

function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Content identity of a Hugging Face folder: its configuration, tokenizer and weights, by name and bytes. */
export function modelIdentity(folder: string): string {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (cause) {
    throw fail("EVAL_FILE", { what: folder, why: (cause as Error).message }, { file: folder }, cause);
  }
  const files = names.filter((name) => /\.(json|safetensors)$/.test(name)).sort();
  if (!files.includes("config.json")) {
    throw fail("EVAL_FILE", { what: folder, why: "no config.json" }, { file: folder });
  }
  return hashJson(files.map((name) => [name, sha256File(join(folder, name))]));
}
