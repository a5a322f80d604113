import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { hashJson, writeFileAtomic } from "../base/node.ts";
import { type Engine, modelIdentity, runTool } from "./engine.ts";
import { numberField, readJsonl, textField, toJsonl } from "./jsonl.ts";
import type { Answer } from "./types.ts";

export type Prompt = { readonly id: string; readonly prompt: string };

export type GenerateRequest = {
  readonly model: string;
  readonly prompts: readonly Prompt[];
  /** Answers are kept under it, in a folder named after what was asked: asking the same again returns or resumes them. */
  readonly folder: string;
  readonly maxNewTokens: number;
  readonly batch: number;
  readonly stop: string;
  readonly processes: number;
  readonly threads: number;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
};

/** A part is what is lost when a process dies, as the engine writes its answers when it has all of them. */
const PART_PROMPTS = 512;
const PART = /^part-(\d+)\.jsonl$/;

/**
 * Greedy answers of a model to all prompts, shared among processes. What a killed attempt finished is read back and only the rest is
 * asked again; the answers do not depend on how the prompts were shared, as the engine decodes greedily.
 */
export async function generateAnswers(engine: Engine, request: GenerateRequest): Promise<Answer[]> {
  const { prompts, maxNewTokens, stop } = request;
  const asked = { model: modelIdentity(request.model), prompts: hashJson(prompts), maxNewTokens, stop };
  const folder = join(request.folder, hashJson(asked).slice(0, 16));
  mkdirSync(folder, { recursive: true });
  const whole = join(folder, "answers.jsonl");
  if (existsSync(whole)) return readAnswers(whole);

  const known = new Map<string, Answer>();
  const wanted = new Set(prompts.map((prompt) => prompt.id));
  const takeParts = () => {
    for (const name of readdirSync(folder).filter((each) => PART.test(each))) {
      for (const answer of readAnswers(join(folder, name), true)) {
        if (wanted.has(answer.id)) known.set(answer.id, answer);
      }
    }
  };
  takeParts();
  const rest = prompts.filter((prompt) => !known.has(prompt.id));
  const finished = known.size;
  const done = new Map<number, number>();
  const report = () => {
    const now = [...done.values()].reduce((sum, count) => sum + count, finished);
    request.onProgress?.(Math.min(now, prompts.length), prompts.length);
  };
  report();
  const firstPart = nextPart(folder);
  const parts = share(rest, Math.max(request.processes, Math.ceil(rest.length / PART_PROMPTS)));
  const work = await atMost(
    request.processes,
    parts.map((part, i) => () => {
      const name = join(folder, `part-${firstPart + i}`);
      writeFileAtomic(`${name}.prompts`, toJsonl(part));
      return runTool(engine, {
        tool: "generate",
        specPath: `${name}.spec.json`,
        spec: {
          model: request.model,
          prompts: `${name}.prompts`,
          out: `${name}.jsonl`,
          maxNewTokens,
          batch: request.batch,
          threads: request.threads,
          stop,
        },
        threads: request.threads,
        onProgress: (count) => {
          done.set(i, count);
          report();
        },
        ...(request.signal ? { signal: request.signal } : {}),
      });
    }),
  );
  const failed = work.find((each) => each.status === "rejected");
  if (failed) throw failed.reason;
  takeParts();
  const answers = prompts.flatMap((prompt) => known.get(prompt.id) ?? []);
  // A tool that ends well but leaves some out is a bug of the engine; the comparison names the first that is missing.
  if (answers.length === prompts.length) writeFileAtomic(whole, toJsonl(answers));
  request.onProgress?.(answers.length, prompts.length);
  return answers;
}

/** Answers of a file; with `torn`, a last line that was being written is left out. */
function readAnswers(path: string, torn = false): Answer[] {
  return readJsonl(
    path,
    (value) => ({
      id: textField(value, "id"),
      text: textField(value, "text"),
      tokens: numberField(value, "tokens"),
      finished: value["finished"] === true,
    }),
    { torn },
  );
}

/** Runs all, so many at a time; after a failure no further one is started. */
async function atMost<T>(
  count: number,
  works: readonly (() => Promise<T>)[],
): Promise<PromiseSettledResult<T>[]> {
  const results: PromiseSettledResult<T>[] = [];
  let next = 0;
  let failed = false;
  const seat = async () => {
    for (let i = next++; i < works.length && !failed; i = next++) {
      const [result] = await Promise.allSettled([(works[i] as () => Promise<T>)()]);
      failed ||= result.status === "rejected";
      results.push(result);
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, count) }, seat));
  return results;
}

/** Prompts dealt out longest first, so that the processes end together and a batch holds prompts of like length. */
export function share(prompts: readonly Prompt[], count: number): Prompt[][] {
  const sorted = [...prompts].sort((a, b) => b.prompt.length - a.prompt.length || (a.id < b.id ? -1 : 1));
  const parts = Array.from({ length: Math.min(Math.max(1, count), sorted.length) }, (): Prompt[] => []);
  for (const [i, prompt] of sorted.entries()) parts[i % parts.length]?.push(prompt);
  return parts;
}

function nextPart(folder: string): number {
  const numbers = readdirSync(folder).map((name) => Number(/^part-(\d+)/.exec(name)?.[1] ?? -1));
  return Math.max(-1, ...numbers) + 1;
}
