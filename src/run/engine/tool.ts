import { spawn } from "node:child_process";
import { appendFileSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { unwrap } from "../../base/index.ts";
import { writeFileAtomic } from "../../base/node.ts";
import { fail } from "../errors.ts";
import { LineDecoder } from "../wire/index.ts";
import { engineEnv, enginePython } from "./engine.ts";

export type ToolOptions = {
  readonly tool: "generate" | "perplexity" | "export" | "doctor";
  /** The tool's specification; written to `specPath`. Not given for `doctor`. */
  readonly spec?: { readonly path: string; readonly value: unknown };
  readonly log: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal?: AbortSignal;
  readonly onProgress?: (message: Readonly<Record<string, unknown>>) => void;
};

/**
 * Runs a one-shot tool of the engine and returns its `result` message. Its progress goes to `onProgress`, what it says on stderr to the log.
 * Throws RUN_ENGINE_TOOL with the last line of its complaint; an abort ends it with SIGTERM.
 */
export async function engineTool(options: ToolOptions): Promise<Readonly<Record<string, unknown>>> {
  const { tool, spec, log, env, signal, onProgress } = options;
  const python = unwrap(enginePython(env));
  if (spec) writeFileAtomic(spec.path, JSON.stringify(spec.value, null, 2));
  mkdirSync(dirname(log), { recursive: true });
  const child = spawn(python, ["-m", "tessera_engine", tool, ...(spec ? [spec.path] : [])], {
    env: { ...env, ...engineEnv(env) },
    stdio: ["ignore", "pipe", "pipe"],
    ...(signal ? { signal, killSignal: "SIGTERM" } : {}),
  });
  const decoder = new LineDecoder();
  let result: Readonly<Record<string, unknown>> | undefined;
  let why = "";
  child.stdout.on("data", (chunk: Buffer) => {
    for (const value of decoder.push(chunk) as Record<string, unknown>[]) {
      if (value["kind"] === "result") result = value;
      else if (value["kind"] === "error" || value["kind"] === "fatal")
        why = `${String(value["code"])}: ${String(value["message"])}`;
      else onProgress?.(value);
    }
  });
  child.stderr.on("data", (chunk: Buffer) => {
    appendFileSync(log, chunk);
    why ||= chunk.toString("utf8").trim().split("\n").at(-1) ?? "";
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", (cause) => (signal?.aborted ? resolve(null) : reject(cause)));
    child.on("close", resolve);
  });
  signal?.throwIfAborted();
  if (code === 0 && result) return result;
  throw fail("RUN_ENGINE_TOOL", { tool, why: why || `exit code ${code}`, log }, { file: log });
}
