import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unwrap } from "../../base/index.ts";
import { writeFileAtomic } from "../../base/node.ts";
import { makeLoads, readLoads, readTraces, traceLoads } from "../../experts/index.ts";
import { pythonEngine, runTool } from "../../evaluate/index.ts";
import { enginePython, ROOT } from "../engine/index.ts";

export type ScanRequest = {
  /** Hugging Face folder with weights. */
  readonly model: string;
  /** Packed rows: safetensors with `input_ids` and `labels`. */
  readonly data: string;
  readonly rows: readonly number[];
  /** Where the routing trace is written, whole or not at all. */
  readonly trace: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  /** `seconds`: since the model was loaded. */
  readonly onProgress?: (done: number, seconds: number) => void;
};

/**
 * One forward of a model over some rows, without training, in one process: what its routers choose, written as a routing trace. Returns
 * the layers left out because a token may name one expert twice there (tables of token ids). Throws EVAL_ENGINE.
 */
export async function scanRouting(request: ScanRequest): Promise<readonly number[]> {
  const { model, data, rows, trace, env, threads = 1, signal, onProgress } = request;
  const folder = mkdtempSync(join(tmpdir(), "tessera-scan-"));
  try {
    const result = await runTool(pythonEngine(unwrap(enginePython(env)), ROOT), {
      tool: "perplexity",
      specPath: join(folder, "scan.json"),
      spec: { model, data, rows, trace, out: join(folder, "losses"), threads },
      threads,
      ...(signal ? { signal } : {}),
      ...(onProgress ? { onProgress } : {}),
    });
    return result["left"] as number[];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Tokens of each expert in the layers that a scan knows. */
export type Scanned = {
  readonly tokens: number;
  readonly layers: readonly { readonly id: number; readonly row: Float64Array }[];
};

/** The scan of a run, made once: `file` keeps its loads in a form that `tessera balance` reads, and is taken as it is when it is there. */
export async function scanOnce(file: string, request: Omit<ScanRequest, "trace">): Promise<Scanned> {
  if (!existsSync(file)) {
    const trace = `${file}.trace`;
    await scanRouting({ ...request, trace });
    const { ids, traces } = unwrap(readTraces(readFileSync(trace, "utf8"), trace));
    const loads = unwrap(makeLoads(traces.map(traceLoads), ids));
    const layers = loads.ids.map((id, l) => [
      id,
      Array.from(loads.values.subarray(l * loads.experts, (l + 1) * loads.experts)),
    ]);
    writeFileAtomic(
      file,
      `${JSON.stringify({ tokens: traces[0]?.tokens ?? 0, layers: Object.fromEntries(layers) })}\n`,
    );
    rmSync(trace);
  }
  const text = readFileSync(file, "utf8");
  const loads = unwrap(readLoads(text, file))[0];
  if (!loads) throw new Error(`${file}: no loads`);
  return {
    tokens: (JSON.parse(text) as { tokens: number }).tokens,
    layers: loads.ids.map((id, l) => ({
      id,
      row: loads.values.subarray(l * loads.experts, (l + 1) * loads.experts),
    })),
  };
}
