import { type Cluster, presetCluster } from "../../../src/cluster/index.ts";
import {
  BF16_MIXED,
  buildOrder,
  type Constraints,
  exportPlan,
  PASS,
  passKind,
  passMicro,
  passStage,
  plan,
  type Plan,
  type PlanRequest,
  simulate,
  stageHomes,
  TARGETS,
  TimeModel,
  traitsFor,
  whatIfs,
} from "../../../src/layout/index.ts";
import { importModel, type Model } from "../../../src/model/index.ts";
import type { Answer, Ask, Bar } from "./protocol.ts";

/**
 * The planner in a worker. While a slider moves, only layouts of the last winner's family are looked at, which answers within a
 * frame or two; when it rests, the whole space is searched.
 */
const models = new Map<string, Model>();
let last: Plan | undefined;
let latest = 0;

const post = (answer: Answer) => (self as unknown as { postMessage(a: Answer): void }).postMessage(answer);

self.onmessage = (event: MessageEvent<Ask>) => {
  latest = event.data.id;
  // Let newer questions overtake: a moving slider asks faster than a full search answers.
  setTimeout(() => {
    if (event.data.id === latest) post(answer(event.data));
  }, 0);
};

function modelOf(ask: Ask): Model | Error {
  const known = models.get(ask.modelKey);
  if (known) return known;
  const result = importModel(ask.config, { name: ask.modelKey });
  if (!result.ok) return result.error;
  models.set(ask.modelKey, result.value);
  return result.value;
}

function clusterOf(ask: Ask): Cluster | undefined {
  const base = presetCluster(ask.device, ask.devices);
  if (!base) return undefined;
  return {
    ...base,
    groups: base.groups.map((group) => ({
      ...group,
      device: { ...group.device, memoryBytes: group.device.memoryBytes * ask.memory },
      links: group.links.map((link) => ({ ...link, bandwidth: link.bandwidth * ask.network })),
    })),
  };
}

function answer(ask: Ask): Answer {
  const began = performance.now();
  const model = modelOf(ask);
  if (model instanceof Error) return { id: ask.id, ok: false, error: said(model), ms: 0 };
  const cluster = clusterOf(ask);
  if (!cluster)
    return {
      id: ask.id,
      ok: false,
      error: { en: "devices do not fill whole nodes", zh: "加速器無法填滿節點" },
      ms: 0,
    };
  const dragging = ask.mode === "drag" && last !== undefined;
  const constraints: Constraints = {
    engine: ask.engine,
    ...(dragging && last ? family(last) : {}),
  };
  const request: PlanRequest = {
    model,
    cluster,
    training: {
      sequence: ask.sequence,
      microBatch: 1,
      globalBatch: ask.batch,
      precision: BF16_MIXED,
      optimizer: "adamw",
      mtp: true,
    },
    constraints,
    traits: { imbalance: ask.imbalance },
    alternatives: 8,
    simulate: dragging ? 6 : 80,
  };
  let result = plan(request);
  if (!result.ok && dragging) result = plan({ ...request, constraints: { engine: ask.engine }, simulate: 6 });
  if (!result.ok) return { id: ask.id, ok: false, error: said(result.error), ms: performance.now() - began };
  const found = result.value;
  last = found;
  const traits = { ...traitsFor(found.training), ...request.traits };
  const step = new TimeModel(model, cluster, found.training, traits).step(found.layout);
  const ms = performance.now() - began;
  const more = ask.mode === "full" ? whatIfs({ ...request, simulate: 12 }, found) : undefined;
  return {
    id: ask.id,
    ok: true,
    ms,
    full: !dragging,
    plan: found,
    capacity: stageHomes(cluster, found.layout).map((home) => home.device.memoryBytes),
    bars: bars(found, step),
    ...(more ? { whatIfs: more } : {}),
    exports: Object.fromEntries(
      TARGETS.map((target) => {
        const text = exportPlan(found, target);
        return [target, text.ok ? { ok: true, text: text.value } : { ok: false, text: text.error.message }];
      }),
    ),
  };
}

const said = (error: Error) => {
  const entry = (
    error as { entry?: { message: { en: string; zh: string } }; params?: Record<string, string | number> }
  ).entry;
  const params = (error as { params?: Record<string, string | number> }).params ?? {};
  const fill = (text: string) =>
    text.replace(/\{(\w+)\}/g, (_, name: string) => String(params[name] ?? name));
  return entry
    ? { en: fill(entry.message.en), zh: fill(entry.message.zh) }
    : { en: error.message, zh: error.message };
};

function family(plan: Plan): Partial<Constraints> {
  const { tp, cp, etp, zero, recompute, offload, schedule } = plan.layout;
  return {
    tp: [tp],
    cp: [cp],
    etp: [etp],
    zero: [zero],
    recompute: [recompute],
    optimizerOffload: [offload.optimizer],
    microBatch: [plan.training.microBatch],
    schedules: schedule === "1f1b" ? ["1f1b", "interleaved1f1b"] : ["1f1b", schedule],
  };
}

/** Passes of the first rounds, as rectangles in seconds. */
function bars(found: Plan, step: ReturnType<TimeModel["step"]>): Bar[] {
  const { layout } = found;
  if (layout.pp === 1) return [];
  const micros = Math.min(step.microBatches, layout.pp * 3 + (layout.schedule === "interleaved1f1b" ? 0 : 2));
  const count =
    layout.schedule === "interleaved1f1b"
      ? Math.max(layout.pp, Math.floor(micros / layout.pp) * layout.pp)
      : micros;
  const order = buildOrder(
    layout.schedule,
    layout.pp,
    layout.vpp,
    Math.min(step.microBatches, Math.max(count, 2 * layout.pp)),
  );
  const { start, end } = simulate(order, step.costs, true);
  if (!start || !end) return [];
  const out: Bar[] = [];
  for (let rank = 0; rank < layout.pp; rank++) {
    for (let at = order.starts[rank] as number; at < (order.starts[rank + 1] as number); at++) {
      const word = order.passes[at] as number;
      const kind = passKind(word);
      out.push([
        rank,
        start[at] as number,
        end[at] as number,
        kind === PASS.backwardWeight ? 2 : kind === PASS.forward || kind === PASS.forwardPaired ? 0 : 1,
        Math.floor(passStage(word) / layout.pp),
        passMicro(word),
      ]);
    }
  }
  return out;
}
