import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { unwrap } from "../base/index.ts";
import { hashJson, sha256File, writeFileAtomic } from "../base/node.ts";
import { compareOutcomes, type Comparison } from "./compare.ts";
import { type Engine, modelIdentity, runTool } from "./engine.ts";
import { fail } from "./errors.ts";
import { decideGate, DEFAULT_POLICY, type Gate, type GatePolicy } from "./gate.ts";
import { generateAnswers, type GenerateRequest } from "./generate.ts";
import { numberField, readJsonl, toJsonl } from "./jsonl.ts";
import { compareRetention, type Retention, type RowLoss } from "./retention.ts";
import { itemsProblem, scoreAnswers } from "./score.ts";
import type { Checker, Item, Outcome } from "./types.ts";

/** The whole measurement, as `eval/evaluation.json` holds it. */
export type Evaluation = {
  readonly schema: "tessera.eval/v1";
  readonly items: { readonly count: number; readonly hash: string };
  readonly base: { readonly name: string; readonly identity: string };
  readonly candidate: { readonly name: string; readonly identity: string };
  readonly decoding: { readonly maxNewTokens: number; readonly stop: string; readonly greedy: true };
  readonly methods: typeof METHODS;
  readonly comparison: Comparison;
  readonly retention: Retention | null;
  readonly gate: Gate;
};

const METHODS = {
  share: "pass@1, Wilson score interval",
  difference: "paired, Tango score interval",
  test: "McNemar, exact, two-sided",
  retention: "paired ratio of perplexities, linearised Student interval per row",
} as const;

export type MeasureRequest = {
  readonly items: readonly Item[];
  readonly base: string;
  readonly candidate: string;
  /** Packed general text (`input_ids`, `labels`) for the perplexity before and after, or null for none: then the gate cannot pass. */
  readonly retention: string | null;
  /** Where answers, outcomes and the evaluation are kept. */
  readonly folder: string;
  readonly decoding: Pick<GenerateRequest, "maxNewTokens" | "batch" | "stop" | "processes" | "threads">;
  readonly policy?: GatePolicy;
  /** Of all intervals; 0.95 when absent. */
  readonly confidence?: number;
  readonly onProgress?: (phase: MeasurePhase, done: number, total: number) => void;
  readonly signal?: AbortSignal;
};
export type MeasurePhase = "base answers" | "candidate answers" | "solving" | "retention";

/** Answers, verdicts, comparison, retention and gate. Run it again after a fault and it goes on where it stopped. */
export async function measure(
  engine: Engine,
  checker: Checker,
  request: MeasureRequest,
): Promise<Evaluation> {
  const { items, folder, decoding } = request;
  const problem = itemsProblem(items);
  if (problem) throw problem;
  writeFileAtomic(join(folder, "items.jsonl"), toJsonl(items));
  const prompts = items.map(({ id, prompt }) => ({ id, prompt }));
  const outcomesOf = async (side: "base" | "candidate"): Promise<Outcome[]> => {
    const answers = await generateAnswers(engine, {
      ...decoding,
      model: request[side],
      prompts,
      folder: join(folder, "answers"),
      onProgress: (done, total) => request.onProgress?.(`${side} answers`, done, total),
      ...signalOf(request),
    });
    const before = side === "base" ? 0 : items.length;
    const outcomes = unwrap(
      await scoreAnswers(items, answers, checker, (done) =>
        request.onProgress?.("solving", before + done, items.length * 2),
      ),
    );
    writeFileAtomic(join(folder, `${side}.outcomes.jsonl`), toJsonl(outcomes));
    return outcomes;
  };
  const base = await outcomesOf("base");
  const candidate = await outcomesOf("candidate");
  const comparison = unwrap(compareOutcomes(items, base, candidate, request.confidence));
  const retention =
    request.retention === null ? null : await measureRetention(engine, request, request.retention);
  const evaluation: Evaluation = {
    schema: "tessera.eval/v1",
    items: { count: items.length, hash: hashJson(items) },
    base: { name: basename(request.base), identity: modelIdentity(request.base) },
    candidate: { name: basename(request.candidate), identity: modelIdentity(request.candidate) },
    decoding: { maxNewTokens: decoding.maxNewTokens, stop: decoding.stop, greedy: true },
    methods: METHODS,
    comparison,
    retention,
    gate: decideGate(comparison, retention, request.policy ?? DEFAULT_POLICY),
  };
  writeFileAtomic(join(folder, "evaluation.json"), `${JSON.stringify(evaluation, null, 2)}\n`);
  return evaluation;
}

async function measureRetention(engine: Engine, request: MeasureRequest, data: string): Promise<Retention> {
  if (!existsSync(data)) throw fail("EVAL_FILE", { what: data, why: "not there" }, { file: data });
  const text = sha256File(data);
  const rowsOf = async (side: "base" | "candidate", before: number): Promise<RowLoss[]> => {
    const name = hashJson({ model: modelIdentity(request[side]), text }).slice(0, 16);
    const out = join(request.folder, "retention", `${name}.jsonl`);
    if (!existsSync(out)) {
      await runTool(engine, {
        tool: "perplexity",
        specPath: join(request.folder, "retention", `${name}.spec.json`),
        spec: {
          model: request[side],
          data,
          out,
          threads: request.decoding.threads * request.decoding.processes,
        },
        threads: request.decoding.threads * request.decoding.processes,
        ...signalOf(request),
      });
    }
    request.onProgress?.("retention", before + 1, 2);
    return readRowLosses(out);
  };
  return unwrap(compareRetention(await rowsOf("base", 0), await rowsOf("candidate", 1), request.confidence));
}

/** Rows of the engine's `perplexity` tool. A row of padding alone has no token to predict and says nothing. */
function readRowLosses(path: string): RowLoss[] {
  return readJsonl(path, (value) => ({
    id: String(numberField(value, "row")),
    nll: numberField(value, "nll"),
    tokens: numberField(value, "tokens"),
  })).filter((row) => row.tokens > 0);
}

const signalOf = ({ signal }: { readonly signal?: AbortSignal }) => (signal ? { signal } : {});
