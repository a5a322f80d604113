import { say, TesseraError } from "../../../src/base/index.ts";
import {
  type Constraints,
  eachFallback,
  eachWhatIf,
  exportPlan,
  plan,
  planFrom,
  type PlanRequest,
  searchAll,
  type SearchResult,
  TARGETS,
  whyNot,
} from "../../../src/layout/index.ts";
import type { Answer, Ask, Failure, Winner } from "./protocol.ts";
import { requestOf, viewOf } from "./request.ts";

/**
 * The planner in a worker. The page runs two of these: one answers while a slider moves and looks only at the last winner's family,
 * the other searches the whole space when it rests, so that a search under way never delays the next drag.
 */
let latest = 0;
let searched: { readonly request: PlanRequest; readonly result: SearchResult } | undefined;

const post = (answer: Answer) => (self as unknown as { postMessage(a: Answer): void }).postMessage(answer);
/** Lets messages that came meanwhile be seen. */
const breathe = () => new Promise<void>((done) => setTimeout(done, 0));

self.onmessage = (event: MessageEvent<Ask>) => {
  const ask = event.data;
  latest = Math.max(latest, ask.id);
  if (ask.mode === "stop") return;
  // Newer questions overtake: a moving slider asks faster than it is answered.
  setTimeout(() => {
    if (ask.id < latest && ask.mode !== "why") return;
    answer(ask).catch((cause: unknown) => {
      if (!(cause instanceof TesseraError)) throw cause;
      post({ id: ask.id, kind: "failed", full: ask.mode !== "drag", failure: failureOf(cause) });
    });
  }, 0);
};

async function answer(ask: Exclude<Ask, { mode: "stop" }>): Promise<void> {
  const { id } = ask;
  if (ask.mode === "why") {
    const { rows, total } = searched
      ? whyNot(searched.request, searched.result, ask.words)
      : { rows: [], total: 0 };
    post({ id, kind: "rejected", rows, total });
    return;
  }
  const began = performance.now();
  const request = requestOf(ask.controls);
  if (ask.mode === "look") {
    const { layout, microBatch } = ask.look;
    post({ id, kind: "look", view: viewOf(request, layout, { ...request.training, microBatch }) });
    return;
  }
  if (ask.mode === "drag") {
    const found = near(request, ask.winner);
    const view = viewOf(request, found.layout, found.training);
    if (ask.warm) return;
    post({ id, kind: "plan", full: false, ms: performance.now() - began, plan: found, view });
    return;
  }
  const result = searchAll(request);
  searched = { request, result };
  const made = planFrom(request, result);
  if (!made.ok) throw made.error;
  const found = made.value;
  const view = viewOf(request, found.layout, found.training);
  post({ id, kind: "plan", full: true, ms: performance.now() - began, plan: found, view });
  post({ id, kind: "exports", exports: exportsOf(found) });
  const rest = { ...request, simulate: 12 };
  await collect(id, eachFallback(request, found, 8), (list) => ({ id, kind: "fallbacks", fallbacks: list }));
  await collect(id, eachWhatIf(rest, found), (list) => ({ id, kind: "whatIfs", whatIfs: list }));
}

/** One result after another, each shown as it comes, until something newer is asked. */
async function collect<T>(
  id: number,
  each: Generator<T>,
  say: (list: readonly T[]) => Answer,
): Promise<void> {
  const list: T[] = [];
  for (;;) {
    await breathe();
    if (id < latest) return;
    const next = each.next();
    if (next.done) return;
    list.push(next.value);
    post(say([...list]));
  }
}

/** The best of the last winner's family; when none of it fits, the best of the most frugal family. */
function near(request: PlanRequest, winner: Winner) {
  const { tp, cp, etp, zero, recompute, offload, schedule } = winner.layout;
  const asked = request.constraints;
  const family: Partial<Constraints> = {
    tp: [tp],
    cp: [cp],
    etp: [etp],
    zero: [zero],
    microBatch: [winner.microBatch],
    recompute: [recompute],
    optimizerOffload: asked.optimizerOffload ?? [offload.optimizer],
    schedules: schedule === "1f1b" ? ["1f1b", "interleaved1f1b"] : ["1f1b", schedule],
  };
  const quick = { ...request, simulate: 6, alternatives: 8, advise: false };
  const first = plan({ ...quick, constraints: { ...asked, ...family } });
  if (first.ok) return first.value;
  const frugal = plan({
    ...quick,
    constraints: {
      ...asked,
      ...family,
      microBatch: [1],
      recompute: [{ kind: "full" }],
      optimizerOffload: asked.optimizerOffload ?? (asked.engine === "tessera" ? [0] : [1]),
      schedules: ["1f1b", "interleaved1f1b"],
    },
  });
  if (!frugal.ok) throw frugal.error;
  return frugal.value;
}

function exportsOf(found: Parameters<typeof exportPlan>[0]) {
  return Object.fromEntries(
    TARGETS.map((target) => {
      const made = exportPlan(found, target);
      const { message } = made.ok ? { message: { en: made.value, zh: made.value } } : failureOf(made.error);
      return [target, { ok: made.ok, text: message }];
    }),
  );
}

function failureOf(error: TesseraError): Failure {
  const { entry, params, code } = error;
  const both = (text: typeof entry.message) => ({
    en: say(text, "en", params),
    zh: say(text, "zh", params),
  });
  return { code, message: both(entry.message), ...(entry.next ? { next: both(entry.next) } : {}) };
}
